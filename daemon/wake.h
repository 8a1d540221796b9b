/*
 * Resumes a capsule that upstream paused for inactivity, once for all calls
 * that need it. One that was paused by hand stays paused.
 */
#ifndef DAEMON_WAKE_H
#define DAEMON_WAKE_H

#include <stdbool.h>

#include "proto/rpc_error.h"

struct capsule;
struct upstream;
struct wakes;
struct wake_caller;
struct watches;

struct wakes *wakes_new(struct upstream *u, struct watches *w);
void wakes_free(struct wakes *w);

/*
 * Sees to it that the capsule runs. fn is called once: with NULL when it runs,
 * and whether it had to be resumed; or with an error (lent), RPC_CAPSULE_PAUSED
 * when it sleeps and `allowed` is false or it was paused by hand.
 */
typedef void wake_fn(void *arg, bool resumed, struct rpc_error *error);
struct wake_caller *wake_start(
    struct wakes *w, struct capsule *c, bool allowed, wake_fn *fn, void *arg);
/* fn is not called any more; the resume itself goes on. NULL is fine. */
void wake_cancel(struct wake_caller *caller);

#endif
