#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "tests/unit/fakes/rig.h"

#include "proto/banned.h"

#define GET          "GET /v1/capsules/" ID_A
#define RESUME       "POST /v1/capsules/" ID_A "/resume {}"
#define SHOW(status) "{\"id\":\"" ID_A "\",\"status\":\"" status "\"}"
#define ASLEEP \
	"{\"error\":{\"code\":\"invalid_state\",\"message\":\"not paused\"}}"

/* What a caller was told. */
struct told {
	int calls;
	bool resumed;
	enum rpc_errno kind;
	char message[LIMIT_ERROR_MESSAGE];
};

static void
tell(void *arg, bool resumed, struct rpc_error *e)
{
	struct told *t = arg;

	t->calls++;
	t->resumed = resumed;
	t->kind = e ? e->kind : RPC_OK;
	snprintf(t->message, sizeof(t->message), "%s", e ? e->message : "");
	if (e != NULL)
		snprintf(e->message, sizeof(e->message), "spoilt");
}

static void
a_running_capsule_needs_nothing(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	wake_start(r->wakes, rig_capsule(r, ID_A), true, tell, &t);
	rig_expect_sent(r, 0, GET);
	fake_upstream_answer(r->upstream, 0, 200, SHOW("running"));
	assert_int_equal(t.calls, 1);
	assert_int_equal(t.kind, RPC_OK);
	assert_false(t.resumed);
	assert_int_equal(*fake_upstream_count(r->upstream), 1);
}

static void
a_sleeping_one_is_resumed_once_for_all(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told a = { 0 }, b = { 0 };

	wake_start(r->wakes, c, true, tell, &a);
	fake_upstream_answer(r->upstream, 0, 200, SHOW("paused"));
	rig_expect_sent(r, 1, RESUME);
	wake_start(r->wakes, c, true, tell, &b);
	rig_expect_sent(r, 1, RESUME);
	fake_upstream_answer(r->upstream, 1, 200, SHOW("running"));
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.calls, 1);
	assert_true(a.resumed && b.resumed);
	assert_null(c->wake);
}

static void
one_that_is_starting_is_waited_for(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	wake_start(r->wakes, rig_capsule(r, ID_A), true, tell, &t);
	fake_upstream_answer(r->upstream, 0, 200, SHOW("paused"));
	fake_upstream_answer(r->upstream, 1, 202, SHOW("starting"));
	assert_int_equal(t.calls, 0);
	fake_loop_settle(r->loop);
	rig_expect_sent(r, 2, GET);
	fake_upstream_answer(r->upstream, 2, 200, SHOW("running"));
	assert_int_equal(t.calls, 1);
	assert_true(t.resumed);
}

static void
one_that_never_runs_is_given_up(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	wake_start(r->wakes, rig_capsule(r, ID_A), true, tell, &t);
	fake_upstream_answer(r->upstream, 0, 200, SHOW("pending"));
	fake_loop_advance(r->loop, 119999);
	assert_int_equal(t.calls, 0);
	fake_loop_advance(r->loop, 1);
	assert_int_equal(t.kind, RPC_TIMEOUT);
}

static void
one_paused_by_hand_stays_paused(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told t = { 0 };

	c->row.paused_by_hand = true;
	wake_start(r->wakes, c, true, tell, &t);
	fake_upstream_answer(r->upstream, 0, 200, SHOW("paused"));
	assert_int_equal(t.kind, RPC_CAPSULE_PAUSED);
	assert_non_null(strstr(t.message, "by hand"));
	assert_non_null(strstr(t.message, "wrennctl resume " ID_A));
	assert_int_equal(*fake_upstream_count(r->upstream), 1);
}

/* One caller that may is enough. */
static void
resuming_must_be_allowed(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told a = { 0 }, b = { 0 };

	wake_start(r->wakes, c, false, tell, &a);
	wake_start(r->wakes, c, false, tell, &b);
	fake_upstream_answer(r->upstream, 0, 200, SHOW("paused"));
	assert_int_equal(a.kind, RPC_CAPSULE_PAUSED);
	assert_string_equal(a.message, b.message);
	assert_non_null(strstr(b.message, "auto_resume is off"));
	wake_start(r->wakes, c, false, tell, &a);
	wake_start(r->wakes, c, true, tell, &b);
	fake_upstream_answer(r->upstream, 1, 200, SHOW("paused"));
	rig_expect_sent(r, 2, RESUME);
	fake_upstream_answer(r->upstream, 2, 200, SHOW("running"));
	assert_int_equal(a.kind, RPC_OK);
	assert_int_equal(b.kind, RPC_OK);
}

/* Somebody else was quicker, or the answer was lost. */
static void
after_a_doubtful_resume_it_is_looked_at_again(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	wake_start(r->wakes, rig_capsule(r, ID_A), true, tell, &t);
	fake_upstream_answer(r->upstream, 0, 200, SHOW("paused"));
	fake_upstream_answer(r->upstream, 1, 409, ASLEEP);
	rig_expect_sent(r, 2, GET);
	fake_upstream_answer(r->upstream, 2, 200, SHOW("paused"));
	rig_expect_sent(r, 3, RESUME);
	fake_upstream_lose(r->upstream, 3, HTTP_UNKNOWN, RPC_TIMEOUT, "slow");
	rig_expect_sent(r, 4, GET);
	fake_upstream_answer(r->upstream, 4, 200, SHOW("running"));
	assert_int_equal(t.kind, RPC_OK);
	assert_int_equal(t.calls, 1);
}

static void
looking_again_has_an_end(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };
	int n = 0;

	wake_start(r->wakes, rig_capsule(r, ID_A), true, tell, &t);
	while (t.calls == 0) {
		assert_true(n < 20);
		fake_upstream_answer(r->upstream, n++, 200, SHOW("paused"));
		if (t.calls == 0)
			fake_upstream_answer(r->upstream, n++, 409, ASLEEP);
	}
	assert_int_equal(n, 7);
	assert_int_equal(t.kind, RPC_CONFLICT);
	assert_non_null(strstr(t.message, "is paused"));
}

static void
other_answers_are_told(void **state)
{
	static const struct {
		int status;
		const char *body;
		enum rpc_errno kind;
	} cases[] = {
		{ 200, SHOW("stopped"), RPC_CONFLICT },
		{ 200, SHOW("error"), RPC_CONFLICT },
		{ 200, "{}", RPC_CONFLICT },
		{ 404, "{}", RPC_NOT_FOUND },
		{ 401, "{}", RPC_UNAUTHORIZED },
		{ 200, "<html>", RPC_BAD_ANSWER },
	};
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told t;
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		t = (struct told){ 0 };
		wake_start(r->wakes, c, true, tell, &t);
		fake_upstream_answer(
		    r->upstream, (int)i, cases[i].status, cases[i].body);
		assert_int_equal(t.calls, 1);
		assert_int_equal(t.kind, cases[i].kind);
	}
}

static void
a_failed_resume_is_told(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	wake_start(r->wakes, rig_capsule(r, ID_A), true, tell, &t);
	fake_upstream_answer(r->upstream, 0, 200, SHOW("paused"));
	fake_upstream_answer(r->upstream, 1, 503,
	    "{\"error\":{\"code\":\"no_hosts_available\",\"message\":\"f\"}}");
	assert_int_equal(t.kind, RPC_HOST_UNAVAILABLE);
	assert_false(t.resumed);
}

/* The resume itself goes on: upstream may have begun it. */
static void
a_caller_that_cancels_is_told_nothing(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told a = { 0 }, b = { 0 };
	struct wake_caller *first;

	first = wake_start(r->wakes, c, true, tell, &a);
	wake_start(r->wakes, c, true, tell, &b);
	wake_cancel(first);
	wake_cancel(NULL);
	fake_upstream_answer(r->upstream, 0, 200, SHOW("paused"));
	fake_upstream_answer(r->upstream, 1, 200, SHOW("running"));
	assert_int_equal(a.calls, 0);
	assert_int_equal(b.calls, 1);
}

/* A caller that starts over in its own callback starts a new look. */
struct again {
	struct rig *rig;
	struct capsule *capsule;
	struct told told;
};

static void
wake_again(void *arg, bool resumed, struct rpc_error *e)
{
	struct again *a = arg;

	(void)resumed;
	assert_null(e);
	wake_start(a->rig->wakes, a->capsule, true, tell, &a->told);
}

static void
callbacks_may_wake_again(void **state)
{
	struct rig *r = *state;
	struct again a = { .rig = r, .capsule = rig_capsule(r, ID_A) };

	wake_start(r->wakes, a.capsule, true, wake_again, &a);
	fake_upstream_answer(r->upstream, 0, 200, SHOW("running"));
	assert_int_equal(a.told.calls, 0);
	rig_expect_sent(r, 1, GET);
	fake_upstream_answer(r->upstream, 1, 200, SHOW("running"));
	assert_int_equal(a.told.calls, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_running_capsule_needs_nothing),
		TEST(a_sleeping_one_is_resumed_once_for_all),
		TEST(one_that_is_starting_is_waited_for),
		TEST(one_that_never_runs_is_given_up),
		TEST(one_paused_by_hand_stays_paused),
		TEST(resuming_must_be_allowed),
		TEST(after_a_doubtful_resume_it_is_looked_at_again),
		TEST(looking_again_has_an_end),
		TEST(other_answers_are_told),
		TEST(a_failed_resume_is_told),
		TEST(a_caller_that_cancels_is_told_nothing),
		TEST(callbacks_may_wake_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
