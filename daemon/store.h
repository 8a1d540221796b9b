/*
 * The record of capsules on disk: sqlite behind a thread of its own, so that
 * an fsync stalls nobody. Requests are carried out in order and committed in
 * groups; each answer comes back on the loop once it is durable.
 *
 * Exactly one connection ever opens the file (sqlite 3.40 can corrupt a WAL
 * that two connections reset), and the daemon's lock on the state folder
 * keeps a second daemon away.
 */
#ifndef DAEMON_STORE_H
#define DAEMON_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/limits.h"

struct loop;
struct store;

#define RECORD_ID_MAX  24 /* "rec-" and 16 hexadecimal digits */
#define CAPSULE_ID_MAX 32 /* "cl-" and 25 characters of base 36 */

/*
 * The life of a row. Each step is on disk before it is acted upon:
 * `creating` before the POST, `live` before the answer, `ending` before the
 * DELETE. `uncertain` is a create whose answer was lost.
 */
enum capsule_state {
	CAPSULE_CREATING,
	CAPSULE_LIVE,
	CAPSULE_ENDING,
	CAPSULE_GONE,
	CAPSULE_UNCERTAIN,
};

/* A plain value but for base_url and labels; copy with capsule_row_copy. */
struct capsule_row {
	char record[RECORD_ID_MAX]; /* the primary key, made here */
	char id[CAPSULE_ID_MAX];    /* upstream's, "" until known */
	enum capsule_state state;
	uid_t uid; /* the owner */
	char *base_url;
	char identity[65];         /* SHA-256 of the credential, hexadecimal */
	char name[LIMIT_NAME + 1]; /* "" when it has none */
	char *labels;              /* JSON object's text, NULL for none */
	char key[129];             /* idempotency key, "" when none */
	char template[LIMIT_NAME + 1];
	int64_t vcpus, memory_mb; /* 0: upstream's default was asked for */
	int64_t timeout_s;
	bool timeout_chosen; /* by the user, so it carries no nonce */
	bool keepalive;
	int auto_resume; /* 1 yes, 0 no, -1 as configured */
	bool paused_by_hand;
	int64_t created_at, changed_at; /* wall clock, milliseconds */
};

const char *capsule_state_name(enum capsule_state state);
void capsule_row_copy(struct capsule_row *to, const struct capsule_row *from);
void capsule_row_release(struct capsule_row *row);

/* What opening found. */
enum store_health {
	STORE_OK,
	STORE_REBUILT,     /* the file was damaged and is kept aside */
	STORE_ROLLED_BACK, /* an older copy was put in its place */
	STORE_FAILING,     /* the last write failed */
};

/*
 * Opens DIR/capsules.db, or makes it. NULL after a log line that says what
 * to do: an empty file where there should be rows, a newer version's file, a
 * file of another program. `fresh` accepts an empty one.
 */
struct store *store_open(struct loop *l, const char *dir, bool fresh);

/*
 * Carries out what is queued, then closes. Answers that were not given yet say
 * -ECANCELED; nothing may be asked in them.
 */
void store_close(struct store *s);

/* Calls fn with each row, in no order; only before the first request. */
int store_load(struct store *s,
    void (*fn)(void *arg, const struct capsule_row *), void *arg);

/* error: 0, or a negative errno (-ENOSPC, -EIO). */
typedef void store_fn(void *arg, int error);

/* The row is copied. fn may be NULL. */
void store_put(
    struct store *s, const struct capsule_row *row, store_fn *fn, void *arg);
void store_remove(struct store *s, const char *record, store_fn *fn, void *arg);
/* Answers when all before it is done: a sign of life. */
void store_probe(struct store *s, store_fn *fn, void *arg);

enum store_health store_health(const struct store *s);
const char *store_health_name(enum store_health health);
const char *store_path(const struct store *s);
/* Where the damaged file went, or NULL. */
const char *store_kept_aside(const struct store *s);

#endif
