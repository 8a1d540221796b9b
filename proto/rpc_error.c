#include "proto/rpc_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

#include "proto/json_check.h"
#include "proto/jx.h"

#include "proto/banned.h"

static const struct rpc_error_row rows[RPC_ERRNO_COUNT] = {
#define ERROR(sym, name, code, class, exit, retryable, meaning) \
	[RPC_##sym] = { name, code, class, exit, retryable, meaning },
#include "proto/errors.def"
#undef ERROR
};

/*
 * Upstream's codes that say more than the HTTP status. The others follow
 * the status.
 */
static const struct {
	const char *code;
	enum rpc_errno kind;
} upstream_codes[] = {
	{ "invalid_request", RPC_VALIDATION },
	{ "unauthorized", RPC_UNAUTHORIZED },
	{ "forbidden", RPC_FORBIDDEN },
	{ "no_team", RPC_FORBIDDEN },
	{ "account_not_activated", RPC_FORBIDDEN },
	{ "account_disabled", RPC_FORBIDDEN },
	{ "account_deactivated", RPC_FORBIDDEN },
	{ "not_found", RPC_NOT_FOUND },
	{ "invalid_state", RPC_CONFLICT },
	{ "conflict", RPC_CONFLICT },
	{ "name_reserved", RPC_CONFLICT },
	{ "template_name_taken", RPC_CONFLICT },
	{ "host_has_sandboxes", RPC_HOST_HAS_CAPSULES },
	{ "host_has_capsules", RPC_HOST_HAS_CAPSULES },
	{ "has_active_sandboxes", RPC_HOST_HAS_CAPSULES },
	{ "too_large", RPC_TOO_LARGE },
	{ "internal_error", RPC_UPSTREAM_INTERNAL },
	{ "db_error", RPC_UPSTREAM_INTERNAL },
	{ "read_error", RPC_UPSTREAM_INTERNAL },
	{ "agent_error", RPC_AGENT },
	{ "host_unavailable", RPC_HOST_UNAVAILABLE },
	{ "no_hosts_available", RPC_HOST_UNAVAILABLE },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const struct rpc_error_row *
rpc_error_row(enum rpc_errno kind)
{
	return &rows[kind];
}

enum rpc_errno
rpc_errno_by_code(int code)
{
	int i;

	for (i = RPC_OK + 1; i < RPC_ERRNO_COUNT; i++)
		if (rows[i].code == code)
			return (enum rpc_errno)i;
	return RPC_UPSTREAM;
}

enum rpc_errno
rpc_errno_by_name(const char *name)
{
	int i;

	for (i = RPC_OK + 1; i < RPC_ERRNO_COUNT; i++)
		if (strcmp(rows[i].name, name) == 0)
			return (enum rpc_errno)i;
	return RPC_OK;
}

void
rpc_error_set(struct rpc_error *e, enum rpc_errno kind, const char *fmt, ...)
{
	va_list ap;

	*e = (struct rpc_error){ .kind = kind };
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
}

void
rpc_error_set_param(
    struct rpc_error *e, const char *param, const char *fmt, ...)
{
	va_list ap;

	*e = (struct rpc_error){ .kind = RPC_INVALID_PARAMS };
	snprintf(e->param, sizeof(e->param), "%s", param);
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
}

void
rpc_error_release(struct rpc_error *e)
{
	json_object_put(e->extra);
	e->extra = NULL;
}

static enum rpc_errno
kind_of_status(int status)
{
	switch (status) {
	case 400:
		return RPC_VALIDATION;
	case 401:
		return RPC_UNAUTHORIZED;
	case 403:
		return RPC_FORBIDDEN;
	case 404:
		return RPC_NOT_FOUND;
	case 409:
		return RPC_CONFLICT;
	case 413:
		return RPC_TOO_LARGE;
	case 500:
		return RPC_UPSTREAM_INTERNAL;
	case 501:
	case 502:
		return RPC_AGENT;
	case 503:
		return RPC_HOST_UNAVAILABLE;
	default:
		return RPC_UPSTREAM;
	}
}

enum rpc_errno
rpc_errno_from_upstream(int http_status, const char *code)
{
	size_t i;

	for (i = 0; i < COUNT(upstream_codes); i++)
		if (strcmp(upstream_codes[i].code, code) == 0)
			return upstream_codes[i].kind;
	return kind_of_status(http_status);
}

/*
 * Adds a text that may have been cut inside a character, or that came from
 * elsewhere: each byte that is not UTF-8 becomes a question mark, since the
 * whole line would be no JSON with it.
 */
static void
add_text(struct json_object *o, const char *key, const char *text)
{
	char clean[LIMIT_ERROR_MESSAGE];
	size_t i, n;

	snprintf(clean, sizeof(clean), "%s", text);
	n = strlen(clean);
	for (i = 0; (i += utf8_valid_prefix(clean + i, n - i)) < n;)
		clean[i] = '?';
	jx_add_strn(o, key, clean, n);
}

struct json_object *
rpc_error_to_json(const struct rpc_error *e, const char *request)
{
	const struct rpc_error_row *row = rpc_error_row(e->kind);
	struct json_object *o = json_object_new_object();
	struct json_object *data = json_object_new_object();

	jx_add_int(o, "code", row->code);
	add_text(o, "message", e->message);
	jx_add_str(data, "name", row->name);
	if (row->sdk_class[0] != '\0')
		jx_add_str(data, "class", row->sdk_class);
	if (e->http_status != 0)
		jx_add_int(data, "http_status", e->http_status);
	if (e->upstream_code[0] != '\0')
		add_text(data, "upstream_code", e->upstream_code);
	if (e->param[0] != '\0')
		add_text(data, "param", e->param);
	jx_add_bool(data, "retryable", row->retryable);
	if (request != NULL)
		jx_add_str(data, "request", request);
	if (e->extra != NULL) {
		json_object_object_foreach(e->extra, key, value)
			jx_add(data, key, json_object_get(value));
	}
	jx_add(o, "data", data);
	return o;
}

void
rpc_error_from_json(struct rpc_error *e, struct json_object *o)
{
	struct json_object *data = jx_obj(o, "data");
	const char *name = jx_str(data, "name");
	const char *message = jx_str(o, "message");
	int64_t n;

	*e = (struct rpc_error){ .kind = RPC_OK };
	if (name != NULL)
		e->kind = rpc_errno_by_name(name);
	if (e->kind == RPC_OK)
		e->kind = jx_int(o, "code", INT32_MIN, INT32_MAX, &n) == 0
			      ? rpc_errno_by_code((int)n)
			      : RPC_PROTOCOL;
	snprintf(e->message, sizeof(e->message), "%s",
	    message ? message : rpc_error_row(e->kind)->meaning);
	if (jx_int(data, "http_status", 0, 999, &n) == 0)
		e->http_status = (int)n;
	if (jx_str(data, "upstream_code") != NULL)
		snprintf(e->upstream_code, sizeof(e->upstream_code), "%s",
		    jx_str(data, "upstream_code"));
	if (jx_str(data, "param") != NULL)
		snprintf(
		    e->param, sizeof(e->param), "%s", jx_str(data, "param"));
	e->extra = json_object_get(data);
}
