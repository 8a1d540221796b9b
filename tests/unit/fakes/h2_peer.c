#include "tests/unit/fakes/h2_peer.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fakes/fake_conn.h"

#include "proto/banned.h"

#define MAX_HEADERS 64

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "HTTP/2 peer: %s\n", what);
	abort();
}

/* ---- what comes ---- */

static struct h2_request *
request_add(struct h2_peer *p, int32_t id)
{
	struct h2_request *r = &p->requests[p->count++];

	must(p->count <= H2_PEER_REQUESTS, "too many requests");
	*r = (struct h2_request){ .id = id };
	buf_init(&r->headers, SIZE_MAX);
	buf_init(&r->hidden, SIZE_MAX);
	buf_init(&r->body, SIZE_MAX);
	buf_init(&r->answer, SIZE_MAX);
	return r;
}

static int
begin_cb(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2_peer *p = arg;

	if (f->headers.cat == NGHTTP2_HCAT_REQUEST)
		nghttp2_session_set_stream_user_data(
		    ng, f->hd.stream_id, request_add(p, f->hd.stream_id));
	return 0;
}

static int
header_cb(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name,
    size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
    void *arg)
{
	struct h2_request *r =
	    nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);

	(void)arg;
	buf_addf(&r->headers, "%.*s: %.*s\n", (int)name_len, (const char *)name,
	    (int)value_len, (const char *)value);
	if (flags & NGHTTP2_NV_FLAG_NO_INDEX)
		buf_addf(
		    &r->hidden, "%.*s\n", (int)name_len, (const char *)name);
	return 0;
}

static int
data_cb(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data,
    size_t n, void *arg)
{
	struct h2_request *r = nghttp2_session_get_stream_user_data(ng, id);
	struct h2_peer *p = arg;

	(void)flags;
	buf_add(&r->body, data, n);
	nghttp2_session_consume_connection(ng, n);
	if (!p->stingy)
		nghttp2_session_consume_stream(ng, id, n);
	return 0;
}

static int
frame_cb(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2_peer *p = arg;
	struct h2_request *r =
	    nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);

	if (f->hd.type == NGHTTP2_PING && f->hd.flags & NGHTTP2_FLAG_ACK)
		p->pongs++;
	else if (f->hd.type == NGHTTP2_PING)
		p->pings++;
	if (f->hd.type == NGHTTP2_WINDOW_UPDATE)
		p->updates++;
	if (f->hd.type == NGHTTP2_GOAWAY) {
		p->goaways++;
		p->goaway_code = f->goaway.error_code;
	}
	if (r != NULL && f->hd.flags & NGHTTP2_FLAG_END_STREAM &&
	    (f->hd.type == NGHTTP2_HEADERS || f->hd.type == NGHTTP2_DATA))
		r->ended = true;
	return 0;
}

static int
close_cb(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
	struct h2_request *r = nghttp2_session_get_stream_user_data(ng, id);

	(void)arg;
	if (r == NULL)
		return 0;
	r->closed = true;
	r->code = code;
	return 0;
}

/* The client has broken a rule: a fault of what is tested. */
static int
invalid_cb(nghttp2_session *ng, const nghttp2_frame *f, int error, void *arg)
{
	(void)ng;
	(void)f;
	(void)arg;
	fprintf(stderr, "HTTP/2 peer: %s\n", nghttp2_strerror(error));
	abort();
}

void
h2_peer_init(struct h2_peer *p, struct fake_conn *c, uint32_t streams)
{
	nghttp2_settings_entry limit = {
		NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams
	};
	nghttp2_session_callbacks *cb;
	nghttp2_option *option;

	*p = (struct h2_peer){ .conn = c };
	must(nghttp2_session_callbacks_new(&cb) == 0, "no memory");
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, begin_cb);
	nghttp2_session_callbacks_set_on_header_callback(cb, header_cb);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, data_cb);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, frame_cb);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, close_cb);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(
	    cb, invalid_cb);
	must(nghttp2_option_new(&option) == 0, "no memory");
	nghttp2_option_set_no_auto_window_update(option, 1);
	must(nghttp2_session_server_new2(&p->ng, cb, p, option) == 0,
	    "no memory");
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(cb);
	nghttp2_submit_settings(
	    p->ng, NGHTTP2_FLAG_NONE, &limit, streams == 0 ? 0 : 1);
}

void
h2_peer_release(struct h2_peer *p)
{
	struct h2_request *r;

	for (r = p->requests; r < p->requests + p->count; r++) {
		buf_release(&r->headers);
		buf_release(&r->hidden);
		buf_release(&r->body);
		buf_release(&r->answer);
	}
	nghttp2_session_del(p->ng);
	p->ng = NULL;
	p->count = 0;
}

bool
h2_peer_pump(struct h2_peer *p)
{
	struct fake_conn *c = p->conn;
	size_t n = c->taken - p->seen;
	const uint8_t *out;
	bool any = n > 0;
	ssize_t r;

	if (any) {
		r = nghttp2_session_mem_recv(
		    p->ng, (const uint8_t *)buf_head(&c->offered) + p->seen, n);
		must(r == (ssize_t)n, "that is no HTTP/2");
		p->seen = c->taken;
	}
	while (!p->quiet && (r = nghttp2_session_mem_send(p->ng, &out)) > 0) {
		fake_conn_feed(c, out, (size_t)r);
		any = true;
	}
	return any;
}

/* ---- what goes ---- */

/* nghttp2 copies names and values. */
static size_t
parse_lines(nghttp2_nv *nv, size_t n, const char *lines)
{
	const char *colon, *end;

	while (lines[0] != '\0') {
		colon = strstr(lines, ": ");
		end = strchr(lines, '\n');
		must(n < MAX_HEADERS && colon != NULL && end != NULL,
		    "no headers");
		nv[n++] = (nghttp2_nv){
			.name = (uint8_t *)(uintptr_t)lines,
			.namelen = (size_t)(colon - lines),
			.value = (uint8_t *)(uintptr_t)(colon + 2),
			.valuelen = (size_t)(end - colon - 2),
		};
		lines = end + 1;
	}
	return n;
}

static ssize_t
answer_cb(nghttp2_session *ng, int32_t id, uint8_t *data, size_t n,
    uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct h2_request *r = source->ptr;
	nghttp2_nv nv[MAX_HEADERS];

	(void)arg;
	if (r->answer.len == 0 && !r->answer_ends)
		return NGHTTP2_ERR_DEFERRED;
	n = n < r->answer.len ? n : r->answer.len;
	if (n > 0)
		memcpy(data, buf_head(&r->answer), n);
	buf_consume(&r->answer, n);
	if (r->answer.len > 0 || !r->answer_ends)
		return (ssize_t)n;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (r->trailers != NULL) {
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		nghttp2_submit_trailer(
		    ng, id, nv, parse_lines(nv, 0, r->trailers));
	}
	return (ssize_t)n;
}

static struct h2_request *
request_at(struct h2_peer *p, int i)
{
	must(i < p->count, "there is no such request");
	return &p->requests[i];
}

void
h2_peer_head(struct h2_peer *p, int i, int status, const char *lines, bool end)
{
	struct h2_request *r = request_at(p, i);
	nghttp2_data_provider body = { { .ptr = r }, answer_cb };
	nghttp2_nv nv[MAX_HEADERS];
	char all[8192];
	size_t n;

	snprintf(all, sizeof(all), ":status: %03d\n%s", status, lines);
	n = parse_lines(nv, 0, all);
	/* The colon that begins the name is part of it. */
	must(nv[0].namelen == 7, "no status");
	if (end || (status >= 100 && status < 200))
		nghttp2_submit_headers(p->ng,
		    end ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE, r->id,
		    NULL, nv, n, NULL);
	else
		nghttp2_submit_response(p->ng, r->id, nv, n, &body);
}

void
h2_peer_body(struct h2_peer *p, int i, const void *data, size_t n, bool end)
{
	struct h2_request *r = request_at(p, i);

	buf_add(&r->answer, data, n);
	r->answer_ends = end;
	nghttp2_session_resume_data(p->ng, r->id);
}

void
h2_peer_trailers(struct h2_peer *p, int i, const char *lines)
{
	request_at(p, i)->trailers = lines;
	h2_peer_body(p, i, "", 0, true);
}

void
h2_peer_answer(struct h2_peer *p, int i, int status, const char *body)
{
	h2_peer_head(p, i, status, "content-type: text/plain\n", false);
	h2_peer_body(p, i, body, strlen(body), true);
}

void
h2_peer_reset(struct h2_peer *p, int i, uint32_t code)
{
	nghttp2_submit_rst_stream(
	    p->ng, NGHTTP2_FLAG_NONE, request_at(p, i)->id, code);
}

void
h2_peer_goaway(struct h2_peer *p, int32_t last, uint32_t code)
{
	nghttp2_submit_goaway(p->ng, NGHTTP2_FLAG_NONE, last, code, NULL, 0);
}

void
h2_peer_setting(struct h2_peer *p, int32_t id, uint32_t value)
{
	nghttp2_settings_entry entry = { id, value };

	nghttp2_submit_settings(p->ng, NGHTTP2_FLAG_NONE, &entry, 1);
}

void
h2_peer_raw_frame(struct h2_peer *p, int type, int flags, int32_t id,
    const void *payload, size_t n)
{
	const uint8_t head[9] = { (uint8_t)(n >> 16), (uint8_t)(n >> 8),
		(uint8_t)n, (uint8_t)type, (uint8_t)flags, (uint8_t)(id >> 24),
		(uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id };

	fake_conn_feed(p->conn, head, sizeof(head));
	fake_conn_feed(p->conn, payload, n);
}
