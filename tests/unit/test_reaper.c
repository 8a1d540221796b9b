#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "tests/unit/fakes/rig.h"

#include "proto/banned.h"

#define DELETE "DELETE /v1/capsules/" ID_A
#define LIST   "GET /v1/capsules"
#define NOT_FOUND \
	"{\"error\":{\"code\":\"not_found\",\"message\":\"no such capsule\"}}"
#define INTERNAL \
	"{\"error\":{\"code\":\"internal_error\",\"message\":\"oops\"}}"

/* What a caller was told. */
struct told {
	int calls;
	enum rpc_errno kind;
	char message[LIMIT_ERROR_MESSAGE];
};

static void
tell(void *arg, struct rpc_error *e)
{
	struct told *t = arg;

	t->calls++;
	t->kind = e ? e->kind : RPC_OK;
	snprintf(t->message, sizeof(t->message), "%s", e ? e->message : "");
	/* Another caller must not see what this one adds. */
	if (e != NULL)
		snprintf(e->message, sizeof(e->message), "spoilt");
}

/* A capsule whose end was asked for, with its DELETE sent as request 0. */
static struct capsule *
begin(struct rig *r, struct told *t)
{
	struct capsule *c = rig_capsule(r, ID_A);

	*t = (struct told){ 0 };
	reaper_end(r->reaper, c, tell, t);
	assert_int_equal(*fake_upstream_count(r->upstream), 0);
	assert_int_equal(c->row.state, CAPSULE_ENDING);
	rig_sync(r);
	rig_expect_sent(r, 0, DELETE);
	return c;
}

static void
expect_gone(struct rig *r)
{
	rig_sync(r);
	assert_null(tracker_by_id(r->tracker, ID_A));
	rig_restart(r);
	assert_null(tracker_first(r->tracker));
}

static void
backoff_doubles_up_to_a_minute(void **state)
{
	static const uint64_t ms[] = { 1000, 2000, 4000, 8000, 16000, 32000,
		60000, 60000 };
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(ms); i++)
		assert_int_equal(reaper_backoff_ms((int)i + 1), ms[i]);
	assert_int_equal(reaper_backoff_ms(1000000), 60000);
	assert_int_equal(reaper_backoff_ms(0), 1000);
}

static void
a_deleted_capsule_is_gone(void **state)
{
	struct rig *r = *state;
	struct told t;

	begin(r, &t);
	assert_int_equal(t.calls, 0);
	fake_upstream_answer(r->upstream, 0, 204, "");
	rig_sync(r);
	assert_int_equal(t.calls, 1);
	assert_int_equal(t.kind, RPC_OK);
	expect_gone(r);
}

static void
one_with_a_key_is_remembered(void **state)
{
	struct rig *r = *state;
	struct told t;
	struct capsule *c = begin(r, &t);

	snprintf(c->row.key, sizeof(c->row.key), "job");
	fake_upstream_answer(r->upstream, 0, 204, "");
	rig_sync(r);
	assert_int_equal(t.calls, 1);
	assert_int_equal(c->row.state, CAPSULE_GONE);
	assert_ptr_equal(tracker_by_key(r->tracker, RIG_UID, "job"), c);
}

/* The first failure is told; the reaper goes on until it is done. */
static void
failures_are_retried_with_backoff(void **state)
{
	struct rig *r = *state;
	struct told t;
	int i;

	begin(r, &t);
	fake_upstream_answer(r->upstream, 0, 500, INTERNAL);
	assert_int_equal(t.calls, 1);
	assert_int_equal(t.kind, RPC_UPSTREAM_INTERNAL);
	for (i = 1; i < 9; i++) {
		fake_loop_advance(r->loop, reaper_backoff_ms(i) - 1);
		assert_int_equal(*fake_upstream_count(r->upstream), i);
		fake_loop_advance(r->loop, 1);
		rig_expect_sent(r, i, DELETE);
		if (i % 2)
			fake_upstream_lose(
			    r->upstream, i, HTTP_UNKNOWN, RPC_TIMEOUT, "slow");
		else
			fake_upstream_answer(r->upstream, i, 401, "{}");
	}
	fake_loop_advance(r->loop, 60000);
	fake_upstream_answer(r->upstream, 9, 204, "");
	assert_int_equal(t.calls, 1);
	expect_gone(r);
}

static void
one_404_is_no_proof(void **state)
{
	struct rig *r = *state;
	struct told t;
	struct capsule *c = begin(r, &t);

	fake_upstream_answer(r->upstream, 0, 404, NOT_FOUND);
	assert_int_equal(t.kind, RPC_NOT_FOUND);
	assert_int_equal(c->row.state, CAPSULE_ENDING);
	fake_loop_advance(r->loop, 59999);
	assert_int_equal(*fake_upstream_count(r->upstream), 1);
	fake_loop_advance(r->loop, 1);
	rig_expect_sent(r, 1, DELETE);
	fake_upstream_answer(r->upstream, 1, 404, NOT_FOUND);
	rig_expect_sent(r, 2, LIST);
	fake_upstream_answer(r->upstream, 2, 200, "[{\"id\":\"" ID_B "\"}]");
	expect_gone(r);
}

/* Back to the first 404 when the list shows it after all. */
static void
a_list_that_shows_it_begins_anew(void **state)
{
	struct rig *r = *state;
	struct told t;

	begin(r, &t);
	fake_upstream_answer(r->upstream, 0, 404, NOT_FOUND);
	fake_loop_advance(r->loop, 60000);
	fake_upstream_answer(r->upstream, 1, 404, NOT_FOUND);
	fake_upstream_answer(r->upstream, 2, 200,
	    "[{\"id\":\"" ID_B "\"},{\"id\":\"" ID_A "\"}]");
	fake_loop_advance(r->loop, 60000);
	rig_expect_sent(r, 3, DELETE);
	fake_upstream_answer(r->upstream, 3, 404, NOT_FOUND);
	fake_loop_advance(r->loop, 59999);
	assert_int_equal(*fake_upstream_count(r->upstream), 4);
	fake_loop_advance(r->loop, 1);
	rig_expect_sent(r, 4, DELETE);
}

static void
a_bad_list_proves_nothing(void **state)
{
	static const char *const lists[] = { "{}", "null", "<html>", "\"\"" };
	struct rig *r = *state;
	struct told t;
	struct capsule *c = begin(r, &t);
	int n = 0;
	size_t i;

	fake_upstream_answer(r->upstream, n++, 404, NOT_FOUND);
	fake_loop_advance(r->loop, 60000);
	for (i = 0; i < COUNT(lists); i++) {
		rig_expect_sent(r, n, DELETE);
		fake_upstream_answer(r->upstream, n++, 404, NOT_FOUND);
		rig_expect_sent(r, n, LIST);
		fake_upstream_answer(r->upstream, n++, 200, lists[i]);
		assert_int_equal(c->row.state, CAPSULE_ENDING);
		fake_loop_advance(r->loop, reaper_backoff_ms((int)(2 * i) + 3));
	}
	rig_expect_sent(r, n, DELETE);
}

/* Another team finds nothing, for as long as it asks. */
static void
another_credential_proves_nothing(void **state)
{
	struct rig *r = *state;
	struct rpc_error e;
	struct told t;
	struct capsule *c = begin(r, &t);
	int i;

	cred_set(r->cred, CRED_API_KEY, "wrn_of_another_team", false, &e);
	for (i = 0; i < 5; i++) {
		rig_expect_sent(r, i, DELETE);
		fake_upstream_answer(r->upstream, i, 404, NOT_FOUND);
		assert_int_equal(c->row.state, CAPSULE_ENDING);
		fake_loop_advance(r->loop, 60000);
	}
	/* Its own again: now two of them and a list count. */
	cred_set(r->cred, CRED_API_KEY, RIG_KEY, false, &e);
	fake_upstream_answer(r->upstream, 5, 404, NOT_FOUND);
	reaper_kick(r->reaper);
	fake_loop_settle(r->loop);
	fake_upstream_answer(r->upstream, 6, 404, NOT_FOUND);
	fake_loop_advance(r->loop, 60000);
	fake_upstream_answer(r->upstream, 7, 404, NOT_FOUND);
	rig_expect_sent(r, 8, LIST);
	fake_upstream_answer(r->upstream, 8, 200, "[]");
	expect_gone(r);
}

static void
several_callers_share_one_ending(void **state)
{
	struct rig *r = *state;
	struct told a, b = { 0 }, d = { 0 };
	struct capsule *c = rig_capsule(r, ID_A);

	a = (struct told){ 0 };
	reaper_end(r->reaper, c, tell, &a);
	reaper_end(r->reaper, c, tell, &b);
	rig_sync(r);
	rig_expect_sent(r, 0, DELETE);
	fake_upstream_answer(r->upstream, 0, 500, INTERNAL);
	assert_string_equal(a.message, "oops");
	assert_string_equal(b.message, "oops");
	/* One more asks at once instead of waiting for the next try. */
	reaper_end(r->reaper, c, tell, &d);
	rig_expect_sent(r, 1, DELETE);
	fake_upstream_answer(r->upstream, 1, 204, "");
	reaper_end(r->reaper, c, tell, &b);
	fake_loop_advance(r->loop, 10000);
	rig_sync(r);
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.calls, 2);
	assert_int_equal(d.calls, 1);
	assert_int_equal(d.kind, RPC_OK);
	assert_int_equal(*fake_upstream_count(r->upstream), 2);
	expect_gone(r);
}

static void
note(void *arg, int error)
{
	assert_int_equal(error, 0);
	(*(int *)arg)++;
}

/*
 * Nothing is sent before `ending` is on disk, whatever comes in between. The
 * store is kept busy, and what was asked of it before is answered before.
 */
static void
the_record_comes_before_the_request(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };
	struct capsule *c = rig_capsule(r, ID_A);
	int i, probed = 0;

	for (i = 0; i < 1000; i++)
		tracker_save(r->tracker, c, NULL, NULL);
	store_probe(r->store, note, &probed);
	reaper_end(r->reaper, c, tell, &t);
	reaper_kick(r->reaper);
	reaper_end(r->reaper, c, tell, &t);
	fake_loop_settle(r->loop);
	assert_true(probed == 1 || *fake_upstream_count(r->upstream) == 0);
	rig_sync(r);
	rig_expect_sent(r, 0, DELETE);
	fake_upstream_answer(r->upstream, 0, 204, "");
	expect_gone(r);
}

static void
an_interrupted_ending_goes_on_after_a_restart(void **state)
{
	struct rig *r = *state;
	struct told t;

	begin(r, &t);
	rig_restart(r);
	assert_int_equal(t.calls, 1);
	assert_int_equal(t.kind, RPC_SHUTTING_DOWN);
	assert_int_equal(tracker_first(r->tracker)->row.state, CAPSULE_ENDING);
	reaper_start(r->reaper);
	reaper_start(r->reaper);
	fake_loop_settle(r->loop);
	rig_expect_sent(r, 0, DELETE);
	fake_upstream_answer(r->upstream, 0, 204, "");
	expect_gone(r);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(backoff_doubles_up_to_a_minute),
		TEST(a_deleted_capsule_is_gone),
		TEST(one_with_a_key_is_remembered),
		TEST(failures_are_retried_with_backoff),
		TEST(one_404_is_no_proof),
		TEST(a_list_that_shows_it_begins_anew),
		TEST(a_bad_list_proves_nothing),
		TEST(another_credential_proves_nothing),
		TEST(several_callers_share_one_ending),
		TEST(the_record_comes_before_the_request),
		TEST(an_interrupted_ending_goes_on_after_a_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
