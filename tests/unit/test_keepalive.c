#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "tests/unit/fakes/rig.h"

#include "proto/banned.h"

#define PING     "POST /v1/capsules/" ID_A "/ping"
#define THIRD    100000 /* ms, of the rig's 300 s */
#define JITTER   10000
#define EARLIEST (THIRD - JITTER)

/* Never before nine tenths of the third, never behind it, for any jitter. */
static void
due_lies_within_its_bounds(void **state)
{
	static const int64_t timeouts[] = { 1, 3, 10, 300, 1323, 31536000 };
	uint64_t due, last, third;
	unsigned jitter;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(timeouts); i++) {
		third = (uint64_t)timeouts[i] * 1000 / 3;
		assert_int_equal(keepalive_due(7, timeouts[i], 0), 7 + third);
		last = UINT64_MAX;
		for (jitter = 0; jitter <= 0xffff; jitter++) {
			due = keepalive_due(7, timeouts[i], jitter);
			assert_true(due <= 7 + third);
			assert_true(due >= 7 + third - third / 10);
			assert_true(due <= last);
			last = due;
		}
	}
	/* Only 16 bits of it count. */
	assert_int_equal(
	    keepalive_due(0, 300, 0xabcd1234), keepalive_due(0, 300, 0x1234));
}

static int
pings(struct rig *r)
{
	return *fake_upstream_count(r->upstream);
}

static void
a_held_capsule_is_pinged_each_third(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	uint64_t sent, failed;

	keepalive_hold(r->keepalive, c);
	fake_loop_advance(r->loop, EARLIEST - 1);
	assert_int_equal(pings(r), 0);
	fake_loop_advance(r->loop, JITTER + 1);
	rig_expect_sent(r, 0, PING);
	fake_upstream_answer(r->upstream, 0, 204, "");
	fake_loop_advance(r->loop, EARLIEST - 1);
	assert_int_equal(pings(r), 1);
	fake_loop_advance(r->loop, JITTER + 1);
	rig_expect_sent(r, 1, PING);
	fake_upstream_answer(r->upstream, 1, 204, "");
	keepalive_stats(r->keepalive, &sent, &failed);
	assert_int_equal(sent, 2);
	assert_int_equal(failed, 0);
	keepalive_drop(c);
	fake_loop_advance(r->loop, 10 * THIRD);
	assert_int_equal(pings(r), 2);
}

static void
activity_puts_the_ping_off(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	int i;

	keepalive_hold(r->keepalive, c);
	for (i = 0; i < 10; i++) {
		fake_loop_advance(r->loop, EARLIEST - 1);
		keepalive_touch(c);
	}
	assert_int_equal(pings(r), 0);
	fake_loop_advance(r->loop, THIRD);
	assert_int_equal(pings(r), 1);
	keepalive_drop(c);
}

static void
several_calls_share_one_ping(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);

	keepalive_hold(r->keepalive, c);
	keepalive_hold(r->keepalive, c);
	keepalive_hold(r->keepalive, c);
	fake_loop_advance(r->loop, THIRD);
	assert_int_equal(pings(r), 1);
	fake_upstream_answer(r->upstream, 0, 204, "");
	keepalive_drop(c);
	keepalive_drop(c);
	fake_loop_advance(r->loop, THIRD);
	assert_int_equal(pings(r), 2);
	fake_upstream_answer(r->upstream, 1, 204, "");
	keepalive_drop(c);
	fake_loop_advance(r->loop, THIRD);
	assert_int_equal(pings(r), 2);
}

static void
a_failed_ping_is_counted_and_tried_again(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	uint64_t sent, failed;

	keepalive_hold(r->keepalive, c);
	fake_loop_advance(r->loop, THIRD);
	fake_upstream_lose(r->upstream, 0, HTTP_UNKNOWN, RPC_TIMEOUT, "slow");
	fake_loop_advance(r->loop, THIRD);
	assert_int_equal(pings(r), 2);
	fake_upstream_answer(r->upstream, 1, 404, "{}");
	keepalive_stats(r->keepalive, &sent, &failed);
	assert_int_equal(sent, 2);
	assert_int_equal(failed, 2);
	fake_loop_advance(r->loop, THIRD);
	assert_int_equal(pings(r), 3);
	keepalive_drop(c);
}

static void
an_answer_behind_the_last_call_arms_nothing(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);

	keepalive_hold(r->keepalive, c);
	fake_loop_advance(r->loop, THIRD);
	keepalive_drop(c);
	fake_upstream_answer(r->upstream, 0, 204, "");
	fake_loop_advance(r->loop, 10 * THIRD);
	assert_int_equal(pings(r), 1);
}

static void
those_that_want_none_get_none(void **state)
{
	struct rig *r = *state;
	struct capsule *a = rig_capsule(r, ID_A), *b = rig_capsule(r, ID_B);

	a->row.keepalive = false;
	b->row.timeout_s = 0; /* is never paused */
	keepalive_hold(r->keepalive, a);
	keepalive_hold(r->keepalive, b);
	fake_loop_advance(r->loop, 10 * THIRD);
	assert_int_equal(pings(r), 0);
	keepalive_drop(a);
	keepalive_drop(b);
}

/* The capsule may be forgotten, and all be stopped, while one is under way. */
static void
a_ping_keeps_its_capsule(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);

	capsule_ref(c);
	keepalive_hold(r->keepalive, c);
	fake_loop_advance(r->loop, THIRD);
	tracker_forget(r->tracker, c);
	keepalive_drop(c);
	capsule_unref(c);
	assert_true(fake_upstream_is_pending(r->upstream, 0));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(due_lies_within_its_bounds),
		TEST(a_held_capsule_is_pinged_each_third),
		TEST(activity_puts_the_ping_off),
		TEST(several_calls_share_one_ping),
		TEST(a_failed_ping_is_counted_and_tried_again),
		TEST(an_answer_behind_the_last_call_arms_nothing),
		TEST(those_that_want_none_get_none),
		TEST(a_ping_keeps_its_capsule),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
