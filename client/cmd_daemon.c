#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "client/cmd.h"
#include "client/human.h"
#include "client/identity.h"
#include "client/wrenn_priv.h"
#include "proto/json_check.h"
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
	buf_init(&b, LIMIT_ANSWER_LINE);
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
	if (ctl_call(ctl, "daemon.status", NULL, &result, &err) < 0)
		return ctl_fail(ctl, &err);
	if (ctl->out.json)
		out_json(&ctl->out, result);
	else
		print_status(ctl, result);
	json_object_put(result);
	return EXIT_OK;
}

/* --- whoami */

/* "source environment, fingerprint 1a2b3c", and what else is told. */
static void
print_credential(struct ctl *ctl, const char *label, struct json_object *c)
{
	struct buf b;
	const char *text;

	if (c == NULL) {
		out_pair(&ctl->out, label, "none");
		return;
	}
	buf_init(&b, LIMIT_ANSWER_LINE);
	json_object_object_foreach(c, key, value) {
		if (value == NULL)
			continue;
		buf_addf(&b, "%s%s ", b.len > 0 ? ", " : "", key);
		out_value(&b, value);
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
	if (ctl_call(ctl, "auth.status", NULL, &result, &err) < 0)
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

/* All of standard input, up to the longest request there may be. */
static int
read_stdin(struct buf *b, struct wrenn_error *err)
{
	char *space;
	ssize_t n;

	for (;;) {
		if (buf_reserve(b, 4096, &space) < 0)
			return wrenn_error_set(err, RPC_TOO_LARGE,
			    "the parameters are longer than %d bytes",
			    LIMIT_REQUEST_LINE);
		n = read(STDIN_FILENO, space, 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return wrenn_error_errno(
			    err, errno, "cannot read standard input");
		if (n == 0)
			return 0;
		buf_commit(b, (size_t)n);
	}
}

/* The text as an object of parameters; *ret is NULL for none. */
static int
parse_params(const char *text, size_t len, struct json_object **ret,
    struct wrenn_error *err)
{
	struct json_check_fault fault;
	struct json_object *params = jx_parse(text, len, &fault);

	if (fault.reason != NULL)
		return wrenn_error_set(err, RPC_USAGE,
		    "the parameters are not JSON: %s at byte %zu", fault.reason,
		    fault.offset);
	if (!json_object_is_type(params, json_type_object)) {
		json_object_put(params);
		return wrenn_error_set(
		    err, RPC_USAGE, "the parameters must be a JSON object");
	}
	*ret = params;
	return 0;
}

static int
take_params(const char *word, struct json_object **ret, struct wrenn_error *err)
{
	struct buf b;
	int r;

	if (word == NULL) {
		*ret = NULL;
		return 0;
	}
	if (strcmp(word, "-") != 0)
		return parse_params(word, strlen(word), ret, err);
	buf_init(&b, LIMIT_REQUEST_LINE + 4096);
	r = read_stdin(&b, err);
	if (r == 0)
		r = parse_params(buf_head(&b), b.len, ret, err);
	buf_release(&b); /* wiped: it may hold a key */
	return r;
}

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

	if (take_params(args[1], &params, &err) < 0)
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

/* --- version and help */

/* The daemon's version; NULL where none runs, which is no failure. */
static struct json_object *
daemon_hello(struct ctl *ctl)
{
	struct json_object *result;
	struct wrenn_error err;

	ctl->no_autostart = true;
	if (ctl_call(ctl, "daemon.hello", NULL, &result, &err) == 0)
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
