#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "client/cmd.h"
#include "client/live.h"
#include "client/spec.h"
#include "client/wrenn_priv.h"
#include "proto/base64.h"
#include "proto/jx.h"

#include "proto/banned.h"

#define EXEC_TIMEOUT_S 86400 /* of exec.run: as long as it may be */

/* How long a cancelled command may take to say so. */
#define CANCEL_WAIT_MS 5000

/* What to run and how; `exec` and `run` share it. */
struct command {
	struct opt_list envs;
	const char *cwd;
	struct opt_int timeout;
	bool shell;
	bool binary;
	bool no_resume;
};

/* clang-format off */
#define COMMAND_OPTS(type) \
	{ "env", 'e', OPT_LIST, "NAME[=VALUE]", "set a variable; without a value, pass on one's own", offsetof(type, command.envs) }, \
	{ "workdir", 'w', OPT_TEXT, "DIR", "folder to run in", offsetof(type, command.cwd) }, \
	{ "timeout", 0, OPT_DURATION, "TIME", "end the command after so long, at most 24h (default: never)", offsetof(type, command.timeout) }, \
	{ "binary", 0, OPT_FLAG, NULL, "show the output byte for byte, when the command has ended", offsetof(type, command.binary) }, \
	{ "shell", 0, OPT_FLAG, NULL, "run the one word given as /bin/sh -c WORD", offsetof(type, command.shell) }
/* clang-format on */

/* Adds cmd and args from the words of the command line. */
static int
add_words(struct json_object *params, const struct command *c, char **words,
    struct wrenn_error *err)
{
	struct json_object *args = json_object_new_array();

	jx_add(params, "args", args);
	if (words[0] == NULL)
		return wrenn_error_set(err, RPC_USAGE, "no command was given");
	if (c->shell && words[1] != NULL)
		return wrenn_error_set(err, RPC_USAGE,
		    "--shell takes one word: quote the whole command");
	if (c->shell) {
		jx_add_str(params, "cmd", "/bin/sh");
		json_object_array_add(args, json_object_new_string("-c"));
	} else {
		jx_add_str(params, "cmd", *words++);
	}
	for (; *words != NULL; words++)
		json_object_array_add(args, json_object_new_string(*words));
	return 0;
}

/* What exec.run, exec.stream and process.start take; NULL with a usage error.
 */
static struct json_object *
command_params(const struct command *c, const char *capsule, char **words,
    struct wrenn_error *err)
{
	struct json_object *params = ctl_capsule(capsule);

	if (add_words(params, c, words, err) < 0 ||
	    ctl_add_map(params, "envs", &c->envs, true, err) < 0) {
		json_object_put(params);
		return NULL;
	}
	if (c->cwd != NULL)
		jx_add_str(params, "cwd", c->cwd);
	if (c->no_resume)
		jx_add_bool(params, "auto_resume", false);
	if (c->timeout.set)
		jx_add_int(params, "timeout_sec", c->timeout.n);
	return params;
}

/* The bytes of "stdout" or "stderr"; released by the caller in any case. */
static int
stream_bytes(struct json_object *result, const char *key, struct buf *ret)
{
	const char *encoding = jx_str(result, "encoding"), *s;
	struct json_object *v;
	size_t n;

	buf_init(ret, LIMIT_ANSWER_LINE);
	if (!jx_get(result, key, &v) || (s = jx_bytes_of(v, &n)) == NULL)
		return -1;
	if (encoding != NULL && strcmp(encoding, "base64") == 0)
		return base64_decode(ret, s, n);
	return buf_add(ret, s, n);
}

/* Both streams, byte for byte. */
static int
print_streams(struct ctl *ctl, struct json_object *result)
{
	struct buf out, err;
	int r;

	r = stream_bytes(result, "stdout", &out);
	if (stream_bytes(result, "stderr", &err) < 0)
		r = -1;
	if (r == 0) {
		out_bytes(&ctl->out, buf_head(&out), out.len);
		/* Before stderr, so that a terminal shows them in order. */
		out_flush(&ctl->out);
		if (err.len > 0)
			fwrite(buf_head(&err), 1, err.len, stderr);
	}
	buf_release(&out);
	buf_release(&err);
	return r;
}

/* Our own failures, told apart from the statuses of commands. */
static int
own_failure(struct ctl *ctl, struct wrenn_error *err)
{
	int status = ctl_fail(ctl, err);

	return status == EXIT_CMD_MISSING || status == EXIT_CMD_NOT_EXEC
		   ? status
		   : EXIT_OWN_FAILURE;
}

/* What is to be known of the output and the way it took. */
static void
print_notes(struct json_object *result)
{
	if (jx_bool(result, "resumed", false))
		out_note("the capsule was asleep and has been resumed");
	if (jx_bool(result, "gap", false))
		out_note("the connection to the server dropped, and some of "
			 "the output is lost");
	if (jx_bool(result, "lossy", false))
		out_note(
		    "the output may hold bytes that are not UTF-8, which "
		    "are shown as U+FFFD; --binary shows them as they are");
}

/*
 * Prints what was answered, with the output where it was collected; the
 * command's own status.
 */
static int
report(struct ctl *ctl, struct json_object *result, bool collected)
{
	struct wrenn_error err;
	int64_t code;

	if (jx_int(result, "exit_code", -1, 255, &code) < 0) {
		wrenn_error_set(&err, RPC_PROTOCOL,
		    "wrennd did not say how the command ended");
		return own_failure(ctl, &err);
	}
	if (ctl->out.json) {
		out_json(&ctl->out, result);
	} else if (collected && print_streams(ctl, result) < 0) {
		wrenn_error_set(&err, RPC_PROTOCOL,
		    "the output of the command is not in the encoding that "
		    "wrennd names");
		return own_failure(ctl, &err);
	}
	if (!ctl->out.json)
		print_notes(result);
	if (code >= 0)
		return (int)code;
	if (!ctl->out.json)
		out_note("the command was killed by a signal");
	return EXIT_OWN_FAILURE;
}

/*
 * The command under way was interrupted: tells wrennd, and waits a moment
 * for the word that it was stopped.
 */
static void
stop_command(struct ctl *ctl, int64_t id)
{
	struct json_object *result;
	struct wrenn_error err;

	wrenn_set_interrupt(ctl->w, NULL);
	if (wrenn_cancel(ctl->w, id, &err) < 0 ||
	    wrenn_wait(ctl->w, id, CANCEL_WAIT_MS, &result, &err) < 0)
		wrenn_error_release(&err);
	else
		json_object_put(result);
	wrenn_forget(ctl->w, id);
}

/* Runs the command and prints what came of it, when it has ended. */
static int
run_collected(struct ctl *ctl, struct json_object *params)
{
	int64_t id, timeout = EXEC_TIMEOUT_S;
	struct json_object *result;
	struct wrenn_error err;
	int status;

	if (jx_int(params, "timeout_sec", 0, INT32_MAX, &timeout) < 0)
		jx_add_int(params, "timeout_sec", timeout);
	id = wrenn_send(ctl->w, "exec.run", params, &err);
	if (id < 0)
		return own_failure(ctl, &err);
	if (wrenn_wait(ctl->w, id, timeout * 1000 + CALL_SLACK_MS, &result,
		&err) < 0) {
		if (wrenn_is_pending(ctl->w, id))
			stop_command(ctl, id);
		return own_failure(ctl, &err);
	}
	status = report(ctl, result, true);
	json_object_put(result);
	return status;
}

/* Runs the command and shows its output as it comes. */
static int
run_live(struct ctl *ctl, struct json_object *params)
{
	struct json_object *result;
	struct wrenn_error err;
	struct live live;
	int r, status;

	r = live_start(&live, ctl, params, &err);
	if (r == 0)
		r = live_pump(&live, &err);
	/* An interrupt makes this fail. */
	if (r == 0)
		r = wrenn_wait(ctl->w, live.id, CALL_SLACK_MS, &result, &err);
	if (r < 0 && live.id >= 0 && wrenn_is_pending(ctl->w, live.id))
		stop_command(ctl, live.id);
	live_release(&live);
	if (r < 0)
		return own_failure(ctl, &err);
	status = report(ctl, result, false);
	json_object_put(result);
	return status;
}

/*
 * Takes params over. One JSON document is no stream, and upstream's streams
 * are text: those two are collected.
 */
static int
run_command(
    struct ctl *ctl, const struct command *c, struct json_object *params)
{
	int status = c->binary || ctl->out.json ? run_collected(ctl, params)
						: run_live(ctl, params);

	json_object_put(params);
	return status;
}

/* --- exec */

struct exec_opts {
	struct command command;
	bool detach;
	const char *tag;
};

/* clang-format off */
static const struct opt exec_opts[] = {
	COMMAND_OPTS(struct exec_opts),
	{ "no-resume", 0, OPT_FLAG, NULL, "fail when the capsule is paused, instead of resuming it", offsetof(struct exec_opts, command.no_resume) },
	{ "detach", 'd', OPT_FLAG, NULL, "start it in the background and print its tag", offsetof(struct exec_opts, detach) },
	{ "tag", 0, OPT_TEXT, "TAG", "with -d: your name for the process (default: one is made up)", offsetof(struct exec_opts, tag) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};
/* clang-format on */

/* Prints the tag by which the process is known, as docker does the ID. */
static void
report_start(struct ctl *ctl, struct json_object *result, const char *capsule)
{
	const char *tag = jx_str(result, "tag");

	if (ctl->out.json) {
		out_json(&ctl->out, result);
		return;
	}
	if (tag == NULL)
		tag = "-";
	out_text(&ctl->out, tag);
	out_bytes(&ctl->out, "\n", 1);
	if (jx_bool(result, "resumed", false))
		out_note("the capsule was asleep and has been resumed");
	if (isatty(STDERR_FILENO))
		out_note("`wrennctl ps %s` shows whether it runs, `wrennctl "
			 "kill %s %s` ends it",
		    capsule, capsule, tag);
}

/* Starts the command in the background; takes params over. */
static int
start_command(struct ctl *ctl, struct json_object *params, const char *capsule)
{
	struct json_object *result;
	struct wrenn_error err;

	ctl->out.look = "ps";
	if (ctl_call(ctl, "process.start", params, &result, &err) < 0) {
		if (interrupt_signal() != 0)
			out_note("the process may run all the same: look with "
				 "`wrennctl ps %s`",
			    capsule);
		return own_failure(ctl, &err);
	}
	report_start(ctl, result, capsule);
	json_object_put(result);
	return EXIT_OK;
}

static int
check_detach(const struct exec_opts *o, struct wrenn_error *err)
{
	if (o->detach && o->command.timeout.set)
		return wrenn_error_set(err, RPC_USAGE,
		    "--timeout does not go with -d: the server stops nothing "
		    "in the background; put `timeout 5m` before the command");
	if (!o->detach && o->tag != NULL)
		return wrenn_error_set(err, RPC_USAGE,
		    "--tag goes with -d: only what runs in the background has "
		    "a tag");
	return 0;
}

static int
exec_run(struct ctl *ctl, const void *opts, char **args)
{
	const struct exec_opts *o = opts;
	struct json_object *params;
	struct wrenn_error err;
	char **words = args + 1;

	if (words[0] != NULL && strcmp(words[0], "--") == 0)
		words++;
	if (check_detach(o, &err) < 0)
		return own_failure(ctl, &err);
	params = command_params(&o->command, args[0], words, &err);
	if (params == NULL)
		return own_failure(ctl, &err);
	if (o->tag != NULL)
		jx_add_str(params, "tag", o->tag);
	if (ctl_open(ctl, &err) < 0) {
		json_object_put(params);
		return own_failure(ctl, &err);
	}
	interrupt_catch();
	if (o->detach)
		return start_command(ctl, params, args[0]);
	return run_command(ctl, &o->command, params);
}

/* --- run */

struct run_opts {
	struct spec spec;
	struct command command;
	bool keep;
	bool rm;
};

/* clang-format off */
static const struct opt run_opts[] = {
	SPEC_OPTS(struct run_opts),
	COMMAND_OPTS(struct run_opts),
	{ "keep", 0, OPT_FLAG, NULL, "keep the capsule afterwards", offsetof(struct run_opts, keep) },
	{ "rm", 0, OPT_FLAG, NULL, "destroy it afterwards (default)", offsetof(struct run_opts, rm) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};
/* clang-format on */

/*
 * Creates the capsule. An interrupt does not end this: a create under way
 * cannot be taken back, and only its answer names what must be destroyed.
 */
static int
create_for_run(struct ctl *ctl, const struct run_opts *o,
    struct json_object **ret_capsule, struct wrenn_error *err)
{
	struct json_object *params = spec_params(&o->spec, err);
	int64_t id;
	int r;

	if (params == NULL)
		return -1;
	id = wrenn_send(ctl->w, "capsule.create", params, err);
	json_object_put(params);
	if (id < 0)
		return -1;
	r = wrenn_wait(ctl->w, id, CALL_TIMEOUT_MS, ret_capsule, err);
	if (r == 0 || interrupt_signal() == 0 || !wrenn_is_pending(ctl->w, id))
		return r;
	wrenn_error_release(err);
	out_note("waiting for the capsule, so that it can be destroyed; "
		 "interrupt again to leave it (see `wrennctl ls`)");
	wrenn_set_interrupt(ctl->w, NULL);
	return wrenn_wait(ctl->w, id, CALL_TIMEOUT_MS, ret_capsule, err);
}

/* Destroys the capsule; `status`, or 125 in place of 0 when that failed. */
static int
destroy_after_run(struct ctl *ctl, const char *id, int status)
{
	struct json_object *result;
	struct wrenn_error err;

	wrenn_set_interrupt(ctl->w, NULL);
	if (ctl_call(ctl, "capsule.destroy", ctl_capsule(id), &result, &err) ==
	    0) {
		json_object_put(result);
		return status;
	}
	ctl_fail(ctl, &err);
	out_note("capsule %s could not be destroyed and still exists", id);
	return status == EXIT_OK ? EXIT_OWN_FAILURE : status;
}

/* Runs the command in a capsule that exists, and ends with it. */
static int
run_in(struct ctl *ctl, const struct run_opts *o, const char *id, char **words)
{
	struct json_object *params;
	struct wrenn_error err;
	int status = EXIT_OWN_FAILURE;

	if (interrupt_signal() == 0) {
		params = command_params(&o->command, id, words, &err);
		status = params ? run_command(ctl, &o->command, params)
				: own_failure(ctl, &err);
	}
	if (!o->keep)
		return destroy_after_run(ctl, id, status);
	out_note("capsule %s is kept until `wrennctl rm %s`", id, id);
	return status;
}

/* Finds what is wrong with the command line before anything is created. */
static int
check_command(const struct run_opts *o, char **words, struct wrenn_error *err)
{
	struct json_object *params;

	if (o->keep && o->rm)
		return wrenn_error_set(
		    err, RPC_USAGE, "--keep and --rm exclude each other");
	params = command_params(&o->command, "-", words, err);
	json_object_put(params);
	return params ? 0 : -1;
}

static int
run_run(struct ctl *ctl, const void *opts, char **args)
{
	const struct run_opts *o = opts;
	struct json_object *capsule;
	struct wrenn_error err;
	const char *id;
	int status;

	if (check_command(o, args, &err) < 0 || ctl_open(ctl, &err) < 0)
		return own_failure(ctl, &err);
	interrupt_catch();
	if (create_for_run(ctl, o, &capsule, &err) < 0)
		return own_failure(ctl, &err);
	id = jx_str(capsule, "id");
	if (id != NULL) {
		status = run_in(ctl, o, id, args);
	} else {
		wrenn_error_set(&err, RPC_PROTOCOL,
		    "wrennd did not name the capsule it created");
		status = own_failure(ctl, &err);
	}
	json_object_put(capsule);
	return status;
}

/* clang-format off */
const struct cmd cmd_exec[] = {
	{ "run", "[OPTION...] [--] COMMAND [ARGUMENT...]", "Run a command in a capsule of its own",
	  "The capsule is created, and destroyed when the command has ended. The exit\n"
	  "status is the command's; 125: wrennctl, wrennd or the server failed, 126: the\n"
	  "command cannot be executed, 127: there is no such command.",
	  run_opts, sizeof(struct run_opts),
	  "  wrennctl run -- uname -a\n"
	  "  wrennctl run -t python --memory 2G --shell 'pip list | wc -l'\n",
	  CMD_STRICT | CMD_STATUS | CMD_SERVER, 0, -1, run_run },
	{ "exec", "[OPTION...] CAPSULE [--] COMMAND [ARGUMENT...]", "Run a command in a capsule",
	  "Options stand before CAPSULE; what follows it is passed as it is, to no shell.\n"
	  "The output is shown as it comes, and with --binary or -o json when the command\n"
	  "has ended. An interrupt ends the command. The exit status is the command's;\n"
	  "125: wrennctl, wrennd or the server failed, 126: the command cannot be\n"
	  "executed, 127: there is no such command.\n\n"
	  "With -d it goes on in the background, and the status is 0 once it is started.\n"
	  "Its output goes nowhere: redirect it to a file. It stands still while the\n"
	  "capsule is paused, and does not keep it from being paused for inactivity.",
	  exec_opts, sizeof(struct exec_opts),
	  "  wrennctl exec build -- ls -l /\n"
	  "  wrennctl exec -e TOKEN -w /src build make test\n"
	  "  wrennctl exec --shell build 'ps aux | grep sshd'\n"
	  "  wrennctl exec -d --tag server --shell build 'exec make run >/tmp/log 2>&1'\n",
	  CMD_STRICT | CMD_STATUS | CMD_SERVER, 1, -1, exec_run },
	{ NULL, NULL, NULL, NULL, NULL, 0, NULL, 0, 0, 0, NULL }
};
/* clang-format on */
