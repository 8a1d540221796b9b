/*
 * Waiting for a capsule's status. All who wait for one capsule share one
 * poll, which starts quick and slows down.
 */
#ifndef DAEMON_WATCH_H
#define DAEMON_WATCH_H

#include <stdint.h>

#include "proto/rpc_error.h"

struct json_object;
struct loop;
struct upstream;
struct waiter;
struct watches;

struct watches *watches_new(struct loop *l, struct upstream *u);
void watches_free(struct watches *w);

/*
 * Called once: with upstream's capsule (lent) when it has the status, or with
 * an error (lent): RPC_TIMEOUT, RPC_NOT_FOUND, or RPC_CONFLICT when it ended
 * in a status from which the wanted one cannot come.
 */
typedef void waiter_fn(
    void *arg, struct json_object *capsule, struct rpc_error *error);
struct waiter *waiter_new(struct watches *w, const char *id, const char *status,
    uint64_t timeout_ms, waiter_fn *fn, void *arg);
void waiter_cancel(struct waiter *w); /* NULL is fine */

#endif
