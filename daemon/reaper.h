/*
 * Ends capsules: a row in state `ending` is deleted upstream until it is
 * surely gone. One answer "not found" is no proof, since the server says so
 * for its own database errors too.
 */
#ifndef DAEMON_REAPER_H
#define DAEMON_REAPER_H

#include "proto/rpc_error.h"

struct capsule;
struct cred;
struct loop;
struct reaper;
struct tracker;
struct upstream;

struct reaper *reaper_new(struct loop *l, struct upstream *u, struct tracker *t,
    const struct cred *c);
void reaper_free(struct reaper *r);

/* Goes on with rows that an earlier run left in `ending`. */
void reaper_start(struct reaper *r);

/* A new credential: rows that waited for theirs are tried again. */
void reaper_kick(struct reaper *r);

/*
 * Ends the capsule: `ending` is made durable, then it is deleted. fn is called
 * once with NULL when it is gone, or with the error of the first try (lent);
 * the reaper then goes on by itself.
 */
typedef void reaper_fn(void *arg, struct rpc_error *error);
void reaper_end(struct reaper *r, struct capsule *c, reaper_fn *fn, void *arg);

/* Milliseconds before try number n (from 1 on) is repeated. Pure. */
uint64_t reaper_backoff_ms(int n);

#endif
