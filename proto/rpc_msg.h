/*
 * JSON-RPC 2.0 messages: a line to its messages, and back. What is beyond
 * the specification: the member "fds" of a request names the descriptors
 * that were passed with its line (docs/PROTOCOL.md, Descriptors).
 */
#ifndef PROTO_RPC_MSG_H
#define PROTO_RPC_MSG_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/limits.h"
#include "proto/rpc_error.h"

struct buf;
struct json_object;

/* The name of a method is cut there: none of ours has half of that. */
#define RPC_METHOD_MAX 64

enum rpc_kind {
	RPC_KIND_BAD,          /* not a message; `fault` says why */
	RPC_KIND_REQUEST,      /* has an id and wants an answer */
	RPC_KIND_NOTIFICATION, /* wants none */
	RPC_KIND_RESULT,
	RPC_KIND_ERROR,
};

/* One message. What it lends lives as long as the rpc_line around it. */
struct rpc_msg {
	enum rpc_kind kind;
	char id[LIMIT_ID + 1]; /* JSON text as it was sent; "" when absent */
	char name[RPC_METHOD_MAX + 1];
	const char *method;         /* `name`, or NULL */
	struct json_object *params; /* NULL when absent */
	struct json_object *result; /* also NULL for a JSON null */
	struct json_object *error;
	const char *fds[LIMIT_FDS]; /* names, in the order passed */
	int fd_count;
	struct json_object *fd_names;
	struct rpc_error fault; /* with RPC_KIND_BAD; else its kind is RPC_OK */
};

/* The messages of one line: rpc_line_parse, then rpc_line_release. */
struct rpc_line {
	bool batch;
	size_t count;
	struct rpc_msg *msgs;   /* `one`, or those of a batch */
	struct rpc_error fault; /* of the line as a whole; then count is 0 */
	struct rpc_msg one;
};

/*
 * Always fills *line, which must stay where it is; a line that is nothing has
 * fault.kind set. Trees are made of params, result and error alone.
 */
void rpc_line_parse(struct rpc_line *line, const char *text, size_t len);
void rpc_line_release(struct rpc_line *line);

/*
 * Messages to text, without the newline. `id` is JSON text, "null" when it is
 * not known. Each returns 0, or -ENOSPC or -ENOMEM and adds nothing.
 */
int rpc_print_request(struct buf *out, const char *id, const char *method,
    struct json_object *params, const char *const *fds, int fd_count);
int rpc_print_result(struct buf *out, const char *id, struct json_object *v);
int rpc_print_result_text(
    struct buf *out, const char *id, const char *json, size_t len);
int rpc_print_error(struct buf *out, const char *id, const struct rpc_error *e,
    const char *request);

/* {"call":ID,"type":type,…fields} as the notification "event". */
int rpc_print_event(struct buf *out, const char *call_id, const char *type,
    struct json_object *fields);

#endif
