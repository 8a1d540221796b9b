/*
 * The one table of methods. Validation, rpc.discover, `wrennctl help` and
 * the check of docs/PROTOCOL.md are all made from it; the daemon binds a
 * handler to each row by its symbol (daemon/dispatch.c).
 */
#ifndef PROTO_METHODS_H
#define PROTO_METHODS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/rpc_error.h"

struct json_object;

enum method_id {
#define METHOD(sym, name, access, hangup, fds, summary, result) METHOD_##sym,
#include "proto/methods.def"
#undef METHOD
	METHOD_COUNT
};

/* Who may call: a client's class includes those before it. */
enum access {
	ACCESS_READ,  /* looks */
	ACCESS_USE,   /* changes what the caller owns */
	ACCESS_ADMIN, /* changes wrennd itself or its credentials */
};

/* What becomes of a call whose client goes away, or that is cancelled. */
enum hangup {
	HANGUP_ABORT,  /* stopped, upstream too */
	HANGUP_FINISH, /* runs to its end; the answer is dropped */
};

enum param_type {
	PARAM_STRING, /* min..max bytes */
	PARAM_INT,    /* min..max */
	PARAM_BOOL,
	PARAM_CAPSULE, /* ID, unambiguous ID prefix, or name */
	PARAM_NAME,    /* as ident_is_name() has it */
	PARAM_IDENT,   /* an ID with the prefix `choices` */
	PARAM_DATE,    /* YYYY-MM-DD */
	PARAM_ENUM,    /* one of `choices`, separated by | */
	PARAM_STRINGS, /* array of strings, each of at most max bytes */
	PARAM_MAP,     /* object of strings, each of at most max bytes */
	PARAM_OBJECT,  /* checked by the method itself */
	PARAM_ID,      /* of a call: string or number */
};

#define PARAM_OPTIONAL 0
#define PARAM_REQUIRED 1

struct param {
	const char *name; /* NULL ends the list */
	enum param_type type;
	unsigned flags;
	int64_t min, max;
	const char *choices;
	const char *help; /* one line */
};

struct method {
	const char *name;
	size_t name_len;
	enum access access;
	enum hangup hangup;
	const char *fds; /* descriptors it takes, separated by |; "" for none */
	const char *summary;
	const char *result; /* what it answers, in one line */
	const struct param *params;
};

const struct method *method_by_id(enum method_id id);
/* METHOD_COUNT when there is none of that name. */
enum method_id method_by_name(const char *name);

const char *access_name(enum access access);
const char *hangup_name(enum hangup hangup);

/*
 * Checks params (NULL for none) against the row: no unknown one, none
 * missing, each of its type and range. 0, or -EINVAL with *ret filled.
 */
int method_check_params(
    const struct method *m, struct json_object *params, struct rpc_error *ret);

/* The OpenRPC 1.2.6 document of all methods; the caller's. */
struct json_object *methods_openrpc(const char *version);

#endif
