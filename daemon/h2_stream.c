#include "daemon/h2_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"

#include "proto/banned.h"

#define HEADERS_MAX 16 /* of a request, with those of our own */
#define INTERIM_MAX 32 /* 1xx before an answer */

#define BROKEN_RULES "the server's answer breaks the rules of HTTP/2"

/* ---- results ---- */

enum http_outcome
h2_outcome(const struct h2_stream *s)
{
	/*
	 * A request can be carried out only once its body is there. What was
	 * handed to nghttp2's frames counts: it is written even if its stream
	 * ends meanwhile.
	 */
	bool written = s->has_body ? s->body_written : s->head_written;

	return s->headers_came || written ? HTTP_UNKNOWN : HTTP_NOT_SENT;
}

/* It is told of when nghttp2 has returned. */
static void
finish(struct h2_stream *s)
{
	struct h2 *h = s->session;

	s->finished = true;
	TAILQ_REMOVE(&h->busy, s, entry);
	TAILQ_INSERT_TAIL(&h->ended, s, entry);
	if (h->ng != NULL && s->id > 0)
		nghttp2_session_set_stream_user_data(h->ng, s->id, NULL);
	h->used_ms = now_ms();
	h->idle_frames = 0;
	h->news = true;
}

static void
answered(struct h2_stream *s)
{
	struct h2 *h = s->session;

	s->result.outcome = HTTP_ANSWERED;
	h->proven = true;
	finish(s);
	/* The server has said all before it has read all. */
	if (s->id > 0 && (s->body_left > 0 || s->source != NULL))
		nghttp2_submit_rst_stream(
		    h->ng, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
}

static void
failed(struct h2_stream *s, enum http_outcome outcome, enum rpc_errno error,
    const char *why)
{
	s->result.outcome = outcome;
	s->result.error = error;
	if (!s->headers_came)
		s->result.status = 0; /* of headers that broke off */
	snprintf(s->result.why, sizeof(s->result.why), "%s", why);
	finish(s);
}

/* Of a connection, or a stream, that broke off through no fault of ours. */
void
h2_stream_broke_off(struct h2_stream *s, const char *why)
{
	enum http_outcome outcome = h2_outcome(s);

	s->result.turned_away = outcome == HTTP_NOT_SENT && s->session->left;
	if (s->headers_came)
		failed(s, outcome, RPC_TRUNCATED, why);
	else if (outcome == HTTP_NOT_SENT)
		failed(s, outcome, RPC_UNREACHABLE, why);
	else
		failed(s, outcome, RPC_OUTCOME_UNKNOWN, why);
}

static void
explain_fault(const struct h2_stream *s, char *why, size_t n)
{
	if (s->fault == RPC_DATA_SOCKET)
		snprintf(why, n, "the data socket failed: %s",
		    strerror(s->fault_errno));
	else if (s->header_bytes > H2_HEADER_BYTES_MAX)
		snprintf(why, n,
		    "the answer's headers are larger than %d bytes",
		    H2_HEADER_BYTES_MAX);
	else if (s->fault == RPC_BAD_ANSWER && s->interim <= INTERIM_MAX)
		snprintf(why, n, "%s", BROKEN_RULES);
	else if (s->fault == RPC_BAD_ANSWER)
		snprintf(why, n,
		    "the server announces an answer again and "
		    "again, and sends none");
	else if (s->crowded)
		snprintf(why, n,
		    "the large answers under way are more than %d bytes "
		    "together",
		    LIMIT_BODIES);
	else
		snprintf(why, n, "the answer is larger than %zu bytes",
		    s->result.body.max);
}

static void
end_by_fault(struct h2_stream *s)
{
	char why[256];

	explain_fault(s, why, sizeof(why));
	failed(s, h2_outcome(s), s->fault, why);
}

/* We will have no more of the answer. */
static void
refuse_answer(struct h2_stream *s, enum rpc_errno fault)
{
	struct h2 *h = s->session;

	s->fault = fault;
	nghttp2_submit_rst_stream(
	    h->ng, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
	end_by_fault(s);
	/* At once: of many that come together, one may make room for another.
	 */
	h->shared->bodies -= s->result.body.len;
	buf_release(&s->result.body);
}

/* ---- the answer ---- */

static int
begin_headers_cb(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h = arg;

	(void)ng;
	(void)frame;
	h->block_bytes = 0;
	return 0;
}

static bool
is_name(const uint8_t *name, size_t n, const char *text)
{
	return n == strlen(text) && memcmp(name, text, n) == 0;
}

/* nghttp2 has checked that a :status is three digits, and comes once. */
static void
take_header(struct h2_stream *s, const uint8_t *name, size_t name_len,
    const uint8_t *value, size_t value_len)
{
	if (s->headers_came)
		return; /* a trailer */
	if (is_name(name, name_len, ":status"))
		s->result.status = (value[0] - '0') * 100 +
				   (value[1] - '0') * 10 + (value[2] - '0');
	else if (is_name(name, name_len, "content-type"))
		snprintf(s->result.content_type, sizeof(s->result.content_type),
		    "%.*s", (int)value_len, (const char *)value);
}

static int
header_cb(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
    size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
    void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *s =
	    nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);

	(void)flags;
	h->block_bytes += name_len + value_len + 32;
	if (s != NULL)
		s->header_bytes = h->block_bytes;
	if (h->block_bytes > H2_HEADER_BYTES_MAX) {
		if (s != NULL)
			s->fault = RPC_TOO_LARGE;
		/* Resets the stream; on_stream_close follows. */
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	if (s != NULL)
		take_header(s, name, name_len, value, value_len);
	return 0;
}

/* Takes a piece of an answer into memory, as far as the limits go. */
static bool
keep_body(struct h2_stream *s, const uint8_t *data, size_t n)
{
	size_t *bodies = &s->session->shared->bodies;
	struct buf *body = &s->result.body;

	s->crowded =
	    body->len + n > LIMIT_BODY_SMALL && *bodies + n > LIMIT_BODIES;
	if (s->crowded || buf_add(body, data, n) < 0)
		return false;
	*bodies += n;
	return true;
}

/* Whether the piece was taken; else it is held back, or the stream ended. */
static bool
give_sink(struct h2_stream *s, const uint8_t *data, size_t n)
{
	int r = -EAGAIN;

	if (!s->sink_waits)
		r = s->sink->write(s->sink->arg, (const char *)data, n);
	if (r == 0)
		return true;
	if (r == -EAGAIN && buf_add(&s->held, data, n) == 0) {
		s->sink_waits = true;
		return false;
	}
	s->fault_errno = r == -EAGAIN ? ENOBUFS : -r;
	refuse_answer(s, RPC_DATA_SOCKET);
	return false;
}

static bool
goes_to_sink(const struct h2_stream *s)
{
	return s->sink != NULL && s->result.status >= 200 &&
	       s->result.status < 300;
}

/*
 * The connection's window opens at once, so that no stream holds up another;
 * that of a stream whose sink waits, only when it goes on.
 */
static int
data_cb(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data,
    size_t n, void *arg)
{
	struct h2_stream *s = nghttp2_session_get_stream_user_data(ng, id);
	bool taken = true;

	(void)flags;
	(void)arg;
	nghttp2_session_consume_connection(ng, n);
	if (s != NULL) {
		s->moved++;
		if (goes_to_sink(s))
			taken = give_sink(s, data, n);
		else if (!keep_body(s, data, n))
			refuse_answer(s, RPC_TOO_LARGE);
	}
	if (taken)
		nghttp2_session_consume_stream(ng, id, n);
	return 0;
}

static void
headers_end(struct h2_stream *s)
{
	s->moved++;
	if (s->headers_came)
		return;
	s->headers_came = s->result.status >= 200;
	if (s->headers_came)
		return;
	/* nghttp2 takes any three digits for a status. */
	if (s->result.status < 100 || ++s->interim > INTERIM_MAX)
		refuse_answer(s, RPC_BAD_ANSWER);
	s->result.status = 0;
	s->result.content_type[0] = '\0';
}

static void
message_end(struct h2_stream *s)
{
	s->whole = true;
	if (!s->sink_waits)
		answered(s);
}

/* Why a stream closed that was not answered. */
static void
closed_early(struct h2_stream *s, uint32_t code)
{
	struct h2 *h = s->session;
	char why[256];

	/* nghttp2 says the same of streams above the last of a GOAWAY. */
	if ((code == NGHTTP2_REFUSED_STREAM && !s->headers_came) ||
	    h2_outcome(s) == HTTP_NOT_SENT) {
		s->result.turned_away = true;
		failed(s, HTTP_NOT_SENT, RPC_UNREACHABLE,
		    h->why[0] ? h->why : "the server refused the request");
		return;
	}
	if (!s->reset_by_server) {
		failed(s, HTTP_UNKNOWN, RPC_BAD_ANSWER, BROKEN_RULES);
		return;
	}
	snprintf(why, sizeof(why), "the server reset the stream: %s",
	    nghttp2_http2_strerror(code));
	h2_stream_broke_off(s, why);
}

void
h2_stream_frame(struct h2_stream *s, const nghttp2_frame *f)
{
	bool message =
	    f->hd.type == NGHTTP2_HEADERS || f->hd.type == NGHTTP2_DATA;

	if (f->hd.type == NGHTTP2_RST_STREAM)
		s->reset_by_server = true;
	if (f->hd.type == NGHTTP2_HEADERS)
		headers_end(s);
	if (message && (f->hd.flags & NGHTTP2_FLAG_END_STREAM) && !s->finished)
		message_end(s);
}

void
h2_stream_closed(struct h2_stream *s, uint32_t code)
{
	s->id = -1;
	if (s->fault != RPC_OK)
		end_by_fault(s);
	else if (!s->whole)
		closed_early(s, code);
}

/* ---- the request ---- */

static int
before_send_cb(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2_stream *s;

	(void)arg;
	if (f->hd.type != NGHTTP2_HEADERS)
		return 0;
	s = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);
	if (s != NULL)
		s->head_written = true;
	return 0;
}

static ssize_t
read_source(struct h2_stream *s, uint8_t *data, size_t n, uint32_t *flags)
{
	ssize_t r = s->source->read(s->source->arg, (char *)data, n);

	if (r == -EAGAIN) {
		s->source_waits = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (r < 0) {
		s->fault = RPC_DATA_SOCKET;
		s->fault_errno = (int)-r;
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	if (r == 0) {
		s->source = NULL;
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	}
	return r;
}

static ssize_t
read_body(struct h2_stream *s, uint8_t *data, size_t n, uint32_t *flags)
{
	if (s->source != NULL)
		return read_source(s, data, n, flags);
	n = n < s->body_left ? n : s->body_left;
	memcpy(data, s->body, n);
	s->body += n;
	s->body_left -= n;
	if (s->body_left == 0)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static ssize_t
body_cb(nghttp2_session *ng, int32_t id, uint8_t *data, size_t n,
    uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct h2_stream *s = nghttp2_session_get_stream_user_data(ng, id);
	ssize_t r;

	(void)source;
	(void)arg;
	if (s == NULL)
		return NGHTTP2_ERR_DEFERRED; /* it is about to be reset */
	r = read_body(s, data, n, flags);
	if (r < 0)
		return r;
	s->body_written = true;
	s->moved++;
	return r;
}

void
h2_stream_callbacks(nghttp2_session_callbacks *cb)
{
	nghttp2_session_callbacks_set_on_begin_headers_callback(
	    cb, begin_headers_cb);
	nghttp2_session_callbacks_set_on_header_callback(cb, header_cb);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, data_cb);
	nghttp2_session_callbacks_set_before_frame_send_callback(
	    cb, before_send_cb);
}

static nghttp2_nv
header(const char *name, size_t name_len, const char *value, size_t value_len)
{
	return (nghttp2_nv){
		.name = (uint8_t *)(uintptr_t)name,
		.namelen = name_len,
		.value = (uint8_t *)(uintptr_t)value,
		.valuelen = value_len,
	};
}

/* "Name: value"; nghttp2 makes the name's letters small. */
static nghttp2_nv
header_line(const char *line)
{
	size_t n = strcspn(line, ":");
	const char *value = line + n + 1;

	value += strspn(value, " ");
	return header(line, n, value, strlen(value));
}

/* A list of headers in the making. */
struct header_list {
	nghttp2_nv nv[HEADERS_MAX];
	size_t count;
	char length[24];
};

static void
add_header(struct header_list *l, nghttp2_nv nv)
{
	if (l->count == HEADERS_MAX)
		abort(); /* requests are our own */
	l->nv[l->count++] = nv;
}

#define ADD_HEADER(l, name, value) \
	add_header(l, header(name, sizeof(name) - 1, value, strlen(value)))

static void
add_length(struct header_list *l, const struct http_request *r)
{
	int64_t n = (int64_t)r->body_len;

	if (r->source != NULL)
		n = r->source->length;
	if (n < 0 || (n == 0 && strcmp(r->method, "POST") != 0))
		return;
	snprintf(l->length, sizeof(l->length), "%lld", (long long)n);
	ADD_HEADER(l, "content-length", l->length);
}

static void
make_headers(
    struct header_list *l, const struct http_request *r, const char *origin)
{
	const char *authority = strstr(origin, "://") + 3;
	const char *path = r->url + strlen(origin);
	size_t i;

	l->count = 0;
	ADD_HEADER(l, ":method", r->method);
	add_header(
	    l, header(":scheme", 7, origin, (size_t)(authority - 3 - origin)));
	ADD_HEADER(l, ":authority", authority);
	ADD_HEADER(l, ":path", path[0] == '/' ? path : "/");
	ADD_HEADER(l, "user-agent", PACKAGE "/" VERSION);
	ADD_HEADER(l, "accept", "*/*");
	for (i = 0; i < r->header_count; i++)
		add_header(l, header_line(r->headers[i]));
	add_length(l, r);
	if (r->credential == NULL)
		return;
	add_header(l, header_line(r->credential));
	/* Never in a table: not in ours, nor in that of a proxy behind. */
	l->nv[l->count - 1].flags = NGHTTP2_NV_FLAG_NO_INDEX;
}

static void
stream_init(struct h2_stream *s, struct h2 *h, const struct http_request *r)
{
	s->session = h;
	s->body = r->body;
	s->body_left = r->body_len;
	s->source = r->source;
	s->sink = r->sink;
	s->has_body = r->body_len > 0 || r->source != NULL;
	s->fault = RPC_OK;
	buf_init(&s->held, H2_STREAM_WINDOW);
}

void
h2_start(struct h2 *h, struct h2_stream *s, const struct http_request *r)
{
	nghttp2_data_provider body = { .read_callback = body_cb };
	struct header_list l;

	stream_init(s, h, r);
	make_headers(&l, r, h->shared->origin);
	s->id = nghttp2_submit_request(
	    h->ng, NULL, l.nv, l.count, s->has_body ? &body : NULL, s);
	if (s->id < 0)
		abort(); /* no memory: there is room, and the ids last long */
	TAILQ_INSERT_TAIL(&h->busy, s, entry);
	h->streams++;
	h->carried = true;
	h->used_ms = now_ms();
	h2_flush(h);
}

void
h2_reset(struct h2_stream *s)
{
	struct h2 *h = s->session;

	if (h == NULL)
		return;
	if (s->finished) {
		TAILQ_REMOVE(&h->ended, s, entry);
	} else {
		TAILQ_REMOVE(&h->busy, s, entry);
		if (s->id > 0) {
			nghttp2_session_set_stream_user_data(
			    h->ng, s->id, NULL);
			nghttp2_submit_rst_stream(
			    h->ng, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
		}
	}
	buf_release(&s->held);
	s->session = NULL;
	h->news = true;
	h2_flush(h);
}

/* The sink has room for what it was refused. */
static void
give_held(struct h2_stream *s)
{
	struct h2 *h = s->session;
	size_t n = s->held.len;
	int r = 0;

	s->sink_waits = false;
	if (n > 0)
		r = s->sink->write(s->sink->arg, buf_head(&s->held), n);
	if (r == -EAGAIN) {
		s->sink_waits = true;
		return;
	}
	buf_release(&s->held);
	if (r < 0) {
		s->fault_errno = -r;
		if (s->id > 0)
			refuse_answer(s, RPC_DATA_SOCKET);
		else
			failed(s, HTTP_UNKNOWN, RPC_DATA_SOCKET, strerror(-r));
		return;
	}
	if (s->id > 0)
		nghttp2_session_consume_stream(h->ng, s->id, n);
	if (s->whole)
		answered(s);
}

void
h2_resume(struct h2_stream *s)
{
	struct h2 *h = s->session;

	if (h == NULL || s->finished)
		return;
	if (s->sink_waits)
		give_held(s);
	if (s->source_waits && !s->finished) {
		s->source_waits = false;
		nghttp2_session_resume_data(h->ng, s->id);
	}
	h2_flush(h);
}
