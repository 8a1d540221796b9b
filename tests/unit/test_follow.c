#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "daemon/follow.h"
#include "daemon/settings.h"
#include "daemon/upstream.h"
#include "proto/xalloc.h"
#include "tests/unit/fakes/fake_loop.h"
#include "tests/unit/fakes/fake_upstream.h"
#include "tests/unit/fakes/fake_ws.h"

#include "proto/banned.h"

#define CAPSULE "cl-aaaaaaaaaaaaaaaaaaaaaaaaa"
#define START   "{\"type\":\"start\",\"cmd\":\"make\"}"
#define FIRST   "/v1/capsules/" CAPSULE "/exec/stream"
#define AGAIN   "/v1/capsules/" CAPSULE "/processes/42/stream"
#define KILL    "DELETE /v1/capsules/" CAPSULE "/processes/42?signal=SIGKILL"
#define STARTED "{\"type\":\"start\",\"pid\":42}"
#define AWAY_MS 60000

static const struct ws_end cut = {
	.opened = true,
	.error = RPC_TRUNCATED,
};
static const struct ws_end unreachable = { .error = RPC_UNREACHABLE };

/* One command, and what was told of it. */
struct bed {
	struct loop *loop;
	struct settings settings;
	struct upstream *upstream;
	struct follows *follows;
	struct follow *follow; /* NULL once it was stopped */
	int running, gaps, drops, ended;
	int64_t pid, code;
	enum rpc_errno kind;
	char message[LIMIT_ERROR_MESSAGE], out[256];
	size_t len;
	bool stop_at_end, stop_at_output, stop_at_running;
};

static void
stop(struct bed *b)
{
	if (b->follow != NULL)
		follow_stop(b->follow);
	b->follow = NULL;
}

static void
running(void *arg, int64_t pid, bool gap)
{
	struct bed *b = arg;

	b->running++;
	b->gaps += gap;
	b->pid = pid;
	if (b->stop_at_running)
		stop(b);
}

static void
output(void *arg, bool is_stderr, const char *text, size_t n)
{
	struct bed *b = arg;

	assert_true(b->len + n + 2 < sizeof(b->out));
	b->out[b->len++] = is_stderr ? '2' : '1';
	memcpy(b->out + b->len, text, n);
	b->len += n;
	b->out[b->len] = '\0';
	if (b->stop_at_output)
		stop(b);
}

static void
dropped(void *arg, const char *why)
{
	struct bed *b = arg;

	assert_true(strlen(why) > 0);
	b->drops++;
}

static void
ended(void *arg, int64_t code, struct rpc_error *e)
{
	struct bed *b = arg;

	assert_non_null(b->follow);
	b->ended++;
	b->code = code;
	b->kind = e ? e->kind : RPC_OK;
	snprintf(b->message, sizeof(b->message), "%s", e ? e->message : "");
	if (b->stop_at_end)
		stop(b);
}

static const struct follow_ops ops = { running, output, dropped, ended };

static int
setup(void **state)
{
	static char base_url[] = "http://localhost";
	struct bed *b = xcalloc(1, sizeof(*b));

	b->loop = loop_new();
	b->settings.base_url = base_url;
	b->upstream = upstream_new(b->loop, &b->settings, NULL);
	b->follows = follows_new(b->loop, b->upstream);
	b->stop_at_end = true;
	*state = b;
	return 0;
}

static int
teardown(void **state)
{
	struct bed *b = *state;

	stop(b);
	follows_free(b->follows);
	upstream_free(b->upstream);
	loop_free(b->loop);
	free(b);
	return 0;
}

static void
start_it(struct bed *b)
{
	const struct follow_spec spec = { .capsule = CAPSULE, .start = START };
	struct rpc_error why;

	b->follow = follow_start(b->follows, &spec, &ops, b, &why);
	assert_non_null(b->follow);
	assert_int_equal(*fake_ws_count(), 1);
	assert_string_equal(fake_ws_path(0), FIRST);
}

/* It runs, as 42, on stream 0. */
static void
run_it(struct bed *b)
{
	start_it(b);
	assert_string_equal(fake_ws_sent(0), "");
	fake_ws_accept(0);
	assert_string_equal(fake_ws_sent(0), START "\n");
	assert_int_equal(b->running, 0);
	fake_ws_tell(0, STARTED);
	assert_int_equal(b->running, 1);
	assert_int_equal(b->pid, 42);
}

static void
expect_end(const struct bed *b, int64_t code, enum rpc_errno kind)
{
	assert_int_equal(b->ended, 1);
	assert_int_equal(b->kind, kind);
	assert_int_equal(b->code, code);
}

static void
expect_requests(const struct bed *b, int n)
{
	assert_int_equal(*fake_upstream_count(b->upstream), n);
}

/* Nothing starts a command but the first stream. */
static void
expect_streams(int n)
{
	int i;

	assert_int_equal(*fake_ws_count(), n);
	for (i = 1; i < n; i++) {
		assert_string_equal(fake_ws_path(i), AGAIN);
		assert_string_equal(fake_ws_sent(i), "");
	}
}

/* ---- a command's life ---- */

static void
its_output_and_its_exit_are_told(void **state)
{
	struct bed *b = *state;

	run_it(b);
	fake_ws_tell(0, "{\"type\":\"stdout\",\"data\":\"a\\u0000\"}");
	assert_memory_equal(b->out, "1a\0", 4);
	b->len = 0;
	fake_ws_tell(0, "{\"type\":\"stderr\",\"data\":\"b\"}");
	fake_ws_tell(0, "{\"type\":\"stdout\",\"data\":\"\"}");
	fake_ws_tell(0, "{\"type\":\"stdout\",\"data\":7}");
	fake_ws_tell(0, "{\"type\":\"news\",\"data\":\"x\"}");
	fake_ws_tell(0, "{}");
	assert_string_equal(b->out, "2b1");
	fake_ws_tell(0, "{\"type\":\"exit\",\"exit_code\":37}");
	expect_end(b, 37, RPC_OK);
	assert_false(fake_ws_is_alive(0));
	expect_requests(b, 0);
}

static void
an_exit_needs_a_code(void **state)
{
	static const char *const bad[] = {
		"{\"type\":\"exit\"}",
		"{\"type\":\"exit\",\"exit_code\":null}",
		"{\"type\":\"exit\",\"exit_code\":\"0\"}",
		"{\"type\":\"exit\",\"exit_code\":0.5}",
		"{\"type\":\"exit\",\"exit_code\":4294967296}",
	};
	struct bed *b = *state;
	size_t i;

	run_it(b);
	for (i = 0; i < COUNT(bad); i++)
		fake_ws_tell(0, bad[i]);
	assert_int_equal(b->ended, 0);
	fake_ws_tell(0, "{\"type\":\"exit\",\"exit_code\":-1}");
	expect_end(b, -1, RPC_OK);
}

static void
what_comes_behind_the_end_is_not_told(void **state)
{
	struct bed *b = *state;

	b->stop_at_end = false;
	run_it(b);
	fake_ws_tell(0, "{\"type\":\"exit\",\"exit_code\":0}");
	assert_false(fake_ws_is_alive(0));
	expect_end(b, 0, RPC_OK);
	follow_pause(b->follow, true);
	fake_loop_advance(b->loop, 10 * AWAY_MS);
	expect_end(b, 0, RPC_OK);
	stop(b);
	expect_requests(b, 0);
	expect_streams(1);
}

static void
what_is_no_json_ends_it_and_the_command(void **state)
{
	struct bed *b = *state;

	run_it(b);
	fake_ws_tell(0, "{");
	expect_end(b, -1, RPC_BAD_ANSWER);
	expect_requests(b, 1);
	assert_string_equal(fake_upstream_sent(b->upstream, 0), KILL);
}

static void
a_start_without_a_pid_is_an_unknown_outcome(void **state)
{
	struct bed *b = *state;

	start_it(b);
	fake_ws_accept(0);
	fake_ws_tell(0, "{\"type\":\"start\"}");
	expect_end(b, -1, RPC_OUTCOME_UNKNOWN);
	expect_requests(b, 0);
}

/* ---- before it runs ---- */

static void
a_server_that_is_away_is_tried_four_times(void **state)
{
	struct bed *b = *state;
	int i;

	start_it(b);
	for (i = 0; i < 4; i++) {
		fake_loop_advance(b->loop, 1000);
		assert_int_equal(*fake_ws_count(), i + 1);
		assert_string_equal(fake_ws_path(i), FIRST);
		assert_int_equal(b->ended, 0);
		fake_ws_end(i, &unreachable);
	}
	expect_end(b, -1, RPC_UNREACHABLE);
}

static void
what_was_not_sent_is_sent_when_it_is_back(void **state)
{
	struct bed *b = *state;

	start_it(b);
	fake_ws_end(0, &unreachable);
	fake_loop_advance(b->loop, 1000);
	fake_ws_accept(1);
	assert_string_equal(fake_ws_sent(0), "");
	assert_string_equal(fake_ws_sent(1), START "\n");
	fake_ws_tell(1, STARTED);
	assert_int_equal(b->gaps, 0);
	assert_int_equal(b->drops, 0);
}

static void
a_refusal_is_the_end(void **state)
{
	static const struct {
		int status;
		const char *body;
		enum rpc_errno kind;
	} rows[] = {
		{ 404, "{\"error\":{\"code\":\"not_found\",\"message\":\"x\"}}",
		    RPC_NOT_FOUND },
		{ 401, "", RPC_UNAUTHORIZED },
		{ 302, "", RPC_BAD_ANSWER },
		{ 200, "{}", RPC_BAD_ANSWER },
	};
	struct bed *b = *state;
	struct ws_end e = { .error = RPC_BAD_ANSWER };
	size_t i;

	for (i = 0; i < COUNT(rows); i++) {
		fake_ws_reset();
		b->ended = 0;
		start_it(b);
		e.http_status = rows[i].status;
		e.body = rows[i].body;
		fake_ws_end(0, &e);
		expect_end(b, -1, rows[i].kind);
	}
	expect_requests(b, 0);
}

static void
a_credential_is_needed(void **state)
{
	const struct follow_spec spec = { .capsule = CAPSULE, .start = START };
	struct bed *b = *state;
	struct rpc_error why;

	fake_ws_refuse(true);
	assert_null(follow_start(b->follows, &spec, &ops, b, &why));
	assert_int_equal(why.kind, RPC_NO_CREDENTIAL);
	fake_ws_refuse(false);
	start_it(b);
	fake_ws_end(0, &unreachable);
	fake_ws_refuse(true);
	fake_loop_advance(b->loop, 1000);
	expect_end(b, -1, RPC_NO_CREDENTIAL);
}

static void
errors_before_the_start_are_told_as_they_are(void **state)
{
	static const struct {
		const char *text;
		enum rpc_errno kind;
	} rows[] = {
		{ "sandbox not found", RPC_NOT_FOUND },
		{ "authentication failed", RPC_UNAUTHORIZED },
		{ "sandbox host is not reachable", RPC_HOST_UNAVAILABLE },
		{ "failed to start exec stream: boom", RPC_AGENT },
	};
	struct bed *b = *state;
	char text[256];
	size_t i;

	for (i = 0; i < COUNT(rows); i++) {
		fake_ws_reset();
		b->ended = 0;
		start_it(b);
		fake_ws_accept(0);
		snprintf(text, sizeof(text),
		    "{\"type\":\"error\",\"data\":\"%s\"}", rows[i].text);
		fake_ws_tell(0, text);
		expect_end(b, -1, rows[i].kind);
	}
	expect_requests(b, 0);
}

static void
a_lost_start_is_an_unknown_outcome_and_not_repeated(void **state)
{
	struct bed *b = *state;

	start_it(b);
	fake_ws_accept(0);
	fake_ws_end(0, &cut);
	expect_end(b, -1, RPC_OUTCOME_UNKNOWN);
	fake_loop_advance(b->loop, AWAY_MS);
	expect_streams(1);
}

/* ---- streams that drop ---- */

static void
a_stream_that_drops_is_picked_up(void **state)
{
	struct bed *b = *state;
	int i;

	run_it(b);
	for (i = 0; i < 5; i++) {
		fake_ws_end(i, &cut);
		assert_int_equal(b->drops, i + 1);
		fake_loop_advance(b->loop, 10000);
		expect_streams(i + 2);
		fake_ws_accept(i + 1);
		fake_ws_tell(i + 1, STARTED);
		assert_int_equal(b->gaps, i + 1);
	}
	fake_ws_tell(5, "{\"type\":\"exit\",\"exit_code\":0}");
	expect_end(b, 0, RPC_OK);
	expect_requests(b, 0);
	expect_streams(6);
}

static void
the_first_time_it_is_picked_up_at_once(void **state)
{
	struct bed *b = *state;

	run_it(b);
	fake_ws_end(0, &cut);
	fake_loop_advance(b->loop, 0);
	expect_streams(2);
	/* One that drops again and again is not: it would be a storm. */
	fake_ws_accept(1);
	fake_ws_tell(1, STARTED);
	fake_ws_end(1, &cut);
	fake_loop_advance(b->loop, 300);
	expect_streams(2);
	fake_loop_advance(b->loop, 100);
	expect_streams(3);
	/* Unless it has been good for a while. */
	fake_ws_accept(2);
	fake_ws_tell(2, STARTED);
	fake_loop_advance(b->loop, 10000);
	fake_ws_end(2, &cut);
	fake_loop_advance(b->loop, 0);
	expect_streams(4);
}

static void
it_is_not_picked_up_for_ever(void **state)
{
	struct bed *b = *state;
	int i = 1;

	run_it(b);
	fake_ws_end(0, &cut);
	while (b->ended == 0) {
		fake_loop_advance(b->loop, 5000);
		assert_true(fake_ws_is_alive(i));
		fake_ws_end(i++, &unreachable);
	}
	assert_in_range(i, 12, 15);
	assert_int_equal(b->drops, 1);
	expect_end(b, -1, RPC_TRUNCATED);
	/* It may run on: nobody follows it any more, so it is ended. */
	expect_requests(b, 1);
	assert_string_equal(fake_upstream_sent(b->upstream, 0), KILL);
}

static void
streams_that_end_without_a_word_tell_that_it_is_over(void **state)
{
	struct bed *b = *state;
	int i;

	run_it(b);
	fake_ws_end(0, &cut);
	for (i = 1; i <= 3; i++) {
		assert_int_equal(b->ended, 0);
		fake_loop_advance(b->loop, 2000);
		fake_ws_accept(i);
		fake_ws_end(i, &cut);
	}
	expect_end(b, -1, RPC_TRUNCATED);
	expect_requests(b, 1);
	assert_string_equal(fake_upstream_sent(b->upstream, 0), KILL);
}

static void
an_error_in_mid_stream_is_the_streams(void **state)
{
	struct bed *b = *state;

	run_it(b);
	fake_ws_tell(0, "{\"type\":\"error\",\"data\":\"unavailable: EOF\"}");
	assert_int_equal(b->ended, 0);
	assert_int_equal(b->drops, 1);
	assert_false(fake_ws_is_alive(0));
	fake_loop_advance(b->loop, 1000);
	expect_streams(2);
	fake_ws_accept(1);
	fake_ws_tell(
	    1, "{\"type\":\"error\",\"data\":\"host is not reachable\"}");
	assert_int_equal(b->ended, 0);
	fake_loop_advance(b->loop, 1000);
	expect_streams(3);
	fake_ws_accept(2);
	fake_ws_tell(2, STARTED);
	fake_ws_tell(2, "{\"type\":\"exit\",\"exit_code\":3}");
	expect_end(b, 3, RPC_OK);
	expect_requests(b, 0);
}

static void
one_that_ended_meanwhile_has_no_exit_status(void **state)
{
	struct bed *b = *state;

	run_it(b);
	fake_ws_end(0, &cut);
	fake_loop_advance(b->loop, 1000);
	fake_ws_accept(1);
	fake_ws_tell(1,
	    "{\"type\":\"error\",\"data\":\"failed to connect to process: "
	    "not_found: process with pid 42 not found\"}");
	expect_end(b, -1, RPC_TRUNCATED);
	expect_requests(b, 0);
}

static void
a_capsule_that_has_gone_is_said_to_have(void **state)
{
	static const struct {
		const char *text;
		enum rpc_errno kind;
	} rows[] = {
		{ "sandbox not found", RPC_NOT_FOUND },
		{ "sandbox is not running (status: paused)", RPC_CONFLICT },
	};
	struct bed *b = *state;
	char text[256];
	size_t i;

	for (i = 0; i < COUNT(rows); i++) {
		fake_ws_reset();
		b->ended = b->running = 0;
		run_it(b);
		fake_ws_end(0, &cut);
		fake_loop_advance(b->loop, 1000);
		fake_ws_accept(1);
		snprintf(text, sizeof(text),
		    "{\"type\":\"error\",\"data\":\"%s\"}", rows[i].text);
		fake_ws_tell(1, text);
		expect_end(b, -1, rows[i].kind);
	}
	expect_requests(b, 0);
}

static void
a_pause_outlives_the_stream(void **state)
{
	struct bed *b = *state;

	run_it(b);
	follow_pause(b->follow, true);
	assert_true(fake_ws_is_paused(0));
	fake_ws_end(0, &cut);
	fake_loop_advance(b->loop, 1000);
	assert_true(fake_ws_is_paused(1));
	follow_pause(b->follow, false);
	assert_false(fake_ws_is_paused(1));
}

/* ---- stopping ---- */

static void
before_the_start_was_sent_there_is_nothing_to_end(void **state)
{
	struct bed *b = *state;

	start_it(b);
	stop(b);
	assert_false(fake_ws_is_alive(0));
	fake_ws_reset();
	start_it(b);
	fake_ws_end(0, &unreachable);
	stop(b);
	fake_loop_advance(b->loop, AWAY_MS);
	assert_int_equal(*fake_ws_count(), 1);
	expect_requests(b, 0);
	assert_false(follows_at_work(b->follows));
}

static void
one_that_is_beginning_is_killed_when_it_has(void **state)
{
	struct bed *b = *state;

	start_it(b);
	fake_ws_accept(0);
	follow_pause(b->follow, true);
	stop(b);
	assert_true(fake_ws_is_alive(0));
	assert_false(fake_ws_is_paused(0));
	assert_true(follows_at_work(b->follows));
	expect_requests(b, 0);
	fake_ws_tell(0, "{\"type\":\"stdout\",\"data\":\"x\"}");
	fake_ws_tell(0, STARTED);
	expect_requests(b, 1);
	assert_string_equal(fake_upstream_sent(b->upstream, 0), KILL);
	assert_false(fake_ws_is_alive(0));
	assert_true(follows_at_work(b->follows));
	fake_upstream_answer(b->upstream, 0, 204, "");
	assert_false(follows_at_work(b->follows));
	assert_int_equal(b->running + b->ended, 0);
	assert_int_equal(b->len, 0);
}

static void
one_that_never_began_is_not_waited_for_for_ever(void **state)
{
	struct bed *b = *state;

	start_it(b);
	fake_ws_accept(0);
	stop(b);
	fake_loop_advance(b->loop, 29999);
	assert_true(follows_at_work(b->follows));
	fake_loop_advance(b->loop, 1);
	assert_false(follows_at_work(b->follows));
	fake_ws_reset();
	start_it(b);
	fake_ws_accept(0);
	stop(b);
	fake_ws_end(0, &cut);
	assert_false(follows_at_work(b->follows));
	fake_ws_reset();
	start_it(b);
	fake_ws_accept(0);
	stop(b);
	fake_ws_tell(0, "{\"type\":\"exit\",\"exit_code\":0}");
	assert_false(follows_at_work(b->follows));
	assert_int_equal(b->ended, 0);
}

static void
one_that_runs_is_killed_once(void **state)
{
	struct bed *b = *state;

	run_it(b);
	stop(b);
	assert_false(fake_ws_is_alive(0));
	expect_requests(b, 1);
	assert_string_equal(fake_upstream_sent(b->upstream, 0), KILL);
	fake_upstream_answer(b->upstream, 0, 404,
	    "{\"error\":{\"code\":\"not_found\",\"message\":\"x\"}}");
	fake_loop_advance(b->loop, AWAY_MS);
	expect_requests(b, 1);
	assert_int_equal(b->ended, 0);
}

static void
one_whose_stream_is_away_is_killed_too(void **state)
{
	struct bed *b = *state;

	run_it(b);
	fake_ws_end(0, &cut);
	stop(b);
	expect_requests(b, 1);
	fake_loop_advance(b->loop, AWAY_MS);
	expect_streams(1);
	fake_upstream_lose(b->upstream, 0, HTTP_UNKNOWN, RPC_UNREACHABLE, "x");
	assert_false(follows_at_work(b->follows));
}

static void
it_may_be_stopped_in_each_callback(void **state)
{
	struct bed *b = *state;

	b->stop_at_running = true;
	run_it(b);
	assert_null(b->follow);
	expect_requests(b, 1);
	fake_ws_reset();
	b->stop_at_running = false;
	b->stop_at_output = true;
	b->running = 0;
	run_it(b);
	fake_ws_tell(0, "{\"type\":\"stdout\",\"data\":\"x\"}");
	assert_null(b->follow);
	expect_requests(b, 2);
	assert_int_equal(b->ended, 0);
}

static void
all_are_killed_when_the_daemon_ends(void **state)
{
	struct bed *b = *state;

	run_it(b);
	follows_kill(b->follows);
	expect_requests(b, 1);
	fake_upstream_answer(b->upstream, 0, 204, "");
	fake_ws_tell(0, "{\"type\":\"exit\",\"exit_code\":-1}");
	expect_end(b, -1, RPC_OK);
	expect_requests(b, 1);
	/* Also one that begins behind it. */
	fake_ws_reset();
	b->running = 0;
	start_it(b);
	fake_ws_accept(0);
	assert_true(follows_at_work(b->follows));
	fake_ws_tell(0, STARTED);
	expect_requests(b, 2);
	stop(b);
	expect_requests(b, 2);
}

static void
somebody_elses_process_is_left_alone(void **state)
{
	const struct follow_spec spec = { .capsule = CAPSULE, .process = "42" };
	struct bed *b = *state;
	struct rpc_error why;

	b->follow = follow_start(b->follows, &spec, &ops, b, &why);
	assert_string_equal(fake_ws_path(0), AGAIN);
	fake_ws_accept(0);
	assert_string_equal(fake_ws_sent(0), "");
	fake_ws_tell(0, STARTED);
	assert_int_equal(b->gaps, 0);
	fake_ws_end(0, &cut);
	fake_loop_advance(b->loop, 1000);
	assert_string_equal(fake_ws_path(1), AGAIN);
	stop(b);
	expect_requests(b, 0);
}

static void
what_is_left_at_the_end_is_freed(void **state)
{
	struct bed *b = *state;

	run_it(b);
	stop(b);
	fake_ws_reset();
	start_it(b);
	fake_ws_accept(0);
	stop(b);
	assert_true(fake_upstream_is_pending(b->upstream, 0));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(its_output_and_its_exit_are_told),
		TEST(an_exit_needs_a_code),
		TEST(what_comes_behind_the_end_is_not_told),
		TEST(what_is_no_json_ends_it_and_the_command),
		TEST(a_start_without_a_pid_is_an_unknown_outcome),
		TEST(a_server_that_is_away_is_tried_four_times),
		TEST(what_was_not_sent_is_sent_when_it_is_back),
		TEST(a_refusal_is_the_end),
		TEST(a_credential_is_needed),
		TEST(errors_before_the_start_are_told_as_they_are),
		TEST(a_lost_start_is_an_unknown_outcome_and_not_repeated),
		TEST(a_stream_that_drops_is_picked_up),
		TEST(the_first_time_it_is_picked_up_at_once),
		TEST(it_is_not_picked_up_for_ever),
		TEST(streams_that_end_without_a_word_tell_that_it_is_over),
		TEST(an_error_in_mid_stream_is_the_streams),
		TEST(one_that_ended_meanwhile_has_no_exit_status),
		TEST(a_capsule_that_has_gone_is_said_to_have),
		TEST(a_pause_outlives_the_stream),
		TEST(before_the_start_was_sent_there_is_nothing_to_end),
		TEST(one_that_is_beginning_is_killed_when_it_has),
		TEST(one_that_never_began_is_not_waited_for_for_ever),
		TEST(one_that_runs_is_killed_once),
		TEST(one_whose_stream_is_away_is_killed_too),
		TEST(it_may_be_stopped_in_each_callback),
		TEST(all_are_killed_when_the_daemon_ends),
		TEST(somebody_elses_process_is_left_alone),
		TEST(what_is_left_at_the_end_is_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
