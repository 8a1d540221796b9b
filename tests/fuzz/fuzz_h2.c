/*
 * The bytes of a server on an HTTP/2 connection with four requests under way:
 * one without a body, one with, one into a sink, one from a source. The input:
 * a byte for how much is read at once, one of things that happen, one for how
 * many 256ths of the bytes have come by then, the bytes. Whatever they are,
 * each request ends once, with a result that makes sense.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#include "daemon/h2.h"
#include "tests/unit/fakes/fake_conn.h"
#include "tests/unit/fakes/fake_loop.h"

#include "proto/banned.h"

#define ORIGIN   "https://a"
#define CALLS    4
#define BODY_MAX 65536

enum happening {
	SINK_WAITS = 1,
	SOURCE_WAITS = 2,
	RESET = 4, /* of the first */
	RETIRE = 8,
	STUCK = 16,         /* the connection takes few bytes */
	BROKEN = 32,        /* it ends with an error */
	RESET_OTHER = 64,   /* who is told of its end resets the next */
	START_ANOTHER = 128 /* and starts one */
};

struct call {
	struct h2_stream stream;
	struct bed *bed;
	int told;
	bool reset;
};

struct bed {
	struct loop *loop;
	struct h2_shared shared;
	struct h2 *h2;
	struct fake_conn *conn;
	int happens;
	bool waits;
	struct http_source source;
	struct http_sink sink;
	size_t source_left;
	struct call calls[CALLS + 1];
};

static char body[20000];

/* ---- the requests ---- */

static void
reset(struct call *c)
{
	if (c->stream.session == NULL)
		return;
	h2_reset(&c->stream);
	c->reset = true;
	fuzz_check(c->told == 0);
}

static void
start(struct call *c, const struct http_request *r)
{
	if (h2_room(c->bed->h2, false) == 0)
		return;
	h2_start(c->bed->h2, &c->stream, r);
}

static void
check_result(const struct call *c)
{
	const struct http_result *r = &c->stream.result;

	fuzz_check(c->told == 1 && !c->reset);
	fuzz_check(c->stream.session == NULL);
	fuzz_check((r->outcome == HTTP_ANSWERED) == (r->error == RPC_OK));
	fuzz_check((r->outcome == HTTP_ANSWERED) == (r->why[0] == '\0'));
	fuzz_check(r->status == 0 || (r->status >= 200 && r->status <= 999));
	fuzz_check(r->outcome != HTTP_ANSWERED || r->status != 0);
	fuzz_check(!r->turned_away || r->outcome == HTTP_NOT_SENT);
	fuzz_check(r->outcome != HTTP_NOT_SENT || r->status == 0);
	fuzz_check(r->body.len <= BODY_MAX);
	fuzz_check(memchr(r->content_type, 0, sizeof(r->content_type)));
	fuzz_check(!r->want_http1);
}

static void
ended(struct h2_stream *s)
{
	struct call *c =
	    (struct call *)(uintptr_t)((char *)s -
				       offsetof(struct call, stream));
	static const struct http_request again = { .method = "GET",
		.url = ORIGIN "/again" };
	struct call *other = c->bed->calls + CALLS;

	c->told++;
	check_result(c);
	if (c->bed->happens & RESET_OTHER && c != other)
		reset(c + 1);
	if (c->bed->happens & START_ANOTHER && c != other &&
	    other->stream.session == NULL && other->told == 0 && !other->reset)
		start(other, &again);
}

static ssize_t
source_read(void *arg, char *data, size_t n)
{
	struct bed *b = arg;

	if (b->waits && b->happens & SOURCE_WAITS)
		return -EAGAIN;
	n = n < b->source_left ? n : b->source_left;
	memset(data, 's', n);
	b->source_left -= n;
	return (ssize_t)n;
}

static int
sink_write(void *arg, const char *data, size_t n)
{
	struct bed *b = arg;

	if (b->waits && b->happens & SINK_WAITS)
		return -EAGAIN;
	fuzz_check(n > 0 && data != NULL);
	return 0;
}

static void
start_all(struct bed *b)
{
	const struct http_request requests[CALLS] = {
		{ .method = "GET", .url = ORIGIN "/1" },
		{ .method = "POST",
		    .url = ORIGIN "/3",
		    .body = body,
		    .body_len = sizeof(body) },
		{ .method = "GET", .url = ORIGIN "/5", .sink = &b->sink },
		{ .method = "PUT", .url = ORIGIN "/7", .source = &b->source },
	};
	int i;

	b->source = (struct http_source){ -1, source_read, b };
	b->sink = (struct http_sink){ sink_write, b };
	for (i = 0; i < CALLS; i++)
		start(&b->calls[i], &requests[i]);
}

/* ---- the connection ---- */

static void
changed(void *arg)
{
	(void)arg;
}

static void
open_all(struct bed *b)
{
	int i;

	b->loop = loop_new();
	b->shared = (struct h2_shared){
		.loop = b->loop,
		.origin = ORIGIN,
		.ping_after_ms = 15000,
		.ping_timeout_ms = 10000,
	};
	for (i = 0; i <= CALLS; i++) {
		b->calls[i].bed = b;
		b->calls[i].stream.ended = ended;
		buf_init(&b->calls[i].stream.result.body, BODY_MAX);
	}
	b->source_left = 1000;
	b->waits = true;
	b->h2 = h2_new(&b->shared, changed, b);
	b->conn = fake_conn_at(0);
	if (b->happens & STUCK)
		fake_conn_limit(b->conn, 200, -EAGAIN);
	fake_conn_open(b->conn, "h2");
	start_all(b);
	fake_loop_settle(b->loop);
}

/* In the middle of what the server says. */
static void
meanwhile(struct bed *b)
{
	int i;

	if (b->happens & RESET)
		reset(&b->calls[0]);
	if (b->happens & RETIRE)
		h2_retire(b->h2);
	b->waits = false;
	for (i = 0; i < CALLS; i++)
		h2_resume(&b->calls[i].stream);
	fake_conn_limit(b->conn, SIZE_MAX, -EAGAIN);
	fake_loop_advance(b->loop, 16000);
}

static void
close_all(struct bed *b)
{
	size_t in_memory = 0;
	struct call *c;

	fake_conn_end(b->conn, b->happens & BROKEN ? -ECONNRESET : 0);
	fake_loop_settle(b->loop);
	fuzz_check(h2_state(b->h2) == H2_CLOSED);
	fuzz_check(b->conn->conn == NULL);
	for (c = b->calls; c <= b->calls + CALLS; c++) {
		fuzz_check(c->stream.session == NULL);
		/* All were started, but for the one that may be. */
		fuzz_check(c == b->calls + CALLS || c->told + c->reset == 1);
		in_memory += c->stream.result.body.len;
		buf_release(&c->stream.result.body);
	}
	fuzz_check(in_memory == b->shared.bodies);
	h2_free(b->h2);
	fake_conn_forget();
	loop_free(b->loop);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bed b = { 0 };
	size_t half;

	if (size < 3)
		return 0;
	b.happens = data[1];
	half = (size - 3) * data[2] / 256;
	open_all(&b);
	b.conn->chunk = (size_t)data[0] * 64 + 1;
	fake_conn_feed(b.conn, data + 3, half);
	fake_loop_settle(b.loop);
	meanwhile(&b);
	fake_conn_feed(b.conn, data + 3 + half, size - 3 - half);
	fake_loop_settle(b.loop);
	close_all(&b);
	return 0;
}
