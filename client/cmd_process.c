#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "client/cmd.h"
#include "client/table.h"
#include "client/wrenn_priv.h"
#include "proto/jx.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

/* --- ps */

struct ps_opts {
	bool quiet;
	bool no_resume;
};

/* clang-format off */
static const struct opt ps_opts[] = {
	{ "quiet", 'q', OPT_FLAG, NULL, "print the PIDs alone", offsetof(struct ps_opts, quiet) },
	{ "no-resume", 0, OPT_FLAG, NULL, "fail when the capsule is paused, instead of resuming it", offsetof(struct ps_opts, no_resume) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};

static const struct column ps_columns[] = {
	{ "PID", true }, { "TAG", false }, { "COMMAND", false },
};
/* clang-format on */

/* 0 for what is no process. */
static int64_t
pid_of(struct json_object *process)
{
	int64_t pid = 0;

	jx_int(process, "pid", 1, INT64_MAX, &pid);
	return pid;
}

static int
by_pid(const void *a, const void *b)
{
	struct json_object *const *x = a, *const *y = b;
	int64_t m = pid_of(*x), n = pid_of(*y);

	return (m > n) - (m < n);
}

/* The command and its arguments, with blanks in between. */
static void
add_command(struct table *t, struct json_object *process)
{
	struct json_object *args = jx_arr(process, "args");
	const char *s = jx_str(process, "cmd");
	struct buf b;
	size_t i;

	buf_init(&b, LIMIT_ANSWER_LINE);
	buf_adds(&b, s ? s : "-");
	for (i = 0; args != NULL && i < json_object_array_length(args); i++) {
		s = jx_text_of(json_object_array_get_idx(args, i), NULL);
		buf_addf(&b, " %s", s ? s : "-");
	}
	s = buf_str(&b);
	table_add(t, s ? s : "-");
	buf_release(&b);
}

static void
print_table(struct ctl *ctl, struct json_object **processes, size_t n)
{
	struct table t;
	const char *tag;
	char pid[24];
	size_t i;

	table_init(&t, ps_columns, sizeof(ps_columns) / sizeof(*ps_columns));
	for (i = 0; i < n; i++) {
		snprintf(
		    pid, sizeof(pid), "%jd", (intmax_t)pid_of(processes[i]));
		table_add(&t, pid);
		tag = jx_str(processes[i], "tag");
		table_add(&t, tag ? tag : "-");
		add_command(&t, processes[i]);
	}
	/* The command is the last column, so that none may be left out. */
	table_print(&t, &ctl->out, 0);
	table_release(&t);
}

/* In the order of their PIDs; upstream's is any. */
static void
print_processes(struct ctl *ctl, struct json_object *array, bool quiet)
{
	size_t i, n = json_object_array_length(array);
	struct json_object **sorted = xcalloc(n + 1, sizeof(*sorted));

	for (i = 0; i < n; i++)
		sorted[i] = json_object_array_get_idx(array, i);
	qsort(sorted, n, sizeof(*sorted), by_pid);
	if (!quiet)
		print_table(ctl, sorted, n);
	for (i = 0; quiet && i < n; i++)
		out_printf(&ctl->out, "%jd\n", (intmax_t)pid_of(sorted[i]));
	free(sorted);
}

static int
ps_run(struct ctl *ctl, const void *opts, char **args)
{
	const struct ps_opts *o = opts;
	struct json_object *params = ctl_capsule(args[0]), *result, *list;
	struct wrenn_error err;

	if (o->no_resume)
		jx_add_bool(params, "auto_resume", false);
	if (ctl_call(ctl, "process.list", params, &result, &err) < 0)
		return ctl_fail(ctl, &err);
	list = jx_arr(result, "processes");
	if (list == NULL) {
		json_object_put(result);
		wrenn_error_set(
		    &err, RPC_PROTOCOL, "wrennd answered no list of processes");
		return ctl_fail(ctl, &err);
	}
	if (ctl->out.json)
		out_json(&ctl->out, result);
	else
		print_processes(ctl, list, o->quiet);
	json_object_put(result);
	return EXIT_OK;
}

/* --- kill */

struct kill_opts {
	const char *signal;
	bool no_resume;
};

/* clang-format off */
static const struct opt kill_opts[] = {
	{ "signal", 's', OPT_TEXT, "SIGNAL", "KILL (default) or TERM; -TERM is the same as -s TERM", offsetof(struct kill_opts, signal) },
	{ "no-resume", 0, OPT_FLAG, NULL, "fail when the capsule is paused, instead of resuming it", offsetof(struct kill_opts, no_resume) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};
/* clang-format on */

/* As the protocol has it; NULL for one that upstream does not know. */
static const char *
signal_name(const char *text)
{
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	if (strcasecmp(text, "KILL") == 0 || strcmp(text, "9") == 0)
		return "SIGKILL";
	if (strcasecmp(text, "TERM") == 0 || strcmp(text, "15") == 0)
		return "SIGTERM";
	return NULL;
}

/* Digits are a PID, anything else is a tag. */
static struct json_object *
kill_params(const char *capsule, const char *process, const char *signal)
{
	struct json_object *params = ctl_capsule(capsule);
	int64_t pid;

	if (opt_count(process, &pid) == 0)
		jx_add_int(params, "pid", pid);
	else
		jx_add_str(params, "tag", process);
	if (signal != NULL)
		jx_add_str(params, "signal", signal);
	return params;
}

static int
kill_one(
    struct ctl *ctl, struct json_object *params, const char *process, bool many)
{
	struct json_object *result;
	struct wrenn_error err;

	if (ctl_call(ctl, "process.kill", params, &result, &err) < 0) {
		if (many && !ctl->out.json)
			ctl_name_in_error(&err, process);
		return ctl_fail(ctl, &err);
	}
	if (ctl->out.json) {
		out_json(&ctl->out, result);
	} else {
		out_text(&ctl->out, process);
		out_bytes(&ctl->out, "\n", 1);
	}
	json_object_put(result);
	return EXIT_OK;
}

static int
kill_run(struct ctl *ctl, const void *opts, char **args)
{
	const struct kill_opts *o = opts;
	const char *signal = NULL;
	struct json_object *params;
	int status = EXIT_OK, r;
	size_t i;

	if (o->signal != NULL && (signal = signal_name(o->signal)) == NULL)
		return ctl_usage(ctl,
		    "the server can send KILL and TERM, not \"%s\"", o->signal);
	for (i = 1; args[i] != NULL; i++) {
		params = kill_params(args[0], args[i], signal);
		if (o->no_resume)
			jx_add_bool(params, "auto_resume", false);
		r = kill_one(ctl, params, args[i], args[2] != NULL);
		if (status == EXIT_OK)
			status = r;
	}
	return status;
}

/* clang-format off */
const struct cmd cmd_process[] = {
	{ "ps", "[OPTION...] CAPSULE", "List the processes that run in a capsule",
	  "Those that were started through the API, such as by `exec -d`; what they have\n"
	  "started in turn is not among them.",
	  ps_opts, sizeof(struct ps_opts),
	  "  wrennctl ps build\n"
	  "  wrennctl kill build $(wrennctl ps -q build)\n",
	  CMD_SERVER, 1, 1, ps_run },
	{ "kill", "[-s SIGNAL | -SIGNAL] CAPSULE PID|TAG...", "End processes in a capsule",
	  "As with `docker kill` the signal is KILL, which no process can ignore. -s TERM\n"
	  "lets it clean up. Prints each PID or TAG that got the signal. After a failure it\n"
	  "goes on with the next; the exit status is that of the first failure.",
	  kill_opts, sizeof(struct kill_opts),
	  "  wrennctl kill build server\n"
	  "  wrennctl kill -TERM build 4711 4712\n",
	  CMD_SERVER | CMD_SIGNAL, 2, -1, kill_run },
	{ NULL, NULL, NULL, NULL, NULL, 0, NULL, 0, 0, 0, NULL }
};
/* clang-format on */
