#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "client/cmd.h"
#include "client/each.h"
#include "client/human.h"
#include "client/spec.h"
#include "client/table.h"
#include "client/wrenn_priv.h"
#include "proto/jx.h"

#include "proto/banned.h"

#define WAIT_DEFAULT_S 60 /* of capsule.wait, when no --timeout is given */

/* A text member of an answer; `absent` when there is none. */
static const char *
member(struct json_object *o, const char *key, const char *absent)
{
	const char *s = jx_str(o, key);

	return s ? s : absent;
}

/* --- create */

struct create_opts {
	struct spec spec;
	struct opt_int timeout;
	const char *lease;
	const char *key;
	bool wait;
	bool no_wait;
};

/* clang-format off */
static const struct opt create_opts[] = {
	SPEC_OPTS(struct create_opts),
	{ "timeout", 0, OPT_DURATION, "TIME", "time without activity until it is paused; 0 = never", offsetof(struct create_opts, timeout) },
	{ "lease", 0, OPT_TEXT, "none", "how long it is wanted; none: until `wrennctl rm` (default)", offsetof(struct create_opts, lease) },
	{ "key", 0, OPT_TEXT, "KEY", "idempotency key: the same create again gives the same capsule", offsetof(struct create_opts, key) },
	{ "wait", 0, OPT_FLAG, NULL, "return when it is running (default)", offsetof(struct create_opts, wait) },
	{ "no-wait", 0, OPT_FLAG, NULL, "return as soon as it is on its way", offsetof(struct create_opts, no_wait) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};
/* clang-format on */

/* The parameters that `create` has and `run` has not. */
static int
add_create_params(struct json_object *params, const struct create_opts *o,
    struct wrenn_error *err)
{
	struct json_object *lease;

	if (o->lease != NULL && strcmp(o->lease, "none") != 0)
		return wrenn_error_set(err, RPC_USAGE,
		    "--lease knows only none, not \"%s\"", o->lease);
	if (o->wait && o->no_wait)
		return wrenn_error_set(
		    err, RPC_USAGE, "--wait and --no-wait exclude each other");
	/* Said in any case: the default for other clients may change. */
	lease = json_object_new_object();
	jx_add_str(lease, "type", "none");
	jx_add(params, "lease", lease);
	if (o->timeout.set)
		jx_add_int(params, "timeout_sec", o->timeout.n);
	if (o->key != NULL)
		jx_add_str(params, "key", o->key);
	if (o->no_wait)
		jx_add_bool(params, "wait", false);
	return 0;
}

static int
create_run(struct ctl *ctl, const void *opts, char **args)
{
	const struct create_opts *o = opts;
	struct json_object *params, *result;
	struct wrenn_error err;
	const char *id;

	(void)args;
	params = spec_params(&o->spec, &err);
	if (params == NULL)
		return ctl_fail(ctl, &err);
	if (add_create_params(params, o, &err) < 0) {
		json_object_put(params);
		return ctl_fail(ctl, &err);
	}
	interrupt_catch();
	if (ctl_call(ctl, "capsule.create", params, &result, &err) < 0) {
		if (interrupt_signal() != 0)
			out_note("the capsule may come up all the same: look "
				 "with `wrennctl ls`");
		return ctl_fail(ctl, &err);
	}
	id = member(result, "id", "-");
	if (ctl->out.json) {
		out_json(&ctl->out, result);
	} else {
		out_text(&ctl->out, id);
		out_bytes(&ctl->out, "\n", 1);
		if (isatty(STDERR_FILENO))
			out_note("kept until `wrennctl rm %s`", id);
	}
	json_object_put(result);
	return EXIT_OK;
}

/* --- ls */

struct ls_opts {
	bool all;
	bool quiet;
	struct opt_list labels;
};

/* clang-format off */
static const struct opt ls_opts[] = {
	{ "all", 'a', OPT_FLAG, NULL, "also capsules that were not created here", offsetof(struct ls_opts, all) },
	{ "label", 0, OPT_LIST, "KEY=VALUE", "only those with this label; may be given several times", offsetof(struct ls_opts, labels) },
	{ "quiet", 'q', OPT_FLAG, NULL, "print the IDs alone", offsetof(struct ls_opts, quiet) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};

static const struct column ls_columns[] = {
	{ "ID", false }, { "NAME", false }, { "STATUS", false },
	{ "TEMPLATE", false }, { "CPUS", true }, { "MEMORY", true },
	{ "IDLE-LIMIT", true }, { "AGE", true }, { "LABELS", false },
};
/* clang-format on */

/* k=v,k=v */
static void
add_labels(struct table *t, struct json_object *labels)
{
	struct buf b;
	const char *s;

	buf_init(&b, (size_t)64 * 1024);
	if (labels != NULL) {
		json_object_object_foreach(labels, key, value) {
			s = jx_text_of(value, NULL);
			buf_addf(&b, "%s%s=%s", b.len > 0 ? "," : "", key,
			    s ? s : "");
		}
	}
	s = buf_str(&b);
	table_add(t, s != NULL && s[0] != '\0' ? s : "-");
	buf_release(&b);
}

/* CPUS, MEMORY, IDLE-LIMIT and AGE. */
static void
add_figures(struct table *t, struct json_object *capsule, time_t now)
{
	const char *created = member(capsule, "created_at", "");
	struct human h = { "-" };
	time_t when;
	int64_t n;

	if (jx_int(capsule, "vcpus", 0, INT64_MAX, &n) == 0)
		snprintf(h.text, sizeof(h.text), "%jd", (intmax_t)n);
	table_add(t, h.text);
	if (jx_int(capsule, "memory_mb", 0, INT64_MAX, &n) < 0)
		table_add(t, "-");
	else
		table_add(t, human_mib(&h, n));
	if (jx_int(capsule, "timeout_sec", 0, INT64_MAX, &n) < 0)
		table_add(t, "-");
	else
		table_add(t, n == 0 ? "never" : human_seconds(&h, n));
	if (human_parse_time(created, &when) < 0)
		table_add(t, "-");
	else
		table_add(t, human_age(&h, now - when));
}

static void
print_list(struct ctl *ctl, struct json_object *capsules)
{
	struct json_object *c;
	struct table t;
	size_t i;

	table_init(&t, ls_columns, sizeof(ls_columns) / sizeof(*ls_columns));
	for (i = 0; i < json_object_array_length(capsules); i++) {
		c = json_object_array_get_idx(capsules, i);
		table_add(&t, member(c, "id", "-"));
		table_add(&t, jx_bool(c, "tracked", true)
				  ? member(c, "name", "-")
				  : "(untracked)");
		table_add(&t, member(c, "status", "-"));
		table_add(&t, member(c, "template", "-"));
		add_figures(&t, c, time(NULL));
		add_labels(&t, jx_obj(c, "labels"));
	}
	table_print(&t, &ctl->out, table_terminal_width());
	table_release(&t);
}

static void
print_ids(struct ctl *ctl, struct json_object *capsules)
{
	size_t i;

	for (i = 0; i < json_object_array_length(capsules); i++) {
		out_text(&ctl->out,
		    member(json_object_array_get_idx(capsules, i), "id", "-"));
		out_bytes(&ctl->out, "\n", 1);
	}
}

static int
ls_run(struct ctl *ctl, const void *opts, char **args)
{
	const struct ls_opts *o = opts;
	struct json_object *params = json_object_new_object(), *result, *list;
	struct wrenn_error err;

	(void)args;
	if (ctl_add_map(params, "labels", &o->labels, false, &err) < 0) {
		json_object_put(params);
		return ctl_fail(ctl, &err);
	}
	if (o->all)
		jx_add_bool(params, "untracked", true);
	if (ctl_call(ctl, "capsule.list", params, &result, &err) < 0)
		return ctl_fail(ctl, &err);
	list = jx_arr(result, "capsules");
	if (list == NULL) {
		json_object_put(result);
		wrenn_error_set(
		    &err, RPC_PROTOCOL, "wrennd answered no list of capsules");
		return ctl_fail(ctl, &err);
	}
	if (ctl->out.json)
		out_json(&ctl->out, result);
	else if (o->quiet)
		print_ids(ctl, list);
	else
		print_list(ctl, list);
	json_object_put(result);
	return EXIT_OK;
}

/* --- get and wait */

static int
get_run(struct ctl *ctl, const void *opts, char **args)
{
	struct json_object *result;
	struct wrenn_error err;

	(void)opts;
	if (ctl_call(ctl, "capsule.get", ctl_capsule(args[0]), &result, &err) <
	    0)
		return ctl_fail(ctl, &err);
	ctl_print_object(ctl, result);
	json_object_put(result);
	return EXIT_OK;
}

struct wait_opts {
	const char *status;
	struct opt_int timeout;
};

/* clang-format off */
static const struct opt wait_opts[] = {
	{ "status", 0, OPT_TEXT, "STATUS", "running (default), paused or stopped", offsetof(struct wait_opts, status) },
	{ "timeout", 0, OPT_DURATION, "TIME", "give up after so long (default 1m)", offsetof(struct wait_opts, timeout) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};
/* clang-format on */

static int
wait_run(struct ctl *ctl, const void *opts, char **args)
{
	const struct wait_opts *o = opts;
	struct json_object *params = ctl_capsule(args[0]), *result;
	int64_t timeout = o->timeout.set ? o->timeout.n : WAIT_DEFAULT_S;
	struct wrenn_error err;

	if (o->status != NULL)
		jx_add_str(params, "status", o->status);
	jx_add_int(params, "timeout_sec", timeout);
	if (ctl_call_within(
		ctl, "capsule.wait", params, timeout, &result, &err) < 0)
		return ctl_fail(ctl, &err);
	if (ctl->out.json) {
		out_json(&ctl->out, result);
	} else {
		out_text(&ctl->out, member(result, "status", "-"));
		out_bytes(&ctl->out, "\n", 1);
	}
	json_object_put(result);
	return EXIT_OK;
}

/* --- rm, pause, resume, ping */

static int
for_each(struct ctl *ctl, const char *method, char **names)
{
	const struct each e = { .method = method, .param = "capsule" };

	return each_call(ctl, &e, names);
}

static int
rm_run(struct ctl *ctl, const void *opts, char **args)
{
	(void)opts;
	return for_each(ctl, "capsule.destroy", args);
}

static int
pause_run(struct ctl *ctl, const void *opts, char **args)
{
	(void)opts;
	return for_each(ctl, "capsule.pause", args);
}

static int
resume_run(struct ctl *ctl, const void *opts, char **args)
{
	(void)opts;
	return for_each(ctl, "capsule.resume", args);
}

static int
ping_run(struct ctl *ctl, const void *opts, char **args)
{
	(void)opts;
	return for_each(ctl, "capsule.ping", args);
}

/* clang-format off */
const struct cmd cmd_capsule[] = {
	{ "create", "[OPTION...]", "Create a capsule and print its ID",
	  "It is kept until `wrennctl rm`. Without activity for the time of --timeout it\n"
	  "is paused, and wakes by itself when it is needed again.",
	  create_opts, sizeof(struct create_opts),
	  "  id=$(wrennctl create --name build -t minimal --memory 2G)\n"
	  "  wrennctl create --timeout 1h --label team=web\n",
	  CMD_SERVER, 0, 0, create_run },
	{ "ls", "[OPTION...]", "List your capsules",
	  "A narrow terminal shows fewer columns; a pipe gets all of them.",
	  ls_opts, sizeof(struct ls_opts),
	  "  wrennctl ls --label team=web\n"
	  "  wrennctl rm $(wrennctl ls -q)\n",
	  CMD_SERVER, 0, 0, ls_run },
	{ "get", "CAPSULE", "Show one capsule", NULL, NULL, 0,
	  "  wrennctl get build\n",
	  CMD_SERVER, 1, 1, get_run },
	{ "rm", "CAPSULE...", "Destroy capsules and all that is in them",
	  "Prints the ID of each that is gone. After a failure it goes on with the next;\n"
	  "the exit status is that of the first failure.",
	  NULL, 0, "  wrennctl rm build cl-7f3k\n",
	  CMD_SERVER, 1, -1, rm_run },
	{ "pause", "CAPSULE...", "Pause capsules until they are resumed by hand",
	  NULL, NULL, 0, "  wrennctl pause build\n",
	  CMD_SERVER, 1, -1, pause_run },
	{ "resume", "CAPSULE...", "Resume paused capsules", NULL, NULL, 0,
	  "  wrennctl resume build\n",
	  CMD_SERVER, 1, -1, resume_run },
	{ "ping", "CAPSULE...", "Start the inactivity time of capsules anew",
	  NULL, NULL, 0, "  wrennctl ping build\n",
	  CMD_SERVER, 1, -1, ping_run },
	{ "wait", "[OPTION...] CAPSULE", "Wait until a capsule has a status",
	  "Prints the status once it is reached.",
	  wait_opts, sizeof(struct wait_opts),
	  "  wrennctl wait build --status paused --timeout 10m\n",
	  CMD_SERVER, 1, 1, wait_run },
	{ NULL, NULL, NULL, NULL, NULL, 0, NULL, 0, 0, 0, NULL }
};
/* clang-format on */
