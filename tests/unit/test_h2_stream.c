#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "proto/limits.h"
#include "proto/xalloc.h"
#include "tests/unit/fakes/h2_bed.h"

#include "proto/banned.h"

#define MAGIC       24 /* bytes that a client begins with */
#define RECORD      16384
#define WINDOW      (1024 * 1024)
#define INTERIM_MAX 32

static void
expect(const struct h2_call *c, enum http_outcome outcome, enum rpc_errno error)
{
	assert_int_equal(c->ended, 1);
	assert_null(c->stream.session);
	assert_int_equal(c->stream.result.outcome, outcome);
	assert_int_equal(c->stream.result.error, error);
	assert_int_equal(
	    c->stream.result.why[0] != '\0', outcome != HTTP_ANSWERED);
}

static void
expect_answer(struct h2_call *c, int status, const char *body)
{
	expect(c, HTTP_ANSWERED, RPC_OK);
	assert_int_equal(c->stream.result.status, status);
	assert_string_equal(buf_str(&c->stream.result.body), body);
}

/* The peer allows so many bytes of each body from now on. */
static void
narrow(struct h2_bed *b, uint32_t window)
{
	b->peer.stingy = true;
	h2_peer_setting(&b->peer, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window);
	h2_bed_run(b);
}

/* ---- broken off while the request is sent ---- */

/* What was never offered was not sent; of all else nothing is known. */
static void
expect_as_offered(struct h2_bed *b, const struct h2_call *c, int type)
{
	int32_t id = 2 * (int32_t)(c - b->calls) + 1;

	if (h2_bed_find(&b->conn->offered, MAGIC, type, id) == SIZE_MAX)
		expect(c, HTTP_NOT_SENT, RPC_UNREACHABLE);
	else
		expect(c, HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
}

/*
 * Three requests in the turn in which the connection comes to stand, of which
 * it takes n bytes. Returns how many requests may have been seen.
 */
static int
cut_after(size_t n, int then, const char *body, size_t body_len)
{
	struct h2_bed *b = xcalloc(1, sizeof(*b));
	int i, unknown = 0;

	h2_bed_init(b, 100);
	fake_conn_limit(b->conn, n, then);
	fake_conn_open(b->conn, "h2");
	h2_bed_post(b, body, body_len);
	h2_bed_post(b, "{}", 2);
	h2_bed_get(b);
	fake_loop_settle(b->loop);
	assert_true(b->conn->taken <= n);
	fake_conn_end(b->conn, 0);
	fake_loop_settle(b->loop);
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
	expect_as_offered(b, &b->calls[0], NGHTTP2_DATA);
	expect_as_offered(b, &b->calls[1], NGHTTP2_DATA);
	expect_as_offered(b, &b->calls[2], NGHTTP2_HEADERS);
	for (i = 0; i < 3; i++)
		unknown += b->calls[i].stream.result.outcome == HTTP_UNKNOWN;
	h2_bed_release(b);
	free(b);
	return unknown;
}

/* Every byte, but for the middle of a record. */
static void
cut_everywhere(int then)
{
	int seen[4] = { 0 };
	char body[RECORD + 100];
	size_t n, end = sizeof(body) + 500;

	memset(body, 'b', sizeof(body));
	for (n = 0; n<end; n += n> 300 && n < RECORD - 300 ? 89 : 1)
		seen[cut_after(n, then, body, sizeof(body))]++;
	/* The first record holds none, or a body and what has none. */
	assert_true(seen[2] > 0 && seen[3] > 0);
	assert_int_equal(seen[1], 0);
}

static void
cut_while_it_waits_to_be_written(void **state)
{
	(void)state;
	cut_everywhere(-EAGAIN);
}

static void
cut_by_a_write_that_fails(void **state)
{
	(void)state;
	cut_everywhere(-EPIPE);
}

/* The buffer is full of what the connection does not take. */
static void
nothing_is_offered_behind_what_is_stuck(void **state)
{
	struct h2_bed *b = *state;
	char body[RECORD];
	struct h2_call *c;

	memset(body, 'b', sizeof(body));
	fake_conn_limit(b->conn, 0, -EAGAIN);
	h2_bed_post(b, body, sizeof(body));
	fake_loop_settle(b->loop);
	c = h2_bed_get(b);
	fake_loop_settle(b->loop);
	assert_int_equal(h2_outcome(&b->calls[0].stream), HTTP_UNKNOWN);
	assert_int_equal(h2_outcome(&c->stream), HTTP_NOT_SENT);
	fake_conn_end(b->conn, -ECONNRESET);
	fake_loop_settle(b->loop);
	expect(c, HTTP_NOT_SENT, RPC_UNREACHABLE);
}

/* The server has the headers, but can do nothing without the body. */
static void
headers_alone_are_no_request(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c, *d;

	narrow(b, 0);
	c = h2_bed_post(b, "{}", 2);
	d = h2_bed_post(b, "{}", 2);
	h2_bed_run(b);
	assert_int_equal(b->peer.count, 2);
	assert_false(b->peer.requests[0].ended);
	assert_int_equal(h2_outcome(&c->stream), HTTP_NOT_SENT);
	nghttp2_submit_window_update(b->peer.ng, NGHTTP2_FLAG_NONE, 1, 1);
	h2_bed_run(b);
	assert_buf_equal(&b->peer.requests[0].body, "{");
	assert_int_equal(h2_outcome(&c->stream), HTTP_UNKNOWN);
	fake_conn_end(b->conn, 0);
	h2_bed_run(b);
	expect(c, HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
	expect(d, HTTP_NOT_SENT, RPC_UNREACHABLE);
	assert_false(d->stream.result.turned_away);
}

/* ---- broken off while the answer comes ---- */

/* The bytes of an answer to the first request on a connection. */
static void
record_answer(struct buf *ret)
{
	struct h2_bed *b = xcalloc(1, sizeof(*b));

	h2_bed_init(b, 100);
	h2_bed_open(b);
	h2_bed_get(b);
	h2_bed_run(b);
	h2_peer_head(&b->peer, 0, 103, "link: </a>\n", false);
	h2_peer_head(&b->peer, 0, 200, "content-type: text/plain\n", false);
	h2_peer_body(&b->peer, 0, "hello, ", 7, false);
	h2_peer_pump(&b->peer);
	h2_peer_body(&b->peer, 0, "world", 5, true);
	h2_peer_pump(&b->peer);
	buf_init(ret, SIZE_MAX);
	buf_add(ret, buf_head(&b->conn->in), b->conn->in.len);
	fake_loop_settle(b->loop);
	expect_answer(&b->calls[0], 200, "hello, world");
	h2_bed_release(b);
	free(b);
}

static void
a_whole_answer_counts_and_a_part_does_not(void **state)
{
	static const int ends[] = { 0, -ECONNRESET };
	struct buf bytes;
	size_t n, head, i;

	(void)state;
	record_answer(&bytes);
	/* Where the final headers end and the body begins. */
	head = h2_bed_find(&bytes, 0, NGHTTP2_DATA, 1);
	for (n = 0; n <= bytes.len; n++)
		for (i = 0; i < COUNT(ends); i++) {
			struct h2_bed *b = xcalloc(1, sizeof(*b));
			struct h2_call *c;

			h2_bed_init(b, 100);
			h2_bed_open(b);
			c = h2_bed_get(b);
			h2_bed_run(b);
			fake_conn_feed(b->conn, buf_head(&bytes), n);
			fake_conn_end(b->conn, ends[i]);
			fake_loop_settle(b->loop);
			if (n == bytes.len)
				expect_answer(c, 200, "hello, world");
			else if (n >= head)
				expect(c, HTTP_UNKNOWN, RPC_TRUNCATED);
			else
				expect(c, HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
			assert_int_equal(
			    c->stream.result.status, n >= head ? 200 : 0);
			h2_bed_release(b);
			free(b);
		}
	buf_release(&bytes);
}

/* A server may say all before it has read all (RFC 9113, 8.1). */
static void
an_answer_may_come_before_the_body_is_sent(void **state)
{
	static const uint32_t codes[] = { NGHTTP2_NO_ERROR, NGHTTP2_CANCEL };
	struct h2_bed *b = *state;
	struct h2_call *c;
	char *body;
	int i;

	narrow(b, 3);
	for (i = 0; i < (int)COUNT(codes); i++) {
		body = xstrdup("0123456789");
		c = h2_bed_post(b, body, 10);
		h2_bed_run(b);
		h2_peer_answer(&b->peer, i, 413, "too much");
		h2_peer_pump(&b->peer);
		if (i > 0)
			h2_peer_reset(&b->peer, i, codes[i]);
		h2_bed_run(b);
		expect_answer(c, 413, "too much");
		/* It was lent until now. */
		free(body);
		h2_bed_run(b);
		assert_true(b->peer.requests[i].closed);
		assert_int_equal(b->peer.requests[i].code, NGHTTP2_CANCEL);
		assert_buf_equal(&b->peer.requests[i].body, "012");
	}
	assert_int_equal(h2_room(b->h2, false), 100);
}

/* Nothing of the body was offered, but the server has begun to say something.
 */
static void
an_answer_that_begins_makes_it_unknown(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c, *d;

	narrow(b, 0);
	c = h2_bed_post(b, "{}", 2);
	d = h2_bed_post(b, "{}", 2);
	h2_bed_run(b);
	h2_peer_head(&b->peer, 0, 200, "", false);
	h2_peer_head(&b->peer, 1, 200, "", false);
	h2_bed_run(b);
	h2_peer_reset(&b->peer, 0, NGHTTP2_INTERNAL_ERROR);
	h2_bed_run(b);
	expect(c, HTTP_UNKNOWN, RPC_TRUNCATED);
	fake_conn_end(b->conn, 0);
	h2_bed_run(b);
	expect(d, HTTP_UNKNOWN, RPC_TRUNCATED);
}

/* ---- resets by the server ---- */

static void
a_refused_stream_was_not_processed(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_post(b, "{}", 2);

	h2_bed_run(b);
	h2_peer_reset(&b->peer, 0, NGHTTP2_REFUSED_STREAM);
	h2_bed_run(b);
	expect(c, HTTP_NOT_SENT, RPC_UNREACHABLE);
	assert_true(c->stream.result.turned_away);
	assert_int_equal(h2_room(b->h2, false), 100);
}

/* It contradicts itself; what it began to say is believed. */
static void
refused_after_the_headers_is_no_refusal(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b);

	h2_bed_run(b);
	h2_peer_head(&b->peer, 0, 200, "", false);
	h2_bed_run(b);
	h2_peer_reset(&b->peer, 0, NGHTTP2_REFUSED_STREAM);
	h2_bed_run(b);
	expect(c, HTTP_UNKNOWN, RPC_TRUNCATED);
	assert_false(c->stream.result.turned_away);
}

static void
any_other_reset_leaves_it_unknown(void **state)
{
	static const uint32_t codes[] = { NGHTTP2_NO_ERROR,
		NGHTTP2_INTERNAL_ERROR, NGHTTP2_CANCEL,
		NGHTTP2_HTTP_1_1_REQUIRED, 0xdead };
	struct h2_bed *b = *state;
	struct h2_call *c;
	int i;

	for (i = 0; i < (int)COUNT(codes); i++) {
		c = h2_bed_post(b, "{}", 2);
		h2_bed_run(b);
		h2_peer_reset(&b->peer, i, codes[i]);
		h2_bed_run(b);
		expect(c, HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
		assert_non_null(strstr(c->stream.result.why, "reset"));
		assert_false(c->stream.result.turned_away);
	}
}

static void
a_reset_before_the_body_leaves_it_unsent(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c;

	narrow(b, 0);
	c = h2_bed_post(b, "{}", 2);
	h2_bed_run(b);
	h2_peer_reset(&b->peer, 0, NGHTTP2_INTERNAL_ERROR);
	h2_bed_run(b);
	expect(c, HTTP_NOT_SENT, RPC_UNREACHABLE);
	assert_true(c->stream.result.turned_away);
}

/* ---- resets of our own ---- */

static void
reset_before_it_was_written_it_is_never_seen(void **state)
{
	struct h2_bed *b = *state;
	char *body = xstrdup("{}");
	struct h2_call *c = h2_bed_post(b, body, 2), *d = h2_bed_get(b);

	h2_reset(&c->stream);
	free(body);
	h2_bed_run(b);
	assert_int_equal(b->peer.count, 1);
	assert_non_null(strstr(buf_str(&b->peer.requests[0].headers), "GET"));
	h2_peer_answer(&b->peer, 0, 200, "");
	h2_bed_run(b);
	assert_int_equal(c->ended, 0);
	expect_answer(d, 200, "");
	assert_int_equal(h2_room(b->h2, false), 100);
}

static void
reset_after_it_was_written_the_server_is_told(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b);

	h2_bed_run(b);
	h2_peer_head(&b->peer, 0, 200, "", false);
	h2_peer_body(&b->peer, 0, "begun", 5, false);
	h2_bed_run(b);
	assert_int_equal(h2_outcome(&c->stream), HTTP_UNKNOWN);
	h2_reset(&c->stream);
	assert_null(c->stream.session);
	h2_reset(&c->stream); /* nothing is left to be reset */
	h2_bed_run(b);
	assert_int_equal(b->peer.requests[0].code, NGHTTP2_CANCEL);
	assert_int_equal(c->ended, 0);
	assert_int_equal(h2_room(b->h2, false), 100);
	assert_int_equal(h2_state(b->h2), H2_OPEN);
}

/* What the server still sends for it is no longer anybody's. */
static void
reset_while_the_answer_is_on_its_way(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b), *d = h2_bed_get(b);

	h2_bed_run(b);
	h2_peer_answer(&b->peer, 0, 200, "nobody's");
	h2_peer_answer(&b->peer, 1, 200, "mine");
	h2_peer_pump(&b->peer);
	h2_reset(&c->stream);
	buf_release(&c->stream.result.body);
	h2_bed_run(b);
	assert_int_equal(c->ended, 0);
	assert_int_equal(c->stream.result.body.len, 0);
	expect_answer(d, 200, "mine");
}

static void
reset_in_the_middle_of_the_body(void **state)
{
	struct h2_bed *b = *state;
	char *body = xcalloc(1, 100000);
	struct h2_call *c;

	narrow(b, 20000);
	c = h2_bed_post(b, body, 100000);
	h2_bed_run(b);
	assert_int_equal(b->peer.requests[0].body.len, 20000);
	h2_reset(&c->stream);
	free(body);
	nghttp2_submit_window_update(b->peer.ng, NGHTTP2_FLAG_NONE, 1, 50000);
	h2_bed_run(b);
	assert_int_equal(b->peer.requests[0].code, NGHTTP2_CANCEL);
	assert_int_equal(b->peer.requests[0].body.len, 20000);
	assert_int_equal(c->ended, 0);
}

/* With a part of the body in the buffer that the connection does not take. */
static void
reset_while_the_body_is_stuck(void **state)
{
	struct h2_bed *b = *state;
	char *body = xcalloc(1, 60000);
	struct h2_call *c;

	fake_conn_limit(b->conn, 100, -EAGAIN);
	c = h2_bed_post(b, body, 60000);
	fake_loop_settle(b->loop);
	h2_reset(&c->stream);
	free(body);
	fake_loop_settle(b->loop);
	fake_conn_limit(b->conn, SIZE_MAX, -EAGAIN);
	h2_bed_run(b);
	assert_int_equal(b->peer.requests[0].code, NGHTTP2_CANCEL);
	assert_true(b->peer.requests[0].body.len <= RECORD);
	assert_int_equal(h2_room(b->h2, false), 100);
}

static void
reset_the_next(struct h2_call *c)
{
	h2_reset(&c[1].stream);
	buf_release(&c[1].stream.result.body);
}

/* Both are answered, the first is told and takes the other away. */
static void
reset_when_answered_and_not_yet_told(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b), *d = h2_bed_get(b),
		       *e = h2_bed_get(b);

	c->then = reset_the_next;
	h2_bed_run(b);
	h2_peer_answer(&b->peer, 0, 200, "a");
	h2_peer_answer(&b->peer, 1, 200, "b");
	h2_peer_answer(&b->peer, 2, 200, "c");
	h2_bed_run(b);
	expect_answer(c, 200, "a");
	assert_int_equal(d->ended, 0);
	expect_answer(e, 200, "c");
	assert_int_equal(h2_room(b->h2, false), 100);
}

/* The other one is still under way. */
static void
reset_of_another_from_inside_ended(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b), *d = h2_bed_get(b);

	c->then = reset_the_next;
	h2_bed_run(b);
	h2_peer_answer(&b->peer, 0, 200, "a");
	h2_bed_run(b);
	assert_int_equal(d->ended, 0);
	assert_int_equal(b->peer.requests[1].code, NGHTTP2_CANCEL);
	assert_int_equal(h2_room(b->h2, false), 100);
}

/* The connection dies with all of them. */
static void
reset_of_another_when_all_break_off(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b), *d = h2_bed_get(b);

	c->then = reset_the_next;
	h2_bed_run(b);
	fake_conn_end(b->conn, 0);
	h2_bed_run(b);
	expect(c, HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
	assert_int_equal(d->ended, 0);
}

static void
start_again(struct h2_call *c)
{
	if (h2_room(c->bed->h2, false) > 0)
		h2_bed_get(c->bed);
}

static void
start_from_inside_ended(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b);

	c->then = start_again;
	h2_bed_run(b);
	h2_peer_answer(&b->peer, 0, 200, "a");
	h2_bed_run(b);
	assert_int_equal(b->peer.count, 2);
	h2_peer_answer(&b->peer, 1, 200, "b");
	h2_bed_run(b);
	expect_answer(&b->calls[1], 200, "b");
}

static void
none_is_started_when_all_break_off(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b);

	c->then = start_again;
	h2_bed_run(b);
	fake_conn_end(b->conn, 0);
	h2_bed_run(b);
	assert_int_equal(c->ended, 1);
	assert_int_equal(b->count, 1);
}

/* ---- headers of the answer ---- */

/*
 * One answer by raw frames: a header of `size` bytes that goes into the table,
 * and `more` that are one byte each. END_STREAM is set.
 */
static void
bomb(struct h2_bed *b, int32_t id, size_t size, size_t more)
{
	unsigned char block[8192] = { 0x88, 0x40, 1, 'x', 0x7f };
	size_t n = 5, left = size - 127;

	/* The length's rest: RFC 7541, 5.1. */
	for (; left >= 128; left /= 128)
		block[n++] = (unsigned char)(left % 128 + 128);
	block[n++] = (unsigned char)left;
	memset(block + n, 'v', size);
	n += size;
	memset(block + n, 0xbe, more);
	n += more;
	h2_peer_raw_frame(&b->peer, NGHTTP2_HEADERS,
	    NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, id, block, n);
}

/* 3033 bytes each, with the 32 that RFC 7541 counts for a name and value. */
static void
headers_are_bounded_unpacked(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b), *d = h2_bed_get(b),
		       *e = h2_bed_get(b);

	h2_bed_run(b);
	bomb(b, 1, 3000, 85);
	fake_loop_settle(b->loop);
	expect_answer(c, 200, "");
	bomb(b, 3, 3000, 86);
	h2_bed_run(b);
	expect(d, HTTP_UNKNOWN, RPC_TOO_LARGE);
	assert_non_null(strstr(d->stream.result.why, "262144"));
	assert_true(b->peer.requests[1].closed);
	/* The table is as it should be for the others. */
	h2_peer_raw_frame(&b->peer, NGHTTP2_HEADERS,
	    NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 5, "\x88\xbe",
	    2);
	fake_loop_settle(b->loop);
	expect_answer(e, 200, "");
}

static void
trailers_are_bounded_too(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b);
	char block[500];

	h2_bed_run(b);
	bomb(b, 1, 3000, 0);
	fake_loop_settle(b->loop);
	c = h2_bed_get(b);
	h2_bed_run(b);
	h2_peer_raw_frame(&b->peer, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS,
	    c->stream.id, "\x88", 1);
	memset(block, 0xbe, sizeof(block));
	h2_peer_raw_frame(&b->peer, NGHTTP2_HEADERS,
	    NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, c->stream.id,
	    block, sizeof(block));
	fake_loop_settle(b->loop);
	expect(c, HTTP_UNKNOWN, RPC_TOO_LARGE);
}

static void
so_many_interim_answers_and_no_more(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b), *d = h2_bed_get(b);
	int i;

	h2_bed_run(b);
	for (i = 0; i < INTERIM_MAX; i++) {
		h2_peer_head(&b->peer, 0, 100 + i % 2 * 3, "", false);
		h2_peer_head(&b->peer, 1, 103, "", false);
	}
	h2_bed_run(b);
	h2_peer_answer(&b->peer, 0, 200, "at last");
	h2_peer_head(&b->peer, 1, 103, "", false);
	h2_bed_run(b);
	expect_answer(c, 200, "at last");
	expect(d, HTTP_UNKNOWN, RPC_BAD_ANSWER);
	assert_int_equal(b->peer.requests[1].code, NGHTTP2_CANCEL);
}

/* An interim answer is none: it leaves nothing behind. */
static void
interim_headers_are_not_the_answers(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b);

	h2_bed_run(b);
	h2_peer_head(&b->peer, 0, 103, "content-type: text/early\n", false);
	h2_peer_head(&b->peer, 0, 204, "", true);
	h2_bed_run(b);
	expect_answer(c, 204, "");
	assert_string_equal(c->stream.result.content_type, "");
}

static void
interim_and_then_the_end_is_unknown(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b);

	h2_bed_run(b);
	h2_peer_head(&b->peer, 0, 103, "", false);
	h2_bed_run(b);
	fake_conn_end(b->conn, 0);
	h2_bed_run(b);
	expect(c, HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
	assert_int_equal(c->stream.result.status, 0);
}

static void
trailers_are_no_headers(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b);

	h2_bed_run(b);
	h2_peer_head(
	    &b->peer, 0, 200, "content-type: application/json\n", false);
	h2_peer_body(&b->peer, 0, "{}", 2, false);
	h2_bed_run(b);
	assert_int_equal(c->ended, 0);
	h2_peer_trailers(&b->peer, 0, "content-type: text/html\nx-sum: 1\n");
	h2_bed_run(b);
	expect_answer(c, 200, "{}");
	assert_string_equal(c->stream.result.content_type, "application/json");
}

/* What nghttp2 or we do not take for an answer. */
static void
answers_that_break_the_rules(void **state)
{
	static const struct {
		int status;
		const char *headers, *body;
	} cases[] = {
		{ 200, "content-length: 5\n", "four" },
		{ 200, "content-length: 3\n", "four" },
		{ 200, "content-length: x\n", "four" },
		{ 200, "content-length: 4\ncontent-length: 4\n", "four" },
		{ 204, "", "four" },
		{ 204, "content-length: 4\n", "four" },
		{ 304, "", "four" },
		{ 200, "connection: close\n", "" },
		{ 101, "", "" },
		{ 0, "", "" },
		{ 99, "", "" },
		{ 1000, "", "" },
		{ 200, ":status: 200\n", "" },
		{ 200, ":path: /\n", "" },
	};
	struct h2_bed *b = *state;
	struct h2_call *c;
	int i;

	for (i = 0; i < (int)COUNT(cases); i++) {
		c = h2_bed_get(b);
		h2_bed_run(b);
		h2_peer_head(&b->peer, i, cases[i].status, cases[i].headers,
		    cases[i].body[0] == '\0');
		if (cases[i].body[0] != '\0')
			h2_peer_body(&b->peer, i, cases[i].body,
			    strlen(cases[i].body), true);
		h2_bed_run(b);
		if (c->ended != 1 || c->stream.result.error != RPC_BAD_ANSWER)
			print_error("status %d, %s\n", cases[i].status,
			    cases[i].headers);
		expect(c, HTTP_UNKNOWN, RPC_BAD_ANSWER);
		assert_true(b->peer.requests[i].closed);
	}
	assert_int_equal(h2_state(b->h2), H2_OPEN);
}

static void
answers_that_are_fine(void **state)
{
	static const struct {
		int status;
		const char *headers, *body;
	} cases[] = {
		{ 200, "content-length: 4\n", "four" },
		{ 200, "", "" },
		{ 200, "content-length: 0\n", "" },
		{ 204, "", "" },
		{ 304, "content-length: 4\n", "" },
		{ 404, "content-type: text/html; charset=utf-8\n", "gone" },
		{ 599, "", "x" },
		{ 999, "", "x" },
	};
	struct h2_bed *b = *state;
	struct h2_call *c;
	int i;

	for (i = 0; i < (int)COUNT(cases); i++) {
		c = h2_bed_get(b);
		h2_bed_run(b);
		h2_peer_head(&b->peer, i, cases[i].status, cases[i].headers,
		    cases[i].body[0] == '\0');
		if (cases[i].body[0] != '\0')
			h2_peer_body(&b->peer, i, cases[i].body,
			    strlen(cases[i].body), true);
		h2_bed_run(b);
		expect_answer(c, cases[i].status, cases[i].body);
	}
}

/* Longer than there is room for: cut, and no byte beyond. */
static void
a_long_content_type_is_cut(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b);

	h2_bed_run(b);
	h2_peer_head(&b->peer, 0, 200,
	    "content-type: application/vnd.example.a-name-that-is-much-longer-"
	    "than-any-that-was-ever-seen+json\n",
	    true);
	h2_bed_run(b);
	expect_answer(c, 200, "");
	assert_string_equal(c->stream.result.content_type,
	    "application/vnd.example.a-name-that-is-much-longer-than-any-tha");
}

/* ---- bodies in memory ---- */

static struct h2_call *
answer_large(struct h2_bed *b, size_t max, size_t n)
{
	struct http_request r = {
		.method = "GET",
		.url = H2_BED_ORIGIN "/large",
		.max_body = max,
	};
	struct h2_call *c = h2_bed_start(b, &r);
	int i = b->count - 1;
	char *body = xcalloc(1, n + 1);

	memset(body, 'l', n);
	h2_bed_run(b);
	h2_peer_answer(&b->peer, i, 200, body);
	h2_bed_run(b);
	free(body);
	return c;
}

static void
a_body_has_a_limit(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = answer_large(b, 50000, 50000);

	expect(c, HTTP_ANSWERED, RPC_OK);
	assert_int_equal(c->stream.result.body.len, 50000);
	c = answer_large(b, 50000, 50001);
	expect(c, HTTP_UNKNOWN, RPC_TOO_LARGE);
	assert_non_null(strstr(c->stream.result.why, "50000 bytes"));
	/* The server need not send all of it. */
	c = answer_large(b, 50000, 3 * WINDOW);
	expect(c, HTTP_UNKNOWN, RPC_TOO_LARGE);
	assert_int_equal(b->peer.requests[2].code, NGHTTP2_CANCEL);
}

static void
all_bodies_together_have_one(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c;

	b->shared.bodies = LIMIT_BODIES - 2 * LIMIT_BODY_SMALL;
	c = answer_large(b, WINDOW, LIMIT_BODY_SMALL);
	expect(c, HTTP_ANSWERED, RPC_OK);
	assert_int_equal(b->shared.bodies, LIMIT_BODIES - LIMIT_BODY_SMALL);
	c = answer_large(b, WINDOW, LIMIT_BODY_SMALL + 1);
	expect(c, HTTP_UNKNOWN, RPC_TOO_LARGE);
	assert_non_null(strstr(c->stream.result.why, "together"));
	/* Small ones come through, whatever else is. */
	c = answer_large(b, WINDOW, LIMIT_BODY_SMALL);
	expect(c, HTTP_ANSWERED, RPC_OK);
}

/* The windows open as it comes. */
static void
a_body_may_be_larger_than_all_windows(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = answer_large(b, 40 * WINDOW, 20 * WINDOW);

	expect(c, HTTP_ANSWERED, RPC_OK);
	assert_int_equal(c->stream.result.body.len, 20 * WINDOW);
}

/* ---- sinks ---- */

/* Takes as much as it has room for, in whole pieces. */
struct tub {
	struct buf taken;
	size_t room;
	int error; /* when there is no more room */
	int calls;
	struct http_sink sink;
};

static int
tub_write(void *arg, const char *data, size_t n)
{
	struct tub *t = arg;

	t->calls++;
	if (n > t->room)
		return t->error;
	t->room -= n;
	buf_add(&t->taken, data, n);
	return 0;
}

static void
tub_init(struct tub *t, size_t room, int error)
{
	*t = (struct tub){ .room = room, .error = error };
	buf_init(&t->taken, SIZE_MAX);
	t->sink = (struct http_sink){ tub_write, t };
}

static struct h2_call *
get_into(struct h2_bed *b, struct tub *t)
{
	struct http_request r = {
		.method = "GET",
		.url = H2_BED_ORIGIN "/file",
		.sink = &t->sink,
	};
	struct h2_call *c = h2_bed_start(b, &r);

	h2_bed_run(b);
	return c;
}

/* Bytes that tell where they belong. */
static char *
pattern(size_t n)
{
	char *p = xcalloc(1, n);
	size_t i;

	for (i = 0; i < n; i++)
		p[i] = (char)(i % 251 + i / 65536);
	return p;
}

/* It stops, and holds up nobody else; then all the rest comes. */
static void
a_sink_that_waits_stops_its_stream_alone(void **state)
{
	struct h2_bed *b = *state;
	size_t n = 3 * WINDOW;
	char *file = pattern(n);
	struct h2_call *c, *d;
	struct tub t;

	tub_init(&t, 100000, -EAGAIN);
	c = get_into(b, &t);
	h2_peer_head(&b->peer, 0, 200, "", false);
	h2_peer_body(&b->peer, 0, file, n, true);
	h2_bed_run(b);
	assert_true(c->stream.sink_waits);
	assert_int_equal(c->ended, 0);
	assert_true(t.taken.len <= 100000);
	assert_true(c->stream.held.len <= WINDOW);
	assert_int_equal(
	    nghttp2_session_get_stream_remote_window_size(b->peer.ng, 1), 0);
	assert_int_equal(
	    t.taken.len + c->stream.held.len + b->peer.requests[0].answer.len,
	    n);
	d = h2_bed_get(b);
	h2_bed_run(b);
	h2_peer_answer(&b->peer, 1, 200, "hello");
	h2_bed_run(b);
	expect_answer(d, 200, "hello");
	/* Still no room. */
	h2_resume(&c->stream);
	h2_bed_run(b);
	assert_true(c->stream.sink_waits);
	t.room = SIZE_MAX;
	h2_resume(&c->stream);
	h2_bed_run(b);
	expect_answer(c, 200, "");
	assert_int_equal(t.taken.len, n);
	assert_memory_equal(buf_head(&t.taken), file, n);
	buf_release(&t.taken);
	free(file);
}

/* The server has said all; both ends are done; the last bytes are held. */
static void
the_end_waits_for_the_sink(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c;
	struct tub t;

	tub_init(&t, 0, -EAGAIN);
	c = get_into(b, &t);
	h2_peer_answer(&b->peer, 0, 200, "held");
	h2_bed_run(b);
	assert_int_equal(c->ended, 0);
	assert_int_equal(h2_room(b->h2, false), 100);
	t.room = 100;
	h2_resume(&c->stream);
	assert_int_equal(c->ended, 0);
	h2_bed_run(b);
	expect_answer(c, 200, "");
	assert_buf_equal(&t.taken, "held");
	buf_release(&t.taken);
}

/* Two whole answers are held when their connection is no more. */
static void
hold_two(struct h2_bed *b, struct tub *t, bool goaway)
{
	int i;

	for (i = 0; i < 2; i++) {
		tub_init(&t[i], 0, -EAGAIN);
		get_into(b, &t[i]);
		h2_peer_answer(&b->peer, i, 200, "held");
		h2_bed_run(b);
	}
	if (goaway)
		h2_peer_goaway(&b->peer, 3, NGHTTP2_NO_ERROR);
	else
		fake_conn_end(b->conn, 0);
	h2_bed_run(b);
	assert_int_equal(h2_state(b->h2), H2_DRAINING);
	assert_null(b->conn->conn);
	assert_int_equal(b->told, 0);
}

/* A whole answer counts, whatever becomes of its connection. */
static void
what_is_held_outlives_its_connection(void **state)
{
	struct h2_bed *b = *state;
	int i, changes;
	struct tub t[2];

	hold_two(b, t, false);
	for (i = 0; i < 2; i++) {
		assert_int_equal(h2_state(b->h2), H2_DRAINING);
		changes = b->changes;
		t[i].room = 100;
		h2_resume(&b->calls[i].stream);
		h2_bed_run(b);
		expect_answer(&b->calls[i], 200, "");
		assert_buf_equal(&t[i].taken, "held");
		assert_int_equal(b->changes, changes + 1);
		buf_release(&t[i].taken);
	}
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
}

/* Likewise, and one call is given up. */
static void
what_is_held_may_be_reset(void **state)
{
	struct h2_bed *b = *state;
	int changes;
	struct tub t[2];

	hold_two(b, t, true);
	t[0].room = 100;
	h2_resume(&b->calls[0].stream);
	h2_bed_run(b);
	expect_answer(&b->calls[0], 200, "");
	changes = b->changes;
	h2_reset(&b->calls[1].stream);
	h2_bed_run(b);
	assert_int_equal(b->calls[1].ended, 0);
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
	assert_int_equal(b->changes, changes + 1);
	buf_release(&t[0].taken);
}

static void
a_sink_that_fails_ends_it(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c;
	struct tub t;

	tub_init(&t, 0, -EPIPE);
	c = get_into(b, &t);
	h2_peer_head(&b->peer, 0, 200, "", false);
	h2_peer_body(&b->peer, 0, "x", 1, false);
	h2_bed_run(b);
	expect(c, HTTP_UNKNOWN, RPC_DATA_SOCKET);
	assert_non_null(strstr(c->stream.result.why, "Broken pipe"));
	assert_int_equal(t.calls, 1);
	assert_int_equal(b->peer.requests[0].code, NGHTTP2_CANCEL);
	assert_int_equal(h2_state(b->h2), H2_OPEN);
}

/* In the middle, and after the server has said all. */
static void
a_sink_that_fails_when_it_goes_on(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c;
	struct tub t;
	int i;

	for (i = 0; i < 2; i++) {
		tub_init(&t, 0, -EAGAIN);
		c = get_into(b, &t);
		h2_peer_head(&b->peer, i, 200, "", false);
		h2_peer_body(&b->peer, i, "x", 1, i == 1);
		h2_bed_run(b);
		assert_int_equal(c->ended, 0);
		t.error = -ECONNRESET;
		h2_resume(&c->stream);
		h2_bed_run(b);
		expect(c, HTTP_UNKNOWN, RPC_DATA_SOCKET);
		assert_true(b->peer.requests[i].closed);
	}
	assert_int_equal(b->peer.requests[0].code, NGHTTP2_CANCEL);
	assert_int_equal(h2_room(b->h2, false), 100);
}

static void
an_error_is_collected_and_no_files_bytes(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c;
	struct tub t;

	tub_init(&t, SIZE_MAX, -EIO);
	c = get_into(b, &t);
	h2_peer_answer(&b->peer, 0, 404, "no such file");
	h2_bed_run(b);
	expect_answer(c, 404, "no such file");
	assert_int_equal(t.calls, 0);
}

static void
reset_while_the_sink_waits(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c;
	struct tub t;
	int i;

	for (i = 0; i < 2; i++) {
		tub_init(&t, 0, -EAGAIN);
		c = get_into(b, &t);
		h2_peer_head(&b->peer, i, 200, "", false);
		h2_peer_body(&b->peer, i, "x", 1, i == 1);
		h2_bed_run(b);
		h2_reset(&c->stream);
		h2_bed_run(b);
		assert_int_equal(c->ended, 0);
	}
	assert_int_equal(h2_room(b->h2, false), 100);
}

/* ---- sources ---- */

/* Gives what it has, and then says `then`, or 0 at its end. */
struct well {
	const char *bytes;
	size_t left;
	int then;
	int calls;
	struct http_source source;
};

static ssize_t
well_read(void *arg, char *data, size_t n)
{
	struct well *w = arg;

	w->calls++;
	if (w->left == 0)
		return w->then;
	n = n < w->left ? n : w->left;
	memcpy(data, w->bytes, n);
	w->bytes += n;
	w->left -= n;
	return (ssize_t)n;
}

static void
well_init(struct well *w, const char *bytes, int then, int64_t length)
{
	*w = (struct well){ .bytes = bytes,
		.left = strlen(bytes),
		.then = then,
		.source = { length, well_read, w } };
}

static struct h2_call *
put_from(struct h2_bed *b, struct well *w)
{
	struct http_request r = {
		.method = "PUT",
		.url = H2_BED_ORIGIN "/file",
		.source = &w->source,
	};
	struct h2_call *c = h2_bed_start(b, &r);

	h2_bed_run(b);
	return c;
}

static void
a_source_says_its_length_or_not(void **state)
{
	static const struct {
		const char *bytes;
		int64_t length;
		const char *header;
	} cases[] = {
		{ "hello", 5, "\ncontent-length: 5\n" },
		{ "hello", -1, NULL },
		{ "", -1, NULL },
		{ "", 0, NULL },
	};
	struct h2_bed *b = *state;
	struct h2_request *r;
	struct h2_call *c;
	struct well w;
	int i;

	for (i = 0; i < (int)COUNT(cases); i++) {
		well_init(&w, cases[i].bytes, 0, cases[i].length);
		c = put_from(b, &w);
		r = &b->peer.requests[i];
		assert_true(r->ended);
		assert_int_equal(r->body.len, strlen(cases[i].bytes));
		if (cases[i].header != NULL)
			assert_non_null(
			    strstr(buf_str(&r->headers), cases[i].header));
		else
			assert_null(
			    strstr(buf_str(&r->headers), "content-length"));
		h2_peer_answer(&b->peer, i, 200, "");
		h2_bed_run(b);
		expect_answer(c, 200, "");
		assert_int_equal(r->code, NGHTTP2_NO_ERROR);
	}
}

static void
a_source_that_waits_goes_on(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c;
	struct well w;

	well_init(&w, "", -EAGAIN, -1);
	c = put_from(b, &w);
	assert_true(c->stream.source_waits);
	assert_int_equal(w.calls, 1);
	assert_int_equal(h2_outcome(&c->stream), HTTP_NOT_SENT);
	w.bytes = "more";
	w.left = 4;
	h2_resume(&c->stream);
	h2_bed_run(b);
	assert_true(c->stream.source_waits);
	assert_int_equal(h2_outcome(&c->stream), HTTP_UNKNOWN);
	assert_buf_equal(&b->peer.requests[0].body, "more");
	assert_false(b->peer.requests[0].ended);
	w.then = 0;
	h2_resume(&c->stream);
	h2_bed_run(b);
	assert_true(b->peer.requests[0].ended);
	/* There is nothing to go on with. */
	h2_resume(&c->stream);
	h2_peer_answer(&b->peer, 0, 200, "thanks");
	h2_bed_run(b);
	expect_answer(c, 200, "thanks");
	h2_resume(&c->stream);
}

static void
a_source_that_fails_ends_it(void **state)
{
	static const char *const bytes[] = { "", "some" };
	struct h2_bed *b = *state;
	struct h2_call *c;
	struct well w;
	int i;

	for (i = 0; i < (int)COUNT(bytes); i++) {
		well_init(&w, bytes[i], -EIO, -1);
		c = put_from(b, &w);
		expect(
		    c, i == 0 ? HTTP_NOT_SENT : HTTP_UNKNOWN, RPC_DATA_SOCKET);
		assert_non_null(strstr(c->stream.result.why, strerror(EIO)));
		assert_true(b->peer.requests[i].closed);
		assert_false(b->peer.requests[i].ended);
	}
	assert_int_equal(h2_room(b->h2, false), 100);
	assert_int_equal(h2_state(b->h2), H2_OPEN);
}

/* The answer comes first: nothing is read from it any more. */
static void
a_source_is_left_alone_after_the_answer(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c;
	struct well w;

	well_init(&w, "some", -EAGAIN, -1);
	c = put_from(b, &w);
	h2_peer_answer(&b->peer, 0, 403, "not you");
	h2_bed_run(b);
	expect_answer(c, 403, "not you");
	assert_int_equal(b->peer.requests[0].code, NGHTTP2_CANCEL);
	assert_int_equal(w.calls, 2);
}

/* A POST that has no body says so, since a server may ask for a length. */
static void
an_empty_post_has_a_length(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_post(b, NULL, 0);

	assert_int_equal(h2_outcome(&c->stream), HTTP_NOT_SENT);
	h2_bed_run(b);
	assert_true(b->peer.requests[0].ended);
	assert_non_null(strstr(
	    buf_str(&b->peer.requests[0].headers), "\ncontent-length: 0\n"));
	assert_int_equal(h2_outcome(&c->stream), HTTP_UNKNOWN);
}

#define OPEN(f) \
	cmocka_unit_test_setup_teardown(f, h2_bed_setup, h2_bed_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cut_while_it_waits_to_be_written),
		cmocka_unit_test(cut_by_a_write_that_fails),
		OPEN(nothing_is_offered_behind_what_is_stuck),
		OPEN(headers_alone_are_no_request),
		cmocka_unit_test(a_whole_answer_counts_and_a_part_does_not),
		OPEN(an_answer_may_come_before_the_body_is_sent),
		OPEN(an_answer_that_begins_makes_it_unknown),
		OPEN(a_refused_stream_was_not_processed),
		OPEN(refused_after_the_headers_is_no_refusal),
		OPEN(any_other_reset_leaves_it_unknown),
		OPEN(a_reset_before_the_body_leaves_it_unsent),
		OPEN(reset_before_it_was_written_it_is_never_seen),
		OPEN(reset_after_it_was_written_the_server_is_told),
		OPEN(reset_while_the_answer_is_on_its_way),
		OPEN(reset_in_the_middle_of_the_body),
		OPEN(reset_while_the_body_is_stuck),
		OPEN(reset_when_answered_and_not_yet_told),
		OPEN(reset_of_another_from_inside_ended),
		OPEN(reset_of_another_when_all_break_off),
		OPEN(start_from_inside_ended),
		OPEN(none_is_started_when_all_break_off),
		OPEN(headers_are_bounded_unpacked),
		OPEN(trailers_are_bounded_too),
		OPEN(so_many_interim_answers_and_no_more),
		OPEN(interim_headers_are_not_the_answers),
		OPEN(interim_and_then_the_end_is_unknown),
		OPEN(trailers_are_no_headers),
		OPEN(answers_that_break_the_rules),
		OPEN(answers_that_are_fine),
		OPEN(a_long_content_type_is_cut),
		OPEN(a_body_has_a_limit),
		OPEN(all_bodies_together_have_one),
		OPEN(a_body_may_be_larger_than_all_windows),
		OPEN(a_sink_that_waits_stops_its_stream_alone),
		OPEN(the_end_waits_for_the_sink),
		OPEN(what_is_held_outlives_its_connection),
		OPEN(what_is_held_may_be_reset),
		OPEN(a_sink_that_fails_ends_it),
		OPEN(a_sink_that_fails_when_it_goes_on),
		OPEN(an_error_is_collected_and_no_files_bytes),
		OPEN(reset_while_the_sink_waits),
		OPEN(a_source_says_its_length_or_not),
		OPEN(a_source_that_waits_goes_on),
		OPEN(a_source_that_fails_ends_it),
		OPEN(a_source_is_left_alone_after_the_answer),
		OPEN(an_empty_post_has_a_length),
	};

	return cmocka_run_group_tests_name("h2_stream", tests, NULL, NULL);
}
