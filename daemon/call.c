#include "daemon/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "daemon/events.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/peer.h"
#include "proto/buf.h"
#include "proto/json_check.h"
#include "proto/json_out.h"
#include "proto/jx.h"
#include "proto/rpc_msg.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

TAILQ_HEAD(call_list, call);

struct calls {
	struct loop *loop;
	struct later sweep;
	struct call_list orphans; /* of clients that have gone */
	struct call_list answered;
	int in_flight, at_work;
	uint64_t total;
};

struct client_calls {
	struct call_list list;
	int count;
};

/*
 * The answers of one batch. Freed when the last request is answered; then
 * they are sent, unless all were notifications or the peer has gone.
 */
struct batch {
	struct peer *peer;
	int pending;
	bool any;
	struct buf out;
};

/* ---- batches ---- */

struct batch *
batch_new(struct peer *p, int count)
{
	struct batch *b = xcalloc(1, sizeof(*b));

	b->peer = p;
	b->pending = count;
	buf_init(&b->out, LIMIT_ANSWER_LINE);
	return b;
}

static int
batch_append(struct batch *b, const struct buf *answer)
{
	/* Room for the separator before and the bracket behind. */
	if (b->out.len + answer->len + 2 > b->out.max)
		return -1;
	if (buf_add(&b->out, b->any ? "," : "[", 1) < 0 ||
	    buf_add(&b->out, buf_head(answer), answer->len) < 0)
		return -1;
	b->any = true;
	return 0;
}

void
batch_add(struct batch *b, const struct buf *answer)
{
	if (answer != NULL && b->peer != NULL && batch_append(b, answer) < 0)
		peer_doom(b->peer, "the answers to its batch are too large");
	if (--b->pending > 0)
		return;
	if (b->any && b->peer != NULL && buf_add(&b->out, "]", 1) == 0 &&
	    peer_send(b->peer, &b->out) < 0)
		peer_doom(b->peer, "too many answers are queued");
	buf_release(&b->out);
	free(b);
}

/* The peer has gone: answers are dropped. */
static void
batch_orphan(struct batch *b)
{
	b->peer = NULL;
}

/* ---- answers ---- */

/* Takes the call out of play; it is freed at the end of the turn. */
static void
retire(struct call *c)
{
	struct calls *all = c->all;
	struct client_calls *cc = c->peer ? peer_calls(c->peer) : NULL;

	if (c->answered)
		abort(); /* a handler answered twice */
	c->answered = true;
	c->cancel = NULL;
	if (cc != NULL) {
		TAILQ_REMOVE(&cc->list, c, entry);
		cc->count--;
	} else {
		TAILQ_REMOVE(&all->orphans, c, entry);
	}
	all->in_flight--;
	if (c->method->access != ACCESS_READ)
		all->at_work--;
	TAILQ_INSERT_TAIL(&all->answered, c, entry);
	loop_later(all->loop, &all->sweep);
}

static const char too_large[] =
    "the answer is larger than 16 MiB; use a data socket";

static void
print_small_error(const struct call *c, struct buf *line, enum rpc_errno kind,
    const char *message)
{
	struct rpc_error e;

	rpc_error_set(&e, kind, "%s", message);
	buf_clear(line);
	rpc_print_error(line, c->id, &e, c->request);
}

/* Sends the printed answer, or that it cannot be sent. */
static void
deliver(struct call *c, struct buf *line, int printed)
{
	struct peer *p = c->peer;

	if (c->id[0] == '\0') {
		retire(c);
		if (c->batch != NULL)
			batch_add(c->batch, NULL);
		return;
	}
	if (printed < 0)
		print_small_error(c, line, RPC_TOO_LARGE, too_large);
	retire(c);
	if (c->batch != NULL) {
		batch_add(c->batch, line);
		return;
	}
	if (p == NULL || peer_send(p, line) == 0)
		return;
	print_small_error(
	    c, line, RPC_BUSY, "too many answers are waiting to be read");
	if (peer_send(p, line) < 0)
		peer_doom(p, "too many answers are waiting to be read");
}

/* What changes something is an event for its user. */
static void
emit_call(const struct call *c, const struct rpc_error *e)
{
	const char *capsule = jx_str(c->params, "capsule");
	struct json_out o;
	struct buf b;

	buf_init(&b, LIMIT_REQUEST_LINE);
	json_out_init(&o, &b);
	json_out_object(&o, NULL);
	json_out_str(&o, "method", c->method->name);
	json_out_str(&o, "request", c->request);
	json_out_int(&o, "pid", c->pid);
	json_out_int(&o, "ms", (int64_t)(now_ms() - c->started_ms));
	if (capsule != NULL)
		json_out_str(&o, "capsule", capsule);
	if (e != NULL)
		json_out_str(&o, "error", rpc_error_row(e->kind)->name);
	json_out_end_object(&o);
	if (o.error == 0)
		events_emit_text(c->svc->events, "call", c->uid, &b);
	buf_release(&b);
}

static void
log_answer(const struct call *c, const struct rpc_error *e)
{
	if (c->method->access != ACCESS_READ && c->svc->events != NULL)
		emit_call(c, e);
	log_debug("answer method=%s request=%s ms=%ju error=%s",
	    c->method->name, c->request, (uintmax_t)(now_ms() - c->started_ms),
	    e ? rpc_error_row(e->kind)->name : "none");
}

void
call_reply(struct call *c, struct json_object *result)
{
	struct buf line;
	int r = 0;

	log_answer(c, NULL);
	buf_init(&line, LIMIT_ANSWER_LINE);
	if (c->id[0] != '\0' && c->peer != NULL)
		r = rpc_print_result(&line, c->id, result);
	json_object_put(result);
	deliver(c, &line, r);
	buf_release(&line);
}

void
call_reply_text(struct call *c, const struct buf *json)
{
	struct buf line;
	int r = 0;

	log_answer(c, NULL);
	buf_init(&line, LIMIT_ANSWER_LINE);
	if (c->id[0] != '\0' && c->peer != NULL)
		r = rpc_print_result_text(
		    &line, c->id, buf_head(json), json->len);
	deliver(c, &line, r);
	buf_release(&line);
}

void
call_reply_out(struct call *c, const struct json_out *result)
{
	if (result->error == 0)
		call_reply_text(c, result->buf);
	else
		call_failf(c, RPC_TOO_LARGE, "%s", too_large);
}

void
call_fail(struct call *c, const struct rpc_error *e)
{
	struct buf line;
	int r = 0;

	log_answer(c, e);
	buf_init(&line, LIMIT_ANSWER_LINE);
	if (c->id[0] != '\0' && c->peer != NULL)
		r = rpc_print_error(&line, c->id, e, c->request);
	deliver(c, &line, r);
	buf_release(&line);
}

bool
call_event(struct call *c, const char *type, struct json_object *fields)
{
	struct buf line;
	bool sent = false;

	buf_init(&line, LIMIT_ANSWER_LINE);
	if (c->peer != NULL && peer_reads(c->peer) &&
	    rpc_print_event(&line, c->id, type, fields) == 0 &&
	    peer_send(c->peer, &line) == 0)
		sent = true;
	buf_release(&line);
	json_object_put(fields);
	return sent;
}

void
call_failf(struct call *c, enum rpc_errno kind, const char *fmt, ...)
{
	char message[LIMIT_ERROR_MESSAGE];
	struct rpc_error e;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	rpc_error_set(&e, kind, "%s", message);
	call_fail(c, &e);
}

void
call_done(struct call *c, struct json_object *result, struct rpc_error *e)
{
	if (e != NULL)
		call_fail(c, e);
	else
		call_reply(c, result);
}

void
call_done_text(void *call, const struct buf *json, struct rpc_error *e)
{
	if (e != NULL)
		call_fail(call, e);
	else
		call_reply_text(call, json);
}

/* ---- the work behind it ---- */

void
call_on_cancel(struct call *c, void (*cancel)(void *), void *arg)
{
	c->cancel = cancel;
	c->arg = arg;
}

void
call_on_end(struct call *c, void (*end)(void *))
{
	c->end = end;
}

int
call_take_fd(struct call *c)
{
	int fd = c->fds[0];

	c->fds[0] = -1;
	return fd;
}

int
call_take_fd_named(struct call *c, const char *name)
{
	int i, fd;

	for (i = 0; i < LIMIT_FDS; i++)
		if (c->fds[i] >= 0 && strcmp(c->fd_names[i], name) == 0) {
			fd = c->fds[i];
			c->fds[i] = -1;
			return fd;
		}
	return -1;
}

static void
stop_work(struct call *c)
{
	void (*cancel)(void *) = c->cancel;

	c->cancel = NULL;
	if (cancel != NULL)
		cancel(c->arg);
}

bool
call_cancel(struct call *c)
{
	if (c->method->hangup != HANGUP_ABORT)
		return false;
	stop_work(c);
	call_failf(c, RPC_CANCELLED, "the call was cancelled");
	return true;
}

/* ---- all calls ---- */

static void
call_free(struct call *c)
{
	int i;

	for (i = 0; i < LIMIT_FDS; i++)
		if (c->fds[i] >= 0)
			close(c->fds[i]);
	json_object_put(c->params);
	free(c);
}

static void
sweep(void *arg)
{
	struct calls *all = arg;
	struct call *c;

	while ((c = TAILQ_FIRST(&all->answered)) != NULL) {
		TAILQ_REMOVE(&all->answered, c, entry);
		call_free(c);
	}
}

struct calls *
calls_new(struct loop *l)
{
	struct calls *all = xcalloc(1, sizeof(*all));

	all->loop = l;
	TAILQ_INIT(&all->orphans);
	TAILQ_INIT(&all->answered);
	later_init(&all->sweep, sweep, all);
	return all;
}

void
calls_free(struct calls *all)
{
	struct call *c;

	if (all == NULL)
		return;
	while ((c = TAILQ_FIRST(&all->orphans)) != NULL) {
		stop_work(c);
		retire(c);
		if (c->batch != NULL)
			batch_add(c->batch, NULL);
	}
	sweep(all);
	later_cancel(all->loop, &all->sweep);
	free(all);
}

int
calls_in_flight(const struct calls *all)
{
	return all->in_flight;
}

int
calls_at_work(const struct calls *all)
{
	return all->at_work;
}

uint64_t
calls_total(const struct calls *all)
{
	return all->total;
}

/* "r" and the number, by hand: it is of every call. */
static void
name_request(char name[REQUEST_NAME_MAX], uint64_t number)
{
	char digits[REQUEST_NAME_MAX], *p = digits + sizeof(digits);

	*--p = '\0';
	do {
		*--p = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0 && p > digits + 1);
	*--p = 'r';
	memcpy(name, p, (size_t)(digits + sizeof(digits) - p));
}

struct call *
call_new(struct calls *all, const struct services *svc, struct peer *p,
    struct client_calls *cc)
{
	struct call *c = xcalloc(1, sizeof(*c));
	int i;

	c->svc = svc;
	c->all = all;
	c->peer = p;
	c->started_ms = now_ms();
	for (i = 0; i < LIMIT_FDS; i++)
		c->fds[i] = -1;
	all->total++;
	all->in_flight++;
	name_request(c->request, all->total);
	TAILQ_INSERT_TAIL(&cc->list, c, entry);
	cc->count++;
	return c;
}

void
call_set_method(struct call *c, const struct method *m)
{
	c->method = m;
	if (m->access != ACCESS_READ)
		c->all->at_work++;
}

/* ---- the calls of one client ---- */

struct client_calls *
client_calls_new(void)
{
	struct client_calls *cc = xcalloc(1, sizeof(*cc));

	TAILQ_INIT(&cc->list);
	return cc;
}

int
client_calls_count(const struct client_calls *cc)
{
	return cc ? cc->count : 0;
}

struct call *
client_calls_find(struct client_calls *cc, struct json_object *id)
{
	struct json_check_fault fault;
	struct json_object *mine;
	struct call *c;
	bool same;

	TAILQ_FOREACH(c, &cc->list, entry) {
		mine = jx_parse(c->id, strlen(c->id), &fault);
		same = mine != NULL && json_object_equal(mine, id);
		json_object_put(mine);
		if (same)
			return c;
	}
	return NULL;
}

void
client_calls_hang_up(struct client_calls *cc)
{
	struct call *c;

	while ((c = TAILQ_FIRST(&cc->list)) != NULL) {
		TAILQ_REMOVE(&cc->list, c, entry);
		c->peer = NULL;
		if (c->batch != NULL)
			batch_orphan(c->batch);
		TAILQ_INSERT_TAIL(&c->all->orphans, c, entry);
		if (c->method->hangup == HANGUP_ABORT) {
			stop_work(c);
			call_failf(c, RPC_CANCELLED, "the client has gone");
		}
	}
	free(cc);
}
