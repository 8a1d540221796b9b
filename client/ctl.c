#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "client/cmd.h"
#include "client/identity.h"
#include "client/wrenn_priv.h"
#include "proto/jx.h"
#include "proto/methods.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

/* What to do when no wrennd answers and none was started. */
static const char *
unreachable_hint(const struct ctl *ctl)
{
	const char *env = getenv("WRENND_SOCKET");

	if (ctl->system_wide)
		return "`systemctl start wrennd.socket` starts the system's; "
		       "without --system your own is used";
	if (ctl->socket != NULL)
		return "start wrennd for that socket, or leave out --socket "
		       "to have your own started";
	if (env != NULL && env[0] != '\0')
		return "start wrennd for that socket, or unset WRENND_SOCKET "
		       "to have your own started";
	if (ctl->no_autostart)
		return "leave out --no-autostart to have it started";
	return NULL;
}

/* Asks wrennd for whom it works, where the environment says something. */
static int
check_identity(struct ctl *ctl, struct wrenn_error *err)
{
	struct json_object *status;
	int r;

	if (!identity_is_set())
		return 0;
	if (wrenn_call(
		ctl->w, "auth.status", NULL, ASK_TIMEOUT_MS, &status, err) < 0)
		return -1;
	r = identity_compare(status, err);
	json_object_put(status);
	return r;
}

int
ctl_open(struct ctl *ctl, struct wrenn_error *err)
{
	struct wrenn_options o = { .socket = ctl->socket,
		.system_wide = ctl->system_wide,
		.autostart = !ctl->no_autostart,
		.client = "wrennctl",
		.version = PACKAGE_VERSION };

	if (ctl->w != NULL)
		return 0;
	ctl->out.hint = unreachable_hint(ctl);
	if (wrenn_open(&o, &ctl->w, err) < 0)
		return -1;
	wrenn_set_interrupt(ctl->w, interrupt_flag());
	if (!ctl->uses_server || check_identity(ctl, err) == 0)
		return 0;
	/* The next call asks again; none may go through unasked. */
	ctl_close(ctl);
	return -1;
}

void
ctl_close(struct ctl *ctl)
{
	wrenn_close(ctl->w);
	ctl->w = NULL;
}

int
ctl_usage(const struct ctl *ctl, const char *fmt, ...)
{
	struct wrenn_error err;
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	wrenn_error_set(&err, RPC_USAGE, "%s", text);
	return ctl_fail(ctl, &err);
}

int
ctl_fail(const struct ctl *ctl, struct wrenn_error *err)
{
	int status = out_error(&ctl->out, err);

	wrenn_error_release(err);
	return status;
}

void
ctl_name_in_error(struct wrenn_error *err, const char *name)
{
	char *text = xasprintf("%s: %s", name, err->message);

	snprintf(err->message, sizeof(err->message), "%s", text);
	free(text);
}

static int
call_once(struct ctl *ctl, const char *method, struct json_object *params,
    int64_t timeout_ms, struct json_object **ret_result,
    struct wrenn_error *err)
{
	if (ctl_open(ctl, err) < 0)
		return -1;
	return wrenn_call(ctl->w, method, params, timeout_ms, ret_result, err);
}

/* Calls that only look may be made again. */
static bool
only_looks(const char *method)
{
	enum method_id id = method_by_name(method);

	return id != METHOD_COUNT && method_by_id(id)->access == ACCESS_READ;
}

/*
 * A wrennd that is being killed still takes connections for a moment: what
 * only looks is then asked of its successor.
 */
static int
call(struct ctl *ctl, const char *method, struct json_object *params,
    int64_t timeout_ms, struct json_object **ret_result,
    struct wrenn_error *err)
{
	int r = call_once(ctl, method, params, timeout_ms, ret_result, err);

	if (r < 0 && only_looks(method) &&
	    err->code == rpc_error_row(RPC_DAEMON_LOST)->code) {
		wrenn_error_release(err);
		ctl_close(ctl);
		r = call_once(ctl, method, params, timeout_ms, ret_result, err);
	}
	json_object_put(params);
	return r;
}

int
ctl_call(struct ctl *ctl, const char *method, struct json_object *params,
    struct json_object **ret_result, struct wrenn_error *err)
{
	return call(ctl, method, params, CALL_TIMEOUT_MS, ret_result, err);
}

int
ctl_ask(struct ctl *ctl, const char *method, struct json_object **ret_result,
    struct wrenn_error *err)
{
	return call(ctl, method, NULL, ASK_TIMEOUT_MS, ret_result, err);
}

int
ctl_call_within(struct ctl *ctl, const char *method, struct json_object *params,
    int64_t timeout_sec, struct json_object **ret_result,
    struct wrenn_error *err)
{
	return call(ctl, method, params, timeout_sec * 1000 + CALL_SLACK_MS,
	    ret_result, err);
}

struct json_object *
ctl_capsule(const char *name)
{
	struct json_object *params = json_object_new_object();

	jx_add_str(params, "capsule", name);
	return params;
}

/* One K=V, or K alone where that is allowed. */
static int
add_item(struct json_object *map, const char *item, bool inherit,
    struct wrenn_error *err)
{
	const char *equals = strchr(item, '='), *value;
	char *key;

	if (equals == item || item[0] == '\0')
		return wrenn_error_set(
		    err, RPC_USAGE, "\"%s\" has no name before the =", item);
	if (equals == NULL && !inherit)
		return wrenn_error_set(err, RPC_USAGE,
		    "\"%s\" is not of the form NAME=VALUE", item);
	value = equals ? equals + 1 : getenv(item);
	if (value == NULL)
		return wrenn_error_set(err, RPC_USAGE,
		    "the environment has no %s to pass on", item);
	key = equals ? xstrndup(item, (size_t)(equals - item)) : xstrdup(item);
	jx_add_str(map, key, value);
	free(key);
	return 0;
}

int
ctl_add_map(struct json_object *params, const char *key,
    const struct opt_list *list, bool inherit, struct wrenn_error *err)
{
	struct json_object *map;
	size_t i;

	if (list->count == 0)
		return 0;
	map = json_object_new_object();
	jx_add(params, key, map);
	for (i = 0; i < list->count; i++)
		if (add_item(map, list->items[i], inherit, err) < 0)
			return -1;
	return 0;
}

void
ctl_print_object(struct ctl *ctl, struct json_object *o)
{
	struct buf b;
	const char *text;

	if (ctl->out.json || !json_object_is_type(o, json_type_object)) {
		out_json(&ctl->out, o);
		return;
	}
	buf_init(&b, OUT_TEXT_MAX);
	json_object_object_foreach(o, key, value) {
		buf_clear(&b);
		out_value(&b, value);
		text = buf_str(&b);
		out_pair(&ctl->out, key, text ? text : "-");
	}
	buf_release(&b);
}
