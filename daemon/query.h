/*
 * One request whose answer is wanted as JSON.
 */
#ifndef DAEMON_QUERY_H
#define DAEMON_QUERY_H

#include <stddef.h>

#include "proto/rpc_error.h"

struct json_object;
struct query;
struct upstream;
struct upstream_request;

/*
 * Called once. On success error is NULL and answer is lent; it is NULL when
 * upstream answered nothing (204). Else error is lent and answer is NULL.
 */
typedef void query_fn(
    void *arg, struct json_object *answer, struct rpc_error *error);

/* The same with the answer as text that json_check() accepted; "" for a 204. */
typedef void query_text_fn(
    void *arg, const char *text, size_t len, struct rpc_error *error);

/* Take the request over. fn is never called before they return. */
struct query *query_start(
    struct upstream *u, struct upstream_request *r, query_fn *fn, void *arg);
struct query *query_start_text(struct upstream *u, struct upstream_request *r,
    query_text_fn *fn, void *arg);
/* fn is not called any more. NULL is fine. */
void query_cancel(struct query *q);

#endif
