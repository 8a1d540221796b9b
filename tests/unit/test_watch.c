#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "proto/jx.h"
#include "tests/unit/fakes/rig.h"

#include "proto/banned.h"

#define GET_A        "GET /v1/capsules/" ID_A
#define GET_B        "GET /v1/capsules/" ID_B
#define SHOW(status) "{\"id\":\"" ID_A "\",\"status\":\"" status "\"}"

/* What a waiter was told. */
struct told {
	int calls;
	enum rpc_errno kind;
	char status[16];
	char message[LIMIT_ERROR_MESSAGE];
};

static void
tell(void *arg, struct json_object *capsule, struct rpc_error *e)
{
	struct told *t = arg;

	t->calls++;
	t->kind = e ? e->kind : RPC_OK;
	assert_int_equal(capsule == NULL, e != NULL);
	snprintf(t->status, sizeof(t->status), "%s",
	    capsule ? jx_str(capsule, "status") : "");
	snprintf(t->message, sizeof(t->message), "%s", e ? e->message : "");
	if (e != NULL)
		snprintf(e->message, sizeof(e->message), "spoilt");
}

static struct waiter *
wait_for(struct rig *r, const char *id, const char *status, uint64_t ms,
    struct told *t)
{
	struct waiter *w = waiter_new(r->watches, id, status, ms, tell, t);

	fake_loop_settle(r->loop);
	return w;
}

static int
sent(struct rig *r)
{
	return *fake_upstream_count(r->upstream);
}

static void
waiters_of_one_capsule_share_a_poll(void **state)
{
	struct rig *r = *state;
	struct told a = { 0 }, b = { 0 }, c = { 0 };

	wait_for(r, ID_A, "running", 60000, &a);
	wait_for(r, ID_A, "running", 60000, &b);
	rig_expect_sent(r, 0, GET_A);
	wait_for(r, ID_B, "running", 60000, &c);
	rig_expect_sent(r, 1, GET_B);
	fake_upstream_answer(r->upstream, 0, 200, SHOW("running"));
	assert_int_equal(a.calls, 1);
	assert_string_equal(a.status, "running");
	assert_string_equal(b.status, "running");
	assert_int_equal(c.calls, 0);
	fake_loop_advance(r->loop, 50000);
	assert_int_equal(sent(r), 2);
}

static void
polls_slow_down(void **state)
{
	static const uint64_t gaps[] = { 100, 150, 225, 337, 505, 757, 1135,
		1702, 2553, 2553 };
	struct rig *r = *state;
	struct told t = { 0 };
	size_t i;

	wait_for(r, ID_A, "running", 3600000, &t);
	for (i = 0; i < COUNT(gaps); i++) {
		fake_upstream_answer(
		    r->upstream, (int)i, 200, SHOW("starting"));
		fake_loop_advance(r->loop, gaps[i] - 1);
		assert_int_equal(sent(r), i + 1);
		fake_loop_advance(r->loop, 1);
		assert_int_equal(sent(r), i + 2);
	}
	assert_int_equal(t.calls, 0);
}

static void
the_deadline_is_kept(void **state)
{
	struct rig *r = *state;
	struct told a = { 0 }, b = { 0 };

	wait_for(r, ID_A, "running", 1000, &a);
	fake_upstream_answer(r->upstream, 0, 200, SHOW("starting"));
	wait_for(r, ID_A, "running", 50, &b);
	fake_loop_advance(r->loop, 49);
	assert_int_equal(b.calls, 0);
	fake_loop_advance(r->loop, 1);
	assert_int_equal(b.calls, 1);
	assert_int_equal(b.kind, RPC_TIMEOUT);
	assert_non_null(strstr(b.message, "did not become running in time; it "
					  "is starting"));
	assert_int_equal(a.calls, 0);
	fake_loop_advance(r->loop, 949);
	assert_int_equal(a.calls, 0);
	fake_loop_advance(r->loop, 1);
	assert_int_equal(a.kind, RPC_TIMEOUT);
}

/* One stuck request holds up nobody's deadline. */
static void
a_poll_without_an_answer_delays_no_deadline(void **state)
{
	struct rig *r = *state;
	struct told a = { 0 }, b = { 0 };

	wait_for(r, ID_A, "running", 5000, &a);
	wait_for(r, ID_A, "running", 60000, &b);
	fake_loop_advance(r->loop, 5000);
	assert_int_equal(a.kind, RPC_TIMEOUT);
	assert_non_null(strstr(a.message, "it is not known"));
	assert_int_equal(b.calls, 0);
	assert_int_equal(sent(r), 1);
	fake_upstream_answer(r->upstream, 0, 200, SHOW("running"));
	assert_string_equal(b.status, "running");
}

static void
a_final_status_settles_all(void **state)
{
	static const char *const shows[] = { SHOW("stopped"), SHOW("error") };
	struct rig *r = *state;
	struct told a, b;
	size_t i;

	for (i = 0; i < COUNT(shows); i++) {
		a = b = (struct told){ 0 };
		wait_for(r, ID_A, "running", 60000, &a);
		wait_for(r, ID_A, "stopped", 60000, &b);
		fake_upstream_answer(r->upstream, (int)i, 200, shows[i]);
		assert_int_equal(a.kind, RPC_CONFLICT);
		assert_non_null(strstr(a.message, "will not become running"));
		assert_int_equal(b.calls, 1);
		assert_int_equal(b.kind, i == 0 ? RPC_OK : RPC_CONFLICT);
	}
}

static void
passing_errors_are_waited_out(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	wait_for(r, ID_A, "running", 60000, &t);
	fake_upstream_answer(r->upstream, 0, 503, "{}");
	fake_loop_advance(r->loop, 100);
	fake_upstream_lose(
	    r->upstream, 1, HTTP_NOT_SENT, RPC_UNREACHABLE, "down");
	fake_loop_advance(r->loop, 150);
	fake_upstream_answer(r->upstream, 2, 200, "<html>");
	fake_loop_advance(r->loop, 225);
	fake_upstream_answer(r->upstream, 3, 200, "{\"status\":7}");
	fake_loop_advance(r->loop, 337);
	assert_int_equal(t.calls, 0);
	fake_upstream_answer(r->upstream, 4, 200, SHOW("running"));
	assert_string_equal(t.status, "running");
}

static void
lasting_errors_end_the_wait_for_all(void **state)
{
	struct rig *r = *state;
	struct told a = { 0 }, b = { 0 };

	wait_for(r, ID_A, "running", 60000, &a);
	wait_for(r, ID_A, "paused", 60000, &b);
	fake_upstream_answer(r->upstream, 0, 404,
	    "{\"error\":{\"code\":\"not_found\",\"message\":\"none\"}}");
	assert_int_equal(a.kind, RPC_NOT_FOUND);
	assert_int_equal(b.kind, RPC_NOT_FOUND);
	assert_string_equal(a.message, "none");
	assert_string_equal(b.message, "none");
}

static void
the_last_who_cancels_ends_the_poll(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };
	struct waiter *a = wait_for(r, ID_A, "running", 60000, &t);
	struct waiter *b = wait_for(r, ID_A, "running", 60000, &t);

	waiter_cancel(a);
	assert_true(fake_upstream_is_pending(r->upstream, 0));
	waiter_cancel(b);
	waiter_cancel(NULL);
	assert_false(fake_upstream_is_pending(r->upstream, 0));
	fake_loop_advance(r->loop, 100000);
	assert_int_equal(t.calls, 0);
	assert_int_equal(sent(r), 1);
}

/* Waiting begins and ends in the callbacks of others. */
struct chain {
	struct rig *rig;
	struct waiter *victim;
	struct told next;
};

static void
cancel_and_wait_again(
    void *arg, struct json_object *capsule, struct rpc_error *e)
{
	struct chain *c = arg;

	assert_non_null(capsule);
	assert_null(e);
	waiter_cancel(c->victim);
	waiter_new(c->rig->watches, ID_A, "paused", 60000, tell, &c->next);
}

static void
callbacks_may_wait_and_cancel(void **state)
{
	struct rig *r = *state;
	struct chain c = { .rig = r };
	struct told victim = { 0 };

	waiter_new(
	    r->watches, ID_A, "running", 60000, cancel_and_wait_again, &c);
	c.victim = wait_for(r, ID_A, "running", 60000, &victim);
	fake_upstream_answer(r->upstream, 0, 200, SHOW("running"));
	assert_int_equal(victim.calls, 0);
	fake_loop_advance(r->loop, 100);
	rig_expect_sent(r, 1, GET_A);
	fake_upstream_answer(r->upstream, 1, 200, SHOW("paused"));
	assert_string_equal(c.next.status, "paused");
}

static void
waiting_ends_in_silence_at_the_stop(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	wait_for(r, ID_A, "running", 60000, &t);
	rig_restart(r);
	assert_int_equal(t.calls, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(waiters_of_one_capsule_share_a_poll),
		TEST(polls_slow_down),
		TEST(the_deadline_is_kept),
		TEST(a_poll_without_an_answer_delays_no_deadline),
		TEST(a_final_status_settles_all),
		TEST(passing_errors_are_waited_out),
		TEST(lasting_errors_end_the_wait_for_all),
		TEST(the_last_who_cancels_ends_the_poll),
		TEST(callbacks_may_wait_and_cancel),
		TEST(waiting_ends_in_silence_at_the_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
