#include "daemon/h2_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conn.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define READS_PER_TURN    128 /* small records mostly; 2 MiB at most */
#define CONNECTION_WINDOW (16 * 1024 * 1024)
#define STREAMS_MAX       1000  /* at once, however many the server allows */
#define IDLE_FRAMES_MAX   10000 /* that bring nothing, between two answers */
#define LATELY_MS         10000
#define IDLE_MS           300000  /* then it is closed: upstream would */
#define AGE_MS            3600000 /* likewise: certificates change */

static void
tell_ended(struct h2 *h)
{
	struct h2_stream *s;

	while ((s = TAILQ_FIRST(&h->ended)) != NULL) {
		TAILQ_REMOVE(&h->ended, s, entry);
		buf_release(&s->held);
		s->session = NULL;
		s->ended(s);
	}
}

/* The last thing that any event does: h may be gone after it. */
static void
tell(struct h2 *h)
{
	tell_ended(h);
	if (!h->news)
		return;
	h->news = false;
	h->changed(h->arg);
}

/*
 * The connection is no more, and with it what was under way on it; but for
 * whole answers, which wait for their sinks alone.
 */
static void
die(struct h2 *h, const char *why)
{
	struct h2_stream *s, *next;

	if (h->state == H2_CLOSED)
		return;
	if (h->why[0] == '\0')
		snprintf(h->why, sizeof(h->why), "%s", why);
	log_debug("http2: connection closed why=\"%s\" streams=%d", h->why,
	    h->streams);
	h->state = H2_CLOSED;
	h->news = true;
	TAILQ_FOREACH_SAFE(s, &h->busy, entry, next)
		if (!s->whole)
			h2_stream_broke_off(s, h->why);
	later_cancel(h->shared->loop, &h->flush);
	later_cancel(h->shared->loop, &h->more);
	timer_set(h->tick, -1);
	conn_close(h->conn);
	h->conn = NULL;
}

static void
drain(struct h2 *h)
{
	if (h->state == H2_CLOSED || h->state == H2_DRAINING)
		return;
	h->state = H2_DRAINING;
	h->news = true;
}

/* ---- what the server says ---- */

static void
goaway(struct h2 *h, const nghttp2_goaway *g)
{
	if (h->why[0] == '\0')
		snprintf(h->why, sizeof(h->why),
		    "the server closes the connection%s%s",
		    g->error_code ? ": " : "",
		    g->error_code ? nghttp2_http2_strerror(g->error_code) : "");
	log_debug(
	    "http2: goaway last=%d error=%u", g->last_stream_id, g->error_code);
	h->left = true;
	drain(h);
}

/*
 * Frames that bring nothing are counted: some servers send nothing else. Of
 * most kinds as they begin, since not all of them are told of when they end.
 */
static int
count_idle_frame(struct h2 *h)
{
	return ++h->idle_frames > IDLE_FRAMES_MAX ? NGHTTP2_ERR_CALLBACK_FAILURE
						  : 0;
}

static int
begin_frame_cb(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *arg)
{
	(void)ng;
	if (hd->type == NGHTTP2_DATA || hd->type == NGHTTP2_HEADERS)
		return 0;
	return count_idle_frame(arg);
}

/* nghttp2 tells only of types that somebody wants; nobody wants their payload.
 */
static int
unknown_frame_cb(
    nghttp2_session *ng, void **payload, const nghttp2_frame_hd *hd, void *arg)
{
	(void)ng;
	(void)payload;
	(void)hd;
	(void)arg;
	return NGHTTP2_ERR_CANCEL;
}

static bool
is_empty(const nghttp2_frame *f)
{
	return f->hd.type == NGHTTP2_DATA && f->hd.length <= f->data.padlen &&
	       !(f->hd.flags & NGHTTP2_FLAG_END_STREAM);
}

static int
frame_cb(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *s =
	    nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);

	if (is_empty(f) && count_idle_frame(h) != 0)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (f->hd.type == NGHTTP2_SETTINGS) {
		h->greeted = true;
		h->news = true;
	}
	if (f->hd.type == NGHTTP2_GOAWAY)
		goaway(h, &f->goaway);
	if (s != NULL)
		h2_stream_frame(s, f);
	return 0;
}

static int
close_cb(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
	struct h2_stream *s = nghttp2_session_get_stream_user_data(ng, id);
	struct h2 *h = arg;

	h->streams--;
	h->news = true;
	if (s != NULL)
		h2_stream_closed(s, code);
	return 0;
}

/* One read; whether there may be more. */
static bool
receive_some(struct h2 *h)
{
	uint8_t data[H2_RECORD];
	ssize_t n = conn_recv(h->conn, data, sizeof(data)), taken;

	if (n == -EAGAIN)
		return false;
	if (n <= 0) {
		die(h, n == 0 ? "the server closed the connection"
			      : "the connection broke");
		return false;
	}
	h->heard_ms = now_ms();
	h->pinged_ms = 0;
	taken = nghttp2_session_mem_recv(h->ng, data, (size_t)n);
	/* Some answers hold a secret: a token, a key that was made. */
	explicit_bzero(data, (size_t)n);
	if (taken < 0)
		die(h, "the server floods the connection");
	return taken >= 0;
}

static void
receive(struct h2 *h)
{
	int i;

	for (i = 0; i < READS_PER_TURN; i++)
		if (!receive_some(h))
			return;
	/* TLS may hold more, of which the descriptor tells nothing. */
	loop_later(h->shared->loop, &h->more);
}

/* ---- what we say ---- */

/* Gathers frames until a record is full, or there are no more. */
static bool
fill(struct h2 *h)
{
	const uint8_t *frame;
	ssize_t n;

	while (h->out_len < H2_RECORD) {
		n = nghttp2_session_mem_send(h->ng, &frame);
		if (n <= 0)
			return n == 0;
		if ((size_t)n > sizeof(h->out) - h->out_len)
			abort(); /* no frame is larger: see SETTINGS */
		memcpy(h->out + h->out_len, frame, (size_t)n);
		h->out_len += (size_t)n;
	}
	return true;
}

/* Writes out what is gathered. false when not all of it went. */
static bool
drain_out(struct h2 *h)
{
	ssize_t n;

	while (h->out_sent < h->out_len) {
		n = conn_send(
		    h->conn, h->out + h->out_sent, h->out_len - h->out_sent);
		if (n == -EAGAIN) {
			conn_want(h->conn, IO_READ | IO_WRITE);
			return false;
		}
		if (n < 0) {
			/* The server may have had its say before. */
			receive(h);
			die(h, "the connection broke while it was written to");
			return false;
		}
		h->out_sent += (size_t)n;
	}
	/* It held a credential. */
	explicit_bzero(h->out, h->out_len);
	h->out_len = 0;
	h->out_sent = 0;
	return true;
}

/* Whether all that was to be said is said, and no more is to be heard. */
static void
close_if_over(struct h2 *h)
{
	if (h->state == H2_DRAINING && h->streams == 0)
		die(h, "it was retired");
	else if (!nghttp2_session_want_read(h->ng) &&
		 !nghttp2_session_want_write(h->ng))
		die(h, "the server broke the rules of HTTP/2");
}

static void
send_all(struct h2 *h)
{
	do {
		if (!fill(h)) {
			die(h, "out of memory");
			return;
		}
		if (h->out_len == 0)
			break;
		if (!drain_out(h))
			return;
	} while (true);
	conn_want(h->conn, IO_READ);
	close_if_over(h);
}

static void
flush_due(void *arg)
{
	struct h2 *h = arg;

	/* The last words of one that is retired. */
	if (h->state == H2_DRAINING && h->streams == 0)
		nghttp2_session_terminate_session(h->ng, NGHTTP2_NO_ERROR);
	if (h->state != H2_CLOSED)
		send_all(h);
	tell(h);
}

void
h2_flush(struct h2 *h)
{
	if (h->ng != NULL)
		loop_later(h->shared->loop, &h->flush);
}

/* ---- the connection ---- */

static void
more_due(void *arg)
{
	struct h2 *h = arg;

	receive(h);
	h2_flush(h);
	tell(h);
}

static void
conn_ready(void *arg, int events)
{
	struct h2 *h = arg;

	if (events & IO_READ && !h->more.queued)
		receive(h);
	h2_flush(h);
	tell(h);
}

/* Whether a PING was not answered in time. The connection may end by it. */
static bool
is_dead(struct h2 *h, uint64_t now)
{
	if (h->pinged_ms == 0 ||
	    now - h->pinged_ms < h->shared->ping_timeout_ms)
		return false;
	/* When the process was stopped, the answer may be there to be read. */
	receive(h);
	h2_flush(h);
	return h->pinged_ms != 0;
}

/* Asks for a sign of life where there was none, and says when to look again. */
static uint64_t
look_for_life(struct h2 *h)
{
	const struct h2_shared *o = h->shared;
	uint64_t now = now_ms(), quiet = now - h->heard_ms;

	if (h->pinged_ms != 0)
		return o->ping_timeout_ms - (now - h->pinged_ms);
	if (quiet < o->ping_after_ms)
		return o->ping_after_ms - quiet;
	nghttp2_submit_ping(h->ng, NGHTTP2_FLAG_NONE, NULL);
	h2_flush(h);
	h->pinged_ms = now;
	return o->ping_timeout_ms;
}

/*
 * Looks after a connection on which nothing happens. Bytes of any kind prove
 * that the peer lives.
 */
static void
tick_due(void *arg)
{
	struct h2 *h = arg;
	uint64_t now = now_ms();

	h->idle_frames = 0;
	if (now - h->born_ms > AGE_MS ||
	    (h->streams == 0 && now - h->used_ms > IDLE_MS))
		h2_retire(h);
	if (is_dead(h, now))
		die(h, "the server does not answer: not even a PING");
	if (h->state != H2_CLOSED)
		timer_set(h->tick, (int64_t)look_for_life(h));
	tell(h);
}

static nghttp2_session *
session_new(struct h2 *h)
{
	nghttp2_session_callbacks *cb;
	nghttp2_option *option;
	nghttp2_session *ng;
	int type;

	if (nghttp2_session_callbacks_new(&cb) != 0 ||
	    nghttp2_option_new(&option) != 0)
		abort();
	h2_stream_callbacks(cb);
	nghttp2_session_callbacks_set_on_begin_frame_callback(
	    cb, begin_frame_cb);
	nghttp2_session_callbacks_set_unpack_extension_callback(
	    cb, unknown_frame_cb);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, frame_cb);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, close_cb);
	nghttp2_option_set_no_auto_window_update(option, 1);
	for (type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; type++)
		nghttp2_option_set_user_recv_extension_type(
		    option, (uint8_t)type);
	if (nghttp2_session_client_new2(&ng, cb, h, option) != 0)
		abort();
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(cb);
	return ng;
}

static void
conn_opened(void *arg, const char *protocol)
{
	static const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_HEADER_BYTES_MAX },
	};
	struct h2 *h = arg;

	if (strcmp(protocol, "h2") != 0) {
		h->refusal.want_http1 = true;
		die(h, "the server speaks no HTTP/2");
		tell(h);
		return;
	}
	h->state = h->state == H2_CONNECTING ? H2_OPEN : h->state;
	h->heard_ms = now_ms();
	h->used_ms = h->heard_ms;
	h->ng = session_new(h);
	nghttp2_submit_settings(h->ng, NGHTTP2_FLAG_NONE, settings,
	    sizeof(settings) / sizeof(settings[0]));
	nghttp2_session_set_local_window_size(
	    h->ng, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
	conn_want(h->conn, IO_READ);
	loop_later(h->shared->loop, &h->more);
	timer_set(h->tick, (int64_t)h->shared->ping_after_ms);
	h2_flush(h);
	h->news = true;
	tell(h);
}

static void
conn_failed(void *arg, enum rpc_errno error, const char *why)
{
	struct h2 *h = arg;

	h->refusal.error = error;
	die(h, why);
	tell(h);
}

static const struct conn_ops conn_ops = {
	.opened = conn_opened,
	.failed = conn_failed,
	.ready = conn_ready,
};

/* ---- the whole ---- */

struct h2 *
h2_new(struct h2_shared *shared, void (*changed)(void *arg), void *arg)
{
	/* The list is in the wire's form: lengths, then names. */
	static const char alpn[] = "\2h2\10http/1.1";
	struct h2 *h = xcalloc(1, sizeof(*h));

	h->shared = shared;
	h->changed = changed;
	h->arg = arg;
	h->refusal.error = RPC_UNREACHABLE;
	h->refusal.why = h->why;
	h->born_ms = now_ms();
	TAILQ_INIT(&h->busy);
	TAILQ_INIT(&h->ended);
	later_init(&h->flush, flush_due, h);
	later_init(&h->more, more_due, h);
	h->tick = timer_new(shared->loop, tick_due, h);
	h->conn = conn_open(
	    shared->loop, shared->dialer, shared->origin, alpn, &conn_ops, h);
	return h;
}

void
h2_free(struct h2 *h)
{
	later_cancel(h->shared->loop, &h->flush);
	later_cancel(h->shared->loop, &h->more);
	timer_free(h->tick);
	nghttp2_session_del(h->ng);
	conn_close(h->conn);
	free(h);
}

enum h2_state
h2_state(const struct h2 *h)
{
	/* Answers that are held are still to be told. */
	if (h->state == H2_CLOSED && !TAILQ_EMPTY(&h->busy))
		return H2_DRAINING;
	return h->state;
}

const struct h2_refusal *
h2_refusal(const struct h2 *h)
{
	if (h->state != H2_CLOSED || h->retired || (h->greeted && h->carried))
		return NULL;
	return &h->refusal;
}

int
h2_room(const struct h2 *h, bool slow)
{
	uint32_t limit;
	int most;

	if (h->state != H2_OPEN)
		return 0;
	limit = nghttp2_session_get_remote_settings(
	    h->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
	most = limit < STREAMS_MAX ? (int)limit : STREAMS_MAX;
	/* Pings and deletes are not to wait for commands that run for long. */
	if (slow && most > 1)
		most -= 1 + most / 10;
	return most > h->streams ? most - h->streams : 0;
}

bool
h2_used_lately(const struct h2 *h)
{
	return h->proven &&
	       (h->streams > 0 || now_ms() - h->used_ms < LATELY_MS);
}

void
h2_retire(struct h2 *h)
{
	h->retired = true;
	drain(h);
	h2_flush(h);
}
