/*
 * upstream.c between transports, credentials and a clock that are all the
 * test's: what is sent, how often, when and by which way.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#include "daemon/cred.h"
#include "daemon/dialer.h"
#include "daemon/http_curl.h"
#include "daemon/http_h2.h"
#include "daemon/settings.h"
#include "daemon/upstream.h"
#include "daemon/ws.h"
#include "proto/limits.h"
#include "proto/xalloc.h"
#include "tests/unit/fakes/fake_loop.h"

#include "proto/banned.h"

#define BASE          "https://api.example/v1"
#define KEY           "X-API-Key: key"
#define BEARER        "Authorization: Bearer token"
#define CALLERS       2048
#define SENT          2048
#define ATTEMPTS      4
#define BUDGET        256
#define LOOK_MS       15000
#define HOUR_MS       3600000
#define PING_AFTER_MS 15000

struct transport {
	struct http http; /* first: what upstream holds */
	int under_way, renewals, frees;
};

/* One attempt. Stays, as a record, when it is over. */
struct http_exchange {
	struct transport *via;
	struct http_request req; /* its pointers are good no longer, but */
	char url[64], credential[64], header[64], body[16];
	http_done_fn *done;
	void *arg;
	bool over, cancelled;
	int resumes;
};

/* Whoever asked, and what it was told. */
struct caller {
	struct bed *bed;
	struct upstream_request *request;
	struct upstream_call *call; /* NULL when told, or cancelled */
	int told;
	struct upstream_answer answer; /* without its texts, which are here */
	char body[32], why[256];
	void (*then)(struct caller *c);
};

struct bed {
	struct loop *loop;
	struct upstream *up;
	struct transport http1, http2;
	struct http_exchange *sent[SENT];
	int sent_count;
	struct caller callers[CALLERS];
	int caller_count;
	char events[256]; /* "down: why\n" or "up: \n" each */
	int streams;
	char stream[128]; /* the last one's URL and header */
};

/* Constructors are told nothing of a test, so that this is what they know. */
static struct bed *the;

/* What the credentials, the trust, the dice and the machine are just now. */
static struct {
	const char *key, *token;
	uint64_t generation;
	int64_t expiry;
	bool trust_changed;
	long dice;
	uint64_t slept_ms;
} world;

/* ---- what is faked ---- */

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fake transport: %s\n", what);
	abort();
}

static struct http_exchange *
fake_start(struct http *http, const struct http_request *r, http_done_fn *done,
    void *arg)
{
	struct http_exchange *x = xcalloc(1, sizeof(*x));

	must(the->sent_count < SENT, "too many are sent");
	the->sent[the->sent_count++] = x;
	x->via = (struct transport *)(uintptr_t)http;
	x->via->under_way++;
	x->req = *r;
	x->done = done;
	x->arg = arg;
	snprintf(x->url, sizeof(x->url), "%s", r->url);
	snprintf(x->credential, sizeof(x->credential), "%s",
	    r->credential ? r->credential : "");
	snprintf(x->header, sizeof(x->header), "%s",
	    r->header_count > 0 ? r->headers[0] : "");
	snprintf(x->body, sizeof(x->body), "%.*s", (int)r->body_len,
	    r->body ? r->body : "");
	return x;
}

static void
over(struct http_exchange *x)
{
	must(!x->over, "it was over already");
	x->over = true;
	x->via->under_way--;
}

static void
fake_cancel(struct http_exchange *x)
{
	over(x);
	x->cancelled = true;
}

static void
fake_resume(struct http_exchange *x)
{
	must(!x->over, "what is over cannot go on");
	x->resumes++;
}

static void
fake_renew(struct http *http)
{
	((struct transport *)(uintptr_t)http)->renewals++;
}

static void
fake_stats(const struct http *http, struct http_stats *ret)
{
	int n = http == &the->http1.http ? 1 : 10;

	*ret = (struct http_stats){ (uint64_t)n, (uint64_t)n * 2, n * 3, n * 4,
		n * 5 };
}

static void
fake_free(struct http *http)
{
	((struct transport *)(uintptr_t)http)->frees++;
}

static const struct http_ops fake_ops = {
	.start = fake_start,
	.cancel = fake_cancel,
	.resume = fake_resume,
	.renew = fake_renew,
	.stats = fake_stats,
	.free = fake_free,
};

struct http *
http_curl_new(struct loop *l, struct dialer *d)
{
	(void)l;
	(void)d;
	the->http1.http.ops = &fake_ops;
	return &the->http1.http;
}

struct http *
http_h2_new(
    struct loop *l, struct dialer *d, const struct http_h2_options *options)
{
	(void)l;
	(void)d;
	(void)options;
	the->http2.http.ops = &fake_ops;
	return &the->http2.http;
}

struct dialer *
dialer_new(const struct dialer_options *options)
{
	(void)options;
	return NULL;
}

void
dialer_free(struct dialer *d)
{
	(void)d;
}

bool
dialer_trust_changed(struct dialer *d)
{
	bool changed = world.trust_changed;

	(void)d;
	world.trust_changed = false;
	return changed;
}

struct ws *
ws_open(struct loop *l, struct dialer *d, const struct ws_spec *spec,
    const struct ws_ops *ops, void *arg)
{
	(void)l;
	(void)d;
	(void)ops;
	must(spec->header_count == 1, "a stream has its credential alone");
	the->streams++;
	snprintf(the->stream, sizeof(the->stream), "%s %s", spec->url,
	    spec->headers[0]);
	assert_int_equal(spec->ping_after_ms, PING_AFTER_MS);
	assert_true(spec->max_message > 0 && spec->open_timeout_ms > 0);
	return arg;
}

const char *
cred_secret(const struct cred *c, enum cred_kind kind)
{
	(void)c;
	return kind == CRED_API_KEY ? world.key : world.token;
}

uint64_t
cred_generation(const struct cred *c)
{
	(void)c;
	return world.generation;
}

int64_t
cred_token_expiry(const struct cred *c)
{
	(void)c;
	return world.expiry;
}

/* The C library's: delays are what the test says, up to their bound. */
long
random(void)
{
	return world.dice;
}

/* Likewise; it stands still while the machine sleeps. */
int
clock_gettime(clockid_t clock, struct timespec *ret)
{
	uint64_t ms = now_ms() - world.slept_ms;

	if (clock != CLOCK_MONOTONIC)
		return (int)syscall(SYS_clock_gettime, clock, ret);
	ret->tv_sec = (time_t)(ms / 1000);
	ret->tv_nsec = (long)(ms % 1000) * 1000000;
	return 0;
}

/* ---- the bed ---- */

static void
changed(void *arg, const char *state, const char *why)
{
	struct bed *b = arg;
	size_t n = strlen(b->events);

	snprintf(b->events + n, sizeof(b->events) - n, "%s: %s\n", state, why);
}

static int
setup_at(void **state, char *base_url)
{
	const struct settings settings = { .base_url = base_url,
		.ping_after_ms = PING_AFTER_MS };

	memset(&world, 0, sizeof(world));
	world.key = "key";
	the = xcalloc(1, sizeof(*the));
	the->loop = loop_new();
	the->up = upstream_new(the->loop, &settings, NULL);
	upstream_on_change(the->up, changed, the);
	*state = the;
	return 0;
}

static int
setup(void **state)
{
	char url[] = BASE;

	return setup_at(state, url);
}

static int
setup_plain(void **state)
{
	char url[] = "http://127.0.0.1:8080";

	return setup_at(state, url);
}

static int
teardown(void **state)
{
	struct bed *b = *state;
	int i;

	upstream_free(b->up);
	for (i = 0; i < b->sent_count; i++)
		free(b->sent[i]);
	for (i = 0; i < b->caller_count; i++)
		upstream_request_free(b->callers[i].request);
	loop_free(b->loop);
	free(b);
	return 0;
}

static void
run(struct bed *b)
{
	fake_loop_settle(b->loop);
}

static void
wait_ms(struct bed *b, uint64_t ms)
{
	fake_loop_advance(b->loop, ms);
}

static void
told(void *arg, const struct upstream_answer *a)
{
	struct caller *c = arg;

	c->call = NULL;
	c->told++;
	c->answer = *a;
	snprintf(c->body, sizeof(c->body), "%s", a->body);
	snprintf(c->why, sizeof(c->why), "%s", a->why);
	if (c->then != NULL)
		c->then(c);
}

/* Sends r, which the bed frees in the end. */
static struct caller *
ask(struct bed *b, struct upstream_request *r)
{
	struct caller *c = &b->callers[b->caller_count++];
	int before = b->sent_count;

	must(b->caller_count <= CALLERS, "too many callers");
	c->bed = b;
	c->request = r;
	c->call = upstream_send(b->up, r, told, c);
	/* Not before the turn's end. */
	assert_int_equal(b->sent_count, before);
	assert_int_equal(c->told, 0);
	return c;
}

static struct caller *
get(struct bed *b, const char *path)
{
	return ask(b, upstream_request_new("GET", xstrdup(path)));
}

static struct caller *
post(struct bed *b, const char *path)
{
	return ask(b, upstream_request_new("POST", xstrdup(path)));
}

/* The same within a deadline; 0 for none. */
static struct caller *
get_within(struct bed *b, uint64_t timeout_ms)
{
	struct upstream_request *r = upstream_request_new("GET", xstrdup("/t"));

	r->timeout_ms = timeout_ms;
	return ask(b, r);
}

static void
cancel(struct caller *c)
{
	struct upstream_call *call = c->call;

	c->call = NULL;
	upstream_cancel(call);
}

static struct http_exchange *
last(struct bed *b)
{
	assert_true(b->sent_count > 0);
	return b->sent[b->sent_count - 1];
}

static void
end(struct http_exchange *x, struct http_result *r, const char *body)
{
	over(x);
	buf_init(&r->body, LIMIT_ANSWER_LINE);
	buf_add(&r->body, body, strlen(body));
	x->done(x->arg, r);
	buf_release(&r->body);
}

static void
answer(struct http_exchange *x, int status, const char *body)
{
	struct http_result r = { .outcome = HTTP_ANSWERED, .status = status };

	end(x, &r, body);
}

static void
lose(struct http_exchange *x, enum http_outcome outcome, enum rpc_errno error)
{
	struct http_result r = { .outcome = outcome, .error = error };

	snprintf(r.why, sizeof(r.why), "lost");
	end(x, &r, "");
}

static void
turn_away(struct http_exchange *x)
{
	struct http_result r = { .outcome = HTTP_NOT_SENT,
		.error = RPC_UNREACHABLE,
		.why = "turned away",
		.turned_away = true };

	end(x, &r, "");
}

static void
give_back(struct http_exchange *x, bool want_http1)
{
	struct http_result r = { .outcome = HTTP_NOT_SENT,
		.error = RPC_UNREACHABLE,
		.why = "given back",
		.want_http1 = want_http1,
		.renewed = !want_http1 };

	end(x, &r, "");
}

static void
expect(const struct caller *c, enum http_outcome outcome, enum rpc_errno error)
{
	assert_int_equal(c->told, 1);
	assert_int_equal(c->answer.outcome, outcome);
	assert_int_equal(c->answer.error, error);
}

static struct upstream_stats
stats_of(struct bed *b)
{
	struct upstream_stats s;

	upstream_stats(b->up, &s);
	return s;
}

/* ---- what is sent ---- */

static void
a_request_is_sent_as_it_is(void **state)
{
	static const struct http_source source;
	static const struct http_sink sink;
	struct bed *b = *state;
	struct upstream_request *r =
	    upstream_request_new("PUT", xstrdup("/a?b=1"));
	struct caller *c;

	r->content_type = "text/json";
	buf_add(&r->body, "{}", 2);
	r->source = &source;
	r->sink = &sink;
	r->whole = r->slow = true;
	r->stall_ms = 5;
	r->max_answer = 6;
	c = ask(b, r);
	run(b);
	assert_int_equal(b->sent_count, 1);
	assert_string_equal(last(b)->req.method, "PUT");
	assert_string_equal(last(b)->url, BASE "/a?b=1");
	assert_string_equal(last(b)->header, "Content-Type: text/json");
	assert_string_equal(last(b)->credential, KEY);
	assert_string_equal(last(b)->body, "{}");
	assert_ptr_equal(last(b)->req.source, &source);
	assert_ptr_equal(last(b)->req.sink, &sink);
	assert_true(last(b)->req.whole && last(b)->req.slow);
	assert_false(last(b)->req.bulk);
	assert_int_equal(last(b)->req.timeout_ms, 60000);
	assert_int_equal(last(b)->req.stall_ms, 5);
	assert_int_equal(last(b)->req.max_body, 6);
	answer(last(b), 201, "made");
	expect(c, HTTP_ANSWERED, RPC_OK);
	assert_int_equal(c->answer.status, 201);
	assert_int_equal(c->answer.len, 4);
	assert_string_equal(c->body, "made");
	assert_int_equal(b->sent_count, 1);
}

static void
one_without_a_body_has_none(void **state)
{
	struct bed *b = *state;
	struct caller *c = get(b, "/a");

	run(b);
	assert_null(last(b)->req.body);
	assert_int_equal(last(b)->req.header_count, 0);
	answer(last(b), 204, "");
	/* NUL-terminated all the same. */
	assert_int_equal(c->answer.len, 0);
	assert_non_null(c->answer.body);
}

static void
which_credential_goes(void **state)
{
	static const struct {
		enum upstream_auth auth;
		const char *key, *token, *expected;
	} cases[] = {
		{ AUTH_KEY_OR_TOKEN, "key", "token", KEY },
		{ AUTH_KEY_OR_TOKEN, "key", NULL, KEY },
		{ AUTH_KEY_OR_TOKEN, NULL, "token", BEARER },
		{ AUTH_KEY_OR_TOKEN, NULL, NULL, NULL },
		{ AUTH_TOKEN_OR_KEY, "key", "token", BEARER },
		{ AUTH_TOKEN_OR_KEY, "key", NULL, KEY },
		{ AUTH_TOKEN_OR_KEY, NULL, NULL, NULL },
		{ AUTH_TOKEN, "key", "token", BEARER },
		{ AUTH_TOKEN, "key", NULL, NULL },
		{ AUTH_NONE, "key", "token", "" },
		{ AUTH_NONE, NULL, NULL, "" },
	};
	struct bed *b = *state;
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		struct upstream_request *r =
		    upstream_request_new("POST", xstrdup("/a"));
		int before = b->sent_count;
		struct caller *c;

		world.key = cases[i].key;
		world.token = cases[i].token;
		r->auth = cases[i].auth;
		c = ask(b, r);
		run(b);
		if (cases[i].expected == NULL) {
			assert_int_equal(b->sent_count, before);
			expect(c, HTTP_NOT_SENT, RPC_NO_CREDENTIAL);
			continue;
		}
		assert_int_equal(b->sent_count, before + 1);
		assert_string_equal(last(b)->credential, cases[i].expected);
	}
	/* Nobody was reached, or not: nothing is known of the server. */
	assert_string_equal(stats_of(b).state, "unknown");
}

static void
a_token_that_has_ended_is_not_sent(void **state)
{
	static const struct {
		enum upstream_auth auth;
		const char *key;
		bool sent;
	} cases[] = {
		{ AUTH_TOKEN, "key", false },
		{ AUTH_TOKEN_OR_KEY, "key", false },
		{ AUTH_KEY_OR_TOKEN, NULL, false },
		{ AUTH_KEY_OR_TOKEN, "key", true },
		{ AUTH_NONE, NULL, true },
	};
	struct bed *b = *state;
	size_t i;
	int left;

	world.token = "token";
	for (i = 0; i < COUNT(cases) * 2; i++) {
		struct upstream_request *r =
		    upstream_request_new("POST", xstrdup("/a"));
		int before = b->sent_count;
		struct caller *c;

		/* In this second, and in the next one. */
		left = (int)(i % 2);
		world.expiry = wall_ms() / 1000 + left;
		world.key = cases[i / 2].key;
		r->auth = cases[i / 2].auth;
		c = ask(b, r);
		run(b);
		assert_int_equal(
		    b->sent_count - before, left > 0 || cases[i / 2].sent);
		if (b->sent_count == before)
			expect(c, HTTP_NOT_SENT, RPC_UNAUTHORIZED);
	}
}

/* ---- again ---- */

/* Each bound doubles, and the answer is the last one's. */
static void
it_waits_longer_and_longer(void **state)
{
	static const int most[] = { 200, 400, 800 };
	struct bed *b = *state;
	struct caller *c = get(b, "/a");
	int i;

	run(b);
	for (i = 0; i < ATTEMPTS - 1; i++) {
		world.dice = most[i];
		lose(last(b), HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
		wait_ms(b, (uint64_t)most[i] - 1);
		assert_int_equal(b->sent_count, i + 1);
		wait_ms(b, 1);
		assert_int_equal(b->sent_count, i + 2);
		assert_int_equal(c->told, 0);
	}
	lose(last(b), HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
	expect(c, HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
	assert_string_equal(c->why, "lost");
	wait_ms(b, 5000);
	assert_int_equal(b->sent_count, ATTEMPTS);
	assert_int_equal(stats_of(b).retries, ATTEMPTS - 1);
	assert_int_equal(stats_of(b).requests, 1);
	/* One more than most is none at all. */
	get(b, "/a");
	run(b);
	world.dice = most[0] + 1;
	lose(last(b), HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
	run(b);
	assert_int_equal(b->sent_count, ATTEMPTS + 2);
}

static void
what_may_be_sent_again(void **state)
{
	static const struct {
		const char *method;
		bool streamed;
		enum http_outcome outcome;
		int result; /* an error, or a status */
		bool again;
	} cases[] = {
		{ "GET", false, HTTP_NOT_SENT, RPC_UNREACHABLE, true },
		{ "POST", false, HTTP_NOT_SENT, RPC_UNREACHABLE, true },
		{ "POST", true, HTTP_NOT_SENT, RPC_UNREACHABLE, true },
		{ "GET", false, HTTP_NOT_SENT, RPC_TLS, false },
		{ "GET", false, HTTP_NOT_SENT, RPC_BUSY, false },
		{ "GET", false, HTTP_NOT_SENT, RPC_TIMEOUT, false },
		{ "GET", false, HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN, true },
		{ "DELETE", false, HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN, true },
		{ "GET", false, HTTP_UNKNOWN, RPC_TRUNCATED, true },
		{ "POST", false, HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN, false },
		{ "GET", true, HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN, false },
		{ "GET", false, HTTP_UNKNOWN, RPC_TIMEOUT, false },
		{ "GET", false, HTTP_UNKNOWN, RPC_TOO_LARGE, false },
		{ "GET", false, HTTP_ANSWERED, 502, true },
		{ "GET", false, HTTP_ANSWERED, 503, true },
		{ "DELETE", false, HTTP_ANSWERED, 504, true },
		{ "POST", false, HTTP_ANSWERED, 503, false },
		{ "GET", true, HTTP_ANSWERED, 503, false },
		{ "GET", false, HTTP_ANSWERED, 500, false },
		{ "GET", false, HTTP_ANSWERED, 429, false },
		{ "GET", false, HTTP_ANSWERED, 200, false },
	};
	static const struct http_sink sink;
	struct bed *b = *state;
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		struct upstream_request *r =
		    upstream_request_new(cases[i].method, xstrdup("/a"));
		int before = b->sent_count;
		struct caller *c;

		r->sink = cases[i].streamed ? &sink : NULL;
		c = ask(b, r);
		run(b);
		if (cases[i].outcome == HTTP_ANSWERED)
			answer(last(b), cases[i].result, "");
		else
			lose(last(b), cases[i].outcome,
			    (enum rpc_errno)cases[i].result);
		run(b);
		assert_int_equal(b->sent_count - before, 1 + cases[i].again);
		assert_int_equal(c->told, !cases[i].again);
		if (!c->told)
			cancel(c);
	}
}

/* What is idempotent by its meaning is so by its owner's word. */
static void
a_post_that_may_be_sent_twice(void **state)
{
	struct bed *b = *state;
	struct upstream_request *r = upstream_request_new("POST", xstrdup("/"));
	struct caller *c;

	r->idempotent = true;
	c = ask(b, r);
	run(b);
	lose(last(b), HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
	run(b);
	assert_int_equal(b->sent_count, 2);
	answer(last(b), 200, "twice");
	assert_string_equal(c->body, "twice");
}

/* A server that goes away in good order has another ready, once. */
static void
turned_away_it_goes_at_once(void **state)
{
	struct bed *b = *state;
	struct caller *c = post(b, "/a");
	int i;

	world.dice = 400;
	run(b);
	turn_away(last(b));
	run(b);
	assert_int_equal(b->sent_count, 2);
	turn_away(last(b));
	wait_ms(b, 399);
	assert_int_equal(b->sent_count, 2);
	wait_ms(b, 1);
	assert_int_equal(b->sent_count, 3);
	/* That it happens now and then is no outage; every time, it is. */
	turn_away(last(b));
	assert_string_equal(stats_of(b).state, "unknown");
	assert_int_equal(stats_of(b).errors, 0);
	wait_ms(b, 400);
	turn_away(last(b));
	expect(c, HTTP_NOT_SENT, RPC_UNREACHABLE);
	assert_string_equal(b->events, "down: turned away\n");
	for (i = 0; i < b->sent_count; i++)
		assert_true(b->sent[i]->over);
}

/* All attempts and what is between them have one deadline. */
static void
one_deadline_for_all_attempts(void **state)
{
	struct bed *b = *state;
	struct caller *c = get_within(b, 1000), *d;

	world.dice = 200;
	run(b);
	assert_int_equal(last(b)->req.timeout_ms, 1000);
	wait_ms(b, 300);
	lose(last(b), HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
	wait_ms(b, 200);
	assert_int_equal(b->sent_count, 2);
	assert_int_equal(last(b)->req.timeout_ms, 500);
	/* The next one has one left. */
	wait_ms(b, 299);
	lose(last(b), HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
	wait_ms(b, 200);
	assert_int_equal(b->sent_count, 3);
	assert_int_equal(last(b)->req.timeout_ms, 1);
	lose(last(b), HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
	expect(c, HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
	/* What would begin at the deadline is not begun. */
	c = get_within(b, 1000);
	run(b);
	wait_ms(b, 800);
	lose(last(b), HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
	expect(c, HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
	d = get_within(b, 0);
	run(b);
	assert_int_equal(last(b)->req.timeout_ms, 0);
	wait_ms(b, HOUR_MS);
	lose(last(b), HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
	wait_ms(b, 200);
	assert_int_equal(last(b)->req.timeout_ms, 0);
	answer(last(b), 200, "");
	expect(d, HTTP_ANSWERED, RPC_OK);
}

/* Starts n requests and loses them; how many of them are sent again. */
static int
lose_many(struct bed *b, int n)
{
	int first = b->sent_count, i;

	for (i = 0; i < n; i++)
		post(b, "/a");
	run(b);
	assert_int_equal(b->sent_count, first + n);
	for (i = first; i < first + n; i++)
		lose(b->sent[i], HTTP_NOT_SENT, RPC_UNREACHABLE);
	run(b);
	return b->sent_count - first - n;
}

static void
answer_many(struct bed *b, int n)
{
	int i;

	for (i = 0; i < n; i++) {
		post(b, "/a");
		run(b);
		answer(last(b), 200, "");
	}
}

/* When the server stays down, retries become a tenth of the traffic. */
static void
all_draw_on_one_budget(void **state)
{
	struct bed *b = *state;
	int i;

	/* What is full grows no more. */
	answer_many(b, 50);
	assert_int_equal(lose_many(b, BUDGET + 44), BUDGET);
	for (i = b->sent_count - BUDGET; i < b->sent_count; i++)
		answer(b->sent[i], 200, "");
	assert_int_equal(lose_many(b, 9), 0);
	assert_int_equal(lose_many(b, 6), 1);
	assert_int_equal(stats_of(b).retries, BUDGET + 1);
	answer_many(b, 57);
	assert_int_equal(lose_many(b, 20), 8);
}

/* ---- one for many ---- */

static void
equal_gets_are_one(void **state)
{
	struct bed *b = *state;
	struct caller *c[4];
	int i;

	for (i = 0; i < 2; i++)
		c[i] = get(b, "/a");
	run(b);
	/* Another one that is answered meanwhile changes nothing. */
	get(b, "/b");
	run(b);
	answer(last(b), 200, "other");
	for (; i < 4; i++)
		c[i] = get(b, "/a");
	run(b);
	assert_int_equal(b->sent_count, 2);
	assert_int_equal(stats_of(b).requests, 2);
	assert_int_equal(stats_of(b).shared, 3);
	answer(b->sent[0], 200, "same");
	for (i = 0; i < 4; i++) {
		expect(c[i], HTTP_ANSWERED, RPC_OK);
		assert_string_equal(c[i]->body, "same");
	}
	/* That one is over. */
	get(b, "/a");
	run(b);
	assert_int_equal(b->sent_count, 3);
}

static void
others_are_not(void **state)
{
	static const struct http_sink sink;
	struct bed *b = *state;
	struct upstream_request *r;

	world.token = "token";
	get(b, "/a");
	get(b, "/b");
	get(b, "/a?");
	post(b, "/a");
	post(b, "/a");
	ask(b, upstream_request_new("DELETE", xstrdup("/a")));
	ask(b, upstream_request_new("DELETE", xstrdup("/a")));
	r = upstream_request_new("GET", xstrdup("/a"));
	r->auth = AUTH_TOKEN;
	ask(b, r);
	r = upstream_request_new("GET", xstrdup("/a"));
	r->sink = &sink;
	ask(b, r);
	run(b);
	assert_int_equal(b->sent_count, b->caller_count);
	assert_int_equal(stats_of(b).shared, 0);
}

/* Between two attempts as well; who was first may have gone. */
static void
it_outlives_who_was_first(void **state)
{
	struct bed *b = *state;
	struct caller *c = get(b, "/a"), *d, *e;

	d = get(b, "/a");
	cancel(c);
	upstream_request_free(c->request);
	c->request = NULL;
	run(b);
	assert_int_equal(b->sent_count, 1);
	world.dice = 200;
	lose(last(b), HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
	e = get(b, "/a");
	cancel(d);
	upstream_request_free(d->request);
	d->request = NULL;
	wait_ms(b, 200);
	assert_int_equal(b->sent_count, 2);
	assert_string_equal(last(b)->req.method, "GET");
	assert_string_equal(last(b)->url, BASE "/a");
	answer(last(b), 200, "");
	assert_int_equal(c->told + d->told, 0);
	expect(e, HTTP_ANSWERED, RPC_OK);
}

/* A list that is asked for after a create shows what was created. */
static void
not_after_something_was_changed(void **state)
{
	static const enum http_outcome outcomes[] = { HTTP_ANSWERED,
		HTTP_UNKNOWN };
	struct bed *b = *state;
	struct http_exchange *old, *new;
	struct caller *c, *d, *e;
	int before;
	size_t i;

	for (i = 0; i < COUNT(outcomes); i++) {
		c = get(b, "/a");
		run(b);
		old = last(b);
		post(b, "/a");
		run(b);
		get(b, "/a");
		run(b);
		/* While it is under way nobody can tell what comes first. */
		assert_int_equal(old->over + last(b)->over, 0);
		assert_ptr_equal(b->sent[b->sent_count - 2], old);
		if (outcomes[i] == HTTP_ANSWERED)
			answer(last(b), 201, "");
		else
			lose(last(b), HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
		before = b->sent_count;
		d = get(b, "/a");
		run(b);
		assert_int_equal(b->sent_count, before + 1);
		new = last(b);
		e = get(b, "/a");
		run(b);
		assert_ptr_equal(last(b), new);
		answer(new, 200, "new");
		assert_string_equal(d->body, "new");
		assert_string_equal(e->body, "new");
		assert_int_equal(c->told, 0);
		answer(old, 200, "old");
		assert_string_equal(c->body, "old");
	}
}

static void
not_after_the_credential_was_changed(void **state)
{
	struct bed *b = *state;
	struct caller *c = get(b, "/a"), *d;

	run(b);
	world.key = "new";
	world.generation++;
	d = get(b, "/a");
	run(b);
	assert_int_equal(b->sent_count, 2);
	assert_string_equal(last(b)->credential, "X-API-Key: new");
	answer(last(b), 200, "");
	assert_int_equal(c->told, 0);
	expect(d, HTTP_ANSWERED, RPC_OK);
}

/* One that takes long may be stuck. */
static void
not_after_a_second(void **state)
{
	struct bed *b = *state;

	get(b, "/a");
	wait_ms(b, 999);
	get(b, "/a");
	run(b);
	assert_int_equal(b->sent_count, 1);
	wait_ms(b, 1);
	get(b, "/a");
	run(b);
	assert_int_equal(b->sent_count, 2);
	/* The one that can be joined is found behind the one that cannot. */
	get(b, "/a");
	run(b);
	assert_int_equal(b->sent_count, 2);
}

static void
ask_the_same(struct caller *c)
{
	get(c->bed, "/a");
}

static void
not_while_it_is_told(void **state)
{
	struct bed *b = *state;

	get(b, "/a")->then = ask_the_same;
	get(b, "/a");
	run(b);
	answer(last(b), 200, "");
	run(b);
	assert_int_equal(b->sent_count, 2);
	assert_int_equal(b->callers[2].told, 0);
	answer(last(b), 200, "mine");
	assert_string_equal(b->callers[2].body, "mine");
}

/* ---- which way ---- */

static void
small_calls_go_by_http2(void **state)
{
	struct bed *b = *state;
	struct upstream_request *r = upstream_request_new("GET", xstrdup("/b"));

	get(b, "/a");
	run(b);
	assert_ptr_equal(last(b)->via, &b->http2);
	answer(last(b), 200, "");
	assert_int_equal(stats_of(b).http_version, 20);
	r->bulk = true;
	/* What is shared is not bulk. */
	r->method = "PUT";
	ask(b, r);
	run(b);
	assert_ptr_equal(last(b)->via, &b->http1);
	assert_true(last(b)->req.bulk);
	answer(last(b), 200, "");
	assert_int_equal(stats_of(b).http_version, 11);
}

static void
without_tls_there_is_but_one_way(void **state)
{
	struct bed *b = *state;

	get(b, "/a");
	run(b);
	assert_ptr_equal(last(b)->via, &b->http1);
	answer(last(b), 200, "");
	assert_int_equal(stats_of(b).http_version, 11);
	assert_int_equal(stats_of(b).http.exchanges, 1);
	upstream_renew(b->up);
	assert_int_equal(b->http1.renewals, 1);
	assert_int_equal(b->http2.renewals + b->http2.frees, 0);
}

/* A server that speaks no HTTP/2 is asked by HTTP/1.1, for an hour. */
static void
a_server_without_http2_is_asked_the_other_way(void **state)
{
	struct bed *b = *state;
	struct caller *c = get(b, "/a");

	run(b);
	give_back(last(b), true);
	assert_int_equal(b->sent_count, 2);
	assert_ptr_equal(last(b)->via, &b->http1);
	answer(last(b), 200, "old");
	assert_string_equal(c->body, "old");
	wait_ms(b, HOUR_MS - 1);
	get(b, "/a");
	run(b);
	assert_ptr_equal(last(b)->via, &b->http1);
	answer(last(b), 200, "");
	wait_ms(b, 1);
	get(b, "/a");
	run(b);
	assert_ptr_equal(last(b)->via, &b->http2);
	/* Or until connections are made anew. */
	give_back(last(b), true);
	answer(last(b), 200, "");
	upstream_renew(b->up);
	get(b, "/a");
	run(b);
	assert_ptr_equal(last(b)->via, &b->http2);
	assert_int_equal(stats_of(b).retries + stats_of(b).errors, 0);
	assert_string_equal(b->events, "");
}

/* It was no attempt, and costs nothing. */
static void
what_is_given_back_was_no_attempt(void **state)
{
	struct bed *b = *state;
	struct caller *c = get_within(b, 60000);
	int i;

	run(b);
	wait_ms(b, 100);
	give_back(last(b), true);
	assert_int_equal(last(b)->req.timeout_ms, 59900);
	give_back(last(b), false);
	for (i = 0; i < ATTEMPTS; i++) {
		assert_int_equal(c->told, 0);
		lose(last(b), HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
		run(b);
	}
	expect(c, HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
	assert_int_equal(b->sent_count, ATTEMPTS + 2);
}

/* ---- made anew ---- */

/* It waited when the credential changed: the old one is not sent any more. */
static void
given_back_it_goes_with_what_is_held_now(void **state)
{
	struct bed *b = *state;
	struct caller *c = get(b, "/a");

	run(b);
	world.key = "new";
	give_back(last(b), false);
	assert_int_equal(b->sent_count, 2);
	assert_ptr_equal(last(b)->via, &b->http2);
	assert_string_equal(last(b)->credential, "X-API-Key: new");
	/* And after a logout there is none. */
	world.key = NULL;
	give_back(last(b), false);
	assert_int_equal(b->sent_count, 2);
	expect(c, HTTP_NOT_SENT, RPC_NO_CREDENTIAL);
	assert_non_null(strstr(c->why, "wrennctl login"));
	assert_string_equal(stats_of(b).state, "unknown");
}

/* The same for one whose next attempt comes after it. */
static void
the_next_attempt_goes_with_what_is_held_then(void **state)
{
	struct bed *b = *state;
	struct caller *c = get(b, "/a");

	world.dice = 200;
	run(b);
	lose(last(b), HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN);
	world.key = NULL;
	wait_ms(b, 200);
	assert_int_equal(b->sent_count, 1);
	expect(c, HTTP_NOT_SENT, RPC_NO_CREDENTIAL);
}

/* Loses one that is not sent again. */
static void
lose_one(struct bed *b, enum rpc_errno error)
{
	post(b, "/a");
	run(b);
	lose(last(b), HTTP_UNKNOWN, error);
}

static void
expect_renewals(const struct bed *b, int n)
{
	assert_int_equal(b->http1.renewals, n);
	assert_int_equal(b->http2.renewals, n);
}

static void
two_timeouts_in_a_row_make_connections_suspect(void **state)
{
	struct bed *b = *state;

	lose_one(b, RPC_TIMEOUT);
	expect_renewals(b, 0);
	answer_many(b, 1);
	lose_one(b, RPC_TIMEOUT);
	lose_one(b, RPC_OUTCOME_UNKNOWN);
	lose_one(b, RPC_TIMEOUT);
	expect_renewals(b, 0);
	/* One of ours says nothing of it. */
	lose_one(b, RPC_TOO_LARGE);
	lose_one(b, RPC_TIMEOUT);
	expect_renewals(b, 1);
	/* It counts anew then. */
	lose_one(b, RPC_TIMEOUT);
	expect_renewals(b, 1);
	lose_one(b, RPC_TIMEOUT);
	expect_renewals(b, 2);
}

static void
a_sleep_or_other_trust_brings_new_connections(void **state)
{
	struct bed *b = *state;

	wait_ms(b, 4 * (uint64_t)LOOK_MS);
	expect_renewals(b, 0);
	world.slept_ms = 2000;
	wait_ms(b, LOOK_MS);
	expect_renewals(b, 0);
	world.slept_ms += 2001;
	wait_ms(b, LOOK_MS - 1);
	expect_renewals(b, 0);
	wait_ms(b, 1);
	expect_renewals(b, 1);
	world.trust_changed = true;
	wait_ms(b, LOOK_MS);
	expect_renewals(b, 2);
	wait_ms(b, 4 * (uint64_t)LOOK_MS);
	expect_renewals(b, 2);
}

/* ---- up and down ---- */

static void
what_changes_is_told_once(void **state)
{
	struct bed *b = *state;

	assert_string_equal(stats_of(b).state, "unknown");
	assert_string_equal(stats_of(b).last_error, "");
	answer_many(b, 1);
	/* That it answers from the start is no news. */
	assert_string_equal(b->events, "");
	assert_string_equal(stats_of(b).state, "up");
	lose_one(b, RPC_OUTCOME_UNKNOWN);
	assert_string_equal(b->events, "down: lost\n");
	lose_one(b, RPC_TIMEOUT);
	assert_string_equal(b->events, "down: lost\n");
	assert_string_equal(stats_of(b).state, "down");
	assert_string_equal(stats_of(b).last_error, "lost");
	assert_int_equal(stats_of(b).errors, 2);
	/* Any answer is one. */
	post(b, "/a");
	run(b);
	answer(last(b), 500, "");
	answer_many(b, 1);
	assert_string_equal(b->events, "down: lost\nup: \n");
	assert_string_equal(stats_of(b).state, "up");
}

static void
down_from_the_start_is_news(void **state)
{
	struct bed *b = *state;

	lose_one(b, RPC_TLS);
	assert_string_equal(b->events, "down: lost\n");
}

static void
what_is_ours_says_nothing_of_the_server(void **state)
{
	static const enum rpc_errno errors[] = { RPC_BUSY, RPC_TOO_LARGE,
		RPC_DATA_SOCKET };
	struct bed *b = *state;
	size_t i;

	for (i = 0; i < COUNT(errors); i++)
		lose_one(b, errors[i]);
	assert_string_equal(stats_of(b).state, "unknown");
	assert_int_equal(stats_of(b).errors, 0);
	assert_string_equal(b->events, "");
	for (i = 0; i < COUNT(errors); i++)
		expect(&b->callers[i], HTTP_UNKNOWN, errors[i]);
}

static void
the_figures_are_of_all_ways(void **state)
{
	struct bed *b = *state;
	struct upstream_stats s;

	post(b, "/a");
	run(b);
	wait_ms(b, 100);
	answer(last(b), 200, "");
	assert_true(stats_of(b).latency_ms == 100);
	post(b, "/a");
	run(b);
	wait_ms(b, 260);
	answer(last(b), 200, "");
	s = stats_of(b);
	assert_true(s.latency_ms == 110);
	assert_int_equal(s.http.exchanges, 11);
	assert_int_equal(s.http.connections, 22);
	assert_int_equal(s.http.open, 33);
	assert_int_equal(s.http.in_flight, 44);
	assert_int_equal(s.http.waiting, 55);
	assert_string_equal(upstream_base_url(b->up), BASE);
}

/* ---- cancelling ---- */

static void
cancelled_before_it_is_sent(void **state)
{
	struct bed *b = *state;

	cancel(get(b, "/a"));
	cancel(post(b, "/a"));
	upstream_cancel(NULL);
	run(b);
	assert_int_equal(b->sent_count, 0);
}

static void
cancelled_by_all_it_is_dropped(void **state)
{
	struct bed *b = *state;
	struct caller *c = get(b, "/a"), *d = get(b, "/a");

	run(b);
	cancel(c);
	assert_false(last(b)->cancelled);
	cancel(d);
	assert_true(last(b)->cancelled);
	assert_int_equal(c->told + d->told, 0);
	/* Nobody can join it any more. */
	get(b, "/a");
	run(b);
	assert_int_equal(b->sent_count, 2);
}

static void
cancel_the_next(struct caller *c)
{
	cancel(c + 1);
}

/* One of those that are told takes others away: the next, and the last. */
static void
cancelled_while_all_are_told(void **state)
{
	struct bed *b = *state;
	struct caller *c[3];
	int n, i;

	for (n = 2; n <= 3; n++) {
		for (i = 0; i < n; i++)
			c[i] = get(b, "/a");
		c[0]->then = cancel_the_next;
		run(b);
		answer(last(b), 200, "");
		assert_int_equal(c[0]->told, 1);
		assert_int_equal(c[1]->told, 0);
		assert_true(n == 2 || c[2]->told == 1);
	}
	/* And another one altogether, at its end without an answer too. */
	c[0] = post(b, "/a");
	c[1] = post(b, "/b");
	c[0]->then = cancel_the_next;
	run(b);
	lose(b->sent[b->sent_count - 2], HTTP_UNKNOWN, RPC_TIMEOUT);
	assert_true(last(b)->cancelled);
	c[0] = post(b, "/a");
	c[1] = post(b, "/b");
	c[0]->then = cancel_the_next;
	world.key = NULL;
	run(b);
	expect(c[0], HTTP_NOT_SENT, RPC_NO_CREDENTIAL);
	assert_int_equal(c[1]->told, 0);
}

/* At every point of a call's life, and nothing is left of them. */
static void
a_flood_of_cancels(void **state)
{
	struct bed *b = *state;
	struct caller *c, *d;
	int i;

	world.dice = 200;
	for (i = 0; i < 900; i++) {
		c = i % 2 == 0 ? get(b, "/a") : post(b, "/a");
		d = i % 4 == 0 ? get(b, "/a") : post(b, "/b");
		if (i % 3 > 0)
			run(b);
		if (i % 3 == 2)
			lose(b->sent[b->sent_count - 1], HTTP_NOT_SENT,
			    RPC_UNREACHABLE);
		cancel(c);
		cancel(d);
	}
	assert_int_equal(b->http2.under_way, 0);
	i = b->sent_count;
	wait_ms(b, 10000);
	assert_int_equal(b->sent_count, i);
	for (i = 0; i < b->caller_count; i++)
		assert_int_equal(b->callers[i].told, 0);
	c = get(b, "/a");
	run(b);
	answer(last(b), 200, "still");
	assert_string_equal(c->body, "still");
}

static void
resumed_where_there_is_something_to_resume(void **state)
{
	struct bed *b = *state;
	struct caller *c = post(b, "/a");

	upstream_resume(c->call);
	run(b);
	upstream_resume(c->call);
	assert_int_equal(last(b)->resumes, 1);
	world.dice = 200;
	lose(last(b), HTTP_NOT_SENT, RPC_UNREACHABLE);
	upstream_resume(c->call);
	wait_ms(b, 200);
	upstream_resume(c->call);
	assert_int_equal(last(b)->resumes, 1);
	assert_int_equal(b->sent[0]->resumes, 1);
}

/* Asked, under way both ways, shared, between attempts. */
static void
freed_with_all_under_way(void **state)
{
	struct bed *b = *state;
	struct upstream_request *r = upstream_request_new("PUT", xstrdup("/b"));
	int i;

	world.dice = 200;
	post(b, "/again");
	run(b);
	lose(last(b), HTTP_NOT_SENT, RPC_UNREACHABLE);
	r->bulk = true;
	ask(b, r);
	get(b, "/a");
	get(b, "/a");
	run(b);
	get(b, "/a");
	get(b, "/c");
	assert_int_equal(b->http1.under_way, 1);
	assert_int_equal(b->http2.under_way, 1);
	upstream_free(b->up);
	b->up = NULL;
	assert_int_equal(b->http1.frees, 1);
	assert_int_equal(b->http2.frees, 1);
	run(b);
	for (i = 0; i < b->caller_count; i++)
		assert_int_equal(b->callers[i].told, 0);
}

/* ---- streams ---- */

static void
a_stream_has_the_credential_and_the_base_url(void **state)
{
	struct bed *b = *state;
	struct rpc_error why;

	assert_ptr_equal(upstream_stream(b->up, "/a", NULL, b, &why), b);
	assert_string_equal(b->stream, BASE "/a " KEY);
	world.key = NULL;
	world.token = "token";
	assert_ptr_equal(upstream_stream(b->up, "/b", NULL, b, &why), b);
	assert_string_equal(b->stream, BASE "/b " BEARER);
	world.expiry = wall_ms() / 1000 - 1;
	assert_null(upstream_stream(b->up, "/b", NULL, b, &why));
	assert_int_equal(why.kind, RPC_UNAUTHORIZED);
	world.expiry = 0;
	world.token = NULL;
	assert_null(upstream_stream(b->up, "/b", NULL, b, &why));
	assert_int_equal(why.kind, RPC_NO_CREDENTIAL);
	assert_int_equal(b->streams, 2);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define P(f) cmocka_unit_test_setup_teardown(f, setup_plain, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_request_is_sent_as_it_is),
		T(one_without_a_body_has_none),
		T(which_credential_goes),
		T(a_token_that_has_ended_is_not_sent),
		T(it_waits_longer_and_longer),
		T(what_may_be_sent_again),
		T(a_post_that_may_be_sent_twice),
		T(turned_away_it_goes_at_once),
		T(one_deadline_for_all_attempts),
		T(all_draw_on_one_budget),
		T(equal_gets_are_one),
		T(others_are_not),
		T(it_outlives_who_was_first),
		T(not_after_something_was_changed),
		T(not_after_the_credential_was_changed),
		T(not_after_a_second),
		T(not_while_it_is_told),
		T(small_calls_go_by_http2),
		P(without_tls_there_is_but_one_way),
		T(a_server_without_http2_is_asked_the_other_way),
		T(what_is_given_back_was_no_attempt),
		T(given_back_it_goes_with_what_is_held_now),
		T(the_next_attempt_goes_with_what_is_held_then),
		T(two_timeouts_in_a_row_make_connections_suspect),
		T(a_sleep_or_other_trust_brings_new_connections),
		T(what_changes_is_told_once),
		T(down_from_the_start_is_news),
		T(what_is_ours_says_nothing_of_the_server),
		T(the_figures_are_of_all_ways),
		T(cancelled_before_it_is_sent),
		T(cancelled_by_all_it_is_dropped),
		T(cancelled_while_all_are_told),
		T(a_flood_of_cancels),
		T(resumed_where_there_is_something_to_resume),
		T(freed_with_all_under_way),
		T(a_stream_has_the_credential_and_the_base_url),
	};

	return cmocka_run_group_tests_name("upstream", tests, NULL, NULL);
}
