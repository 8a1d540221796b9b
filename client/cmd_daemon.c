#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <json-c/json.h>

#include "client/cmd.h"
#include "client/human.h"
#include "client/identity.h"
#include "client/input.h"
#include "client/wrenn_priv.h"
#include "proto/base64.h"
#include "proto/jx.h"

#include "proto/banned.h"

/* --- status */

/* A text or number of `o` as a pair; nothing where it is absent or empty. */
static void
pair_of(
    struct ctl *ctl, const char *label, struct json_object *o, const char *key)
{
	struct json_object *v;
	struct buf b;
	const char *text;

	if (!jx_get(o, key, &v) || v == NULL)
		return;
	buf_init(&b, OUT_TEXT_MAX);
	out_value(&b, v);
	text = buf_str(&b);
	if (text != NULL && text[0] != '\0')
		out_pair(&ctl->out, label, text);
	buf_release(&b);
}

/* Several figures in one line: "live 3, ending 1". */
static void
pair_of_counts(struct ctl *ctl, const char *label, struct json_object *counts)
{
	struct buf b;
	const char *text;
	int64_t n;

	if (counts == NULL)
		return;
	buf_init(&b, LIMIT_ANSWER_LINE);
	json_object_object_foreach(counts, key, value) {
		if (jx_int_of(value, 0, INT64_MAX, &n) == 0)
			buf_addf(&b, "%s%s %jd", b.len > 0 ? ", " : "", key,
			    (intmax_t)n);
	}
	text = buf_str(&b);
	out_pair(&ctl->out, label, text && text[0] != '\0' ? text : "none");
	buf_release(&b);
}

static void
print_upstream(struct ctl *ctl, struct json_object *up)
{
	pair_of(ctl, "server", up, "base_url");
	pair_of(ctl, "reachable", up, "state");
	pair_of(ctl, "http", up, "http_version");
	pair_of(ctl, "connections", up, "connections");
	pair_of(ctl, "requests", up, "requests");
	pair_of(ctl, "retries", up, "retries");
	pair_of(ctl, "errors", up, "errors");
	pair_of(ctl, "last error", up, "last_error");
}

static void
print_status(struct ctl *ctl, struct json_object *s)
{
	struct human h;
	int64_t ms;

	pair_of(ctl, "wrennd", s, "version");
	pair_of(ctl, "state", s, "state");
	pair_of(ctl, "pid", s, "pid");
	if (jx_int(s, "uptime_ms", 0, INT64_MAX, &ms) == 0)
		out_pair(&ctl->out, "up", human_seconds(&h, ms / 1000));
	out_pair(&ctl->out, "socket", wrenn_socket(ctl->w));
	pair_of(ctl, "config", s, "config");
	pair_of(ctl, "clients", s, "clients");
	pair_of_counts(ctl, "calls", jx_obj(s, "calls"));
	pair_of_counts(ctl, "capsules", jx_obj(s, "capsules"));
	pair_of(ctl, "store", jx_obj(s, "store"), "path");
	pair_of(ctl, "store state", jx_obj(s, "store"), "state");
	print_upstream(ctl, jx_obj(s, "upstream"));
}

static int
status_run(struct ctl *ctl, const void *opts, char **args)
{
	struct json_object *result;
	struct wrenn_error err;

	(void)opts;
	(void)args;
	if (ctl_ask(ctl, "daemon.status", &result, &err) < 0)
		return ctl_fail(ctl, &err);
	if (ctl->out.json)
		out_json(&ctl->out, result);
	else
		print_status(ctl, result);
	json_object_put(result);
	return EXIT_OK;
}

/* --- whoami */

/* "2026-11-23 18:00 (in 5h)", or that it is over. */
static void
add_expiry(struct buf *b, int64_t at)
{
	struct human when, left;
	int64_t s = at - (int64_t)time(NULL);

	buf_addf(b, "%s", human_time(&when, (time_t)at));
	if (s > 0)
		buf_addf(b, " (in %s)", human_age(&left, s));
	else
		buf_addf(b, " (over: wrennctl login)");
}

/* "source environment, fingerprint 1a2b3c", and what else is told. */
static void
print_credential(struct ctl *ctl, const char *label, struct json_object *c)
{
	struct buf b;
	const char *text;
	int64_t at;

	if (c == NULL) {
		out_pair(&ctl->out, label, "none");
		return;
	}
	buf_init(&b, OUT_TEXT_MAX);
	json_object_object_foreach(c, key, value) {
		if (value == NULL || strcmp(key, "expires_at") == 0)
			continue;
		buf_addf(&b, "%s%s ", b.len > 0 ? ", " : "", key);
		out_value(&b, value);
	}
	if (jx_int(c, "expires_at", 0, INT64_MAX, &at) == 0) {
		buf_addf(&b, ", expires ");
		add_expiry(&b, at);
	}
	text = buf_str(&b);
	out_pair(&ctl->out, label, text ? text : "-");
	buf_release(&b);
}

static int
whoami_run(struct ctl *ctl, const void *opts, char **args)
{
	struct json_object *result;
	struct wrenn_error err;
	int r;

	(void)opts;
	(void)args;
	if (ctl_ask(ctl, "auth.status", &result, &err) < 0)
		return ctl_fail(ctl, &err);
	if (ctl->out.json) {
		out_json(&ctl->out, result);
	} else {
		pair_of(ctl, "server", result, "base_url");
		print_credential(ctl, "API key", jx_obj(result, "api_key"));
		print_credential(ctl, "token", jx_obj(result, "token"));
	}
	r = identity_compare(result, &err);
	json_object_put(result);
	return r < 0 ? ctl_fail(ctl, &err) : EXIT_OK;
}

/* --- rpc */

struct rpc_opts {
	struct opt_int timeout;
};

/* clang-format off */
static const struct opt rpc_opts[] = {
	{ "timeout", 0, OPT_DURATION, "TIME", "give up after so long (default: never)", offsetof(struct rpc_opts, timeout) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};
/* clang-format on */

static int
rpc_run(struct ctl *ctl, const void *opts, char **args)
{
	const struct rpc_opts *o = opts;
	struct json_object *params, *result;
	struct wrenn_error err;
	int r;

	if (input_params(args[1], &params, &err) < 0)
		return ctl_fail(ctl, &err);
	r = ctl_open(ctl, &err);
	if (r == 0)
		r = wrenn_call(ctl->w, args[0], params,
		    o->timeout.set ? o->timeout.n * 1000 : WRENN_FOREVER,
		    &result, &err);
	json_object_put(params);
	if (r < 0)
		return ctl_fail(ctl, &err);
	out_json(&ctl->out, result);
	json_object_put(result);
	return EXIT_OK;
}

/* --- api */

struct api_opts {
	struct opt_list query;
	const char *data;
};

/* clang-format off */
static const struct opt api_opts[] = {
	{ "query", 'q', OPT_LIST, "KEY=VALUE", "a part of the URL's query; may be given several times", offsetof(struct api_opts, query) },
	{ "data", 'd', OPT_TEXT, "JSON|-", "the body, or - to read it from standard input", offsetof(struct api_opts, data) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};
/* clang-format on */

/* The body as it came: as JSON, or as the text or bytes that it is. */
static void
print_api(struct ctl *ctl, struct json_object *result)
{
	struct json_object *v;
	const char *text;
	struct buf b;
	size_t n;

	if (jx_get(result, "body", &v)) {
		out_json(&ctl->out, v);
	} else if (jx_get(result, "text", &v)) {
		text = jx_bytes_of(v, &n);
		out_bytes(&ctl->out, text, text ? n : 0);
	} else if (jx_get(result, "data", &v)) {
		buf_init(&b, LIMIT_ANSWER_LINE);
		text = jx_text_of(v, &n);
		if (text != NULL && base64_decode(&b, text, n) == 0)
			out_bytes(&ctl->out, buf_head(&b), b.len);
		buf_release(&b);
	}
}

static int
api_run(struct ctl *ctl, const void *opts, char **args)
{
	const struct api_opts *o = opts;
	struct json_object *params, *body, *result;
	struct wrenn_error err;

	if (input_params(o->data, &body, &err) < 0)
		return ctl_fail(ctl, &err);
	params = json_object_new_object();
	jx_add_str(params, "method", args[0]);
	jx_add_str(params, "path", args[1]);
	if (body != NULL)
		jx_add(params, "body", body);
	if (ctl_add_map(params, "query", &o->query, false, &err) < 0) {
		json_object_put(params);
		return ctl_fail(ctl, &err);
	}
	if (ctl_call(ctl, "api.request", params, &result, &err) < 0)
		return ctl_fail(ctl, &err);
	if (ctl->out.json)
		out_json(&ctl->out, result);
	else
		print_api(ctl, result);
	json_object_put(result);
	return EXIT_OK;
}

/* --- version and help */

/* The daemon's version; NULL where none runs, which is no failure. */
static struct json_object *
daemon_hello(struct ctl *ctl)
{
	struct json_object *result;
	struct wrenn_error err;

	ctl->no_autostart = true;
	if (ctl_ask(ctl, "daemon.hello", &result, &err) == 0)
		return result;
	wrenn_error_release(&err);
	return NULL;
}

static int
version_run(struct ctl *ctl, const void *opts, char **args)
{
	struct json_object *hello = daemon_hello(ctl), *both;
	const char *theirs = jx_str(hello, "version");

	(void)opts;
	(void)args;
	if (ctl->out.json) {
		both = json_object_new_object();
		jx_add_str(both, "wrennctl", PACKAGE_VERSION);
		jx_add(both, "wrennd",
		    theirs ? json_object_new_string(theirs) : NULL);
		out_json(&ctl->out, both);
		json_object_put(both);
	} else {
		out_pair(&ctl->out, "wrennctl", PACKAGE_VERSION);
		out_pair(&ctl->out, "wrennd", theirs ? theirs : "none answers");
	}
	json_object_put(hello);
	return EXIT_OK;
}

static int
help_run(struct ctl *ctl, const void *opts, char **args)
{
	(void)opts;
	return help_topic(ctl, args);
}

/* clang-format off */
const struct cmd cmd_daemon[] = {
	{ "status", "", "Show how wrennd and its connection to the server are", NULL, NULL, 0,
	  "  wrennctl status\n",
	  0, 0, 0, status_run },
	{ "whoami", "", "Show which credentials wrennd uses, never the secrets", NULL, NULL, 0,
	  "  wrennctl whoami\n",
	  0, 0, 0, whoami_run },
	{ "rpc", "[OPTION...] METHOD [JSON|-]", "Call a method of the protocol and print its result",
	  "The parameters are a JSON object; - reads it from standard input, so that no\n"
	  "secret stands on the command line. `wrennctl help METHOD` describes a method.",
	  rpc_opts, sizeof(struct rpc_opts),
	  "  wrennctl rpc capsule.get '{\"capsule\":\"build\"}'\n"
	  "  wrennctl rpc auth.set - < key.json\n",
	  0, 1, 2, rpc_run },
	{ "api", "[OPTION...] METHOD PATH", "Call an endpoint of the server that has no verb of its own",
	  "METHOD is GET, POST, PUT, PATCH or DELETE, and PATH is what follows the base URL.\n"
	  "wrennd adds the credential. Endpoints that have verbs of their own are refused.",
	  api_opts, sizeof(struct api_opts),
	  "  wrennctl api GET /v1/me\n"
	  "  wrennctl api GET /v1/users/search -q email=a@example.com\n",
	  CMD_SERVER, 2, 2, api_run },
	{ "version", "", "Print the versions of wrennctl and wrennd", NULL, NULL, 0,
	  "  wrennctl version -o json\n",
	  0, 0, 0, version_run },
	{ "help", "[VERB|METHOD]", "Show help for a verb or a method", NULL, NULL, 0,
	  "  wrennctl help exec\n"
	  "  wrennctl help exec.run\n",
	  0, 0, 2, help_run },
	{ NULL, NULL, NULL, NULL, NULL, 0, NULL, 0, 0, 0, NULL }
};
/* clang-format on */
