#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "daemon/http_h2.h"
#include "proto/limits.h"
#include "proto/xalloc.h"
#include "tests/unit/fakes/fake_conn.h"
#include "tests/unit/fakes/fake_loop.h"
#include "tests/unit/fakes/h2_peer.h"

#include "proto/banned.h"

#define ORIGIN      "https://api.example"
#define MAX_CONNS   3
#define PEERS       8
#define CALLS       400
#define REFUSED_MS  1000
#define STEP_MS     1000
#define UNANNOUNCED 100 /* streams, before a server has said how many */

struct bed;

struct call {
	struct bed *bed;
	struct http_exchange *x; /* NULL once it is done or cancelled */
	int done, place;
	struct http_result result; /* without its body */
	char body[64];
	void (*then)(struct call *c);
};

/* A pool, and the servers at the other ends of its connections. */
struct bed {
	struct loop *loop;
	struct http *http;
	struct h2_peer peers[PEERS];
	int peer_count;
	struct call calls[CALLS];
	int count, done;
};

/* ---- the bed ---- */

static int
setup_pool(void **state, int max_connections)
{
	const struct http_h2_options options = {
		.base_url = ORIGIN "/v1",
		.max_connections = max_connections,
		.ping_after_ms = 15000,
		.ping_timeout_ms = 10000,
	};
	struct bed *b = xcalloc(1, sizeof(*b));

	b->loop = loop_new();
	b->http = http_h2_new(b->loop, NULL, &options);
	*state = b;
	return 0;
}

static int
setup(void **state)
{
	return setup_pool(state, MAX_CONNS);
}

static int
setup_single(void **state)
{
	return setup_pool(state, 1);
}

/* What is under way goes with the pool; fake_loop and ASan see what leaks. */
static int
teardown(void **state)
{
	struct bed *b = *state;
	int i;

	if (b->http != NULL)
		b->http->ops->free(b->http);
	for (i = 0; i < b->peer_count; i++)
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
		fake_loop_settle(b->loop);
		for (any = false, i = 0; i < b->peer_count; i++)
			any |= h2_peer_pump(&b->peers[i]);
	} while (any);
}

static void
wait_ms(struct bed *b, uint64_t ms)
{
	uint64_t step;

	for (run(b); ms > 0; ms -= step) {
		step = ms < STEP_MS ? ms : STEP_MS;
		fake_loop_advance(b->loop, step);
		run(b);
	}
}

static void
done(void *arg, struct http_result *r)
{
	struct call *c = arg;

	c->x = NULL;
	c->done++;
	c->place = ++c->bed->done;
	c->result = *r;
	snprintf(c->body, sizeof(c->body), "%.*s", (int)r->body.len,
	    r->body.len > 0 ? buf_head(&r->body) : "");
	if (c->then != NULL)
		c->then(c);
}

static struct call *
start(struct bed *b, const struct http_request *r)
{
	struct call *c = &b->calls[b->count++];

	assert_true(b->count <= CALLS);
	c->bed = b;
	c->x = b->http->ops->start(b->http, r, done, c);
	assert_int_equal(c->done, 0);
	return c;
}

static struct call *
get(struct bed *b)
{
	const struct http_request r = {
		.method = "GET",
		.url = ORIGIN "/v1/capsules",
		.max_body = LIMIT_ANSWER_LINE,
	};

	return start(b, &r);
}

static struct call *
get_slowly(struct bed *b)
{
	const struct http_request r = {
		.method = "GET",
		.url = ORIGIN "/v1/slow",
		.slow = true,
	};

	return start(b, &r);
}

static struct call *
get_within(struct bed *b, uint64_t timeout_ms, uint64_t stall_ms)
{
	const struct http_request r = {
		.method = "GET",
		.url = ORIGIN "/v1/capsules",
		.max_body = 1000000,
		.timeout_ms = timeout_ms,
		.stall_ms = stall_ms,
	};

	return start(b, &r);
}

static void
cancel(struct call *c)
{
	c->bed->http->ops->cancel(c->x);
	c->x = NULL;
}

/* The newest connection comes to stand; its server allows so many streams. */
static struct h2_peer *
connect_one(struct bed *b, uint32_t streams)
{
	struct fake_conn *c = fake_conn_at(fake_conn_count() - 1);
	struct h2_peer *p = &b->peers[b->peer_count++];

	assert_true(b->peer_count <= PEERS);
	h2_peer_init(p, c, streams);
	/* SETTINGS and the end of the handshake come together. */
	h2_peer_pump(p);
	fake_conn_open(c, "h2");
	run(b);
	return p;
}

/* A pool with one connection of so many streams. */
static struct h2_peer *
first_connection(struct bed *b, uint32_t streams)
{
	struct call *c = get(b);
	struct h2_peer *p;

	run(b);
	p = connect_one(b, streams);
	h2_peer_answer(p, 0, 200, "");
	run(b);
	assert_int_equal(c->done, 1);
	return p;
}

static void
expect(const struct call *c, enum http_outcome outcome, enum rpc_errno error)
{
	assert_int_equal(c->done, 1);
	assert_int_equal(c->result.outcome, outcome);
	assert_int_equal(c->result.error, error);
}

static void
expect_stats(
    struct bed *b, uint64_t connections, int open, int in_flight, int waiting)
{
	struct http_stats s;

	b->http->ops->stats(b->http, &s);
	assert_int_equal(s.exchanges, b->count);
	assert_int_equal(s.connections, connections);
	assert_int_equal(s.open, open);
	assert_int_equal(s.in_flight, in_flight);
	assert_int_equal(s.waiting, waiting);
}

/* ---- connections ---- */

static void
one_connection_for_many(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p;
	int i;

	assert_int_equal(fake_conn_count(), 0);
	for (i = 0; i < 50; i++)
		get(b);
	expect_stats(b, 0, 0, 50, 50);
	run(b);
	assert_int_equal(fake_conn_count(), 1);
	assert_string_equal(fake_conn_at(0)->url, ORIGIN);
	p = connect_one(b, 100);
	expect_stats(b, 1, 1, 50, 0);
	assert_int_equal(p->count, 50);
	for (i = 0; i < 50; i++)
		h2_peer_answer(p, i, 200, "hello");
	run(b);
	for (i = 0; i < 50; i++) {
		expect(&b->calls[i], HTTP_ANSWERED, RPC_OK);
		assert_string_equal(b->calls[i].body, "hello");
	}
	assert_int_equal(fake_conn_count(), 1);
	expect_stats(b, 1, 1, 0, 0);
}

static void
further_ones_when_it_is_full_and_no_more_than_allowed(void **state)
{
	struct bed *b = *state;
	int i;

	first_connection(b, 2);
	for (i = 0; i < 10; i++)
		get(b);
	run(b);
	assert_int_equal(fake_conn_count(), 2);
	/* One at a time: the next may take all that wait. */
	run(b);
	assert_int_equal(fake_conn_count(), 2);
	connect_one(b, 2);
	assert_int_equal(fake_conn_count(), 3);
	connect_one(b, 2);
	assert_int_equal(fake_conn_count(), MAX_CONNS);
	for (i = 0; i < MAX_CONNS; i++)
		assert_int_equal(b->peers[i].count, i == 0 ? 3 : 2);
	expect_stats(b, 3, 3, 10, 4);
	/* Whichever has room first takes the next. */
	h2_peer_answer(&b->peers[2], 0, 200, "");
	run(b);
	assert_int_equal(b->peers[2].count, 3);
	assert_int_equal(fake_conn_count(), MAX_CONNS);
}

/* The oldest that has room, so that the others come to rest. */
static void
the_oldest_connection_goes_first(void **state)
{
	struct bed *b = *state;

	first_connection(b, 1);
	get(b);
	get(b);
	run(b);
	connect_one(b, 1);
	h2_peer_answer(&b->peers[0], 1, 200, "");
	h2_peer_answer(&b->peers[1], 0, 200, "");
	run(b);
	get(b);
	run(b);
	assert_int_equal(b->peers[0].count, 3);
	assert_int_equal(b->peers[1].count, 1);
}

static void
those_that_wait_go_in_their_order(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 1);
	int i;

	get(b);
	for (i = 0; i < 5; i++)
		get(b);
	run(b);
	/* No other is to be had. */
	fake_conn_fail(fake_conn_at(1), RPC_UNREACHABLE, "no more");
	for (i = 1; i < 7; i++) {
		run(b);
		assert_int_equal(p->count, i + 1);
		h2_peer_answer(p, i, 200, "");
	}
	run(b);
	for (i = 1; i < 7; i++)
		assert_int_equal(b->calls[i].place, i + 1);
}

/* Commands leave a tenth to pings, which go first even if they come last. */
static void
quick_ones_do_not_wait_for_slow_ones(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 10);
	struct call *slow, *quick[2];
	int i;

	for (i = 0; i < 8; i++)
		get_slowly(b);
	run(b);
	assert_int_equal(p->count, 9);
	slow = get_slowly(b);
	run(b);
	assert_int_equal(p->count, 9);
	assert_int_equal(fake_conn_count(), 2);
	quick[0] = get(b);
	quick[1] = get(b);
	run(b);
	assert_int_equal(p->count, 11);
	get(b);
	run(b);
	assert_int_equal(p->count, 11);
	/* Room for one: the quick one that came later. */
	h2_peer_answer(p, 1, 200, "");
	run(b);
	assert_int_equal(p->count, 12);
	assert_non_null(strstr(buf_str(&p->requests[11].headers), "capsules"));
	/* No quick one waits, but the slow one has still to. */
	h2_peer_answer(p, 9, 200, "");
	h2_peer_answer(p, 10, 200, "");
	run(b);
	assert_int_equal(quick[0]->done + quick[1]->done, 2);
	assert_int_equal(p->count, 12);
	h2_peer_answer(p, 11, 200, "");
	run(b);
	assert_int_equal(p->count, 13);
	assert_int_equal(slow->done, 0);
	expect_stats(b, 2, 2, 8, 0);
}

/* One place, for which a slow one has waited longer. */
static void
quick_ones_go_first(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 1);
	struct call *slow, *quick;
	int i;

	get(b);
	slow = get_slowly(b);
	quick = get(b);
	run(b);
	for (i = 1; i < 4; i++) {
		h2_peer_answer(p, i, 200, "");
		run(b);
	}
	assert_int_equal(quick->place, 3);
	assert_int_equal(slow->place, 4);
}

/* How many each connection has carried; none but those that stand. */
static void
expect_requests(const struct bed *b, int first, int second, int third)
{
	const int counts[] = { first, second, third };
	int i;

	for (i = 0; i < b->peer_count; i++)
		assert_int_equal(b->peers[i].count, counts[i]);
}

/* Of servers that allow one at a time, slow ones would take all. */
static void
slow_ones_leave_the_last_free_stream(void **state)
{
	struct bed *b = *state;
	struct call *slow[3], *quick;
	int i;

	first_connection(b, 1);
	for (i = 0; i < 3; i++)
		slow[i] = get_slowly(b);
	run(b);
	expect_requests(b, 2, 0, 0);
	connect_one(b, 1);
	connect_one(b, 1);
	assert_int_equal(fake_conn_count(), MAX_CONNS);
	expect_requests(b, 2, 1, 0);
	quick = get(b);
	run(b);
	expect_requests(b, 2, 1, 1);
	/* One that is free is the last again, and then there are two. */
	h2_peer_answer(&b->peers[0], 1, 200, "");
	run(b);
	expect_requests(b, 2, 1, 1);
	h2_peer_answer(&b->peers[2], 0, 200, "");
	run(b);
	expect_requests(b, 3, 1, 1);
	assert_int_equal(quick->place, 3);
	/* Who asks just now has no right to it either. */
	slow[0] = get_slowly(b);
	run(b);
	expect_requests(b, 3, 1, 1);
	expect_stats(b, MAX_CONNS, MAX_CONNS, 3, 1);
	h2_peer_answer(&b->peers[1], 0, 200, "");
	run(b);
	assert_int_equal(slow[1]->done, 1);
	expect_stats(b, MAX_CONNS, MAX_CONNS, 2, 0);
}

/* Where there never is more than one, there is nobody to leave it to. */
static void
a_slow_one_runs_where_one_is_all(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 1);
	struct call *c = get_slowly(b), *d = get_slowly(b);

	run(b);
	assert_int_equal(p->count, 2);
	h2_peer_answer(p, 1, 200, "");
	run(b);
	expect(c, HTTP_ANSWERED, RPC_OK);
	assert_int_equal(p->count, 3);
	h2_peer_answer(p, 2, 200, "");
	run(b);
	expect(d, HTTP_ANSWERED, RPC_OK);
	assert_int_equal(fake_conn_count(), 1);
}

static void
again(struct call *c)
{
	get(c->bed);
}

/* Who asks just when a place becomes free has no right to it. */
static void
nobody_jumps_the_line(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 1);
	struct call *c, *d;

	get(b)->then = again;
	c = get(b);
	run(b);
	h2_peer_answer(p, 1, 200, "");
	run(b);
	d = &b->calls[b->count - 1];
	h2_peer_answer(p, 2, 200, "");
	run(b);
	assert_int_equal(c->done, 1);
	assert_int_equal(d->done, 0);
}

/* ---- connections that cannot be made ---- */

static void
a_failed_connection_ends_those_that_wait(void **state)
{
	static const enum rpc_errno errors[] = { RPC_UNREACHABLE, RPC_TLS };
	struct bed *b = *state;
	struct call *c, *d;
	int i;

	for (i = 0; i < (int)COUNT(errors); i++) {
		c = get(b);
		d = get_slowly(b);
		run(b);
		assert_int_equal(fake_conn_count(), i + 1);
		fake_conn_fail(fake_conn_at(i), errors[i], "no way");
		run(b);
		expect(c, HTTP_NOT_SENT, errors[i]);
		expect(d, HTTP_NOT_SENT, errors[i]);
		assert_string_equal(c->result.why, "no way");
		assert_false(c->result.want_http1);
		assert_false(c->result.turned_away);
		/* Nobody waits, nobody connects. */
		assert_int_equal(fake_conn_count(), i + 1);
		expect_stats(b, (uint64_t)i + 1, 0, 0, 0);
	}
}

static void
a_server_of_http1_sends_them_back(void **state)
{
	struct bed *b = *state;
	struct call *c = get(b), *d = get_slowly(b);

	run(b);
	fake_conn_open(fake_conn_at(0), "http/1.1");
	run(b);
	expect(c, HTTP_NOT_SENT, RPC_UNREACHABLE);
	assert_true(c->result.want_http1);
	assert_true(d->result.want_http1);
	assert_int_equal(fake_conn_count(), 1);
}

/* Some machines behind one name may be older than the others. */
static void
a_further_one_of_http1_sends_those_back_that_wait(void **state)
{
	struct bed *b = *state;
	struct call *c, *d;

	first_connection(b, 1);
	c = get(b);
	d = get(b);
	run(b);
	fake_conn_open(fake_conn_at(1), "http/1.1");
	run(b);
	assert_int_equal(c->done, 0);
	assert_true(d->done == 1 && d->result.want_http1);
}

/* Requests go out with the first words; then it is no HTTP/2. */
static void
a_server_that_is_none_is_told_from_the_first_words(void **state)
{
	struct bed *b = *state;
	struct call *c = get(b);

	run(b);
	fake_conn_open(fake_conn_at(0), "h2");
	fake_loop_settle(b->loop);
	fake_conn_feed(fake_conn_at(0), LITERAL("HTTP/1.1 400\r\n\r\n"));
	run(b);
	expect(c, HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
	assert_int_equal(fake_conn_count(), 1);
	expect_stats(b, 1, 0, 0, 0);
}

/* Those that wait have the first one; the further one is tried in a while. */
static void
a_further_connection_is_not_asked_for_without_end(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 1);
	struct call *c;
	int i;

	get(b);
	c = get(b);
	run(b);
	assert_int_equal(fake_conn_count(), 2);
	fake_conn_fail(fake_conn_at(1), RPC_UNREACHABLE, "enough");
	run(b);
	assert_int_equal(c->done, 0);
	assert_int_equal(fake_conn_count(), 2);
	for (i = 0; i < 20; i++)
		get(b);
	run(b);
	assert_int_equal(fake_conn_count(), 2);
	wait_ms(b, REFUSED_MS - 1);
	get(b);
	run(b);
	assert_int_equal(fake_conn_count(), 2);
	wait_ms(b, 1);
	get(b);
	run(b);
	assert_int_equal(fake_conn_count(), 3);
	h2_peer_answer(p, 1, 200, "");
	run(b);
	assert_int_equal(p->count, 3);
	assert_int_equal(fake_conn_count(), 3);
}

/* It greets, and goes: who asked is told, and asks again if it likes. */
static void
a_server_that_hangs_up_is_not_asked_without_end(void **state)
{
	struct bed *b = *state;
	struct call *c = get(b);

	run(b);
	fake_conn_open(fake_conn_at(0), "h2");
	fake_loop_settle(b->loop);
	h2_peer_init(&b->peers[b->peer_count++], fake_conn_at(0), 0);
	h2_peer_goaway(&b->peers[0], 0, NGHTTP2_NO_ERROR);
	h2_peer_pump(&b->peers[0]);
	fake_conn_end(fake_conn_at(0), 0);
	run(b);
	expect(c, HTTP_NOT_SENT, RPC_UNREACHABLE);
	assert_true(c->result.turned_away);
	assert_int_equal(fake_conn_count(), 1);
}

/* A result may bring new requests: they are not ended with it. */
static void
new_ones_are_not_ended_with_the_old(void **state)
{
	struct bed *b = *state;
	int i;

	for (i = 0; i < 5; i++)
		get(b)->then = again;
	get_slowly(b)->then = again;
	run(b);
	fake_conn_fail(fake_conn_at(0), RPC_UNREACHABLE, "no way");
	run(b);
	for (i = 0; i < 6; i++)
		expect(&b->calls[i], HTTP_NOT_SENT, RPC_UNREACHABLE);
	assert_int_equal(b->count, 12);
	for (i = 6; i < 12; i++)
		assert_int_equal(b->calls[i].done, 0);
	assert_int_equal(fake_conn_count(), 2);
	connect_one(b, 100);
	assert_int_equal(b->peers[0].count, 6);
	expect_stats(b, 2, 1, 6, 0);
}

static void
cancel_the_next(struct call *c)
{
	cancel(c + 1);
}

/* One of those that wait is cancelled by the end of another. */
static void
one_is_cancelled_while_all_end(void **state)
{
	struct bed *b = *state;
	struct call *c[4];
	int i, round;

	for (round = 0; round < 2; round++) {
		for (i = 0; i < 4; i++)
			c[i] = i < 2 ? get(b) : get_slowly(b);
		c[0]->then = round == 0 ? cancel_the_next : NULL;
		c[2]->then = cancel_the_next;
		run(b);
		fake_conn_fail(fake_conn_at(round), RPC_UNREACHABLE, "no way");
		run(b);
		for (i = 0; i < 4; i++)
			assert_int_equal(c[i]->done,
			    i == 0 || i == 2 || (i == 1 && round == 1));
		expect_stats(b, (uint64_t)round + 1, 0, 0, 0);
	}
	/* The lines are as they should be. */
	for (i = 0; i < 4; i++)
		c[i] = i < 2 ? get(b) : get_slowly(b);
	run(b);
	connect_one(b, 100);
	assert_int_equal(b->peers[0].count, 4);
}

/* ---- GOAWAY, renewal ---- */

static void
a_goaway_in_use_brings_another_at_once(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 100);
	struct call *c = get(b), *d;

	run(b);
	h2_peer_goaway(p, p->requests[1].id, NGHTTP2_NO_ERROR);
	run(b);
	assert_int_equal(fake_conn_count(), 2);
	d = get(b);
	connect_one(b, 100);
	assert_int_equal(b->peers[1].count, 1);
	assert_int_equal(c->done, 0);
	h2_peer_answer(p, 1, 200, "old");
	h2_peer_answer(&b->peers[1], 0, 200, "new");
	run(b);
	assert_string_equal(c->body, "old");
	assert_string_equal(d->body, "new");
	expect_stats(b, 2, 1, 0, 0);
}

/* Those that run out are no reason not to open another. */
static void
draining_connections_do_not_count(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p;
	int i;

	get(b);
	run(b);
	for (i = 1; i <= 2 * MAX_CONNS; i++) {
		p = connect_one(b, 100);
		assert_int_equal(p->count, 1);
		h2_peer_goaway(p, p->requests[0].id, NGHTTP2_NO_ERROR);
		run(b);
		/* It has brought no answer: the next call asks for another. */
		assert_int_equal(fake_conn_count(), i);
		get(b);
		run(b);
		assert_int_equal(fake_conn_count(), i + 1);
	}
	expect_stats(b, 2 * MAX_CONNS + 1, 2 * MAX_CONNS + 1, b->count, 1);
}

static void
a_goaway_at_rest_brings_none(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 100);

	wait_ms(b, 10000);
	h2_peer_goaway(p, p->requests[0].id, NGHTTP2_NO_ERROR);
	run(b);
	assert_int_equal(fake_conn_count(), 1);
	expect_stats(b, 1, 0, 0, 0);
	get(b);
	run(b);
	assert_int_equal(fake_conn_count(), 2);
}

/* It fails again and again, while the old one runs out. */
static void
a_replacement_that_fails_is_not_asked_for_without_end(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 100);
	struct call *c = get(b);
	int i;

	run(b);
	h2_peer_goaway(p, p->requests[1].id, NGHTTP2_NO_ERROR);
	run(b);
	for (i = 1; i < fake_conn_count() && i < 5; i++) {
		fake_conn_fail(fake_conn_at(i), RPC_UNREACHABLE, "no way");
		run(b);
	}
	assert_int_equal(fake_conn_count(), 2);
	h2_peer_answer(p, 1, 200, "");
	run(b);
	expect(c, HTTP_ANSWERED, RPC_OK);
}

static void
renewed_the_old_ones_run_out(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 100);
	struct call *c = get(b), *d;

	run(b);
	b->http->ops->renew(b->http);
	d = get(b);
	run(b);
	assert_int_equal(p->count, 2);
	assert_int_equal(fake_conn_count(), 2);
	connect_one(b, 100);
	assert_int_equal(b->peers[1].count, 1);
	h2_peer_answer(p, 1, 200, "old");
	h2_peer_answer(&b->peers[1], 0, 200, "new");
	run(b);
	assert_string_equal(c->body, "old");
	assert_string_equal(d->body, "new");
	expect_stats(b, 2, 1, 0, 0);
	/* With nothing under way there is none left, and none made. */
	b->http->ops->renew(b->http);
	wait_ms(b, 10000);
	assert_int_equal(b->peers[1].goaways, 1);
	expect_stats(b, fake_conn_count(), fake_conn_count() - 2, 0, 0);
}

/* Those that wait are given back: what they carry may be out of date. */
static void
renewed_while_connecting(void **state)
{
	struct bed *b = *state;
	struct call *c = get(b);

	run(b);
	b->http->ops->renew(b->http);
	run(b);
	expect(c, HTTP_NOT_SENT, RPC_UNREACHABLE);
	assert_true(c->result.renewed);
	c = get(b);
	run(b);
	assert_int_equal(fake_conn_count(), 2);
	fake_conn_fail(fake_conn_at(0), RPC_UNREACHABLE, "too late");
	run(b);
	assert_int_equal(c->done, 0);
	connect_one(b, 100);
	h2_peer_answer(&b->peers[0], 0, 200, "new");
	run(b);
	assert_string_equal(c->body, "new");
}

/* The server has not said a word yet, and some still wait for room. */
static void
renewed_before_the_first_word(void **state)
{
	struct bed *b = *state;
	struct call *c = NULL;
	int i;

	for (i = 0; i < UNANNOUNCED + 1; i++)
		c = get(b);
	run(b);
	fake_conn_open(fake_conn_at(0), "h2");
	fake_loop_settle(b->loop);
	for (i = 0; i < UNANNOUNCED; i++)
		cancel(&b->calls[i]);
	/* The further one is renewed as well. */
	assert_int_equal(fake_conn_count(), 2);
	b->http->ops->renew(b->http);
	run(b);
	expect(c, HTTP_NOT_SENT, RPC_UNREACHABLE);
	assert_true(c->result.renewed);
	c = get(b);
	run(b);
	assert_int_equal(fake_conn_count(), 3);
	connect_one(b, 100);
	h2_peer_answer(&b->peers[0], 0, 200, "new");
	run(b);
	assert_string_equal(c->body, "new");
}

/* ---- cancelling ---- */

static void
cancelled_while_it_waits(void **state)
{
	struct bed *b = *state;
	struct call *c = get(b), *d = get(b), *e = get_slowly(b);

	cancel(c);
	expect_stats(b, 0, 0, 2, 2);
	run(b);
	cancel(e);
	connect_one(b, 100);
	assert_int_equal(b->peers[0].count, 1);
	h2_peer_answer(&b->peers[0], 0, 200, "");
	run(b);
	assert_int_equal(c->done + e->done, 0);
	expect(d, HTTP_ANSWERED, RPC_OK);
	expect_stats(b, 1, 1, 0, 0);
}

static void
cancelled_on_the_wire_it_gives_its_place_away(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 1);
	struct call *c = get(b), *d;

	run(b);
	d = get(b);
	run(b);
	fake_conn_fail(fake_conn_at(1), RPC_UNREACHABLE, "no more");
	run(b);
	assert_int_equal(p->count, 2);
	cancel(c);
	run(b);
	assert_int_equal(p->requests[1].code, NGHTTP2_CANCEL);
	assert_int_equal(p->count, 3);
	h2_peer_answer(p, 2, 200, "mine");
	run(b);
	assert_int_equal(c->done, 0);
	assert_string_equal(d->body, "mine");
}

/* Both answers are there; the first one takes the second away. */
static void
cancelled_when_answered_and_not_yet_told(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 100);
	struct call *c = get(b), *d = get(b);

	c->then = cancel_the_next;
	run(b);
	h2_peer_answer(p, 1, 200, "a");
	h2_peer_answer(p, 2, 200, "b");
	run(b);
	assert_int_equal(c->done, 1);
	assert_int_equal(d->done, 0);
	expect_stats(b, 1, 1, 0, 0);
}

/* ---- deadlines ---- */

static void
too_late_without_a_connection(void **state)
{
	struct bed *b = *state;
	struct call *c = get_within(b, 5000, 0);

	wait_ms(b, 4999);
	assert_int_equal(c->done, 0);
	wait_ms(b, 1);
	expect(c, HTTP_NOT_SENT, RPC_UNREACHABLE);
	expect_stats(b, 1, 1, 0, 0);
}

static void
too_late_without_room(void **state)
{
	struct bed *b = *state;
	struct call *c;

	first_connection(b, 1);
	get(b);
	c = get_within(b, 5000, 0);
	run(b);
	fake_conn_fail(fake_conn_at(1), RPC_UNREACHABLE, "no more");
	wait_ms(b, 5000);
	expect(c, HTTP_NOT_SENT, RPC_BUSY);
}

static void
too_late_on_the_wire(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 100);
	struct call *c = get_within(b, 5000, 0), *d;

	wait_ms(b, 5000);
	expect(c, HTTP_UNKNOWN, RPC_TIMEOUT);
	assert_int_equal(p->requests[1].code, NGHTTP2_CANCEL);
	/* The connection takes nothing any more. */
	fake_conn_limit(fake_conn_at(0), 0, -EAGAIN);
	c = get_within(b, 5000, 0);
	run(b);
	d = get_within(b, 4000, 0);
	wait_ms(b, 5000);
	expect(c, HTTP_UNKNOWN, RPC_TIMEOUT);
	expect(d, HTTP_UNKNOWN, RPC_TIMEOUT);
	expect_stats(b, 1, 1, 0, 0);
}

/* On a connection, but the server lets no byte of the body come. */
static void
too_late_with_nothing_offered(void **state)
{
	const struct http_request r = {
		.method = "POST",
		.url = ORIGIN "/v1/capsules",
		.body = "{}",
		.body_len = 2,
		.timeout_ms = 5000,
	};
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 100);
	struct call *c;

	h2_peer_setting(p, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0);
	run(b);
	c = start(b, &r);
	wait_ms(b, 5000);
	/* It counts as any other, so that the connection becomes suspect. */
	expect(c, HTTP_NOT_SENT, RPC_TIMEOUT);
	assert_string_equal(
	    c->result.why, "no answer came in time; nothing was sent");
}

/* The process was stopped: time has passed, and the answer has come. */
static void
too_late_but_there_to_be_read(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 100);
	struct call *c = get_within(b, 5000, 0), *d = get_within(b, 5000, 0);

	run(b);
	fake_loop_jump(b->loop, 6000);
	h2_peer_answer(p, 1, 200, "in time");
	h2_peer_pump(p);
	run(b);
	expect(c, HTTP_ANSWERED, RPC_OK);
	assert_string_equal(c->body, "in time");
	expect(d, HTTP_UNKNOWN, RPC_TIMEOUT);
	assert_string_equal(d->result.why, "no answer came in time");
}

static void
an_answer_in_time_ends_the_deadline(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 100);
	struct call *c = get_within(b, 5000, 3000);

	wait_ms(b, 2999);
	h2_peer_answer(p, 1, 200, "in time");
	wait_ms(b, 100000);
	expect(c, HTTP_ANSWERED, RPC_OK);
}

static void
stalled_while_it_waits(void **state)
{
	struct bed *b = *state;
	struct call *c = get_within(b, 0, 5000);

	wait_ms(b, 5000);
	expect(c, HTTP_NOT_SENT, RPC_UNREACHABLE);
	expect_stats(b, 1, 1, 0, 0);
}

/* As long as something moves, it may take its time. */
static void
stalled_on_the_wire(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 100);
	struct call *c = get_within(b, 0, 5000);
	int i;

	wait_ms(b, 4000);
	h2_peer_head(p, 1, 200, "", false);
	for (i = 0; i < 5; i++) {
		wait_ms(b, 4000);
		assert_int_equal(c->done, 0);
		h2_peer_body(p, 1, "x", 1, false);
	}
	wait_ms(b, 10000);
	expect(c, HTTP_UNKNOWN, RPC_TIMEOUT);
	assert_string_equal(c->result.why, "nothing moved for 5 s");
	assert_int_equal(p->requests[1].code, NGHTTP2_CANCEL);
}

/* One piece whenever it is asked to, if there is one. */
struct pipe {
	int pieces, error;
	struct http_source source;
	struct http_sink sink;
};

static ssize_t
pipe_read(void *arg, char *data, size_t n)
{
	struct pipe *p = arg;

	(void)n;
	if (p->pieces == 0)
		return p->error;
	p->pieces--;
	data[0] = 'x';
	return 1;
}

static int
pipe_write(void *arg, const char *data, size_t n)
{
	struct pipe *p = arg;

	(void)data;
	(void)n;
	if (p->pieces == 0)
		return p->error;
	p->pieces--;
	return 0;
}

static struct call *
transfer(struct bed *b, struct pipe *p, bool up)
{
	const struct http_request r = {
		.method = up ? "PUT" : "GET",
		.url = ORIGIN "/v1/file",
		.source = up ? &p->source : NULL,
		.sink = up ? NULL : &p->sink,
		.stall_ms = 5000,
	};

	p->source = (struct http_source){ -1, pipe_read, p };
	p->sink = (struct http_sink){ pipe_write, p };
	return start(b, &r);
}

/* What waits for the local end is not the server's fault, until it goes on. */
static void
a_local_wait_is_no_stall(void **state)
{
	struct pipe up = { .error = -EAGAIN }, down = { .error = -EAGAIN };
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 100);
	struct call *c = transfer(b, &up, true), *d;

	d = transfer(b, &down, false);
	run(b);
	h2_peer_head(p, 2, 200, "", false);
	h2_peer_body(p, 2, "x", 1, false);
	wait_ms(b, 60000);
	assert_int_equal(c->done + d->done, 0);
	/* Each piece counts. */
	down.pieces = 1;
	up.pieces = 1;
	b->http->ops->resume(c->x);
	b->http->ops->resume(d->x);
	wait_ms(b, 4000);
	assert_int_equal(c->done + d->done, 0);
	assert_false(p->requests[1].ended);
	assert_int_equal(p->requests[1].body.len, 1);
	/* All was taken: the next word is the server's. */
	wait_ms(b, 10000);
	assert_int_equal(c->done, 0);
	expect(d, HTTP_UNKNOWN, RPC_TIMEOUT);
	up.error = 0;
	b->http->ops->resume(c->x);
	wait_ms(b, 10000);
	assert_true(p->requests[1].ended);
	expect(c, HTTP_UNKNOWN, RPC_TIMEOUT);
}

/* ---- memory ---- */

/* What answers hold is given back when they have been told. */
static void
bodies_count_while_they_are_there(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 100);
	char *large = xcalloc(1, 1000001);
	struct call *c;
	int i, n;

	memset(large, 'l', 1000000);
	/* More together than all may hold, one after the other. */
	for (i = 1; i <= 2 * LIMIT_BODIES / 1000000; i++) {
		c = get(b);
		run(b);
		h2_peer_answer(p, i, 200, large);
		run(b);
		expect(c, HTTP_ANSWERED, RPC_OK);
		b->count--;
		memset(c, 0, sizeof(*c));
	}
	/* And all at once. */
	for (i = 0; i < 80; i++)
		get(b);
	run(b);
	for (i = 0; i < 80; i++) {
		h2_peer_head(p, p->count - 80 + i, 200, "", false);
		h2_peer_body(p, p->count - 80 + i, large, 1000000, false);
	}
	run(b);
	for (i = 0, n = 0; i < 80; i++)
		n += b->calls[b->count - 1 - i].result.error == RPC_TOO_LARGE;
	assert_in_range(n, 80 - LIMIT_BODIES / 1000000, 20);
	free(large);
}

/* Piece by piece, all alike: those that are ended make room for the others. */
static void
bodies_that_come_together_do_not_all_fail(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 100);
	char *piece = xcalloc(1, 50001);
	int i, round, whole;

	memset(piece, 'p', 50000);
	for (i = 0; i < 80; i++)
		get(b);
	run(b);
	for (i = 0; i < 80; i++)
		h2_peer_head(p, p->count - 80 + i, 200, "", false);
	for (round = 0; round < 20; round++)
		for (i = 0; i < 80; i++)
			h2_peer_body(
			    p, p->count - 80 + i, piece, 50000, round == 19);
	run(b);
	for (i = 0, whole = 0; i < 80; i++)
		whole +=
		    b->calls[b->count - 1 - i].result.outcome == HTTP_ANSWERED;
	assert_in_range(whole, 60, LIMIT_BODIES / 1000000);
	free(piece);
}

/* The request is only lent; the credential's copy is wiped (see wipe.c). */
static void
what_waits_has_a_copy(void **state)
{
	char header[] = "X-Test: one", secret[] = "X-API-Key: wrn_1",
	     url[] = ORIGIN "/v1/copied";
	const char *const headers[] = { header };
	const struct http_request r = {
		.method = "GET",
		.url = url,
		.headers = headers,
		.header_count = 1,
		.credential = secret,
	};
	struct bed *b = *state;
	struct h2_peer *p;

	start(b, &r);
	memset(header, '!', sizeof(header) - 1);
	memset(secret, '!', sizeof(secret) - 1);
	memset(url, '!', sizeof(url) - 1);
	run(b);
	p = connect_one(b, 100);
	assert_non_null(
	    strstr(buf_str(&p->requests[0].headers), ":path: /v1/copied\n"));
	assert_non_null(
	    strstr(buf_str(&p->requests[0].headers), "x-test: one\n"));
	assert_non_null(
	    strstr(buf_str(&p->requests[0].headers), "x-api-key: wrn_1\n"));
	assert_string_equal(buf_str(&p->requests[0].hidden), "x-api-key\n");
}

/* Waiting, on the wire, half answered; connecting, open and draining. */
static void
freed_with_all_under_way(void **state)
{
	struct bed *b = *state;
	struct h2_peer *p = first_connection(b, 2);
	int i;

	for (i = 0; i < 3; i++)
		get_within(b, 5000, 5000);
	get_slowly(b);
	run(b);
	h2_peer_head(p, 1, 200, "", false);
	h2_peer_body(p, 1, "half", 4, false);
	run(b);
	h2_peer_goaway(p, p->requests[2].id, NGHTTP2_NO_ERROR);
	run(b);
	connect_one(b, 1);
	assert_int_equal(fake_conn_count(), 3);
	expect_stats(b, 3, 3, 4, 1);
	get(b);
	b->http->ops->free(b->http);
	b->http = NULL;
	for (i = 1; i < b->count; i++)
		assert_int_equal(b->calls[i].done, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define S(f) cmocka_unit_test_setup_teardown(f, setup_single, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(one_connection_for_many),
		T(further_ones_when_it_is_full_and_no_more_than_allowed),
		T(the_oldest_connection_goes_first),
		T(those_that_wait_go_in_their_order),
		T(quick_ones_do_not_wait_for_slow_ones),
		T(quick_ones_go_first),
		T(slow_ones_leave_the_last_free_stream),
		S(a_slow_one_runs_where_one_is_all),
		T(nobody_jumps_the_line),
		T(a_failed_connection_ends_those_that_wait),
		T(a_server_of_http1_sends_them_back),
		T(a_further_one_of_http1_sends_those_back_that_wait),
		T(a_server_that_is_none_is_told_from_the_first_words),
		T(a_further_connection_is_not_asked_for_without_end),
		T(a_server_that_hangs_up_is_not_asked_without_end),
		T(new_ones_are_not_ended_with_the_old),
		T(one_is_cancelled_while_all_end),
		T(a_goaway_in_use_brings_another_at_once),
		T(draining_connections_do_not_count),
		T(a_goaway_at_rest_brings_none),
		T(a_replacement_that_fails_is_not_asked_for_without_end),
		T(renewed_the_old_ones_run_out),
		T(renewed_while_connecting),
		T(renewed_before_the_first_word),
		T(cancelled_while_it_waits),
		T(cancelled_on_the_wire_it_gives_its_place_away),
		T(cancelled_when_answered_and_not_yet_told),
		T(too_late_without_a_connection),
		T(too_late_without_room),
		T(too_late_on_the_wire),
		T(too_late_with_nothing_offered),
		T(too_late_but_there_to_be_read),
		T(an_answer_in_time_ends_the_deadline),
		T(stalled_while_it_waits),
		T(stalled_on_the_wire),
		T(a_local_wait_is_no_stall),
		T(bodies_count_while_they_are_there),
		T(bodies_that_come_together_do_not_all_fail),
		T(what_waits_has_a_copy),
		T(freed_with_all_under_way),
	};

	return cmocka_run_group_tests_name("http_h2", tests, NULL, NULL);
}
