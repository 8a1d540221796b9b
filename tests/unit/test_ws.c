#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "tests/unit/unit.h"

#include "daemon/ws.h"
#include "proto/base64.h"
#include "proto/xalloc.h"
#include "tests/unit/fakes/fake_conn.h"
#include "tests/unit/fakes/fake_loop.h"

#include "proto/banned.h"

#define MAX_MESSAGE 1000
#define OPEN_MS     30000
#define PING_MS     15000
#define PONG_MS     10000
#define SOFT        (256 * 1024) /* of what waits to be sent */

enum opcode {
	CONTINUED = 0,
	TEXT = 1,
	BINARY = 2,
	CLOSE = 8,
	PING = 9,
	PONG = 10,
};
#define FIN 0x80

/* One stream, the other end of its connection, and what its owner was told. */
struct bed {
	struct loop *loop;
	struct ws *ws; /* NULL once it was freed */
	struct fake_conn *conn;
	int opened, rooms, ended, count;
	struct buf messages; /* each with '|' behind it */
	struct ws_end end;
	char why[256], body[256];
	/* In which of these the owner frees it, or pauses. */
	bool free_opened, free_message, free_room, free_ended, pause_message;
};

static void
drop(struct bed *b)
{
	ws_free(b->ws);
	b->ws = NULL;
}

static void
opened(void *arg)
{
	struct bed *b = arg;

	b->opened++;
	if (b->free_opened)
		drop(b);
}

static void
message(void *arg, const char *data, size_t n)
{
	struct bed *b = arg;

	assert_non_null(b->ws);
	b->count++;
	buf_add(&b->messages, data, n);
	buf_adds(&b->messages, "|");
	if (b->pause_message)
		ws_pause(b->ws, true);
	if (b->free_message)
		drop(b);
}

static void
room(void *arg)
{
	struct bed *b = arg;

	b->rooms++;
	if (b->free_room)
		drop(b);
}

static void
ended(void *arg, const struct ws_end *end)
{
	struct bed *b = arg;

	b->ended++;
	b->end = *end;
	snprintf(b->why, sizeof(b->why), "%s", end->why);
	snprintf(b->body, sizeof(b->body), "%s", end->body);
	if (b->free_ended)
		drop(b);
}

static const struct ws_ops ops = { opened, message, room, ended };

static void
start(struct bed *b, const char *url)
{
	static const char *const headers[] = { "X-API-Key: wrn_secret" };
	const struct ws_spec spec = {
		.url = url,
		.headers = headers,
		.header_count = 1,
		.max_message = MAX_MESSAGE,
		.open_timeout_ms = OPEN_MS,
		.ping_after_ms = PING_MS,
		.ping_timeout_ms = PONG_MS,
	};

	b->ws = ws_open(b->loop, NULL, &spec, &ops, b);
	b->conn = fake_conn_at(fake_conn_count() - 1);
}

static int
setup(void **state)
{
	struct bed *b = xcalloc(1, sizeof(*b));

	b->loop = loop_new();
	buf_init(&b->messages, 64 * 1024 * 1024);
	start(b, "https://api.example:8443/x/stream");
	*state = b;
	return 0;
}

static int
teardown(void **state)
{
	struct bed *b = *state;

	drop(b);
	fake_loop_settle(b->loop);
	fake_conn_forget();
	buf_release(&b->messages);
	loop_free(b->loop);
	free(b);
	return 0;
}

static void
say(struct bed *b, const char *text)
{
	fake_conn_feed(b->conn, text, strlen(text));
	fake_loop_settle(b->loop);
}

/* What was written since the request, or all of it. */
static const char *
request(const struct bed *b)
{
	return buf_str(&b->conn->offered);
}

/* The answer to the request's key; the caller's. */
static char *
accept_of(const struct bed *b)
{
	static const char field[] = "Sec-WebSocket-Key: ";
	const char *key = strstr(request(b), field) + strlen(field);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int len;
	struct buf out;
	char *text =
	    xasprintf("%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);

	assert_int_equal(
	    EVP_Digest(text, strlen(text), digest, &len, EVP_sha1(), NULL), 1);
	free(text);
	buf_init(&out, 64);
	base64_encode(&out, digest, len);
	return buf_steal(&out, NULL);
}

/* A good answer, with `more` among its headers. */
static void
agree(struct bed *b, const char *more)
{
	char *accept = accept_of(b);
	char *text = xasprintf("HTTP/1.1 101 Switching Protocols\r\n"
			       "Upgrade: WebSocket\r\nConnection: upgrade\r\n"
			       "%sSec-WebSocket-Accept: %s\r\n\r\n",
	    more, accept);

	say(b, text);
	free(text);
	free(accept);
}

static void
connect_it(struct bed *b)
{
	fake_conn_open(b->conn, "http/1.1");
	fake_loop_settle(b->loop);
}

/* The stream is open, and the request out of the way. */
static void
open_it(struct bed *b)
{
	connect_it(b);
	agree(b, "");
	assert_int_equal(b->opened, 1);
	buf_clear(&b->conn->offered);
	b->conn->taken = 0;
}

/* A frame of a server. */
static void
add_frame(struct buf *out, int first, const char *data, size_t n)
{
	unsigned char head[10] = { (unsigned char)first };
	size_t i, len = 2;

	if (n < 126) {
		head[1] = (unsigned char)n;
	} else if (n < 65536) {
		head[1] = 126;
		head[2] = (unsigned char)(n >> 8);
		head[3] = (unsigned char)n;
		len = 4;
	} else {
		head[1] = 127;
		for (i = 0; i < 8; i++)
			head[2 + i] = (unsigned char)(n >> (56 - 8 * i));
		len = 10;
	}
	buf_add(out, head, len);
	buf_add(out, data, n);
}

static void
frame(struct bed *b, int first, const char *data, size_t n)
{
	struct buf out;

	buf_init(&out, SIZE_MAX);
	add_frame(&out, first, data, n);
	fake_conn_feed(b->conn, buf_head(&out), out.len);
	buf_release(&out);
	fake_loop_settle(b->loop);
}

static void
text_frame(struct bed *b, const char *text)
{
	frame(b, FIN | TEXT, text, strlen(text));
}

/*
 * Takes the first frame that was written: its opcode, and its payload
 * (unmasked, up to 255 bytes, NUL-terminated); -1 if there is none.
 */
static int
written(struct bed *b, char payload[256], size_t *ret_len)
{
	const unsigned char *p =
	    (const unsigned char *)buf_head(&b->conn->offered);
	size_t n, i, at = 2, len = b->conn->offered.len;
	int opcode;

	if (len == 0)
		return -1;
	assert_true(len >= 6);
	assert_true(p[1] & 0x80);
	opcode = p[0] & 0x0f;
	n = p[1] & 0x7f;
	assert_true(n < 127);
	if (n == 126) {
		n = (size_t)p[2] << 8 | p[3];
		at = 4;
	}
	assert_true(len >= at + 4 + n);
	for (i = 0; i < n && i < 255; i++)
		payload[i] = (char)(p[at + 4 + i] ^ p[at + i % 4]);
	payload[i] = '\0';
	*ret_len = n;
	buf_consume(&b->conn->offered, at + 4 + n);
	b->conn->taken -= at + 4 + n;
	return opcode;
}

static void
expect_written(struct bed *b, int opcode, const char *payload)
{
	char text[256];
	size_t n;

	assert_int_equal(written(b, text, &n), opcode);
	assert_string_equal(text, payload);
}

static void
expect_close(struct bed *b, int code)
{
	char text[256];
	size_t n;

	assert_int_equal(written(b, text, &n), CLOSE);
	assert_true(n >= 2);
	assert_int_equal(
	    (unsigned char)text[0] << 8 | (unsigned char)text[1], code);
}

static void
expect_messages(const struct bed *b, const char *text)
{
	if (text[0] == '\0')
		assert_int_equal(b->messages.len, 0);
	else
		assert_string_equal(
		    buf_str((struct buf *)(uintptr_t)&b->messages), text);
}

static void
expect_end(const struct bed *b, enum rpc_errno error, bool was_open)
{
	assert_int_equal(b->ended, 1);
	assert_int_equal(b->end.error, error);
	assert_int_equal(b->end.opened, was_open);
	assert_null(b->conn->conn);
}

/* ---- the upgrade ---- */

static void
it_asks_as_the_standard_wants(void **state)
{
	struct bed *b = *state;

	assert_string_equal(b->conn->url, "https://api.example:8443/x/stream");
	assert_string_equal(b->conn->alpn, "\10http/1.1");
	connect_it(b);
	assert_ptr_equal(
	    strstr(request(b), "GET /x/stream HTTP/1.1\r\n"), request(b));
	assert_non_null(strstr(request(b), "\r\nHost: api.example:8443\r\n"));
	assert_non_null(strstr(request(b), "\r\nUpgrade: websocket\r\n"));
	assert_non_null(strstr(request(b), "\r\nConnection: Upgrade\r\n"));
	assert_non_null(
	    strstr(request(b), "\r\nSec-WebSocket-Version: 13\r\n"));
	assert_non_null(strstr(request(b), "\r\nX-API-Key: wrn_secret\r\n"));
	assert_string_equal(request(b) + strlen(request(b)) - 4, "\r\n\r\n");
	assert_int_equal(b->opened, 0);
	agree(b, "");
	assert_int_equal(b->opened, 1);
	assert_int_equal(b->ended, 0);
}

static void
keys_differ(void **state)
{
	struct bed *b = *state;
	char *first, *second;

	connect_it(b);
	first = accept_of(b);
	drop(b);
	start(b, "http://[::1]:80");
	connect_it(b);
	assert_non_null(strstr(request(b), "GET / HTTP/1.1\r\n"));
	assert_non_null(strstr(request(b), "\r\nHost: [::1]:80\r\n"));
	second = accept_of(b);
	assert_string_not_equal(first, second);
	free(first);
	free(second);
}

static void
an_answer_may_come_a_byte_at_a_time_with_frames_behind_it(void **state)
{
	struct bed *b = *state;
	char *accept, *text;
	size_t i;

	connect_it(b);
	accept = accept_of(b);
	text = xasprintf("HTTP/1.1 100 Continue\r\n\r\n"
			 "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
			 "HTTP/1.1 101\r\nConnection: keep-alive\r\n"
			 "upgrade:websocket\r\nConnection: x,\tUPGRADE ,y\r\n"
			 "sec-websocket-accept:  %s \t\r\n\r\n\x81\x02hi",
	    accept);
	for (i = 0; text[i] != '\0'; i++) {
		fake_conn_feed(b->conn, text + i, 1);
		fake_loop_settle(b->loop);
	}
	assert_int_equal(b->opened, 1);
	expect_messages(b, "hi|");
	free(text);
	free(accept);
}

static void
a_request_may_go_out_slowly(void **state)
{
	struct bed *b = *state;

	fake_conn_limit(b->conn, 10, -EAGAIN);
	connect_it(b);
	assert_int_equal(b->conn->taken, 10);
	fake_conn_limit(b->conn, SIZE_MAX, -EAGAIN);
	fake_loop_settle(b->loop);
	assert_int_equal(b->conn->taken, b->conn->offered.len);
	agree(b, "");
	assert_int_equal(b->opened, 1);
}

static void
whoever_does_not_agree_is_left(void **state)
{
	static const char *const heads[] = {
		"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
		"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n"
		"Connection: Upgrade\r\n\r\n",
		"HTTP/1.1 101 X\r\n\r\n",
		"HTTP/2 101 X\r\n\r\n",
		"HTTP/1.1  20 X\r\n\r\n",
		"HTTP/1.1 0101 X\r\n\r\n",
		"HTTP/1.1 101x\r\n\r\n",
		"SSH-2.0-OpenSSH_9.2p1\r\n\r\n",
		"\r\n\r\n",
	};
	struct bed *b = *state;
	size_t i;

	for (i = 0; i < COUNT(heads); i++) {
		connect_it(b);
		say(b, heads[i]);
		expect_end(b, RPC_BAD_ANSWER, false);
		assert_int_equal(b->end.http_status, 0);
		drop(b);
		b->ended = 0;
		start(b, "https://h/");
	}
	assert_int_equal(b->opened, 0);
}

static void
what_was_not_asked_for_is_no_agreement(void **state)
{
	static const char *const headers[] = {
		"Sec-WebSocket-Extensions: permessage-deflate\r\n",
		"sec-websocket-protocol: chat\r\n",
		"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n",
	};
	struct bed *b = *state;
	size_t i;

	for (i = 0; i < COUNT(headers); i++) {
		connect_it(b);
		agree(b, headers[i]);
		expect_end(b, RPC_BAD_ANSWER, false);
		drop(b);
		b->ended = 0;
		start(b, "https://h/");
	}
}

static void
each_header_is_needed(void **state)
{
	static const char *const heads[] = {
		"HTTP/1.1 101 X\r\nConnection: Upgrade\r\n",
		"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n",
		"HTTP/1.1 101 X\r\nUpgrade: websockets\r\n"
		"Connection: Upgrade\r\n",
		"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: close\r\n",
		"HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n",
	};
	struct bed *b = *state;
	char *accept, *text;
	size_t i;

	for (i = 0; i < COUNT(heads); i++) {
		connect_it(b);
		accept = accept_of(b);
		text = xasprintf(
		    "%sSec-WebSocket-Accept: %s\r\n\r\n", heads[i], accept);
		say(b, text);
		expect_end(b, RPC_BAD_ANSWER, false);
		free(text);
		free(accept);
		drop(b);
		b->ended = 0;
		start(b, "https://h/");
	}
}

static void
a_nul_hides_nothing(void **state)
{
	static const char more[] =
	    "X: \0\r\nSec-WebSocket-Extensions: x\r\n\r\n";
	struct bed *b = *state;
	char *accept, *text;

	connect_it(b);
	accept = accept_of(b);
	text = xasprintf("HTTP/1.1 101 X\r\nUpgrade: websocket\r\n"
			 "Connection: Upgrade\r\n"
			 "Sec-WebSocket-Accept: %s\r\n",
	    accept);
	fake_conn_feed(b->conn, text, strlen(text));
	fake_conn_feed(b->conn, more, sizeof(more) - 1);
	fake_loop_settle(b->loop);
	expect_end(b, RPC_BAD_ANSWER, false);
	free(text);
	free(accept);
}

static void
a_refusal_comes_with_its_body(void **state)
{
	struct bed *b = *state;

	connect_it(b);
	say(b, "HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\n\r\n{\"a\":");
	assert_int_equal(b->ended, 0);
	say(b, "\"b\"}    and more");
	expect_end(b, RPC_BAD_ANSWER, false);
	assert_int_equal(b->end.http_status, 404);
	assert_string_equal(b->body, "{\"a\":\"b\"}    ");
	assert_int_equal(b->end.len, 13);
	assert_non_null(strstr(b->why, "404"));
}

static void
a_refusal_is_not_waited_for_without_need(void **state)
{
	struct bed *b = *state;

	connect_it(b);
	say(b, "HTTP/1.0 503 Busy\r\n\r\n");
	expect_end(b, RPC_BAD_ANSWER, false);
	assert_int_equal(b->end.http_status, 503);
	assert_string_equal(b->body, "");
	drop(b);
	b->ended = 0;
	start(b, "https://h/");
	connect_it(b);
	say(b, "HTTP/1.1 401 No\r\nContent-Length: 99\r\n\r\ncut");
	fake_conn_end(b->conn, 0);
	fake_loop_settle(b->loop);
	expect_end(b, RPC_BAD_ANSWER, false);
	assert_string_equal(b->body, "cut");
}

static void
a_refusal_without_end_is_cut(void **state)
{
	static char data[64 * 1024];
	struct bed *b = *state;

	memset(data, 'x', sizeof(data));
	connect_it(b);
	say(b,
	    "HTTP/1.1 500 X\r\nContent-Length: 18446744073709551615\r\n\r\n");
	fake_conn_feed(b->conn, data, sizeof(data));
	fake_loop_settle(b->loop);
	expect_end(b, RPC_BAD_ANSWER, false);
	assert_in_range(b->end.len, 16384, 32768);
}

static void
a_head_has_an_end(void **state)
{
	static char data[20000];
	struct bed *b = *state;

	memset(data, 'x', sizeof(data));
	connect_it(b);
	say(b, "HTTP/1.1 101 ");
	fake_conn_feed(b->conn, data, sizeof(data));
	fake_loop_settle(b->loop);
	expect_end(b, RPC_BAD_ANSWER, false);
	assert_in_range(b->conn->in.len, 20000 - 16384, 20000 - 16000);
}

static void
interim_answers_have_one_too(void **state)
{
	static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct bed *b = *state;
	int i;

	connect_it(b);
	for (i = 0; i < 1000; i++)
		fake_conn_feed(b->conn, interim, sizeof(interim) - 1);
	fake_loop_settle(b->loop);
	expect_end(b, RPC_BAD_ANSWER, false);
}

static void
a_connection_that_ends_or_fails_ends_it(void **state)
{
	struct bed *b = *state;

	connect_it(b);
	say(b, "HTTP/1.1 101 ");
	fake_conn_end(b->conn, 0);
	fake_loop_settle(b->loop);
	expect_end(b, RPC_BAD_ANSWER, false);
	drop(b);
	b->ended = 0;
	start(b, "https://h/");
	fake_conn_fail(b->conn, RPC_TLS, "bad certificate");
	expect_end(b, RPC_TLS, false);
	assert_string_equal(b->why, "bad certificate");
}

static void
it_is_not_waited_for_for_ever(void **state)
{
	struct bed *b = *state;

	connect_it(b);
	fake_loop_advance(b->loop, OPEN_MS - 1);
	assert_int_equal(b->ended, 0);
	say(b, "HTTP");
	fake_loop_advance(b->loop, 1);
	expect_end(b, RPC_TIMEOUT, false);
}

/* ---- messages ---- */

static void
messages_are_told_whole(void **state)
{
	struct bed *b = *state;
	char long_one[MAX_MESSAGE + 1];

	open_it(b);
	text_frame(b, "one");
	text_frame(b, "");
	frame(b, FIN | BINARY, "\xff", 1);
	memset(long_one, 'x', MAX_MESSAGE);
	frame(b, FIN | TEXT, long_one, MAX_MESSAGE);
	assert_int_equal(b->count, 4);
	assert_int_equal(b->messages.len, 4 + 1 + 2 + MAX_MESSAGE + 1);
	assert_memory_equal(buf_head(&b->messages), "one||\xff|xxx", 10);
}

static void
many_messages_come_in_one_read(void **state)
{
	struct bed *b = *state;
	struct buf out;
	int i;

	open_it(b);
	buf_init(&out, SIZE_MAX);
	for (i = 0; i < 40000; i++)
		add_frame(&out, FIN | TEXT, "0123456789abcdef", 16);
	fake_conn_feed(b->conn, buf_head(&out), out.len);
	fake_loop_settle(b->loop);
	assert_int_equal(b->count, 40000);
	buf_release(&out);
}

static void
fragments_are_put_together(void **state)
{
	struct bed *b = *state;

	open_it(b);
	b->conn->chunk = 1;
	frame(b, TEXT, "a\xc3", 2);
	frame(b, FIN | PING, "are you there", 13);
	frame(b, CONTINUED, "", 0);
	frame(b, CONTINUED, "\xa4", 1);
	expect_messages(b, "");
	frame(b, FIN | PONG, "", 0);
	frame(b, FIN | CONTINUED, "z", 1);
	expect_messages(b, "a\xc3\xa4z|");
	expect_written(b, PONG, "are you there");
}

static void
breaches_end_it(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		int code;
	} rows[] = {
		{ LITERAL("\x81\x02\xc3\x28"), 1007 },   /* no UTF-8 */
		{ LITERAL("\x81\x01\xc3"), 1007 },       /* half of it */
		{ LITERAL("\x81\x81\1\2\3\4x"), 1002 },  /* masked */
		{ LITERAL("\xc1\x01x"), 1002 },          /* RSV1 */
		{ LITERAL("\x80\x01x"), 1002 },          /* no beginning */
		{ LITERAL("\x01\x01x\x81\x01y"), 1002 }, /* two of them */
		{ LITERAL("\x88\x02\x03\xee"), 1002 },   /* close with 1006 */
	};
	struct bed *b = *state;
	size_t i;

	for (i = 0; i < COUNT(rows); i++) {
		open_it(b);
		fake_conn_feed(b->conn, rows[i].bytes, rows[i].n);
		fake_loop_settle(b->loop);
		expect_end(b, RPC_BAD_ANSWER, true);
		assert_false(b->end.clean);
		expect_close(b, rows[i].code);
		assert_int_equal(b->count, 0);
		drop(b);
		b->ended = b->opened = 0;
		start(b, "https://h/");
	}
}

static void
frames_that_cannot_be_end_it(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} rows[] = {
		{ LITERAL("\x83\x00") },         /* an opcode of nobody */
		{ LITERAL("\x8b\x00") },         /* likewise */
		{ LITERAL("\x09\x00") },         /* a PING in fragments */
		{ LITERAL("\x89\x7e\x00\x80") }, /* a long one */
		{ LITERAL("\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff") },
		{ LITERAL("\x81\x7e\x00\x01x") }, /* not the shortest length */
	};
	struct bed *b = *state;
	size_t i;

	for (i = 0; i < COUNT(rows); i++) {
		open_it(b);
		fake_conn_feed(b->conn, rows[i].bytes, rows[i].n);
		fake_loop_settle(b->loop);
		expect_end(b, RPC_BAD_ANSWER, true);
		drop(b);
		b->ended = b->opened = 0;
		start(b, "https://h/");
	}
}

static void
a_message_has_a_maximum(void **state)
{
	struct bed *b = *state;
	char data[MAX_MESSAGE + 1];

	memset(data, 'x', sizeof(data));
	open_it(b);
	/* The length tells: the rest of it is not waited for. */
	say(b, "\x81\x7e\x03\xe9x");
	expect_end(b, RPC_TOO_LARGE, true);
	expect_close(b, 1009);
	drop(b);
	b->ended = b->opened = 0;
	start(b, "https://h/");
	open_it(b);
	frame(b, TEXT, data, MAX_MESSAGE);
	frame(b, CONTINUED, "", 0);
	assert_int_equal(b->ended, 0);
	frame(b, FIN | CONTINUED, "x", 1);
	expect_end(b, RPC_TOO_LARGE, true);
	assert_int_equal(b->count, 0);
}

static void
a_frame_of_4_gib_takes_no_memory(void **state)
{
	struct bed *b = *state;

	open_it(b);
	fake_conn_feed(
	    b->conn, LITERAL("\x82\x7f\x00\x00\x00\x01\x00\x00\x00\x00x"));
	fake_loop_settle(b->loop);
	expect_end(b, RPC_TOO_LARGE, true);
}

/* ---- control frames ---- */

static void
a_flood_of_pings_stops_the_reading(void **state)
{
	struct bed *b = *state;
	struct buf out;
	int i, pongs = 0;
	char text[256];
	size_t n, left;

	open_it(b);
	fake_conn_limit(b->conn, 0, -EAGAIN);
	buf_init(&out, SIZE_MAX);
	for (i = 0; i < 200000; i++)
		add_frame(&out, FIN | PING, "", 0);
	fake_conn_feed(b->conn, buf_head(&out), out.len);
	buf_release(&out);
	fake_loop_settle(b->loop);
	left = b->conn->in.len;
	/* What was read is what wslay reads at once, and what fills a write. */
	assert_in_range(left, 300000, 400000);
	assert_true(b->conn->offered.len < 64 * 1024);
	fake_loop_advance(b->loop, 1000);
	assert_int_equal(b->conn->in.len, left);
	fake_conn_limit(b->conn, SIZE_MAX, -EAGAIN);
	fake_loop_settle(b->loop);
	assert_int_equal(b->conn->in.len, 0);
	while (written(b, text, &n) == PONG)
		pongs++;
	assert_int_equal(pongs, 200000);
	assert_int_equal(b->ended, 0);
}

static void
a_goodbye_is_answered(void **state)
{
	struct bed *b = *state;

	open_it(b);
	text_frame(b, "last");
	frame(b, FIN | CLOSE, "\x03\xe9gone", 6);
	expect_end(b, RPC_OK, true);
	assert_true(b->end.clean);
	assert_int_equal(b->end.code, 1001);
	expect_messages(b, "last|");
	expect_close(b, 1001);
	drop(b);
	b->ended = b->opened = 0;
	start(b, "https://h/");
	open_it(b);
	frame(b, FIN | CLOSE, "", 0);
	expect_end(b, RPC_OK, true);
	assert_int_equal(b->end.code, 1005);
}

static void
nothing_counts_behind_a_goodbye(void **state)
{
	struct bed *b = *state;

	open_it(b);
	say(b, "\x88\x02\x03\xe8\x81\x01x");
	expect_end(b, RPC_OK, true);
	assert_int_equal(b->count, 0);
}

static void
a_cut_is_no_goodbye(void **state)
{
	static const int ends[] = { 0, -ECONNRESET };
	struct bed *b = *state;
	size_t i;

	for (i = 0; i < COUNT(ends); i++) {
		open_it(b);
		text_frame(b, "x");
		frame(b, TEXT, "half", 4);
		fake_conn_end(b->conn, ends[i]);
		fake_loop_settle(b->loop);
		expect_end(b, RPC_TRUNCATED, true);
		assert_false(b->end.clean);
		assert_int_equal(b->count, 1);
		drop(b);
		b->ended = b->opened = b->count = 0;
		start(b, "https://h/");
	}
}

static void
what_came_before_the_cut_is_told(void **state)
{
	struct bed *b = *state;

	open_it(b);
	fake_conn_feed(b->conn, "\x81\x01x", 3);
	fake_conn_end(b->conn, 0);
	fake_loop_settle(b->loop);
	expect_messages(b, "x|");
	expect_end(b, RPC_TRUNCATED, true);
}

static void
a_write_that_fails_ends_it(void **state)
{
	struct bed *b = *state;

	open_it(b);
	fake_conn_limit(b->conn, 0, -EPIPE);
	ws_send(b->ws, "x", 1);
	fake_loop_settle(b->loop);
	expect_end(b, RPC_TRUNCATED, true);
}

/* The server answers, hangs up, and a PONG to it comes too late. */
static void
what_came_before_a_write_failed_is_told(void **state)
{
	struct bed *b = *state;

	open_it(b);
	ws_pause(b->ws, true);
	fake_loop_settle(b->loop);
	fake_conn_limit(b->conn, 0, -ECONNRESET);
	ws_send(b->ws, "x", 1);
	fake_loop_settle(b->loop);
	text_frame(b, "last words");
	frame(b, FIN | PING, "", 0);
	fake_conn_end(b->conn, -ECONNRESET);
	fake_loop_settle(b->loop);
	assert_int_equal(b->ended, 0);
	ws_pause(b->ws, false);
	fake_loop_settle(b->loop);
	expect_messages(b, "last words|");
	expect_end(b, RPC_TRUNCATED, true);
	assert_int_equal(ws_send(b->ws, "x", 1), -ENOTCONN);
}

static void
a_goodbye_that_cannot_be_answered_is_one(void **state)
{
	struct bed *b = *state;

	open_it(b);
	fake_conn_limit(b->conn, 0, -EPIPE);
	say(b, "\x89\x01x\x81\x01y\x88\x02\x03\xe8");
	expect_messages(b, "y|");
	expect_end(b, RPC_OK, true);
	assert_int_equal(b->end.code, 1000);
}

/* ---- silence ---- */

static void
a_dead_peer_is_found(void **state)
{
	struct bed *b = *state;

	open_it(b);
	fake_loop_advance(b->loop, PING_MS - 1);
	text_frame(b, "x");
	fake_loop_advance(b->loop, PING_MS - 1);
	assert_int_equal(b->conn->offered.len, 0);
	fake_loop_advance(b->loop, 1);
	expect_written(b, PING, "");
	fake_loop_advance(b->loop, PONG_MS - 1);
	assert_int_equal(b->ended, 0);
	fake_loop_advance(b->loop, 1);
	expect_end(b, RPC_TRUNCATED, true);
	assert_false(b->end.clean);
}

static void
any_byte_is_a_sign_of_life(void **state)
{
	struct bed *b = *state;
	int i;

	open_it(b);
	for (i = 0; i < 5; i++) {
		fake_loop_advance(b->loop, PING_MS + PONG_MS - 1);
		expect_written(b, PING, "");
		/* A frame of three bytes. */
		fake_conn_feed(b->conn, "\x82\x03xyz" + i, 1);
		fake_loop_settle(b->loop);
	}
	expect_messages(b, "xyz|");
}

static void
a_pause_is_not_held_against_the_server(void **state)
{
	struct bed *b = *state;

	open_it(b);
	fake_loop_advance(b->loop, PING_MS);
	expect_written(b, PING, "");
	ws_pause(b->ws, true);
	fake_loop_settle(b->loop);
	fake_loop_advance(b->loop, PONG_MS - 1);
	ws_pause(b->ws, false);
	fake_loop_advance(b->loop, PING_MS - 1);
	assert_int_equal(b->ended, 0);
	ws_pause(b->ws, true);
	fake_loop_advance(b->loop, 100 * PING_MS);
	assert_int_equal(b->ended, 0);
	ws_pause(b->ws, false);
	fake_loop_advance(b->loop, PING_MS + PONG_MS);
	expect_end(b, RPC_TRUNCATED, true);
}

static void
a_paused_one_reads_nothing(void **state)
{
	struct bed *b = *state;

	open_it(b);
	ws_pause(b->ws, true);
	fake_loop_settle(b->loop);
	text_frame(b, "x");
	assert_int_equal(b->count, 0);
	ws_send(b->ws, "y", 1);
	fake_loop_settle(b->loop);
	expect_written(b, TEXT, "y");
	ws_pause(b->ws, false);
	fake_loop_settle(b->loop);
	expect_messages(b, "x|");
}

static void
a_pause_in_mid_stream_stops_soon(void **state)
{
	struct bed *b = *state;
	struct buf out;
	int i, told;

	open_it(b);
	buf_init(&out, SIZE_MAX);
	for (i = 0; i < 100; i++)
		add_frame(&out, FIN | TEXT,
		    "0123456789012345678901234567890123456789"
		    "0123456789012345678901234567890123456789"
		    "01234567890123456789",
		    100);
	b->pause_message = true;
	fake_conn_feed(b->conn, buf_head(&out), out.len);
	fake_loop_settle(b->loop);
	told = b->count;
	assert_in_range(told, 1, 45);
	fake_loop_advance(b->loop, 60000);
	assert_int_equal(b->count, told);
	b->pause_message = false;
	ws_pause(b->ws, false);
	fake_loop_settle(b->loop);
	assert_int_equal(b->count, 100);
	buf_release(&out);
}

/* ---- sending ---- */

static void
what_is_sent_is_masked(void **state)
{
	struct bed *b = *state;

	open_it(b);
	assert_int_equal(ws_send(b->ws, "hello", 5), 0);
	fake_loop_settle(b->loop);
	assert_memory_not_equal(buf_head(&b->conn->offered) + 6, "hello", 5);
	expect_written(b, TEXT, "hello");
}

static void
too_much_is_refused_until_there_is_room(void **state)
{
	static char data[60000];
	struct bed *b = *state;
	int n = 0;

	open_it(b);
	assert_int_equal(b->rooms, 0);
	fake_conn_limit(b->conn, 0, -EAGAIN);
	while (ws_send(b->ws, data, sizeof(data)) == 0)
		n++;
	assert_int_equal(n, SOFT / sizeof(data) + 1);
	fake_loop_settle(b->loop);
	assert_int_equal(b->rooms, 0);
	fake_conn_limit(b->conn, 50000, -EAGAIN);
	fake_loop_settle(b->loop);
	assert_int_equal(b->rooms, 1);
	assert_int_equal(ws_send(b->ws, data, sizeof(data)), 0);
	fake_conn_limit(b->conn, SIZE_MAX, -EAGAIN);
	fake_loop_settle(b->loop);
	/* A head of 8 bytes each. */
	assert_int_equal(
	    b->conn->offered.len, (size_t)(n + 1) * (sizeof(data) + 8));
	assert_int_equal(b->rooms, 1);
}

/* ---- being freed ---- */

static void
it_may_be_freed_in_each_callback(void **state)
{
	static char data[60000];
	struct bed *b = *state;

	b->free_opened = true;
	connect_it(b);
	agree(b, "");
	assert_null(b->conn->conn);
	b->free_opened = false;

	start(b, "https://h/");
	b->opened = 0;
	open_it(b);
	b->free_message = true;
	say(b, "\x81\x01x\x81\x01y");
	expect_messages(b, "x|");
	assert_null(b->conn->conn);
	expect_close(b, 1000);
	b->free_message = false;

	start(b, "https://h/");
	b->opened = 0;
	open_it(b);
	fake_conn_limit(b->conn, 0, -EAGAIN);
	while (ws_send(b->ws, data, sizeof(data)) == 0)
		;
	b->free_room = true;
	fake_conn_limit(b->conn, SIZE_MAX, -EAGAIN);
	fake_loop_settle(b->loop);
	assert_null(b->conn->conn);
	assert_int_equal(b->rooms, 1);

	assert_int_equal(b->ended, 0);
}

static void
it_may_be_freed_at_its_end(void **state)
{
	struct bed *b = *state;

	b->free_ended = true;
	fake_conn_fail(b->conn, RPC_UNREACHABLE, "no");
	start(b, "https://h/");
	connect_it(b);
	say(b, "HTTP/1.1 500 X\r\nContent-Length: 1\r\n\r\nx");
	start(b, "https://h/");
	connect_it(b);
	fake_loop_advance(b->loop, OPEN_MS);
	start(b, "https://h/");
	b->opened = 0;
	open_it(b);
	fake_conn_end(b->conn, 0);
	fake_loop_settle(b->loop);
	start(b, "https://h/");
	b->opened = 0;
	open_it(b);
	fake_loop_advance(b->loop, PING_MS + PONG_MS);
	assert_int_equal(b->ended, 5);
	assert_null(b->ws);
}

static void
it_may_be_freed_before_it_is_open(void **state)
{
	struct bed *b = *state;

	drop(b);
	start(b, "https://h/");
	connect_it(b);
	drop(b);
	start(b, "https://h/");
	connect_it(b);
	say(b, "HTTP/1.1 500 X\r\nContent-Length: 9\r\n\r\nx");
	drop(b);
	fake_loop_settle(b->loop);
	assert_int_equal(b->ended, 0);
}

static void
it_says_goodbye_when_it_is_freed(void **state)
{
	struct bed *b = *state;

	open_it(b);
	ws_send(b->ws, "x", 1);
	drop(b);
	/* Control frames go first. */
	expect_close(b, 1000);
	assert_null(b->conn->conn);
}

static void
once_it_has_ended_nothing_is_sent(void **state)
{
	struct bed *b = *state;

	open_it(b);
	fake_conn_end(b->conn, 0);
	fake_loop_settle(b->loop);
	assert_int_equal(ws_send(b->ws, "x", 1), -ENOTCONN);
	ws_pause(b->ws, true);
	ws_pause(b->ws, false);
	fake_loop_advance(b->loop, 10 * PING_MS);
	assert_int_equal(b->ended, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_asks_as_the_standard_wants),
		TEST(keys_differ),
		TEST(an_answer_may_come_a_byte_at_a_time_with_frames_behind_it),
		TEST(a_request_may_go_out_slowly),
		TEST(whoever_does_not_agree_is_left),
		TEST(what_was_not_asked_for_is_no_agreement),
		TEST(each_header_is_needed),
		TEST(a_nul_hides_nothing),
		TEST(a_refusal_comes_with_its_body),
		TEST(a_refusal_is_not_waited_for_without_need),
		TEST(a_refusal_without_end_is_cut),
		TEST(a_head_has_an_end),
		TEST(interim_answers_have_one_too),
		TEST(a_connection_that_ends_or_fails_ends_it),
		TEST(it_is_not_waited_for_for_ever),
		TEST(messages_are_told_whole),
		TEST(many_messages_come_in_one_read),
		TEST(fragments_are_put_together),
		TEST(breaches_end_it),
		TEST(frames_that_cannot_be_end_it),
		TEST(a_message_has_a_maximum),
		TEST(a_frame_of_4_gib_takes_no_memory),
		TEST(a_flood_of_pings_stops_the_reading),
		TEST(a_goodbye_is_answered),
		TEST(nothing_counts_behind_a_goodbye),
		TEST(a_cut_is_no_goodbye),
		TEST(what_came_before_the_cut_is_told),
		TEST(a_write_that_fails_ends_it),
		TEST(what_came_before_a_write_failed_is_told),
		TEST(a_goodbye_that_cannot_be_answered_is_one),
		TEST(a_dead_peer_is_found),
		TEST(any_byte_is_a_sign_of_life),
		TEST(a_pause_is_not_held_against_the_server),
		TEST(a_paused_one_reads_nothing),
		TEST(a_pause_in_mid_stream_stops_soon),
		TEST(what_is_sent_is_masked),
		TEST(too_much_is_refused_until_there_is_room),
		TEST(it_may_be_freed_in_each_callback),
		TEST(it_may_be_freed_at_its_end),
		TEST(it_may_be_freed_before_it_is_open),
		TEST(it_says_goodbye_when_it_is_freed),
		TEST(once_it_has_ended_nothing_is_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
