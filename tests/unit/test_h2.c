#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "daemon/h2_priv.h"
#include "proto/xalloc.h"
#include "tests/unit/fakes/h2_bed.h"

#include "proto/banned.h"

#define MAGIC     24 /* bytes that a client begins with */
#define AGE_MS    3600000
#define IDLE_MS   300000
#define LATELY_MS 10000
#define FLOOD     10000

/* A connection that never stood has a bed of its own, with no peer yet. */
static int
setup_connecting(void **state)
{
	struct h2_bed *b = xcalloc(1, sizeof(*b));

	h2_bed_init(b, 100);
	*state = b;
	return 0;
}

/* ---- how it begins ---- */

static void
it_offers_h2_and_says_its_settings(void **state)
{
	struct h2_bed *b = *state;
	nghttp2_session *ng = b->peer.ng;

	assert_string_equal(b->conn->url, H2_BED_ORIGIN);
	assert_string_equal(b->conn->alpn, "\2h2\10http/1.1");
	assert_int_equal(h2_state(b->h2), H2_CONNECTING);
	assert_int_equal(h2_room(b->h2, false), 0);
	h2_bed_open(b);
	assert_int_equal(h2_state(b->h2), H2_OPEN);
	assert_true(b->changes > 0);
	assert_int_equal(nghttp2_session_get_remote_settings(
			     ng, NGHTTP2_SETTINGS_ENABLE_PUSH),
	    0);
	assert_int_equal(nghttp2_session_get_remote_settings(
			     ng, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE),
	    1024 * 1024);
	assert_int_equal(nghttp2_session_get_remote_settings(
			     ng, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE),
	    256 * 1024);
	assert_int_equal(
	    nghttp2_session_get_remote_window_size(ng), 16 * 1024 * 1024);
	assert_null(h2_refusal(b->h2));
}

static void
a_server_of_http1_is_told_apart(void **state)
{
	static const char *const agreed[] = { "http/1.1", "" };
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(agreed); i++) {
		struct h2_bed *b = xcalloc(1, sizeof(*b));

		h2_bed_init(b, 100);
		fake_conn_open(b->conn, agreed[i]);
		assert_int_equal(b->changes, 1);
		assert_int_equal(h2_state(b->h2), H2_CLOSED);
		assert_non_null(h2_refusal(b->h2));
		assert_true(h2_refusal(b->h2)->want_http1);
		assert_int_equal(b->conn->offered.len, 0);
		assert_null(b->conn->conn);
		h2_bed_release(b);
		free(b);
	}
}

static void
a_connection_that_fails_says_why(void **state)
{
	struct h2_bed *b = *state;

	fake_conn_fail(b->conn, RPC_TLS, "no such certificate");
	assert_int_equal(b->changes, 1);
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
	assert_int_equal(h2_refusal(b->h2)->error, RPC_TLS);
	assert_false(h2_refusal(b->h2)->want_http1);
	assert_string_equal(h2_refusal(b->h2)->why, "no such certificate");
}

/* What speaks no HTTP/2 behind ALPN, or dies at once, is of no use. */
static void
one_that_says_no_settings_is_refused(void **state)
{
	struct h2_bed *b = *state;

	fake_conn_open(b->conn, "h2");
	fake_loop_settle(b->loop);
	fake_conn_end(b->conn, 0);
	fake_loop_settle(b->loop);
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
	assert_non_null(h2_refusal(b->h2));
	assert_int_equal(h2_refusal(b->h2)->error, RPC_UNREACHABLE);
}

static void
one_that_was_of_use_is_no_refusal(void **state)
{
	struct h2_bed *b = *state;

	h2_bed_get(b);
	h2_bed_run(b);
	fake_conn_end(b->conn, -ECONNRESET);
	h2_bed_run(b);
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
	assert_null(h2_refusal(b->h2));
}

static void
what_it_had_not_sent_is_turned_away(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c;

	h2_peer_setting(&b->peer, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0);
	h2_bed_run(b);
	c = h2_bed_get(b);
	h2_bed_run(b);
	/* It leaves and is gone in one breath. */
	h2_peer_goaway(&b->peer, INT32_MAX, 0);
	h2_peer_pump(&b->peer);
	fake_conn_end(b->conn, 0);
	h2_bed_run(b);
	assert_int_equal(c->stream.result.outcome, HTTP_NOT_SENT);
	assert_true(c->stream.result.turned_away);
}

static void
one_that_carried_nothing_is_refused(void **state)
{
	struct h2_bed *b = *state;

	assert_false(h2_used_lately(b->h2));
	fake_conn_end(b->conn, -ECONNRESET);
	h2_bed_run(b);
	assert_int_equal(h2_refusal(b->h2)->error, RPC_UNREACHABLE);
}

static void
bytes_that_are_no_http2_end_it(void **state)
{
	struct h2_bed *b = *state;

	fake_conn_open(b->conn, "h2");
	fake_loop_settle(b->loop);
	fake_conn_feed(b->conn, LITERAL("HTTP/1.1 400 Bad Request\r\n\r\n"));
	fake_loop_settle(b->loop);
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
	assert_non_null(h2_refusal(b->h2));
}

/* A rule that is broken later; the server is told which. */
static void
broken_frames_end_it(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b);

	h2_bed_run(b);
	/* DATA on the stream whose number is 0. */
	h2_peer_raw_frame(&b->peer, NGHTTP2_DATA, 0, 0, "x", 1);
	h2_bed_run(b);
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
	assert_int_equal(b->peer.goaways, 1);
	assert_int_equal(b->peer.goaway_code, NGHTTP2_PROTOCOL_ERROR);
	assert_int_equal(c->ended, 1);
	assert_int_equal(c->stream.result.outcome, HTTP_UNKNOWN);
}

/* ---- what is written ---- */

static void
one_write_takes_what_was_asked_in_one_turn(void **state)
{
	struct h2_bed *b = *state;
	size_t before = b->conn->taken;
	int i;

	fake_conn_limit(b->conn, 0, -EAGAIN);
	for (i = 0; i < 10; i++)
		h2_bed_get(b);
	assert_int_equal(b->conn->offered.len, before);
	fake_loop_settle(b->loop);
	for (i = 0; i < 10; i++)
		assert_int_not_equal(h2_bed_find(&b->conn->offered, MAGIC,
					 NGHTTP2_HEADERS, 2 * i + 1),
		    SIZE_MAX);
}

/* The connection takes a byte a time; nothing is lost or doubled. */
static void
a_slow_connection_gets_all(void **state)
{
	struct h2_bed *b = *state;
	char body[20000];
	struct h2_call *c;
	int i;

	memset(body, 'b', sizeof(body));
	fake_conn_limit(b->conn, 0, -EAGAIN);
	c = h2_bed_post(b, body, sizeof(body));
	for (i = 0; i < 30000; i++) {
		fake_conn_limit(b->conn, 1, -EAGAIN);
		fake_loop_settle(b->loop);
	}
	fake_conn_limit(b->conn, SIZE_MAX, -EAGAIN);
	h2_bed_run(b);
	assert_int_equal(b->peer.requests[0].body.len, sizeof(body));
	h2_peer_answer(&b->peer, 0, 201, "made");
	h2_bed_run(b);
	assert_int_equal(c->stream.result.status, 201);
}

static bool
holds(const void *bytes, size_t n, const char *text)
{
	return memmem(bytes, n, text, strlen(text)) != NULL;
}

static void
credentials_are_in_no_table_and_no_buffer(void **state)
{
	static const char *const headers[] = { "Content-Type: text/json" };
	struct h2_bed *b = *state;
	struct http_request r = {
		.method = "GET",
		.url = H2_BED_ORIGIN "/v1/capsules?all=1",
		.headers = headers,
		.header_count = 1,
		/* 8 bits a letter and more: written as it is. */
		.credential = "X-API-Key: \x7c\x7c\x7c\x7c\x7c\x7c\x7c\x7c",
	};
	size_t at[2];
	int i;

	for (i = 0; i < 2; i++) {
		at[i] = b->conn->taken;
		h2_bed_start(b, &r);
		h2_bed_run(b);
		assert_string_equal(
		    buf_str(&b->peer.requests[i].hidden), "x-api-key\n");
		/* A literal with a new name, never indexed: RFC 7541, 6.2.3. */
		assert_true(holds(buf_head(&b->conn->offered) + at[i],
		    b->conn->taken - at[i], "\x10"));
		assert_true(holds(buf_head(&b->conn->offered) + at[i],
		    b->conn->taken - at[i], "||||||||"));
		assert_false(holds(b->h2->out, sizeof(b->h2->out), "||||||||"));
	}
	/* What may be indexed is, so that the second is shorter. */
	assert_true(b->conn->taken - at[1] < at[1] - at[0]);
}

static void
the_headers_are_those_of_the_request(void **state)
{
	static const char *const headers[] = { "Content-Type: text/json" };
	struct h2_bed *b = *state;
	struct http_request r = {
		.method = "POST",
		.url = H2_BED_ORIGIN "/v1/capsules?all=1",
		.headers = headers,
		.header_count = 1,
		.credential = "Authorization:   Bearer abc",
		.body = "{}",
		.body_len = 2,
	};

	h2_bed_start(b, &r);
	h2_bed_run(b);
	assert_string_equal(buf_str(&b->peer.requests[0].headers),
	    ":method: POST\n"
	    ":scheme: https\n"
	    ":authority: api.example:8443\n"
	    ":path: /v1/capsules?all=1\n"
	    "user-agent: " PACKAGE "/" VERSION "\n"
	    "accept: */*\n"
	    "content-type: text/json\n"
	    "content-length: 2\n"
	    "authorization: Bearer abc\n");
	assert_string_equal(
	    buf_str(&b->peer.requests[0].hidden), "authorization\n");
	assert_buf_equal(&b->peer.requests[0].body, "{}");
	assert_true(b->peer.requests[0].ended);
}

/* Headers that fill more than a frame, and more than a record. */
static void
large_headers_are_sent_whole(void **state)
{
	struct h2_bed *b = *state;
	char *line = xcalloc(1, 30001);
	const char *const headers[] = { line };
	struct http_request r = {
		.method = "GET",
		.url = H2_BED_ORIGIN,
		.headers = headers,
		.header_count = 1,
	};

	memset(line, '|', 30000);
	memcpy(line, "x-long: ", 8);
	h2_bed_start(b, &r);
	h2_bed_run(b);
	assert_int_equal(b->peer.count, 1);
	assert_true(b->peer.requests[0].headers.len > 30000);
	assert_non_null(
	    strstr(buf_str(&b->peer.requests[0].headers), ":path: /\n"));
	free(line);
}

/* ---- what is read ---- */

/* More than is read in one turn; TLS tells of it once. */
static void
a_large_answer_in_small_pieces(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b);
	char *body = xcalloc(1, 100001);

	memset(body, 'a', 100000);
	b->conn->chunk = 7;
	h2_bed_run(b);
	h2_peer_answer(&b->peer, 0, 200, body);
	h2_bed_run(b);
	assert_int_equal(c->ended, 1);
	assert_int_equal(c->stream.result.outcome, HTTP_ANSWERED);
	assert_int_equal(c->stream.result.body.len, 100000);
	assert_string_equal(c->stream.result.content_type, "text/plain");
	free(body);
}

static void
a_ping_is_answered(void **state)
{
	struct h2_bed *b = *state;

	nghttp2_submit_ping(b->peer.ng, NGHTTP2_FLAG_NONE, NULL);
	h2_bed_run(b);
	assert_int_equal(b->peer.pongs, 1);
}

/* ---- room ---- */

static void
the_server_says_how_many(void **state)
{
	static const struct {
		uint32_t limit;
		int quick, slow;
	} cases[] = {
		{ 1, 1, 1 },
		{ 2, 2, 1 },
		{ 10, 10, 8 },
		{ 100, 100, 89 },
		{ 5000, 1000, 899 },
		{ UINT32_MAX, 1000, 899 },
		{ 0, 0, 0 },
	};
	struct h2_bed *b = *state;
	size_t i;
	int changes;

	for (i = 0; i < COUNT(cases); i++) {
		changes = b->changes;
		h2_peer_setting(&b->peer,
		    NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, cases[i].limit);
		h2_bed_run(b);
		assert_true(b->changes > changes);
		assert_int_equal(h2_room(b->h2, false), cases[i].quick);
		assert_int_equal(h2_room(b->h2, true), cases[i].slow);
	}
}

/* Streams use room up until both ends are done with them. */
static void
room_is_what_is_left(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b);
	int i;

	for (i = 1; i < 95; i++)
		h2_bed_get(b);
	assert_int_equal(h2_room(b->h2, false), 5);
	assert_int_equal(h2_room(b->h2, true), 0);
	h2_bed_run(b);
	h2_peer_answer(&b->peer, 0, 200, "");
	h2_bed_run(b);
	assert_int_equal(c->ended, 1);
	assert_int_equal(h2_room(b->h2, false), 6);
}

/* Fewer are allowed than are there: they stay, and none is added. */
static void
a_limit_may_fall(void **state)
{
	struct h2_bed *b = *state;
	int i;

	for (i = 0; i < 10; i++)
		h2_bed_get(b);
	h2_bed_run(b);
	h2_peer_setting(&b->peer, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 3);
	h2_bed_run(b);
	assert_int_equal(h2_room(b->h2, false), 0);
	for (i = 0; i < 10; i++)
		h2_peer_answer(&b->peer, i, 200, "");
	h2_bed_run(b);
	for (i = 0; i < 10; i++)
		assert_int_equal(b->calls[i].ended, 1);
	assert_int_equal(h2_room(b->h2, false), 3);
}

/* Started before the limit was known: nghttp2 holds it back until it may. */
static void
what_the_limit_holds_back_is_sent_later(void **state)
{
	struct h2_bed *b = *state;

	h2_peer_setting(&b->peer, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1);
	h2_peer_pump(&b->peer);
	h2_bed_get(b);
	h2_bed_get(b);
	h2_bed_run(b);
	assert_int_equal(b->peer.count, 1);
	assert_int_equal(h2_outcome(&b->calls[1].stream), HTTP_NOT_SENT);
	h2_peer_answer(&b->peer, 0, 200, "");
	h2_bed_run(b);
	assert_int_equal(b->peer.count, 2);
	assert_int_equal(h2_outcome(&b->calls[1].stream), HTTP_UNKNOWN);
}

/* ---- how it ends ---- */

static void
retired_when_idle_it_says_goodbye(void **state)
{
	struct h2_bed *b = *state;

	h2_retire(b->h2);
	assert_int_equal(h2_state(b->h2), H2_DRAINING);
	assert_int_equal(h2_room(b->h2, false), 0);
	h2_bed_run(b);
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
	assert_int_equal(b->peer.goaways, 1);
	assert_int_equal(b->peer.goaway_code, NGHTTP2_NO_ERROR);
	assert_null(h2_refusal(b->h2));
}

static void
retired_in_use_it_waits_for_the_last(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b), *d = h2_bed_get(b);

	h2_retire(b->h2);
	h2_bed_run(b);
	h2_retire(b->h2);
	h2_bed_run(b);
	assert_int_equal(b->peer.count, 2);
	h2_peer_answer(&b->peer, 0, 200, "");
	h2_bed_run(b);
	assert_int_equal(h2_state(b->h2), H2_DRAINING);
	assert_int_equal(c->stream.result.outcome, HTTP_ANSWERED);
	h2_peer_answer(&b->peer, 1, 200, "");
	h2_bed_run(b);
	assert_int_equal(d->stream.result.outcome, HTTP_ANSWERED);
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
	assert_int_equal(b->peer.goaways, 1);
}

static void
retired_while_connecting_it_closes(void **state)
{
	struct h2_bed *b = *state;

	h2_retire(b->h2);
	fake_loop_settle(b->loop);
	assert_int_equal(h2_state(b->h2), H2_DRAINING);
	h2_bed_open(b);
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
}

/* GOAWAY below, at and above what is under way. */
static void
a_goaway_ends_those_above_it(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *below = h2_bed_get(b), *at = h2_bed_get(b),
		       *above = h2_bed_get(b);

	h2_bed_run(b);
	h2_peer_goaway(&b->peer, 3, NGHTTP2_NO_ERROR);
	h2_bed_run(b);
	assert_int_equal(h2_state(b->h2), H2_DRAINING);
	assert_int_equal(above->ended, 1);
	assert_int_equal(above->stream.result.outcome, HTTP_NOT_SENT);
	assert_int_equal(above->stream.result.error, RPC_UNREACHABLE);
	assert_true(above->stream.result.turned_away);
	assert_string_equal(
	    above->stream.result.why, "the server closes the connection");
	h2_peer_answer(&b->peer, 0, 200, "");
	h2_peer_answer(&b->peer, 1, 200, "");
	h2_bed_run(b);
	assert_int_equal(below->stream.result.outcome, HTTP_ANSWERED);
	assert_int_equal(at->stream.result.outcome, HTTP_ANSWERED);
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
}

static void
a_goaway_before_the_end_is_no_promise(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b);
	int changes;

	h2_bed_run(b);
	changes = b->changes;
	h2_peer_goaway(&b->peer, INT32_MAX, NGHTTP2_ENHANCE_YOUR_CALM);
	h2_bed_run(b);
	assert_int_equal(b->changes, changes + 1);
	assert_int_equal(c->ended, 0);
	fake_conn_end(b->conn, 0);
	h2_bed_run(b);
	assert_int_equal(c->stream.result.outcome, HTTP_UNKNOWN);
	assert_int_equal(c->stream.result.error, RPC_OUTCOME_UNKNOWN);
	assert_string_equal(c->stream.result.why,
	    "the server closes the connection: ENHANCE_YOUR_CALM");
}

/* It comes in the turn in which a request was made: that is never sent. */
static void
a_goaway_goes_before_what_is_not_written(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c;

	h2_peer_goaway(&b->peer, 0, NGHTTP2_NO_ERROR);
	h2_peer_pump(&b->peer);
	assert_int_equal(h2_room(b->h2, false), 100);
	c = h2_bed_get(b);
	h2_bed_post(b, "{}", 2);
	h2_bed_run(b);
	assert_int_equal(b->peer.count, 0);
	assert_int_equal(c->ended, 1);
	assert_int_equal(c->stream.result.outcome, HTTP_NOT_SENT);
	assert_true(c->stream.result.turned_away);
	assert_int_equal(b->calls[1].stream.result.outcome, HTTP_NOT_SENT);
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
}

/* The server says first that it goes, and later which was the last. */
static void
a_goaway_may_come_twice(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b), *d = h2_bed_get(b);

	h2_bed_run(b);
	h2_peer_goaway(&b->peer, INT32_MAX, NGHTTP2_NO_ERROR);
	h2_bed_run(b);
	assert_int_equal(d->ended, 0);
	h2_peer_goaway(&b->peer, 1, NGHTTP2_NO_ERROR);
	h2_bed_run(b);
	assert_int_equal(c->ended, 0);
	assert_int_equal(d->stream.result.outcome, HTTP_NOT_SENT);
	h2_peer_answer(&b->peer, 0, 200, "");
	h2_bed_run(b);
	assert_int_equal(c->stream.result.outcome, HTTP_ANSWERED);
}

/* It broke while it was written to; what the server had said counts. */
static void
a_broken_write_reads_first(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b), *d, *e;

	h2_bed_run(b);
	d = h2_bed_get(b);
	h2_bed_run(b);
	h2_peer_answer(&b->peer, 0, 200, "said");
	h2_peer_goaway(&b->peer, 1, NGHTTP2_NO_ERROR);
	h2_peer_pump(&b->peer);
	b->conn->told = true; /* as if it came in the middle of the write */
	fake_conn_limit(b->conn, 0, -EPIPE);
	e = h2_bed_get(b);
	fake_loop_settle(b->loop);
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
	assert_int_equal(c->stream.result.outcome, HTTP_ANSWERED);
	assert_int_equal(d->stream.result.outcome, HTTP_NOT_SENT);
	assert_int_equal(e->stream.result.outcome, HTTP_NOT_SENT);
}

/* ---- silence ---- */

static void
silence_brings_a_ping_and_its_answer_is_enough(void **state)
{
	struct h2_bed *b = *state;

	h2_bed_wait(b, H2_BED_PING_MS - 1);
	assert_int_equal(b->peer.pings, 0);
	h2_bed_wait(b, 1);
	assert_int_equal(b->peer.pings, 1);
	h2_bed_wait(b, H2_BED_PING_MS - 1);
	assert_int_equal(b->peer.pings, 1);
	h2_bed_wait(b, 1);
	assert_int_equal(b->peer.pings, 2);
	assert_int_equal(h2_state(b->h2), H2_OPEN);
}

static void
a_peer_that_answers_no_ping_is_dead(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b);

	h2_bed_run(b);
	b->peer.quiet = true;
	h2_bed_wait(b, H2_BED_PING_MS + H2_BED_PONG_MS - 1);
	assert_int_equal(b->peer.pings, 1);
	assert_int_equal(c->ended, 0);
	h2_bed_wait(b, 1);
	assert_int_equal(c->ended, 1);
	assert_int_equal(c->stream.result.outcome, HTTP_UNKNOWN);
	assert_non_null(strstr(c->stream.result.why, "PING"));
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
}

/* It is found dead as soon when nothing can be written any more. */
static void
a_peer_that_takes_nothing_is_dead(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c;

	fake_conn_limit(b->conn, 0, -EAGAIN);
	c = h2_bed_get(b);
	h2_bed_wait(b, H2_BED_PING_MS + H2_BED_PONG_MS);
	assert_int_equal(c->ended, 1);
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
}

/* Bytes of any kind prove that it lives. */
static void
any_byte_is_a_sign_of_life(void **state)
{
	struct h2_bed *b = *state;
	int i;

	b->peer.quiet = true;
	h2_bed_wait(b, H2_BED_PING_MS + H2_BED_PONG_MS - 1);
	h2_peer_raw_frame(&b->peer, NGHTTP2_PRIORITY, 0, 1, "\0\0\0\0\1", 5);
	h2_bed_wait(b, H2_BED_PING_MS + H2_BED_PONG_MS - 2);
	assert_int_equal(h2_state(b->h2), H2_OPEN);
	for (i = 0; i < 10; i++) {
		h2_peer_raw_frame(
		    &b->peer, NGHTTP2_PRIORITY, 0, 1, "\0\0\0\0\1", 5);
		h2_bed_wait(b, H2_BED_PING_MS - 1);
	}
	assert_int_equal(h2_state(b->h2), H2_OPEN);
	assert_true(b->peer.pings <= 3);
}

/* The process was stopped: time has passed, and the answer has come. */
static void
a_pong_that_is_there_to_be_read_counts(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b);

	h2_bed_run(b);
	b->peer.quiet = true;
	h2_bed_wait(b, H2_BED_PING_MS);
	assert_int_equal(b->peer.pings, 1);
	fake_loop_jump(b->loop, 2 * H2_BED_PONG_MS);
	b->peer.quiet = false;
	/* And what is read then is answered then. */
	nghttp2_submit_ping(b->peer.ng, NGHTTP2_FLAG_NONE, NULL);
	h2_peer_pump(&b->peer);
	h2_bed_run(b);
	assert_int_equal(h2_state(b->h2), H2_OPEN);
	assert_int_equal(c->ended, 0);
	assert_int_equal(b->peer.pongs, 1);
	/* The next silence is a new one. */
	h2_bed_wait(b, H2_BED_PING_MS);
	assert_int_equal(b->peer.pings, 2);
	assert_int_equal(h2_state(b->h2), H2_OPEN);
}

/* What is there to be read may be the end. */
static void
an_end_that_is_there_to_be_read_counts(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b), *d = h2_bed_get(b);

	h2_bed_run(b);
	b->peer.quiet = true;
	h2_bed_wait(b, H2_BED_PING_MS);
	fake_loop_jump(b->loop, 2 * H2_BED_PONG_MS);
	b->peer.quiet = false;
	h2_peer_goaway(&b->peer, c->stream.id, NGHTTP2_NO_ERROR);
	h2_peer_pump(&b->peer);
	fake_conn_end(b->conn, 0);
	h2_bed_run(b);
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
	assert_int_equal(c->stream.result.outcome, HTTP_UNKNOWN);
	assert_string_equal(
	    c->stream.result.why, "the server closes the connection");
	assert_int_equal(d->stream.result.outcome, HTTP_NOT_SENT);
}

static void
unused_it_is_closed_in_time(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = h2_bed_get(b);

	h2_bed_run(b);
	/* A call under way is use, but no proof that the server answers. */
	h2_bed_wait(b, 2 * IDLE_MS);
	assert_int_equal(h2_state(b->h2), H2_OPEN);
	assert_false(h2_used_lately(b->h2));
	h2_peer_answer(&b->peer, 0, 200, "");
	h2_bed_run(b);
	assert_int_equal(c->ended, 1);
	h2_bed_wait(b, LATELY_MS - 1);
	assert_true(h2_used_lately(b->h2));
	h2_bed_wait(b, 1);
	assert_false(h2_used_lately(b->h2));
	h2_bed_wait(b, IDLE_MS - LATELY_MS);
	assert_int_equal(h2_state(b->h2), H2_OPEN);
	h2_bed_wait(b, H2_BED_PING_MS + H2_BED_PONG_MS);
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
	assert_int_equal(b->peer.goaways, 1);
}

static void
an_old_one_is_retired(void **state)
{
	struct h2_bed *b = *state;
	int i;

	for (i = 0; i < AGE_MS / 100000; i++) {
		assert_int_equal(h2_state(b->h2), H2_OPEN);
		h2_bed_get(b);
		h2_bed_run(b);
		h2_peer_answer(&b->peer, i, 200, "");
		h2_bed_wait(b, 100000);
	}
	h2_bed_wait(b, H2_BED_PING_MS + H2_BED_PONG_MS);
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
	assert_int_equal(b->peer.goaways, 1);
}

/* ---- floods ---- */

static void
priority(struct h2_peer *p)
{
	h2_peer_raw_frame(p, NGHTTP2_PRIORITY, 0, 1, "\0\0\0\0\1", 5);
}

static void
empty_settings(struct h2_peer *p)
{
	h2_peer_raw_frame(p, NGHTTP2_SETTINGS, 0, 0, "", 0);
}

static void
window_update(struct h2_peer *p)
{
	h2_peer_raw_frame(p, NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\1", 4);
}

static void
empty_data(struct h2_peer *p)
{
	h2_peer_raw_frame(p, NGHTTP2_DATA, 0, 1, "", 0);
}

static void
padding(struct h2_peer *p)
{
	h2_peer_raw_frame(p, NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, "\1\0", 2);
}

static void
unknown_frame(struct h2_peer *p)
{
	h2_peer_raw_frame(p, 0xbb, 0, 0, "", 0);
}

static void
unknown_frame_of_a_stream(struct h2_peer *p)
{
	h2_peer_raw_frame(p, 0xbb, 0xff, 1, "what", 4);
}

static void
byte(struct h2_peer *p)
{
	h2_peer_raw_frame(p, NGHTTP2_DATA, 0, 1, "x", 1);
}

/* On stream 1, of the next stream: GET https://a/ */
static void
push_promise(struct h2_peer *p)
{
	static uint8_t promise[] = "\0\0\0\0\x82\x87\x84\x41\x01"
				   "a";
	uint32_t next = (uint32_t)++p->promised * 2;

	promise[1] = (uint8_t)(next >> 16);
	promise[2] = (uint8_t)(next >> 8);
	promise[3] = (uint8_t)next;
	h2_peer_raw_frame(p, NGHTTP2_PUSH_PROMISE, NGHTTP2_FLAG_END_HEADERS, 1,
	    promise, sizeof(promise) - 1);
}

/* A stream whose answer has begun, by raw frames. */
static struct h2_call *
begin_answer(struct h2_bed *b)
{
	struct h2_call *c = h2_bed_get(b);

	h2_bed_run(b);
	h2_peer_raw_frame(&b->peer, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS,
	    c->stream.id, "\x88", 1);
	fake_loop_settle(b->loop);
	return c;
}

static void
flood(struct h2_bed *b, void (*frame)(struct h2_peer *p), int n)
{
	int i;

	for (i = 0; i < n; i++) {
		frame(&b->peer);
		if (i % 100 == 0)
			fake_loop_settle(b->loop);
	}
	fake_loop_settle(b->loop);
}

static void
frames_that_bring_nothing_are_counted(void **state)
{
	static void (*const frames[])(struct h2_peer * p) = { priority,
		window_update, empty_data, padding, empty_settings,
		unknown_frame, unknown_frame_of_a_stream };
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(frames); i++) {
		struct h2_bed *b = xcalloc(1, sizeof(*b));
		struct h2_call *c;

		h2_bed_init(b, 100);
		h2_bed_open(b);
		c = begin_answer(b);
		flood(b, frames[i], FLOOD / 2);
		assert_int_equal(h2_state(b->h2), H2_OPEN);
		assert_int_equal(c->ended, 0);
		flood(b, frames[i], FLOOD / 2 + 1);
		assert_int_equal(h2_state(b->h2), H2_CLOSED);
		assert_int_equal(c->stream.result.error, RPC_TRUNCATED);
		h2_bed_release(b);
		free(b);
	}
}

/* The rules allow them until our SETTINGS are confirmed: here never. */
static void
promises_that_nobody_asked_for_are_counted(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c;

	b->peer.quiet = true;
	h2_bed_open(b);
	empty_settings(&b->peer);
	c = begin_answer(b);
	flood(b, push_promise, FLOOD - 1);
	assert_int_equal(h2_state(b->h2), H2_OPEN);
	assert_int_equal(c->ended, 0);
	flood(b, push_promise, 1);
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
	assert_string_equal(
	    c->stream.result.why, "the server floods the connection");
}

static void
a_promise_against_our_settings_ends_it(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = begin_answer(b);

	push_promise(&b->peer);
	h2_bed_run(b);
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
	assert_int_equal(b->peer.goaway_code, NGHTTP2_PROTOCOL_ERROR);
	assert_int_equal(c->stream.result.error, RPC_TRUNCATED);
}

/* However small the pieces are. */
static void
frames_that_bring_something_are_not_counted(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = begin_answer(b);

	flood(b, byte, 2 * FLOOD);
	assert_int_equal(h2_state(b->h2), H2_OPEN);
	h2_peer_raw_frame(&b->peer, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM,
	    c->stream.id, "", 0);
	fake_loop_settle(b->loop);
	assert_int_equal(c->stream.result.outcome, HTTP_ANSWERED);
	assert_int_equal(c->stream.result.body.len, 2 * FLOOD);
}

static void
answers_begin_the_count_anew(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = begin_answer(b);

	flood(b, priority, FLOOD - 10);
	h2_peer_raw_frame(&b->peer, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM,
	    c->stream.id, "x", 1);
	fake_loop_settle(b->loop);
	assert_int_equal(c->stream.result.outcome, HTTP_ANSWERED);
	flood(b, priority, FLOOD - 10);
	assert_int_equal(h2_state(b->h2), H2_OPEN);
}

/* A server that says little, over a long time, floods nobody. */
static void
time_begins_the_count_anew(void **state)
{
	struct h2_bed *b = *state;

	begin_answer(b);
	flood(b, priority, FLOOD - 10);
	h2_bed_wait(b, H2_BED_PING_MS);
	flood(b, priority, FLOOD - 10);
	assert_int_equal(h2_state(b->h2), H2_OPEN);
}

/* Extensions may come (RFC 9113, 5.5), and are not ours. */
static void
unknown_frames_are_passed_over(void **state)
{
	struct h2_bed *b = *state;
	struct h2_call *c = begin_answer(b);

	flood(b, unknown_frame, 100);
	h2_peer_raw_frame(&b->peer, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM,
	    c->stream.id, "x", 1);
	fake_loop_settle(b->loop);
	assert_int_equal(c->stream.result.outcome, HTTP_ANSWERED);
}

/* Answers to PINGs may not pile up for a server that takes none. */
static void
a_flood_of_pings_ends_it(void **state)
{
	struct h2_bed *b = *state;
	int i;

	fake_conn_limit(b->conn, 0, -EAGAIN);
	for (i = 0; i < 20000 && h2_state(b->h2) == H2_OPEN; i++) {
		h2_peer_raw_frame(&b->peer, NGHTTP2_PING, 0, 0, "01234567", 8);
		fake_loop_settle(b->loop);
	}
	assert_int_equal(h2_state(b->h2), H2_CLOSED);
}

#define OPEN(f) \
	cmocka_unit_test_setup_teardown(f, h2_bed_setup, h2_bed_teardown)
#define CONNECTING(f) \
	cmocka_unit_test_setup_teardown(f, setup_connecting, h2_bed_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CONNECTING(it_offers_h2_and_says_its_settings),
		cmocka_unit_test(a_server_of_http1_is_told_apart),
		CONNECTING(a_connection_that_fails_says_why),
		CONNECTING(one_that_says_no_settings_is_refused),
		OPEN(one_that_was_of_use_is_no_refusal),
		OPEN(one_that_carried_nothing_is_refused),
		OPEN(what_it_had_not_sent_is_turned_away),
		CONNECTING(bytes_that_are_no_http2_end_it),
		OPEN(broken_frames_end_it),
		OPEN(one_write_takes_what_was_asked_in_one_turn),
		OPEN(a_slow_connection_gets_all),
		OPEN(credentials_are_in_no_table_and_no_buffer),
		OPEN(the_headers_are_those_of_the_request),
		OPEN(large_headers_are_sent_whole),
		OPEN(a_large_answer_in_small_pieces),
		OPEN(a_ping_is_answered),
		OPEN(the_server_says_how_many),
		OPEN(room_is_what_is_left),
		OPEN(a_limit_may_fall),
		OPEN(what_the_limit_holds_back_is_sent_later),
		OPEN(retired_when_idle_it_says_goodbye),
		OPEN(retired_in_use_it_waits_for_the_last),
		CONNECTING(retired_while_connecting_it_closes),
		OPEN(a_goaway_ends_those_above_it),
		OPEN(a_goaway_before_the_end_is_no_promise),
		OPEN(a_goaway_goes_before_what_is_not_written),
		OPEN(a_goaway_may_come_twice),
		OPEN(a_broken_write_reads_first),
		OPEN(silence_brings_a_ping_and_its_answer_is_enough),
		OPEN(a_peer_that_answers_no_ping_is_dead),
		OPEN(a_peer_that_takes_nothing_is_dead),
		OPEN(any_byte_is_a_sign_of_life),
		OPEN(a_pong_that_is_there_to_be_read_counts),
		OPEN(an_end_that_is_there_to_be_read_counts),
		OPEN(unused_it_is_closed_in_time),
		OPEN(an_old_one_is_retired),
		cmocka_unit_test(frames_that_bring_nothing_are_counted),
		CONNECTING(promises_that_nobody_asked_for_are_counted),
		OPEN(a_promise_against_our_settings_ends_it),
		OPEN(frames_that_bring_something_are_not_counted),
		OPEN(answers_begin_the_count_anew),
		OPEN(time_begins_the_count_anew),
		OPEN(unknown_frames_are_passed_over),
		OPEN(a_flood_of_pings_ends_it),
	};

	return cmocka_run_group_tests_name("h2", tests, NULL, NULL);
}
