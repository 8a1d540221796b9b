/*
 * An error as the protocol carries it: a row of errors.def with the words
 * and facts of one occasion.
 */
#ifndef PROTO_RPC_ERROR_H
#define PROTO_RPC_ERROR_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/limits.h"

struct json_object;

/*
 * wrennctl's exit statuses. `exec` and `run` exit with the command's own
 * status and with EXIT_OWN_FAILURE where these would say something else.
 */
enum exit_status {
	EXIT_OK = 0,
	EXIT_FAILED = 1,  /* anything without a number of its own */
	EXIT_INVALID = 2, /* wrong usage or parameters */
	EXIT_NOT_FOUND = 3,
	EXIT_CONFLICT = 4,
	EXIT_AUTH = 5, /* no credential, or not accepted */
	EXIT_FORBIDDEN = 6,
	EXIT_UPSTREAM = 7, /* the server failed or cannot be reached */
	EXIT_TIMEOUT = 8,
	EXIT_UNKNOWN = 9,      /* it may have happened: look before a retry */
	EXIT_UNAVAILABLE = 10, /* wrennd itself cannot be used */
	EXIT_LIMIT = 11,
	EXIT_CANCELLED = 12,
	EXIT_OWN_FAILURE = 125,
	EXIT_CMD_NOT_EXEC = 126,
	EXIT_CMD_MISSING = 127,
};

enum rpc_errno {
	RPC_OK = 0,
#define ERROR(sym, name, code, class, exit, retryable, meaning) RPC_##sym,
#include "proto/errors.def"
#undef ERROR
	RPC_ERRNO_COUNT
};

/* One row of errors.def. */
struct rpc_error_row {
	const char *name;
	int code;
	const char *sdk_class; /* "" when the SDK has none */
	enum exit_status exit;
	bool retryable;
	const char *meaning;
};

/*
 * One occasion. A plain value: copied freely, needs no release but for
 * `extra`, which rpc_error_release() drops.
 */
struct rpc_error {
	enum rpc_errno kind;    /* RPC_OK: no error */
	int http_status;        /* 0 when upstream did not answer */
	char upstream_code[48]; /* upstream's own word, "" when none */
	char param[48];         /* the parameter at fault, "" when none */
	char message[LIMIT_ERROR_MESSAGE];
	struct json_object *extra; /* further members of "data", or NULL */
};

/* Every kind but RPC_OK has a row. */
const struct rpc_error_row *rpc_error_row(enum rpc_errno kind);

/* The kind with that code or name; RPC_UPSTREAM, RPC_OK when unknown. */
enum rpc_errno rpc_errno_by_code(int code);
enum rpc_errno rpc_errno_by_name(const char *name);

/* Starts e anew; the message is cut at LIMIT_ERROR_MESSAGE. */
void rpc_error_set(struct rpc_error *e, enum rpc_errno kind, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));
void rpc_error_set_param(struct rpc_error *e, const char *param,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void rpc_error_release(struct rpc_error *e);

/*
 * What an upstream answer of that status means: `code` first, then the
 * status (WRENN_API, section 2). code may be "".
 */
enum rpc_errno rpc_errno_from_upstream(int http_status, const char *code);

/* To and from the "error" member of an answer; `request` may be NULL. */
struct json_object *rpc_error_to_json(
    const struct rpc_error *e, const char *request);
void rpc_error_from_json(struct rpc_error *e, struct json_object *o);

#endif
