/*
 * The pool of http_h2.c over fake connections, where servers refuse: no
 * request is lost by it or told twice, and no connection is made for nobody.
 */
#include <stdlib.h>

#include "tests/unit/unit.h"

#include "daemon/http_h2.h"
#include "proto/xalloc.h"
#include "tests/unit/fakes/fake_conn.h"
#include "tests/unit/fakes/fake_loop.h"
#include "tests/unit/fakes/h2_peer.h"

#include "proto/banned.h"

#define ORIGIN "https://api.example"
#define CALLS  8
#define PEERS  8

struct bed;

struct call {
	struct bed *bed;
	struct http_exchange *exchange; /* NULL: not started, or ended */
	int told;
	struct http_result result; /* its body is gone */
	void (*then)(struct call *c);
};

struct bed {
	struct loop *loop;
	struct http *http;
	struct h2_peer peers[PEERS];
	bool has_peer[PEERS];
	struct call calls[CALLS];
};

static int
setup(void **state)
{
	struct http_h2_options o = {
		.base_url = ORIGIN,
		.max_connections = 4,
		.ping_after_ms = 15000,
		.ping_timeout_ms = 10000,
	};
	struct bed *b = xcalloc(1, sizeof(*b));

	b->loop = loop_new();
	b->http = http_h2_new(b->loop, NULL, &o);
	*state = b;
	return 0;
}

static int
teardown(void **state)
{
	struct bed *b = *state;
	int i;

	b->http->ops->free(b->http);
	for (i = 0; i < PEERS; i++)
		if (b->has_peer[i])
			h2_peer_release(&b->peers[i]);
	fake_conn_forget();
	loop_free(b->loop);
	free(b);
	return 0;
}

static void
run(struct bed *b)
{
	bool any;
	int i;

	do {
		any = false;
		fake_loop_settle(b->loop);
		for (i = 0; i < PEERS; i++)
			if (b->has_peer[i])
				any |= h2_peer_pump(&b->peers[i]);
	} while (any);
}

/* Nothing runs yet, so that more may come with the server's first words. */
static struct h2_peer *
open_conn(struct bed *b, int i, uint32_t streams)
{
	h2_peer_init(&b->peers[i], fake_conn_at(i), streams);
	b->has_peer[i] = true;
	fake_conn_open(fake_conn_at(i), "h2");
	return &b->peers[i];
}

static void
done(void *arg, struct http_result *r)
{
	struct call *c = arg;

	c->exchange = NULL;
	c->told++;
	c->result = *r;
	if (c->then != NULL)
		c->then(c);
}

static void
start(struct bed *b, int i)
{
	struct http_request r = {
		.method = "GET",
		.url = ORIGIN "/v1/capsules",
		.max_body = 1000,
		.timeout_ms = 60000,
	};

	b->calls[i].bed = b;
	b->calls[i].exchange =
	    b->http->ops->start(b->http, &r, done, &b->calls[i]);
}

static void
cancel(struct bed *b, int i)
{
	b->http->ops->cancel(b->calls[i].exchange);
	b->calls[i].exchange = NULL;
}

static struct http_stats
stats(struct bed *b)
{
	struct http_stats s;

	b->http->ops->stats(b->http, &s);
	return s;
}

/* ---- servers that go away ---- */

/* The first carried a call, and another takes its place; that is all. */
static void
test_unused_is_not_replaced(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p;

	start(b, 0);
	run(b);
	p = open_conn(b, 0, 100);
	run(b);
	h2_peer_answer(p, 0, 200, "{}");
	run(b);
	assert_int_equal(b->calls[0].result.outcome, HTTP_ANSWERED);
	h2_peer_goaway(p, 1, 0);
	run(b);
	assert_int_equal(fake_conn_count(), 2);
	p = open_conn(b, 1, 100);
	run(b);
	h2_peer_goaway(p, 0, 0);
	run(b);
	fake_loop_advance(b->loop, 60000);
	run(b);
	assert_int_equal(fake_conn_count(), 2);
	assert_int_equal(stats(b).open, 0);
}

/* A call that waits is told, instead of one connection after the other. */
static void
test_goaway_first(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p;

	start(b, 0);
	run(b);
	p = open_conn(b, 0, 100);
	h2_peer_goaway(p, 0, 0);
	h2_peer_pump(p);
	run(b);
	assert_int_equal(fake_conn_count(), 1);
	assert_int_equal(b->calls[0].told, 1);
	assert_int_equal(b->calls[0].result.outcome, HTTP_NOT_SENT);
	assert_int_equal(b->calls[0].result.error, RPC_UNREACHABLE);
}

/* Those that wait are given back, and what we retire is no refusal. */
static void
test_renewed_while_waiting(void **state)
{
	struct bed *b = *state;

	start(b, 0);
	run(b);
	b->http->ops->renew(b->http);
	run(b);
	assert_int_equal(b->calls[0].told, 1);
	assert_int_equal(b->calls[0].result.outcome, HTTP_NOT_SENT);
	assert_true(b->calls[0].result.renewed);
	start(b, 1);
	open_conn(b, 0, 100);
	run(b);
	assert_int_equal(b->calls[1].told, 0);
	assert_int_equal(fake_conn_count(), 2);
	open_conn(b, 1, 100);
	run(b);
	h2_peer_answer(&b->peers[1], 0, 200, "{}");
	run(b);
	assert_int_equal(b->calls[1].result.outcome, HTTP_ANSWERED);
}

/* ---- connections that are refused ---- */

/* One more is tried again a second later, though nothing else happens. */
static void
test_further_connection_is_tried_again(void **state)
{
	struct bed *b = *state;

	start(b, 0);
	run(b);
	open_conn(b, 0, 1);
	run(b);
	start(b, 1);
	run(b);
	assert_int_equal(fake_conn_count(), 2);
	fake_conn_fail(fake_conn_at(1), RPC_UNREACHABLE, "not now");
	run(b);
	assert_int_equal(b->calls[1].told, 0);
	assert_int_equal(fake_conn_count(), 2);
	fake_loop_advance(b->loop, 1000);
	run(b);
	assert_int_equal(fake_conn_count(), 3);
	open_conn(b, 2, 1);
	run(b);
	h2_peer_answer(&b->peers[2], 0, 200, "{}");
	run(b);
	assert_int_equal(b->calls[1].result.outcome, HTTP_ANSWERED);
	/* Nobody waits any more, so that nothing is tried. */
	fake_loop_advance(b->loop, 5000);
	run(b);
	assert_int_equal(fake_conn_count(), 3);
}

static void
cancel_others_and_start(struct call *c)
{
	struct bed *b = c->bed;

	c->then = NULL;
	cancel(b, 1);
	cancel(b, 3);
	start(b, 4);
	start(b, 5);
}

/* Who is told may cancel others that wait, and start new ones. */
static void
test_cancel_while_all_are_told(void **state)
{
	struct bed *b = *state;
	int i;

	for (i = 0; i < 4; i++)
		start(b, i);
	b->calls[0].then = cancel_others_and_start;
	run(b);
	fake_conn_fail(fake_conn_at(0), RPC_UNREACHABLE, "no route");
	assert_int_equal(b->calls[0].told, 1);
	assert_int_equal(b->calls[1].told, 0);
	assert_int_equal(b->calls[2].told, 1);
	assert_int_equal(b->calls[3].told, 0);
	assert_int_equal(b->calls[4].told, 0);
	assert_int_equal(stats(b).waiting, 2);
	run(b);
	open_conn(b, 1, 100);
	run(b);
	assert_int_equal(b->peers[1].count, 2);
	assert_int_equal(stats(b).waiting, 0);
	h2_peer_answer(&b->peers[1], 0, 200, "{}");
	h2_peer_answer(&b->peers[1], 1, 200, "{}");
	run(b);
	assert_int_equal(b->calls[4].result.outcome, HTTP_ANSWERED);
	assert_int_equal(b->calls[5].result.outcome, HTTP_ANSWERED);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_unused_is_not_replaced),
		TEST(test_goaway_first),
		TEST(test_renewed_while_waiting),
		TEST(test_further_connection_is_tried_again),
		TEST(test_cancel_while_all_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
