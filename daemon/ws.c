#include "daemon/ws.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <wslay/wslay.h>

#include "daemon/conn.h"
#include "daemon/loop.h"
#include "proto/base64.h"
#include "proto/buf.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define HEAD_MAX     16384        /* of the server's answer to the upgrade */
#define REFUSAL_MAX  16384        /* of its body */
#define QUEUE_SOFT   (256 * 1024) /* above it nothing more is taken to send */
#define PONGS_MAX    16           /* that wait to be sent: then no reading */
#define BYTES_A_TURN (256 * 1024)
#define RECORD       16384
#define NO_CODE      1005 /* a close frame without one */

enum ws_state { WS_CONNECTING, WS_ASKING, WS_REFUSED, WS_OPEN, WS_ENDED };

/*
 * Lives from ws_open() to ws_free(). While wslay runs (`inside`), which calls
 * the owner, a ws_free() is only noted and done when wslay has returned.
 */
struct ws {
	struct loop *loop;
	struct conn *conn;
	enum ws_state state;
	wslay_event_context_ptr wslay; /* NULL until it is open */
	struct timer *timer;           /* to open, then to look for life */
	struct later work;
	struct buf in;  /* the server's head, and a refusal's body */
	struct buf out; /* bytes for the connection */
	struct buf message;
	bool control; /* the frame that is being read is no data */
	bool too_long, refused_room, paused, inside, freed, eof;
	bool broken;     /* nothing can be sent any more */
	bool looked;     /* there is no more to be read now */
	bool crowded;    /* with PONGs to be sent, so that reading stopped */
	size_t budget;   /* bytes to be read yet this turn */
	char accept[32]; /* what the server has to answer */
	char *request;
	uint64_t open_timeout_ms, ping_after_ms, ping_timeout_ms;
	uint64_t heard_ms, pinged_ms;
	size_t head_len; /* of the answer, interim ones included */
	size_t body_len; /* of a refusal, as announced */
	struct ws_end end;
	char why[256];
	const struct ws_ops *ops;
	void *arg;
};

/* ---- the end ---- */

/* The last thing that any event does: w may be gone after it. */
static void
end(struct ws *w, enum rpc_errno error, const char *why)
{
	if (w->state == WS_ENDED)
		return;
	w->end.opened = w->state == WS_OPEN;
	w->end.body = "";
	if (w->state == WS_REFUSED && buf_str(&w->in) != NULL) {
		w->end.body = buf_head(&w->in);
		w->end.len = w->in.len;
	}
	w->state = WS_ENDED;
	snprintf(w->why, sizeof(w->why), "%s", why);
	w->end.error = error;
	w->end.why = w->why;
	timer_set(w->timer, -1);
	later_cancel(w->loop, &w->work);
	conn_close(w->conn);
	w->conn = NULL;
	w->ops->ended(w->arg, &w->end);
}

static void
really_free(struct ws *w)
{
	later_cancel(w->loop, &w->work);
	timer_free(w->timer);
	if (w->wslay != NULL)
		wslay_event_context_free(w->wslay);
	conn_close(w->conn);
	buf_release(&w->in);
	buf_release(&w->out);
	buf_release(&w->message);
	explicit_bzero(w->request, strlen(w->request));
	free(w->request);
	free(w);
}

/* ---- writing ---- */

/* false when the connection is no more. */
static bool
write_out(struct ws *w)
{
	ssize_t n;

	while (w->out.len > 0) {
		n = conn_send(w->conn, buf_head(&w->out), w->out.len);
		if (n == -EAGAIN)
			break;
		if (n < 0)
			return false;
		buf_consume(&w->out, (size_t)n);
	}
	return true;
}

static size_t
queued(const struct ws *w)
{
	return w->out.len + wslay_event_get_queued_msg_length(w->wslay);
}

static ssize_t
send_cb(wslay_event_context_ptr ctx, const uint8_t *data, size_t n, int flags,
    void *arg)
{
	struct ws *w = arg;

	(void)flags;
	/* One write of many frames, not two of each. */
	if (w->out.len >= RECORD) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (buf_add(&w->out, data, n) < 0) {
		wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
		return -1;
	}
	return (ssize_t)n;
}

static int
mask_cb(wslay_event_context_ptr ctx, uint8_t *data, size_t n, void *arg)
{
	(void)arg;
	if (RAND_bytes(data, (int)n) == 1)
		return 0;
	wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

/* false when the connection is no more. */
static bool
send_frames(struct ws *w)
{
	size_t before;

	do {
		if (!write_out(w))
			return false;
		before = w->out.len;
		if (before >= RECORD)
			return true;
		if (wslay_event_send(w->wslay) != 0)
			return false;
	} while (w->out.len > before);
	return true;
}

/* ---- reading ---- */

static ssize_t
recv_cb(
    wslay_event_context_ptr ctx, uint8_t *data, size_t n, int flags, void *arg)
{
	struct ws *w = arg;
	ssize_t r = -EAGAIN;

	(void)flags;
	w->looked = true;
	w->crowded =
	    !w->broken && wslay_event_get_queued_msg_count(ctx) >= PONGS_MAX;
	if (w->budget > 0 && !w->crowded && !w->paused && !w->freed &&
	    !w->too_long) {
		r = conn_recv(w->conn, data, n < w->budget ? n : w->budget);
		if (r > 0) {
			w->budget -= (size_t)r;
			w->heard_ms = now_ms();
			w->pinged_ms = 0;
			w->looked = false;
			return r;
		}
		w->eof = r != -EAGAIN;
	}
	wslay_event_set_error(ctx,
	    r == -EAGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static void
frame_cb(wslay_event_context_ptr ctx,
    const struct wslay_event_on_frame_recv_start_arg *frame, void *arg)
{
	struct ws *w = arg;

	(void)ctx;
	w->control = wslay_is_ctrl_frame(frame->opcode);
	if (!w->control &&
	    frame->payload_length > w->message.max - w->message.len)
		w->too_long = true;
}

/*
 * wslay would keep a list entry for each fragment: a message of one-byte
 * fragments takes a hundred times its size (measured with 1.1.1). So the
 * pieces are put together here.
 */
static void
chunk_cb(wslay_event_context_ptr ctx,
    const struct wslay_event_on_frame_recv_chunk_arg *chunk, void *arg)
{
	struct ws *w = arg;

	(void)ctx;
	if (!w->control && !w->too_long &&
	    buf_add(&w->message, chunk->data, chunk->data_length) < 0)
		w->too_long = true;
}

static void
message_cb(wslay_event_context_ptr ctx,
    const struct wslay_event_on_msg_recv_arg *m, void *arg)
{
	struct ws *w = arg;

	(void)ctx;
	if (wslay_is_ctrl_frame(m->opcode) || w->too_long || w->freed)
		return;
	w->ops->message(w->arg, w->message.len > 0 ? buf_head(&w->message) : "",
	    w->message.len);
	buf_clear(&w->message);
}

static void
want(struct ws *w)
{
	int events = w->paused ? 0 : IO_READ;

	if (w->out.len > 0)
		events |= IO_WRITE;
	conn_want(w->conn, events);
}

static void
end_of_stream(struct ws *w)
{
	int code = wslay_event_get_status_code_received(w->wslay);

	if (w->too_long && !w->broken &&
	    wslay_event_queue_close(
		w->wslay, WSLAY_CODE_MESSAGE_TOO_BIG, NULL, 0) == 0)
		send_frames(w);
	w->end.clean = wslay_event_get_close_received(w->wslay);
	w->end.code = code != 0 ? code : NO_CODE;
	if (w->too_long)
		end(w, RPC_TOO_LARGE, "a message of the server is too long");
	else if (w->end.clean)
		end(w, RPC_OK, "the server closed the stream");
	else if (w->eof)
		end(w, RPC_TRUNCATED,
		    "the connection ended in the middle of the stream");
	else
		end(w, RPC_BAD_ANSWER,
		    "the server broke the rules of WebSocket");
}

/* Tells the owner that it may send again. false when it freed the stream. */
static bool
tell_room(struct ws *w)
{
	if (!w->refused_room || w->broken || queued(w) >= QUEUE_SOFT)
		return true;
	w->refused_room = false;
	w->inside = true;
	w->ops->room(w->arg);
	w->inside = false;
	return !w->freed;
}

/* ---- the upgrade ---- */

/* What the server makes of our key (RFC 6455, 4.2.2). */
static void
expect(char *accept, size_t n, const char *key)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int len = 0;
	char *text = xasprintf("%s%s", key, guid);
	struct buf b;

	if (EVP_Digest(text, strlen(text), digest, &len, EVP_sha1(), NULL) != 1)
		abort();
	buf_init(&b, n);
	if (base64_encode(&b, digest, len) < 0)
		abort();
	snprintf(accept, n, "%s", buf_str(&b));
	buf_release(&b);
	free(text);
}

static char *
make_request(struct ws *w, const struct ws_spec *spec)
{
	const char *host = strstr(spec->url, "://") + 3;
	size_t host_len = strcspn(host, "/");
	unsigned char random_bytes[16];
	struct buf key, b;
	char *text;
	size_t i;

	if (RAND_bytes(random_bytes, sizeof(random_bytes)) != 1)
		abort();
	buf_init(&key, 64);
	base64_encode(&key, random_bytes, sizeof(random_bytes));
	expect(w->accept, sizeof(w->accept), buf_str(&key));
	buf_init(&b, 2 * HEAD_MAX);
	buf_addf(&b,
	    "GET %s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: %s\r\n"
	    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n",
	    host[host_len] ? host + host_len : "/", (int)host_len, host,
	    PACKAGE "/" VERSION, buf_str(&key));
	for (i = 0; i < spec->header_count; i++)
		buf_addf(&b, "%s\r\n", spec->headers[i]);
	if (buf_adds(&b, "\r\n") < 0)
		abort(); /* requests are our own */
	text = buf_steal(&b, NULL);
	buf_release(&key);
	return text;
}

/*
 * The value of a header behind `head`, whose lines end in CR LF; NULL when
 * there is none. From a value it finds the next one. *ret_len does not count
 * blanks around it.
 */
static const char *
header(const char *head, const char *name, size_t *ret_len)
{
	size_t n = strlen(name);
	const char *line, *value;

	for (line = strstr(head, "\r\n"); line != NULL;
	     line = strstr(line, "\r\n")) {
		line += 2;
		if (strncasecmp(line, name, n) != 0 || line[n] != ':')
			continue;
		value = line + n + 1;
		value += strspn(value, " \t");
		*ret_len = strcspn(value, "\r");
		while (*ret_len > 0 && (value[*ret_len - 1] == ' ' ||
					   value[*ret_len - 1] == '\t'))
			(*ret_len)--;
		return value;
	}
	return NULL;
}

static bool
has_token(const char *head, const char *name, const char *token)
{
	size_t n, at, word, len = strlen(token);
	const char *value;

	for (value = header(head, name, &n); value != NULL;
	     value = header(value, name, &n))
		for (at = 0; at < n; at += word + (word < n - at)) {
			word = strcspn(value + at, ", \t\r");
			if (word == len &&
			    strncasecmp(value + at, token, len) == 0)
				return true;
		}
	return false;
}

/* Whether the server has agreed, as RFC 6455, 4.1 wants it. */
static bool
has_agreed(const struct ws *w, const char *head)
{
	const char *value;
	size_t n;

	if (!has_token(head, "Upgrade", "websocket") ||
	    !has_token(head, "Connection", "Upgrade") ||
	    header(head, "Sec-WebSocket-Extensions", &n) != NULL ||
	    header(head, "Sec-WebSocket-Protocol", &n) != NULL)
		return false;
	value = header(head, "Sec-WebSocket-Accept", &n);
	return value != NULL && n == strlen(w->accept) &&
	       memcmp(value, w->accept, n) == 0;
}

/* The status of an answer's head; 0 when it is no HTTP/1 answer. */
static int
status_of(const char *head, size_t len)
{
	const char *digits = head + 9;

	/* What is behind a NUL would not be seen. */
	if (len < 14 || strlen(head) != len ||
	    strncmp(head, "HTTP/1.", 7) != 0 ||
	    (head[7] != '0' && head[7] != '1') || head[8] != ' ' ||
	    digits[0] < '1' || digits[0] > '9' ||
	    strspn(digits, "0123456789") != 3 ||
	    (digits[3] != ' ' && digits[3] != '\r'))
		return 0;
	return (int)strtol(digits, NULL, 10);
}

static void
start_frames(struct ws *w)
{
	struct wslay_event_callbacks cb = {
		.recv_callback = recv_cb,
		.send_callback = send_cb,
		.genmask_callback = mask_cb,
		.on_frame_recv_start_callback = frame_cb,
		.on_frame_recv_chunk_callback = chunk_cb,
		.on_msg_recv_callback = message_cb,
	};

	if (wslay_event_context_client_init(&w->wslay, &cb, w) != 0)
		abort();
	wslay_event_config_set_no_buffering(w->wslay, 1);
	/* frame_cb() knows what is too long, and can say so. */
	wslay_event_config_set_max_recv_msg_length(w->wslay, INT64_MAX);
}

static void
open_stream(struct ws *w)
{
	w->state = WS_OPEN;
	w->heard_ms = now_ms();
	start_frames(w);
	timer_set(w->timer, (int64_t)w->ping_after_ms);
	loop_later(w->loop, &w->work);
	w->inside = true;
	w->ops->opened(w->arg);
	w->inside = false;
	if (w->freed)
		ws_free(w);
	else
		want(w);
}

static void
refuse(struct ws *w)
{
	char why[64];

	snprintf(why, sizeof(why), "the server answered HTTP %d to a stream",
	    w->end.http_status);
	end(w, RPC_BAD_ANSWER, why);
}

/* Of the length that its head gives; one without is not waited for. */
static void
start_refusal(struct ws *w, const char *head)
{
	const char *value;
	size_t n;

	w->state = WS_REFUSED;
	value = header(head, "Content-Length", &n);
	if (value != NULL)
		w->body_len = (size_t)strtoul(value, NULL, 10);
	if (w->body_len > REFUSAL_MAX)
		w->body_len = REFUSAL_MAX;
}

/*
 * The head is whole. False if it was an interim one, and another is to come.
 * The stream may be gone after it.
 */
static bool
take_head(struct ws *w)
{
	char *head = buf_str(&w->in);
	int status = status_of(head, w->in.len);

	if (status == 0) {
		end(w, RPC_BAD_ANSWER, "the server does not speak HTTP/1.1");
	} else if (status == 101 && has_agreed(w, head)) {
		open_stream(w);
	} else if (status == 101) {
		end(w, RPC_BAD_ANSWER,
		    "the server agrees to something that is no WebSocket");
	} else if (status < 200) {
		buf_clear(&w->in);
		return false;
	} else {
		w->end.http_status = status;
		start_refusal(w, head);
		buf_clear(&w->in);
		loop_later(w->loop, &w->work);
	}
	return true;
}

static bool
is_head(const struct buf *b)
{
	return b->len >= 4 &&
	       memcmp(buf_head(b) + b->len - 4, "\r\n\r\n", 4) == 0;
}

/*
 * A byte at a time up to the head's end, so that none of the frames behind it
 * is taken: they are wslay's to read. The stream may be gone after it.
 */
static void
read_head(struct ws *w)
{
	ssize_t n;
	char c;

	do {
		n = conn_recv(w->conn, &c, 1);
		if (n == -EAGAIN)
			return;
		if (n <= 0 || w->head_len == HEAD_MAX) {
			end(w, RPC_BAD_ANSWER,
			    n <= 0 ? "the server closed the connection instead "
				     "of opening a stream"
				   : "the server's headers are too long");
			return;
		}
		w->head_len++;
		if (buf_add(&w->in, &c, 1) < 0)
			abort();
	} while (!is_head(&w->in) || !take_head(w));
}

static void
read_refusal(struct ws *w)
{
	char data[4096];
	size_t left;
	ssize_t n;

	while (w->in.len < w->body_len) {
		left = w->body_len - w->in.len;
		n = conn_recv(
		    w->conn, data, left < sizeof(data) ? left : sizeof(data));
		if (n == -EAGAIN)
			return;
		if (n <= 0 || buf_add(&w->in, data, (size_t)n) < 0)
			break;
	}
	refuse(w);
}

/* Tells what there is to be read. true when nothing can come any more. */
static bool
recv_frames(struct ws *w)
{
	int r;

	w->budget = BYTES_A_TURN;
	w->looked = false;
	w->inside = true;
	/* It also returns when it has read a part of a frame's head. */
	do
		r = wslay_event_recv(w->wslay);
	while (r == 0 && !w->looked && wslay_event_get_read_enabled(w->wslay));
	w->inside = false;
	return r != 0 || w->too_long ||
	       wslay_event_get_close_received(w->wslay) ||
	       !wslay_event_get_read_enabled(w->wslay);
}

/*
 * A server may say its last words and hang up while a PONG is under way to it:
 * the rest is read still, and no more PONGs are queued.
 */
static void
break_off(struct ws *w)
{
	w->broken = true;
	wslay_event_shutdown_write(w->wslay);
	buf_clear(&w->out);
}

/* Reads what there is, tells it, and writes what that brought. */
static void
read_frames(struct ws *w)
{
	bool was_broken = w->broken, over = recv_frames(w);

	if (w->freed) {
		ws_free(w);
		return;
	}
	if (!w->broken && !send_frames(w))
		break_off(w);
	if (over || (was_broken && !w->paused && w->budget > 0)) {
		w->eof = w->eof || !over;
		end_of_stream(w);
		return;
	}
	if (!tell_room(w)) {
		ws_free(w);
		return;
	}
	/* With PONGs that cannot be sent, reading waits for writing. */
	if (w->crowded && w->out.len > 0) {
		conn_want(w->conn, IO_WRITE);
		return;
	}
	if (w->budget == 0 || w->crowded || w->broken != was_broken)
		loop_later(w->loop, &w->work);
	want(w);
}

/* It has the credential in it, and the stream may live for days. */
static void
wipe_request(struct ws *w)
{
	buf_release(&w->out);
	buf_init(&w->out, 2 * QUEUE_SOFT);
}

/* Does what the state has to be done. The stream may be gone after it. */
static void
work(void *arg)
{
	struct ws *w = arg;

	if (w->state == WS_OPEN) {
		read_frames(w);
		return;
	}
	if (!write_out(w)) {
		end(w, RPC_BAD_ANSWER, "the connection broke");
		return;
	}
	if (w->out.len == 0)
		wipe_request(w);
	conn_want(w->conn, IO_READ | (w->out.len > 0 ? IO_WRITE : 0));
	if (w->state == WS_ASKING)
		read_head(w);
	else
		read_refusal(w);
}

/* ---- the connection ---- */

static void
conn_opened(void *arg, const char *protocol)
{
	struct ws *w = arg;

	(void)protocol; /* HTTP/1.1 is all that was offered */
	w->state = WS_ASKING;
	buf_adds(&w->out, w->request);
	explicit_bzero(w->request, strlen(w->request));
	work(w);
}

static void
conn_failed(void *arg, enum rpc_errno error, const char *why)
{
	end(arg, error, why);
}

static void
conn_ready(void *arg, int events)
{
	(void)events;
	work(arg);
}

static const struct conn_ops conn_ops = {
	.opened = conn_opened,
	.failed = conn_failed,
	.ready = conn_ready,
};

static void
timer_due(void *arg)
{
	struct ws *w = arg;
	uint64_t now = now_ms(), quiet = now - w->heard_ms;
	struct wslay_event_msg ping = { .opcode = WSLAY_PING };

	if (w->state != WS_OPEN) {
		end(w, RPC_TIMEOUT,
		    "the server did not open the stream in time");
		return;
	}
	if (w->paused) {
		/* What the server has said meanwhile is not looked at. */
		timer_set(w->timer, (int64_t)w->ping_after_ms);
	} else if (w->pinged_ms != 0) {
		w->eof = true;
		end(w, RPC_TRUNCATED,
		    "the server does not answer: not even a PING");
	} else if (quiet >= w->ping_after_ms) {
		w->pinged_ms = now;
		wslay_event_queue_msg(w->wslay, &ping);
		loop_later(w->loop, &w->work);
		timer_set(w->timer, (int64_t)w->ping_timeout_ms);
	} else {
		timer_set(w->timer, (int64_t)(w->ping_after_ms - quiet));
	}
}

/* ---- the whole ---- */

struct ws *
ws_open(struct loop *l, struct dialer *d, const struct ws_spec *spec,
    const struct ws_ops *ops, void *arg)
{
	/* In the wire's form: a length, then the name. */
	static const char alpn[] = "\10http/1.1";
	struct ws *w = xcalloc(1, sizeof(*w));

	w->loop = l;
	w->ops = ops;
	w->arg = arg;
	w->ping_after_ms = spec->ping_after_ms;
	w->ping_timeout_ms = spec->ping_timeout_ms;
	buf_init(&w->in, HEAD_MAX + REFUSAL_MAX);
	buf_init(&w->out, 2 * QUEUE_SOFT);
	buf_init(&w->message, spec->max_message);
	later_init(&w->work, work, w);
	w->timer = timer_new(l, timer_due, w);
	timer_set(w->timer, (int64_t)spec->open_timeout_ms);
	w->request = make_request(w, spec);
	w->conn = conn_open(l, d, spec->url, alpn, &conn_ops, w);
	return w;
}

void
ws_free(struct ws *w)
{
	if (w == NULL)
		return;
	w->freed = true;
	if (w->inside)
		return;
	if (w->state == WS_OPEN && !w->broken &&
	    wslay_event_queue_close(
		w->wslay, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0) == 0)
		send_frames(w);
	really_free(w);
}

int
ws_send(struct ws *w, const char *text, size_t n)
{
	struct wslay_event_msg m = {
		.opcode = WSLAY_TEXT_FRAME,
		.msg = (const uint8_t *)text,
		.msg_length = n,
	};

	if (w->state != WS_OPEN)
		return -ENOTCONN;
	if (queued(w) >= QUEUE_SOFT) {
		w->refused_room = true;
		return -EAGAIN;
	}
	if (wslay_event_queue_msg(w->wslay, &m) != 0)
		return -ENOTCONN;
	loop_later(w->loop, &w->work);
	return 0;
}

void
ws_pause(struct ws *w, bool paused)
{
	if (w->paused == paused)
		return;
	w->paused = paused;
	if (w->state != WS_OPEN)
		return;
	if (!paused) {
		/* Its silence was ours. */
		w->heard_ms = now_ms();
		w->pinged_ms = 0;
		timer_set(w->timer, (int64_t)w->ping_after_ms);
	}
	loop_later(w->loop, &w->work);
}
