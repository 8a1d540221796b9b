/*
 * The life of capsules as clients ask for it: each operation is recorded
 * before it is sent, and what it answers is upstream's capsule with what is
 * known here.
 */
#ifndef DAEMON_CAPSULES_H
#define DAEMON_CAPSULES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/store.h"
#include "proto/rpc_error.h"

struct buf;
struct capsule;
struct capsule_op;
struct capsules;
struct cred;
struct json_object;
struct loop;
struct reaper;
struct settings;
struct tracker;
struct upstream;
struct watches;

/* What they work with; all but the settings outlive them. */
struct capsules_parts {
	struct loop *loop;
	struct upstream *upstream;
	struct tracker *tracker;
	struct watches *watches;
	struct reaper *reaper;
	const struct cred *cred;
};
struct capsules *capsules_new(
    const struct capsules_parts *parts, const struct settings *s);
void capsules_free(struct capsules *cs);

/* Interrupted endings go on; rows find their credential again. */
void capsules_start(struct capsules *cs);
void capsules_credential_changed(struct capsules *cs);
void capsules_settings_changed(struct capsules *cs, const struct settings *s);

/*
 * Every operation calls fn once, perhaps before it returns: with a result,
 * which is JSON text, or with an error, both lent. Those that return an
 * operation can be cancelled until then; they return NULL when fn was called
 * already. The others run to their end.
 */
typedef void capsules_fn(
    void *arg, const struct buf *result, struct rpc_error *error);

/* Parameters as the method table checked them. */
void capsules_create(struct capsules *cs, uid_t uid, struct json_object *params,
    capsules_fn *fn, void *arg);
void capsules_destroy(struct capsules *cs, uid_t uid, const char *ref,
    capsules_fn *fn, void *arg);
void capsules_pause(struct capsules *cs, uid_t uid, const char *ref,
    capsules_fn *fn, void *arg);
void capsules_resume(struct capsules *cs, uid_t uid, const char *ref,
    capsules_fn *fn, void *arg);
struct capsule_op *capsules_list(struct capsules *cs, uid_t uid,
    struct json_object *params, capsules_fn *fn, void *arg);
struct capsule_op *capsules_get(struct capsules *cs, uid_t uid, const char *ref,
    capsules_fn *fn, void *arg);
struct capsule_op *capsules_ping(struct capsules *cs, uid_t uid,
    const char *ref, capsules_fn *fn, void *arg);
struct capsule_op *capsules_wait(struct capsules *cs, uid_t uid,
    struct json_object *params, capsules_fn *fn, void *arg);
void capsule_op_cancel(struct capsule_op *op); /* NULL is fine */

/*
 * What a person wrote, as an ID that upstream knows. `capsule` is NULL for one
 * that was not created here, which only its full ID reaches.
 */
struct target {
	char id[CAPSULE_ID_MAX];
	struct capsule *capsule;
};
int capsules_target(struct capsules *cs, uid_t uid, const char *ref,
    struct target *ret, struct rpc_error *why);

/*
 * Tells fn of the capsule as clients see it: what upstream showed (NULL when
 * it was not asked) with what is recorded here.
 */
void capsules_tell(const struct capsule *c, struct json_object *shown,
    capsules_fn *fn, void *arg);

/* A "not found" for a capsule that another credential made is explained. */
void capsules_explain(
    struct capsules *cs, const struct capsule *c, struct rpc_error *e);

bool capsules_may_resume(
    struct capsules *cs, const struct capsule *c, int wish);

#endif
