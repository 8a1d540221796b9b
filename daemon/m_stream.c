#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "daemon/api.h"
#include "daemon/command.h"
#include "daemon/dispatch.h"
#include "daemon/follow.h"
#include "daemon/loop.h"
#include "daemon/outlet.h"
#include "daemon/use.h"
#include "proto/jx.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/*
 * A command whose output goes to the client as it comes. Freed with the answer
 * or the cancel; after the command's end it lives on until its reader has all.
 */
struct stream {
	struct call *call;
	struct use *use;       /* keeps the capsule awake */
	struct follow *follow; /* NULL before the capsule runs */
	struct outlet *out;
	struct timer *deadline; /* NULL without one */
	bool resumed, gap, lossy, ended;
	int64_t pid, exit_code;
	struct rpc_error error; /* of the end; kind RPC_OK for none */
};

static void
stream_free(struct stream *s)
{
	if (s->follow != NULL)
		follow_stop(s->follow);
	if (s->use != NULL)
		use_cancel(s->use);
	outlet_free(s->out);
	timer_free(s->deadline);
	rpc_error_release(&s->error);
	free(s);
}

static void
cancel(void *arg)
{
	stream_free(arg);
}

static void
fail(struct stream *s, enum rpc_errno kind, const char *text)
{
	struct call *c = s->call;

	stream_free(s);
	call_failf(c, kind, "%s", text);
}

/* The command has ended, and its reader has all of its output. */
static void
finish(struct stream *s)
{
	struct json_object *o = json_object_new_object();
	struct call *c = s->call;
	struct rpc_error e = s->error;

	s->error.extra = NULL;
	jx_add_int(o, "exit_code", s->exit_code);
	jx_add_int(o, "pid", s->pid);
	jx_add_bool(o, "lossy", s->lossy);
	jx_add_bool(o, "gap", s->gap);
	if (s->resumed)
		jx_add_bool(o, "resumed", true);
	stream_free(s);
	if (e.kind == RPC_OK) {
		call_reply(c, o);
		return;
	}
	json_object_put(o);
	call_fail(c, &e);
	rpc_error_release(&e);
}

static void
room(void *arg)
{
	struct stream *s = arg;

	if (s->ended)
		finish(s);
	else
		follow_pause(s->follow, false);
}

/* ---- what the command does ---- */

/* Behind the output before it. */
static void
tell(struct stream *s, const char *type, struct json_object *fields)
{
	if (!outlet_event(s->out, type, fields))
		follow_pause(s->follow, true);
}

static void
running(void *arg, int64_t pid, bool gap)
{
	struct stream *s = arg;
	struct json_object *o = json_object_new_object();

	s->pid = pid;
	s->gap |= gap;
	jx_add_int(o, "pid", pid);
	tell(s, gap ? "gap" : "start", o);
}

static void
output(void *arg, bool is_stderr, const char *text, size_t n)
{
	struct stream *s = arg;

	if (!s->lossy)
		s->lossy = memmem(text, n, replacement,
			       sizeof(replacement) - 1) != NULL;
	if (!outlet_put(s->out, is_stderr, text, n))
		follow_pause(s->follow, true);
}

static void
dropped(void *arg, const char *why)
{
	struct stream *s = arg;
	struct json_object *o = json_object_new_object();

	jx_add_str(o, "why", why);
	tell(s, "reconnecting", o);
}

static void
ended(void *arg, int64_t exit_code, struct rpc_error *e)
{
	struct stream *s = arg;

	s->ended = true;
	use_cancel(s->use); /* the capsule may sleep while the reader does */
	s->use = NULL;
	s->exit_code = exit_code;
	if (e != NULL) {
		command_explain(e);
		s->error = *e;
		e->extra = NULL;
	}
	if (s->deadline != NULL)
		timer_set(s->deadline, -1);
	if (outlet_is_empty(s->out))
		finish(s);
}

static const struct follow_ops follow_ops = {
	.running = running,
	.output = output,
	.dropped = dropped,
	.ended = ended,
};

/* ---- the call ---- */

static void
deadline_due(void *arg)
{
	struct stream *s = arg;

	fail(s, RPC_TIMEOUT,
	    "timeout_sec is over: the command was ended, or not begun");
}

static void
set_deadline(struct stream *s)
{
	int64_t seconds;

	if (jx_int(s->call->params, "timeout_sec", 1, INT32_MAX, &seconds) < 0)
		return;
	s->deadline = timer_new(s->call->svc->loop, deadline_due, s);
	timer_set(s->deadline, seconds * 1000);
}

static void
ready(void *arg, const char *id, bool resumed)
{
	struct stream *s = arg;
	struct api_command c = command_of(s->call->params);
	char *start = api_start_message(&c);
	struct follow_spec spec = { .capsule = id, .start = start };
	struct rpc_error why;

	s->resumed = resumed;
	s->follow =
	    follow_start(s->call->svc->follows, &spec, &follow_ops, s, &why);
	free(start);
	if (s->follow == NULL)
		fail(s, why.kind, why.message);
}

static void
not_ready(void *arg, const struct upstream_answer *a, bool resumed,
    struct rpc_error *e)
{
	struct stream *s = arg;
	struct call *c = s->call;

	(void)a;
	(void)resumed;
	s->use = NULL; /* it has ended */
	stream_free(s);
	call_fail(c, e);
}

void
m_exec_stream(struct call *c)
{
	struct stream *s;
	struct rpc_error why;
	struct use_spec spec = {
		.uid = c->uid,
		.ref = jx_str(c->params, "capsule"),
		.auto_resume = use_auto_resume(c->params),
		.look_first = true,
		.ready = ready,
		.done = not_ready,
	};

	if (c->id[0] == '\0' || c->batch != NULL) {
		call_failf(c, RPC_INVALID_REQUEST,
		    "exec.stream streams: it needs an id, and no batch");
		return;
	}
	if (command_check(c->params, &why) < 0) {
		call_fail(c, &why);
		return;
	}
	s = xcalloc(1, sizeof(*s));
	s->call = c;
	spec.arg = s;
	s->use = use_start(c->svc->uses, &spec, &why);
	if (s->use == NULL) {
		free(s);
		call_fail(c, &why);
		return;
	}
	s->out = outlet_new(c, room, s);
	set_deadline(s);
	call_on_cancel(c, cancel, s);
}
