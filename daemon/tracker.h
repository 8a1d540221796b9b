/*
 * The capsules of this machine: their rows in memory, found by ID, name or
 * key, and written through to the store. Sole caller of the store's writes.
 */
#ifndef DAEMON_TRACKER_H
#define DAEMON_TRACKER_H

#include "daemon/hash.h"
#include "daemon/loop.h"
#include "daemon/store.h"
#include "proto/queue.h"
#include "proto/rpc_error.h"

struct ending;
struct keepalive;
struct events;
struct tracker;
struct wake;

/*
 * A capsule that was created here. Everybody who keeps a pointer over a turn
 * holds a reference; one that was forgotten lives until the last is
 * dropped. tracker.c owns it, and of the running state each field belongs to
 * the module named.
 */
struct capsule {
	struct capsule_row row;
	struct tracker *tracker;
	int refs;
	bool forgotten; /* no longer in the tracker */
	bool dirty;     /* the store lacks the last change */
	struct hash_entry by_id, by_record, by_name;

	/* keepalive.c */
	int holds;           /* calls that use it now */
	uint64_t touched_ms; /* last activity that upstream saw begin */
	struct timer *ping;
	struct keepalive *keepalive;

	/* capsules.c */
	struct wake *wake; /* its resume, while one is under way */
	bool listed;       /* by the list being looked at */
	/* reaper.c */
	struct ending *ending;

	TAILQ_ENTRY(capsule) entry;
};

/* Loads the rows; creates of an earlier run become uncertain. NULL: said. */
struct tracker *tracker_new(struct loop *l, struct store *s);
void tracker_free(struct tracker *t);

/* A new one in state `creating`, with a record ID made up; not yet stored. */
struct capsule *tracker_add(struct tracker *t, const struct capsule_row *row);
void capsule_ref(struct capsule *c);
void capsule_unref(struct capsule *c); /* NULL is fine */

/* By ID, name or key; NULL when there is none. */
struct capsule *tracker_by_id(struct tracker *t, const char *id);
struct capsule *tracker_by_name(struct tracker *t, uid_t uid, const char *name);
struct capsule *tracker_by_key(struct tracker *t, uid_t uid, const char *key);

/*
 * What a person wrote: a name, a record ID, an ID or a prefix of one that fits
 * a single capsule of that user. NULL with *ret, unless that is NULL, set to
 * RPC_NOT_FOUND or RPC_AMBIGUOUS.
 */
struct capsule *tracker_resolve(
    struct tracker *t, uid_t uid, const char *ref, struct rpc_error *ret);

/* Changes state, ID or anything else of the row; then tracker_save. */
void tracker_set_id(struct tracker *t, struct capsule *c, const char *id);
void tracker_set_state(struct capsule *c, enum capsule_state state);

/*
 * Writes the row. fn (which may be NULL) gets 0 when it is durable, or a
 * negative errno; the tracker then goes on trying by itself.
 */
void tracker_save(
    struct tracker *t, struct capsule *c, store_fn *fn, void *arg);

/* Takes it out of memory and store. */
void tracker_forget(struct tracker *t, struct capsule *c);

/* The first and the next one; to be walked within one turn. */
struct capsule *tracker_first(struct tracker *t);
struct capsule *tracker_next(struct capsule *c);

/* From now on changes of state are events. */
void tracker_set_events(struct tracker *t, struct events *ev);
/* Something else that its owner may want to know: "resumed", "paused". */
void capsule_note(struct capsule *c, const char *what);

/* How many rows have that state. */
int tracker_count(struct tracker *t, enum capsule_state state);

#endif
