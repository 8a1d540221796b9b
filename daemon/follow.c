#include "daemon/follow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "daemon/api.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/upstream.h"
#include "daemon/ws.h"
#include "proto/json_check.h"
#include "proto/jx.h"
#include "proto/queue.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define TRIES        4   /* to open the first stream */
#define AGAIN_MS     200 /* doubled with each try */
#define AGAIN_MAX_MS 5000
#define AWAY_MS      60000 /* a stream is picked up so long */
#define ORPHAN_MS    30000 /* a start is waited for, to be ended */
#define STEADY_MS    10000 /* a stream that lasts so long is a good one */
/*
 * A process that is not there any more is told by a stream that is opened and
 * ends without a word, as one that broke: so many in a row are taken for it.
 */
#define SILENT_MAX 3

/* Lives from follow_start() to follow_stop(), or longer: see follow_stop(). */
struct follow {
	struct follows *all;
	char *capsule;
	char *start;   /* until it was sent */
	char *process; /* to be picked up; NULL before it is known */
	struct ws *ws; /* NULL while none is open, or being opened */
	struct timer *timer;
	int tries, silent;
	uint64_t away_ms;   /* since when; 0: it is not */
	uint64_t steady_ms; /* since when the stream brings events */
	int64_t pid;
	bool ours;  /* started here, so that it ends with us */
	bool asked; /* the start was sent */
	bool runs;  /* it has begun, */
	bool alive; /* and nothing has said that it is over */
	bool ended, orphan, paused;
	const struct follow_ops *ops;
	void *arg;
	LIST_ENTRY(follow) entry;
};

/* A process that is being killed: nobody waits for that. */
struct killing {
	struct follows *all;
	struct upstream_request *request;
	struct upstream_call *call;
	LIST_ENTRY(killing) entry;
};

struct follows {
	struct loop *loop;
	struct upstream *upstream;
	bool killing; /* also what begins from now on */
	LIST_HEAD(, follow) follows;
	LIST_HEAD(, killing) killings;
};

/* ---- killing ---- */

static void
killing_free(struct killing *k)
{
	LIST_REMOVE(k, entry);
	upstream_request_free(k->request);
	free(k);
}

static void
killed(void *arg, const struct upstream_answer *a)
{
	struct killing *k = arg;

	/* 404: it has ended by itself. */
	if (a->outcome != HTTP_ANSWERED ||
	    (a->status >= 300 && a->status != 404))
		log_warn("a process may go on: %s could not be ended",
		    k->request->path);
	killing_free(k);
}

static void
kill_process(struct follow *f)
{
	struct killing *k = xcalloc(1, sizeof(*k));

	k->all = f->all;
	k->request = upstream_request_new(
	    "DELETE", xasprintf("/v1/capsules/%s/processes/%s?signal=SIGKILL",
			  f->capsule, f->process));
	LIST_INSERT_HEAD(&f->all->killings, k, entry);
	k->call = upstream_send(f->all->upstream, k->request, killed, k);
}

/* If it was started here, and has not told its end. */
static void
kill_once(struct follow *f)
{
	if (f->ours && f->alive)
		kill_process(f);
	f->alive = false;
}

/* ---- the end ---- */

static void
follow_free(struct follow *f)
{
	LIST_REMOVE(f, entry);
	ws_free(f->ws);
	timer_free(f->timer);
	free(f->capsule);
	free(f->start);
	free(f->process);
	free(f);
}

/* f may be gone after it. */
static void
end(struct follow *f, int64_t code, struct rpc_error *e)
{
	f->ended = true;
	timer_set(f->timer, -1);
	ws_free(f->ws);
	f->ws = NULL;
	if (f->orphan && e != NULL && e->kind == RPC_OUTCOME_UNKNOWN)
		log_warn("a command may run in %s for nobody: %s", f->capsule,
		    e->message);
	if (f->orphan)
		follow_free(f);
	else
		f->ops->ended(f->arg, code, e);
}

static void
end_with(struct follow *f, enum rpc_errno kind, const char *text)
{
	struct rpc_error e;

	rpc_error_set(&e, kind, "%s", text);
	end(f, -1, &e);
}

/* ---- streams ---- */

static void open_stream(struct follow *f);

/* The first time at once: what is written meanwhile is lost. */
static void
again(struct follow *f)
{
	int64_t ms =
	    f->tries > 0 ? AGAIN_MS << (f->tries < 6 ? f->tries : 6) : 0;

	f->tries++;
	timer_set(f->timer, ms < AGAIN_MAX_MS ? ms : AGAIN_MAX_MS);
}

static void
timer_due(void *arg)
{
	struct follow *f = arg;

	if (f->orphan)
		end_with(f, RPC_OUTCOME_UNKNOWN,
		    "the server has not said that it started, nor that it "
		    "did not");
	else
		open_stream(f);
}

static void
ws_opened(void *arg)
{
	struct follow *f = arg;

	if (f->start == NULL)
		return;
	f->asked = true;
	ws_send(f->ws, f->start, strlen(f->start));
	free(f->start);
	f->start = NULL;
}

/* The stream of one that runs: it is picked up, unless that is hopeless. */
static void
lost(struct follow *f, const char *why, bool passing)
{
	uint64_t now = now_ms();

	if (f->away_ms != 0) {
		if (passing && now - f->away_ms <= AWAY_MS)
			again(f);
		else
			end_with(f, RPC_TRUNCATED,
			    "the stream dropped and could not be picked up, or "
			    "the command ended before: its exit status is not "
			    "known");
		return;
	}
	f->away_ms = now;
	if (now - f->steady_ms >= STEADY_MS)
		f->tries = 0;
	again(f);
	f->ops->dropped(f->arg, why);
}

static void
started(struct follow *f, struct json_object *event)
{
	bool gap = f->runs;

	if (!gap && jx_int(event, "pid", 1, INT32_MAX, &f->pid) < 0) {
		end_with(f, RPC_OUTCOME_UNKNOWN,
		    "the server did not say which process it started: the "
		    "command may run");
		return;
	}
	if (f->process == NULL)
		f->process = xasprintf("%jd", (intmax_t)f->pid);
	if (!gap) {
		f->tries = 0;
		f->runs = f->alive = true;
		if (f->all->killing)
			kill_once(f);
	}
	f->away_ms = 0;
	f->silent = 0;
	f->steady_ms = now_ms();
	if (f->orphan) {
		kill_once(f);
		follow_free(f);
	} else {
		f->ops->running(f->arg, f->pid, gap);
	}
}

/*
 * In mid-stream it is an error of the stream: the command goes on, and is
 * picked up again. Otherwise it is the end.
 */
static void
told_error(struct follow *f, const char *text)
{
	struct rpc_error e;

	api_stream_error(text, &e);
	if (f->runs && (f->away_ms == 0 || e.http_status >= 500)) {
		ws_free(f->ws);
		f->ws = NULL;
		lost(f, e.message, true);
		return;
	}
	if (e.kind == RPC_NOT_FOUND || api_is_not_running(&e))
		f->alive = false;
	if (f->runs && e.kind == RPC_NOT_FOUND &&
	    strstr(text, "sandbox not found") == NULL)
		rpc_error_set(&e, RPC_TRUNCATED,
		    "the stream dropped, and the command ended before it was "
		    "picked up: its exit status is not known");
	end(f, -1, &e);
}

/* One event of upstream's. f may be gone after it. */
static void
take_event(struct follow *f, struct json_object *event)
{
	const char *type = jx_str(event, "type");
	const char *text = NULL;
	struct json_object *data;
	int64_t code;
	size_t n = 0;

	if (jx_get(event, "data", &data))
		text = jx_bytes_of(data, &n);
	if (type == NULL)
		return;
	if (strcmp(type, "start") == 0)
		started(f, event);
	else if (strcmp(type, "error") == 0)
		told_error(f, text ? text : "");
	else if (strcmp(type, "exit") == 0 &&
		 jx_int(event, "exit_code", INT32_MIN, INT32_MAX, &code) == 0) {
		f->alive = false;
		end(f, code, NULL);
	} else if (text != NULL && !f->orphan &&
		   (strcmp(type, "stdout") == 0 || strcmp(type, "stderr") == 0))
		f->ops->output(f->arg, type[3] == 'e', text, n);
}

static void
ws_message(void *arg, const char *data, size_t n)
{
	struct follow *f = arg;
	struct json_check_fault fault;
	struct json_object *event = jx_parse(data, n, &fault);

	if (event == NULL)
		end_with(f, RPC_BAD_ANSWER,
		    "the server sent a message that is not JSON");
	else
		take_event(f, event);
	json_object_put(event);
}

/* The server answered the upgrade with something else. */
static void
refused(struct follow *f, const struct ws_end *end_)
{
	struct upstream_answer a = {
		.outcome = HTTP_ANSWERED,
		.status = end_->http_status,
		.content_type = "",
		.body = end_->body,
		.len = end_->len,
	};
	struct rpc_error e = { .kind = RPC_OK };

	/* Nothing was started: as harmless as a GET. */
	if (api_check(&a, true, &e) == RPC_OK)
		rpc_error_set(&e, RPC_BAD_ANSWER, "%s", end_->why);
	end(f, -1, &e);
	rpc_error_release(&e);
}

/* What may be otherwise when it is tried again. */
static bool
is_passing(const struct ws_end *e)
{
	if (e->http_status == 0)
		return e->error != RPC_TLS;
	return e->http_status >= 500 || e->http_status == 401 ||
	       e->http_status == 429;
}

/* Nothing was sent yet. */
static void
not_opened(struct follow *f, const struct ws_end *e)
{
	if (e->error != RPC_TIMEOUT && e->http_status != 401 && is_passing(e) &&
	    f->tries + 1 < TRIES)
		again(f);
	else if (e->http_status != 0)
		refused(f, e);
	else
		end_with(f, e->error ? e->error : RPC_UNREACHABLE, e->why);
}

static void
ws_ended(void *arg, const struct ws_end *e)
{
	struct follow *f = arg;
	struct ws *w = f->ws; /* *e is in it, and f may be gone before it */

	f->ws = NULL;
	if (f->asked && !f->runs) {
		end_with(f, RPC_OUTCOME_UNKNOWN,
		    "the stream ended before the command had begun, or said "
		    "so: it may run");
	} else if (!f->runs) {
		not_opened(f, e);
	} else {
		if (f->away_ms != 0)
			f->silent = e->opened ? f->silent + 1 : 0;
		lost(f, e->why, is_passing(e) && f->silent < SILENT_MAX);
	}
	ws_free(w);
}

static const struct ws_ops ws_ops = {
	.opened = ws_opened,
	.message = ws_message,
	.ended = ws_ended,
};

static char *
path_of(const struct follow *f)
{
	if (f->start != NULL)
		return xasprintf("/v1/capsules/%s/exec/stream", f->capsule);
	return xasprintf(
	    "/v1/capsules/%s/processes/%s/stream", f->capsule, f->process);
}

static void
open_stream(struct follow *f)
{
	char *path = path_of(f);
	struct rpc_error why;

	f->ws = upstream_stream(f->all->upstream, path, &ws_ops, f, &why);
	free(path);
	if (f->ws == NULL)
		end(f, -1, &why);
	else if (f->paused)
		ws_pause(f->ws, true);
}

/* ---- the whole ---- */

struct follow *
follow_start(struct follows *fs, const struct follow_spec *spec,
    const struct follow_ops *ops, void *arg, struct rpc_error *why)
{
	struct follow *f = xcalloc(1, sizeof(*f));
	char *path;

	f->all = fs;
	f->capsule = xstrdup(spec->capsule);
	f->start = xstrdup(spec->start);
	f->process = xstrdup(spec->process);
	f->ours = spec->start != NULL;
	f->ops = ops;
	f->arg = arg;
	f->timer = timer_new(fs->loop, timer_due, f);
	LIST_INSERT_HEAD(&fs->follows, f, entry);
	path = path_of(f);
	f->ws = upstream_stream(fs->upstream, path, &ws_ops, f, why);
	free(path);
	if (f->ws != NULL)
		return f;
	follow_free(f);
	return NULL;
}

/* It was asked for, and nothing is known yet. */
static bool
is_beginning(const struct follow *f)
{
	return f->asked && !f->runs && !f->ended;
}

void
follow_stop(struct follow *f)
{
	kill_once(f);
	if (!is_beginning(f)) {
		follow_free(f);
		return;
	}
	f->orphan = true;
	ws_pause(f->ws, false);
	timer_set(f->timer, ORPHAN_MS);
}

void
follow_pause(struct follow *f, bool paused)
{
	f->paused = paused;
	if (f->ws != NULL)
		ws_pause(f->ws, paused);
}

void
follows_kill(struct follows *fs)
{
	struct follow *f;

	fs->killing = true;
	LIST_FOREACH(f, &fs->follows, entry)
		kill_once(f);
}

bool
follows_at_work(const struct follows *fs)
{
	const struct follow *f;

	LIST_FOREACH(f, &fs->follows, entry)
		if (f->orphan || is_beginning(f))
			return true;
	return !LIST_EMPTY(&fs->killings);
}

struct follows *
follows_new(struct loop *l, struct upstream *u)
{
	struct follows *fs = xcalloc(1, sizeof(*fs));

	fs->loop = l;
	fs->upstream = u;
	LIST_INIT(&fs->follows);
	LIST_INIT(&fs->killings);
	return fs;
}

void
follows_free(struct follows *fs)
{
	struct follow *f;
	struct killing *k;

	if (fs == NULL)
		return;
	while ((f = LIST_FIRST(&fs->follows)) != NULL)
		follow_free(f);
	while ((k = LIST_FIRST(&fs->killings)) != NULL) {
		upstream_cancel(k->call);
		killing_free(k);
	}
	free(fs);
}
