#include "proto/methods.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

#include "proto/ident.h"
#include "proto/jx.h"
#include "proto/limits.h"

#include "proto/banned.h"

#define DAY_S 86400

/* clang-format off */
#define CAPSULE { "capsule", PARAM_CAPSULE, PARAM_REQUIRED, 1, LIMIT_NAME, NULL, "ID, unambiguous ID prefix, or name" }
#define AUTO_RESUME { "auto_resume", PARAM_BOOL, PARAM_OPTIONAL, 0, 0, NULL, "resume the capsule if it was paused for inactivity (default: as configured)" }
#define PATH { "path", PARAM_STRING, PARAM_REQUIRED, 1, LIMIT_PATH, NULL, "absolute path in the capsule" }
#define COMMAND \
	{ "cmd",         PARAM_STRING,  PARAM_REQUIRED, 1, LIMIT_ARG, NULL, "the program" }, \
	{ "args",        PARAM_STRINGS, PARAM_OPTIONAL, 0, LIMIT_ARG, NULL, "its arguments, passed as they are" }, \
	{ "cwd",         PARAM_STRING,  PARAM_OPTIONAL, 1, LIMIT_PATH, NULL, "folder to run in" }, \
	{ "envs",        PARAM_MAP,     PARAM_OPTIONAL, 0, LIMIT_ARG, NULL, "environment variables to add" }
#define HOST { "host", PARAM_IDENT, PARAM_REQUIRED, 0, 0, "host", "its ID" }
#define TAG { "tag", PARAM_STRING, PARAM_REQUIRED, 1, LIMIT_LABEL_VALUE, NULL, "the tag" }
#define END { NULL, 0, 0, 0, 0, NULL, NULL }

static const struct param no_params[] = { END };

static const struct param daemon_hello_params[] = {
	{ "client",  PARAM_STRING, PARAM_OPTIONAL, 0, 128, NULL, "name of the program" },
	{ "version", PARAM_STRING, PARAM_OPTIONAL, 0, 64,  NULL, "its version" },
	END
};
#define daemon_status_params no_params
#define daemon_metrics_params no_params
static const struct param daemon_events_params[] = {
	{ "since",   PARAM_INT,     PARAM_OPTIONAL, 0, INT64_MAX, NULL, "first those above this number that are still kept (default: only new ones)" },
	{ "types",   PARAM_STRINGS, PARAM_OPTIONAL, 0, 64, NULL, "only these types, or all that start with one that ends in a dot" },
	{ "capsule", PARAM_CAPSULE, PARAM_OPTIONAL, 1, LIMIT_NAME, NULL, "only those of this capsule" },
	{ "follow",  PARAM_BOOL,    PARAM_OPTIONAL, 0, 0, NULL, "go on with what is to come (default true)" },
	END
};
#define daemon_reload_params no_params
#define daemon_shutdown_params no_params
#define auth_status_params no_params
static const struct param auth_login_params[] = {
	{ "email",    PARAM_STRING, PARAM_REQUIRED, 1, 320, NULL, "of the account" },
	{ "password", PARAM_STRING, PARAM_REQUIRED, 1, 1024, NULL, "of the account" },
	{ "persist",  PARAM_BOOL,   PARAM_OPTIONAL, 0, 0, NULL, "keep the token over a restart, in a file of mode 0600 (default true)" },
	END
};
static const struct param auth_set_params[] = {
	{ "api_key", PARAM_STRING, PARAM_OPTIONAL, 1, LIMIT_SECRET, NULL, "API key; one of api_key and token" },
	{ "token",   PARAM_STRING, PARAM_OPTIONAL, 1, LIMIT_SECRET, NULL, "JWT" },
	{ "persist", PARAM_BOOL,   PARAM_OPTIONAL, 0, 0,            NULL, "keep it over a restart, in a file of mode 0600 (default true)" },
	END
};
static const struct param auth_logout_params[] = {
	{ "force", PARAM_BOOL, PARAM_OPTIONAL, 0, 0, NULL, "even while capsules are recorded that only this credential can destroy" },
	END
};
static const struct param capsule_create_params[] = {
	{ "template",    PARAM_STRING, PARAM_OPTIONAL, 1, LIMIT_NAME, NULL, "template or snapshot (default minimal)" },
	{ "vcpus",       PARAM_INT,    PARAM_OPTIONAL, 1, 1024, NULL, "virtual CPUs" },
	{ "memory_mb",   PARAM_INT,    PARAM_OPTIONAL, 1, 16 * 1024 * 1024, NULL, "memory in MiB" },
	{ "timeout_sec", PARAM_INT,    PARAM_OPTIONAL, 0, 365 * DAY_S, NULL, "seconds without activity until it is paused; 0 = never (default: as configured, about 300)" },
	{ "lease",       PARAM_OBJECT, PARAM_OPTIONAL, 0, 0, NULL, "how long it is wanted; {\"type\":\"none\"}: until destroyed by hand (default)" },
	{ "keepalive",   PARAM_BOOL,   PARAM_OPTIONAL, 0, 0, NULL, "ping it while calls use it (default true)" },
	{ "auto_resume", PARAM_BOOL,   PARAM_OPTIONAL, 0, 0, NULL, "resume it by itself when it is needed (default: as configured)" },
	{ "name",        PARAM_STRING, PARAM_OPTIONAL, 1, LIMIT_NAME, NULL, "your name for it, unique among your capsules" },
	{ "labels",      PARAM_MAP,    PARAM_OPTIONAL, 0, LIMIT_LABEL_VALUE, NULL, "your labels" },
	{ "key",         PARAM_STRING, PARAM_OPTIONAL, 1, 128, NULL, "idempotency key: the same create sent again answers the first one's capsule" },
	{ "wait",        PARAM_BOOL,   PARAM_OPTIONAL, 0, 0, NULL, "answer only when it is running (default true)" },
	END
};
static const struct param capsule_list_params[] = {
	{ "labels",    PARAM_MAP,  PARAM_OPTIONAL, 0, LIMIT_LABEL_VALUE, NULL, "only those with all of these labels" },
	{ "untracked", PARAM_BOOL, PARAM_OPTIONAL, 0, 0, NULL, "also those that were not created here" },
	END
};
static const struct param capsule_get_params[] = { CAPSULE, END };
static const struct param capsule_wait_params[] = {
	CAPSULE,
	{ "status",      PARAM_ENUM, PARAM_OPTIONAL, 0, 0, "running|paused|stopped", "the status to wait for (default running)" },
	{ "timeout_sec", PARAM_INT,  PARAM_OPTIONAL, 1, DAY_S, NULL, "give up after so long (default 60)" },
	END
};
#define capsule_destroy_params capsule_get_params
#define capsule_pause_params capsule_get_params
#define capsule_resume_params capsule_get_params
#define capsule_ping_params capsule_get_params
static const struct param capsule_metrics_params[] = {
	CAPSULE,
	{ "range", PARAM_ENUM, PARAM_OPTIONAL, 0, 0, "5m|10m|1h|2h|6h|12h|24h", "how far back (default: the server's, 10m)" },
	END
};
static const struct param capsule_stats_params[] = {
	{ "range", PARAM_ENUM, PARAM_OPTIONAL, 0, 0, "5m|1h|6h|24h|30d", "how far back (default: the server's, 1h)" },
	END
};
static const struct param capsule_usage_params[] = {
	{ "from", PARAM_DATE, PARAM_OPTIONAL, 0, 0, NULL, "the first day (default: the server's, 30 days in all)" },
	{ "to",   PARAM_DATE, PARAM_OPTIONAL, 0, 0, NULL, "the last day (default: the server's, today)" },
	END
};
static const struct param exec_run_params[] = {
	CAPSULE, COMMAND,
	{ "timeout_sec", PARAM_INT,     PARAM_OPTIONAL, 1, DAY_S, NULL, "stop it after so long (default 30)" },
	AUTO_RESUME,
	END
};
static const struct param exec_stream_params[] = {
	CAPSULE, COMMAND,
	{ "timeout_sec", PARAM_INT, PARAM_OPTIONAL, 1, DAY_S, NULL, "end it after so long (default: never)" },
	AUTO_RESUME,
	END
};
static const struct param process_start_params[] = {
	CAPSULE, COMMAND,
	{ "tag", PARAM_STRING, PARAM_OPTIONAL, 1, LIMIT_NAME, NULL, "your name for the process (default: one is made up)" },
	AUTO_RESUME,
	END
};
static const struct param process_list_params[] = { CAPSULE, AUTO_RESUME, END };
static const struct param process_kill_params[] = {
	CAPSULE,
	{ "pid",    PARAM_INT,    PARAM_OPTIONAL, 1, INT32_MAX, NULL, "number of the process; one of pid and tag" },
	{ "tag",    PARAM_STRING, PARAM_OPTIONAL, 1, 256, NULL, "tag of the process" },
	{ "signal", PARAM_ENUM,   PARAM_OPTIONAL, 0, 0, "SIGKILL|SIGTERM", "what to send (default SIGKILL)" },
	AUTO_RESUME,
	END
};
static const struct param file_read_params[] = { CAPSULE, PATH, AUTO_RESUME, END };
static const struct param file_write_params[] = {
	CAPSULE, PATH,
	{ "text", PARAM_STRING, PARAM_OPTIONAL, 0, LIMIT_REQUEST_LINE, NULL, "the content as text; one of text, data and a data socket" },
	{ "data", PARAM_STRING, PARAM_OPTIONAL, 0, LIMIT_REQUEST_LINE, NULL, "the content in base64" },
	{ "size", PARAM_INT,    PARAM_OPTIONAL, 0, INT64_MAX, NULL, "bytes that will come over the data socket; without it call.end must follow the last byte" },
	AUTO_RESUME,
	END
};
static const struct param file_list_params[] = {
	CAPSULE, PATH,
	{ "depth", PARAM_INT, PARAM_OPTIONAL, 1, 64, NULL, "levels to descend (default 1)" },
	AUTO_RESUME,
	END
};
#define file_stat_params file_read_params
#define file_mkdir_params file_read_params
#define file_remove_params file_read_params
static const struct param snapshot_create_params[] = {
	CAPSULE,
	{ "name",      PARAM_NAME, PARAM_OPTIONAL, 0, 0, NULL, "of the snapshot (default: the server makes one up)" },
	{ "overwrite", PARAM_BOOL, PARAM_OPTIONAL, 0, 0, NULL, "replace an older snapshot of that name (default false)" },
	END
};
static const struct param snapshot_list_params[] = {
	{ "type", PARAM_ENUM, PARAM_OPTIONAL, 0, 0, "base|snapshot", "only the platform's templates, or only snapshots" },
	END
};
static const struct param snapshot_delete_params[] = {
	{ "name", PARAM_NAME, PARAM_REQUIRED, 0, 0, NULL, "of the snapshot" },
	END
};
static const struct param host_create_params[] = {
	{ "type",     PARAM_ENUM,   PARAM_REQUIRED, 0, 0, "regular|byoc", "regular: the platform's; byoc: a team's own machine" },
	{ "team_id",  PARAM_IDENT,  PARAM_OPTIONAL, 0, 0, "team", "whose it is, of a byoc" },
	{ "provider", PARAM_STRING, PARAM_OPTIONAL, 1, LIMIT_LABEL_VALUE, NULL, "who runs the machine" },
	{ "availability_zone", PARAM_STRING, PARAM_OPTIONAL, 1, LIMIT_LABEL_VALUE, NULL, "where it is" },
	END
};
#define host_list_params no_params
static const struct param host_get_params[] = { HOST, END };
static const struct param host_delete_params[] = {
	HOST,
	{ "force", PARAM_BOOL, PARAM_OPTIONAL, 0, 0, NULL, "destroy the capsules that run there (default false)" },
	END
};
#define host_delete_preview_params host_get_params
#define host_regenerate_token_params host_get_params
#define host_list_tags_params host_get_params
static const struct param host_add_tag_params[] = { HOST, TAG, END };
#define host_remove_tag_params host_add_tag_params
static const struct param key_create_params[] = {
	{ "name", PARAM_STRING, PARAM_OPTIONAL, 1, LIMIT_LABEL_VALUE, NULL, "your name for it (default: the server's)" },
	END
};
#define key_list_params no_params
static const struct param key_delete_params[] = {
	{ "key", PARAM_IDENT, PARAM_REQUIRED, 0, 0, "key", "its ID, not the secret" },
	END
};
static const struct param api_request_params[] = {
	{ "method", PARAM_ENUM,   PARAM_REQUIRED, 0, 0, "GET|POST|PUT|PATCH|DELETE", "of the request" },
	{ "path",   PARAM_STRING, PARAM_REQUIRED, 1, 2048, NULL, "behind the base URL, from / on" },
	{ "query",  PARAM_MAP,    PARAM_OPTIONAL, 0, 2048, NULL, "of the URL, encoded here" },
	{ "body",   PARAM_OBJECT, PARAM_OPTIONAL, 0, 0, NULL, "sent as JSON" },
	END
};
#define rpc_discover_params no_params
static const struct param call_cancel_params[] = {
	{ "call", PARAM_ID, PARAM_REQUIRED, 1, LIMIT_ID, NULL, "id of the call's request" },
	END
};
#define call_end_params call_cancel_params
/* clang-format on */

static const struct method table[METHOD_COUNT] = {
#define METHOD(sym, name, access, hangup, fds, summary, result)         \
	[METHOD_##sym] = { name, sizeof(name) - 1, access, hangup, fds, \
		summary, result, sym##_params },
#include "proto/methods.def"
#undef METHOD
};

const struct method *
method_by_id(enum method_id id)
{
	return &table[id];
}

enum method_id
method_by_name(const char *name)
{
	size_t n = strlen(name);
	int i;

	for (i = 0; i < METHOD_COUNT; i++)
		if (table[i].name_len == n &&
		    memcmp(table[i].name, name, n) == 0)
			break;
	return (enum method_id)i;
}

const char *
access_name(enum access access)
{
	static const char *const names[] = { "read", "use", "admin" };

	return names[access];
}

const char *
hangup_name(enum hangup hangup)
{
	return hangup == HANGUP_ABORT ? "abort" : "finish";
}

/* Whether word is one of choices, which | separates. */
static bool
is_choice(const char *choices, const char *word)
{
	size_t n = strlen(word), len;

	for (;;) {
		len = strcspn(choices, "|");
		if (len == n && strncmp(choices, word, n) == 0)
			return true;
		if (choices[len] == '\0')
			return false;
		choices += len + 1;
	}
}

static int
check_length(const struct param *p, size_t n, struct rpc_error *ret)
{
	if ((int64_t)n >= p->min && (int64_t)n <= p->max)
		return 0;
	rpc_error_set_param(ret, p->name,
	    "parameter %s must be %jd to %jd bytes long, not %zu", p->name,
	    (intmax_t)p->min, (intmax_t)p->max, n);
	return -EINVAL;
}

/* The form of what may get into a path or a query. */
static int
check_form(const struct param *p, const char *s, struct rpc_error *ret)
{
	if (p->type == PARAM_NAME && !ident_is_name(s))
		rpc_error_set_param(ret, p->name,
		    "parameter %s must be 1 to %d letters, digits, dots, "
		    "dashes and underscores, with a letter or digit first",
		    p->name, LIMIT_NAME);
	else if (p->type == PARAM_IDENT && !ident_is_id(s, p->choices))
		rpc_error_set_param(ret, p->name,
		    "parameter %s must be an ID: %s- and 25 small letters and "
		    "digits",
		    p->name, p->choices);
	else if (p->type == PARAM_DATE && !ident_is_date(s))
		rpc_error_set_param(ret, p->name,
		    "parameter %s must be a day written as YYYY-MM-DD",
		    p->name);
	else if (p->type == PARAM_ENUM && !is_choice(p->choices, s))
		rpc_error_set_param(ret, p->name,
		    "parameter %s must be one of %s", p->name, p->choices);
	else
		return 0;
	return -EINVAL;
}

static int
check_string(
    const struct param *p, struct json_object *v, struct rpc_error *ret)
{
	const char *s;
	size_t n;

	s = jx_text_of(v, &n);
	if (s == NULL) {
		rpc_error_set_param(ret, p->name,
		    "parameter %s must be a string without NUL", p->name);
		return -EINVAL;
	}
	if (p->type == PARAM_STRING || p->type == PARAM_CAPSULE)
		return check_length(p, n, ret);
	return check_form(p, s, ret);
}

static int
check_int(const struct param *p, struct json_object *v, struct rpc_error *ret)
{
	int64_t n;

	switch (jx_int_of(v, p->min, p->max, &n)) {
	case 0:
		return 0;
	case -ERANGE:
		rpc_error_set_param(ret, p->name,
		    "parameter %s must be %jd to %jd", p->name,
		    (intmax_t)p->min, (intmax_t)p->max);
		return -EINVAL;
	default:
		rpc_error_set_param(ret, p->name,
		    "parameter %s must be a whole number", p->name);
		return -EINVAL;
	}
}

static int
check_strings(
    const struct param *p, struct json_object *v, struct rpc_error *ret)
{
	size_t i, n, len;

	if (!json_object_is_type(v, json_type_array)) {
		rpc_error_set_param(ret, p->name,
		    "parameter %s must be an array of strings", p->name);
		return -EINVAL;
	}
	n = json_object_array_length(v);
	if (n > LIMIT_ARGS) {
		rpc_error_set_param(ret, p->name,
		    "parameter %s may hold %d strings, not %zu", p->name,
		    LIMIT_ARGS, n);
		return -EINVAL;
	}
	for (i = 0; i < n; i++) {
		if (jx_text_of(json_object_array_get_idx(v, i), &len) == NULL ||
		    (int64_t)len > p->max) {
			rpc_error_set_param(ret, p->name,
			    "parameter %s: element %zu must be a string of at "
			    "most %jd bytes without NUL",
			    p->name, i, (intmax_t)p->max);
			return -EINVAL;
		}
	}
	return 0;
}

static int
check_map(const struct param *p, struct json_object *v, struct rpc_error *ret)
{
	size_t len;

	if (!json_object_is_type(v, json_type_object)) {
		rpc_error_set_param(ret, p->name,
		    "parameter %s must be an object of strings", p->name);
		return -EINVAL;
	}
	if (json_object_object_length(v) > LIMIT_ENVS) {
		rpc_error_set_param(ret, p->name,
		    "parameter %s may hold %d members", p->name, LIMIT_ENVS);
		return -EINVAL;
	}
	json_object_object_foreach(v, key, value) {
		if (jx_text_of(value, &len) != NULL && (int64_t)len <= p->max)
			continue;
		rpc_error_set_param(ret, p->name,
		    "parameter %s: member \"%.64s\" must be a string of at "
		    "most %jd bytes without NUL",
		    p->name, key, (intmax_t)p->max);
		return -EINVAL;
	}
	return 0;
}

static int
check_type(
    const struct param *p, bool ok, const char *wanted, struct rpc_error *ret)
{
	if (ok)
		return 0;
	rpc_error_set_param(
	    ret, p->name, "parameter %s must be %s", p->name, wanted);
	return -EINVAL;
}

static int
check_param(const struct param *p, struct json_object *v, struct rpc_error *ret)
{
	switch (p->type) {
	case PARAM_STRING:
	case PARAM_CAPSULE:
	case PARAM_NAME:
	case PARAM_IDENT:
	case PARAM_DATE:
	case PARAM_ENUM:
		return check_string(p, v, ret);
	case PARAM_INT:
		return check_int(p, v, ret);
	case PARAM_STRINGS:
		return check_strings(p, v, ret);
	case PARAM_MAP:
		return check_map(p, v, ret);
	case PARAM_BOOL:
		return check_type(p, json_object_is_type(v, json_type_boolean),
		    "true or false", ret);
	case PARAM_OBJECT:
		return check_type(p, json_object_is_type(v, json_type_object),
		    "an object", ret);
	case PARAM_ID:
		return check_type(p,
		    json_object_is_type(v, json_type_string) ||
			json_object_is_type(v, json_type_int) ||
			json_object_is_type(v, json_type_double),
		    "a string or a number", ret);
	}
	return -EINVAL;
}

static const struct param *
param_by_name(const struct method *m, const char *name)
{
	const struct param *p;

	for (p = m->params; p->name != NULL; p++)
		if (strcmp(p->name, name) == 0)
			return p;
	return NULL;
}

int
method_check_params(
    const struct method *m, struct json_object *params, struct rpc_error *ret)
{
	const struct param *p;
	struct json_object *v;

	if (params != NULL && !json_object_is_type(params, json_type_object)) {
		rpc_error_set(ret, RPC_INVALID_PARAMS,
		    "params must be an object: %s takes its parameters by name",
		    m->name);
		return -EINVAL;
	}
	if (params != NULL) {
		json_object_object_foreach(params, key, value) {
			p = param_by_name(m, key);
			if (p == NULL) {
				rpc_error_set_param(ret, key,
				    "%s has no parameter \"%.64s\"", m->name,
				    key);
				return -EINVAL;
			}
			if (check_param(p, value, ret) < 0)
				return -EINVAL;
		}
	}
	for (p = m->params; p->name != NULL; p++) {
		if ((p->flags & PARAM_REQUIRED) &&
		    !jx_get(params, p->name, &v)) {
			rpc_error_set_param(ret, p->name,
			    "%s needs the parameter %s", m->name, p->name);
			return -EINVAL;
		}
	}
	return 0;
}
