#include "client/wrenn_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

#include "proto/jx.h"

#include "proto/banned.h"

void
wrenn_error_release(struct wrenn_error *err)
{
	json_object_put(err->data);
	err->data = NULL;
}

/* Everything but the message, from the row of that kind. */
static void
set_row(struct wrenn_error *err, enum rpc_errno kind)
{
	const struct rpc_error_row *row = rpc_error_row(kind);

	memset(err, 0, sizeof(*err));
	err->code = row->code;
	err->retryable = row->retryable;
	snprintf(err->name, sizeof(err->name), "%s", row->name);
	snprintf(err->sdk_class, sizeof(err->sdk_class), "%s", row->sdk_class);
	err->data = json_object_new_object();
	if (err->data == NULL)
		return;
	jx_add_str(err->data, "name", row->name);
	if (row->sdk_class[0] != '\0')
		jx_add_str(err->data, "class", row->sdk_class);
	jx_add_bool(err->data, "retryable", row->retryable);
}

/* Makes an error of the library's own. */
int
wrenn_error_set(
    struct wrenn_error *err, enum rpc_errno kind, const char *fmt, ...)
{
	va_list ap;

	set_row(err, kind);
	va_start(ap, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	return -1;
}

/* An error named "local" whose message ends in the text of errnum. */
int
wrenn_error_errno(struct wrenn_error *err, int errnum, const char *fmt, ...)
{
	char reason[128];
	va_list ap;
	size_t n;

	set_row(err, RPC_LOCAL);
	va_start(ap, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	n = strlen(err->message);
	snprintf(err->message + n, sizeof(err->message) - n, ": %s",
	    strerror_r(errnum, reason, sizeof(reason)));
	return -1;
}

int
wrenn_error_copy(struct wrenn_error *to, const struct wrenn_error *from)
{
	*to = *from;
	to->data = json_object_get(from->data);
	return -1;
}

/* Copies a member that is text, or leaves the default. */
static void
take_text(char *to, size_t size, struct json_object *o, const char *key)
{
	const char *s = jx_str(o, key);

	if (s != NULL)
		snprintf(to, size, "%s", s);
}

/*
 * An error as wrennd sent it. A name this library does not know is kept: a
 * newer daemon may have more of them.
 */
void
wrenn_error_from_json(struct wrenn_error *err, struct json_object *o)
{
	struct json_object *data = jx_obj(o, "data");
	enum rpc_errno kind = RPC_PROTOCOL;
	bool coded;
	int64_t n;

	/* A code of 0 would say that nothing went wrong. */
	coded = jx_int(o, "code", INT32_MIN, INT32_MAX, &n) == 0 && n != 0;
	if (coded)
		kind = rpc_errno_by_code((int)n);
	set_row(err, kind);
	if (coded)
		err->code = (int)n;
	snprintf(err->message, sizeof(err->message), "%s",
	    rpc_error_row(kind)->meaning);
	take_text(err->message, sizeof(err->message), o, "message");
	if (data == NULL)
		return;
	json_object_put(err->data);
	err->data = json_object_get(data);
	take_text(err->name, sizeof(err->name), data, "name");
	take_text(err->sdk_class, sizeof(err->sdk_class), data, "class");
	err->retryable = jx_bool(data, "retryable", err->retryable);
	if (jx_int(data, "http_status", 0, 999, &n) == 0)
		err->http_status = (int)n;
}
