#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "daemon/events.h"
#include "proto/jx.h"
#include "proto/xalloc.h"
#include "tests/unit/fakes/fake_loop.h"

#include "proto/banned.h"

#define ANN   1000
#define BOB   1001
#define AGAIN 1000 /* far above the time after which it is tried again */

/* Somebody who watches, and what came. */
struct watcher {
	bool busy;       /* says "not now" */
	bool deaf;       /* takes events without telling what was missed */
	int calls;       /* with an event, taken or not */
	int ends;        /* without one: all was seen */
	int count;       /* of those taken */
	uint64_t missed; /* in all */
	int64_t first, last;
	char type[64], capsule[64]; /* of the last one */
	struct subscription *subscription;
};

static struct loop *loop;
static struct events *events;

static int
set_up(void **state)
{
	(void)state;
	loop = loop_new();
	events = events_new(loop);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	events_free(events);
	loop_free(loop);
	return 0;
}

static bool
on_event(void *arg, struct json_object *event, uint64_t *missed)
{
	struct watcher *w = arg;

	if (event == NULL) {
		w->ends++;
		return true;
	}
	w->calls++;
	if (w->busy)
		return false;
	if (!w->deaf) {
		w->missed += *missed;
		*missed = 0;
	}
	assert_int_equal(jx_int(event, "seq", 1, INT64_MAX, &w->last), 0);
	if (w->count++ == 0)
		w->first = w->last;
	snprintf(w->type, sizeof(w->type), "%s", jx_str(event, "type"));
	snprintf(w->capsule, sizeof(w->capsule), "%s",
	    jx_str(event, "capsule") ? jx_str(event, "capsule") : "");
	return true;
}

static void
watch(struct watcher *w, uid_t uid, uint64_t since)
{
	*w = (struct watcher){ 0 };
	w->subscription = events_subscribe(events, uid, since, on_event, w);
	assert_int_equal(w->calls + w->ends, 0);
}

static void
emit(int count, uid_t uid)
{
	while (count-- > 0)
		events_emit(events, "tick", uid, NULL);
}

static void
an_event_has_its_fields_behind_the_common_ones(void **state)
{
	struct json_object *fields = json_object_new_object();
	struct watcher w;

	(void)state;
	assert_int_equal(events_last(events), 0);
	watch(&w, ANN, 0);
	jx_add_str(fields, "capsule", "cl-1");
	events_emit(events, "capsule.live", ANN, fields);
	assert_int_equal(w.calls, 0); /* from the next turn on */
	fake_loop_settle(loop);
	assert_int_equal(w.count, 1);
	assert_int_equal(w.last, 1);
	assert_string_equal(w.type, "capsule.live");
	assert_string_equal(w.capsule, "cl-1");
	assert_int_equal(events_last(events), 1);
}

static void
fields_may_be_text(void **state)
{
	struct watcher w;
	struct buf b;

	(void)state;
	watch(&w, ANN, 0);
	buf_init(&b, 100);
	buf_adds(&b, "{\"capsule\":\"cl-\\\"2\",\"n\":[1]}");
	events_emit_text(events, "call", ANN, &b);
	buf_release(&b);
	fake_loop_settle(loop);
	assert_int_equal(w.count, 1);
	assert_string_equal(w.type, "call");
	assert_string_equal(w.capsule, "cl-\"2");
}

static void
watchers_see_their_own_and_what_is_for_all(void **state)
{
	struct watcher ann, bob;

	(void)state;
	watch(&ann, ANN, 0);
	watch(&bob, BOB, 0);
	emit(3, ANN);
	emit(1, EVENTS_FOR_ALL);
	emit(2, BOB);
	fake_loop_settle(loop);
	assert_int_equal(ann.count, 4);
	assert_int_equal(ann.last, 4);
	assert_int_equal(bob.count, 3);
	assert_int_equal(bob.first, 4);
	assert_int_equal(ann.missed + bob.missed, 0);
}

static void
the_past_comes_first(void **state)
{
	struct watcher all, some, none, other_run;

	(void)state;
	emit(10, ANN);
	watch(&all, ANN, 0);
	watch(&some, ANN, 7);
	watch(&none, ANN, 10);
	watch(&other_run, ANN, 5000);
	fake_loop_settle(loop);
	assert_int_equal(all.count, 10);
	assert_int_equal(all.first, 1);
	assert_int_equal(some.first, 8);
	assert_int_equal(some.count, 3);
	assert_int_equal(none.count, 0);
	assert_int_equal(other_run.count, 10);
	emit(1, ANN);
	fake_loop_settle(loop);
	assert_int_equal(none.first, 11);
	assert_int_equal(other_run.count, 11);
	assert_int_equal(all.missed + other_run.missed, 0);
}

/* Also when the rest is for somebody else. */
static void
a_watcher_learns_that_it_has_seen_all(void **state)
{
	struct watcher w;

	(void)state;
	watch(&w, ANN, 0);
	fake_loop_settle(loop);
	assert_int_equal(w.ends, 1);
	emit(2, ANN);
	emit(1, BOB);
	fake_loop_settle(loop);
	assert_int_equal(w.count, 2);
	assert_int_equal(w.ends, 2);
	emit(1, BOB);
	fake_loop_settle(loop);
	assert_int_equal(w.ends, 3);
}

static void
the_last_1024_are_kept(void **state)
{
	struct watcher w;

	(void)state;
	emit(EVENTS_KEPT, ANN);
	watch(&w, ANN, 0);
	fake_loop_settle(loop);
	assert_int_equal(w.missed, 0);
	assert_int_equal(w.count, EVENTS_KEPT);
	events_unsubscribe(w.subscription);
	emit(5, ANN);
	watch(&w, ANN, 2);
	fake_loop_settle(loop);
	assert_int_equal(w.missed, 3);
	assert_int_equal(w.first, 6);
	assert_int_equal(w.count, EVENTS_KEPT);
}

static void
one_that_is_busy_gets_the_same_event_again(void **state)
{
	struct watcher w;

	(void)state;
	watch(&w, ANN, 0);
	w.busy = true;
	emit(1, BOB);
	emit(2, ANN);
	fake_loop_settle(loop);
	assert_int_equal(w.calls, 1);
	emit(1, ANN); /* no reason to ask again before its time */
	fake_loop_settle(loop);
	assert_int_equal(w.calls, 1);
	fake_loop_advance(loop, AGAIN);
	assert_true(w.calls > 1);
	w.busy = false;
	fake_loop_advance(loop, AGAIN);
	assert_int_equal(w.first, 2);
	assert_int_equal(w.count, 3);
	assert_int_equal(w.missed, 0);
}

static void
one_that_is_busy_for_long_misses_the_oldest(void **state)
{
	struct watcher w;

	(void)state;
	watch(&w, ANN, 0);
	w.busy = true;
	emit(10, ANN);
	fake_loop_settle(loop);
	emit(EVENTS_KEPT, ANN);
	fake_loop_advance(loop, AGAIN);
	emit(7, ANN);
	w.busy = false;
	fake_loop_advance(loop, AGAIN);
	assert_int_equal(w.missed, 17);
	assert_int_equal(w.first, 18);
	assert_int_equal(w.count, EVENTS_KEPT);
}

/* What was missed is told until the watcher says that it knows. */
static void
the_number_missed_waits_to_be_taken(void **state)
{
	struct watcher w;

	(void)state;
	emit(EVENTS_KEPT + 4, ANN);
	watch(&w, ANN, 0);
	w.deaf = true;
	fake_loop_settle(loop);
	assert_int_equal(w.missed, 0);
	w.deaf = false;
	emit(1, ANN);
	fake_loop_settle(loop);
	assert_int_equal(w.missed, 4);
	emit(1, ANN);
	fake_loop_settle(loop);
	assert_int_equal(w.missed, 4);
}

static void
one_that_left_hears_nothing(void **state)
{
	struct watcher gone, stays;

	(void)state;
	watch(&gone, ANN, 0);
	watch(&stays, ANN, 0);
	emit(3, ANN);
	events_unsubscribe(gone.subscription);
	fake_loop_settle(loop);
	assert_int_equal(gone.calls + gone.ends, 0);
	assert_int_equal(stays.count, 3);
	/* Also while it is waited for. */
	watch(&gone, ANN, 0);
	gone.busy = true;
	fake_loop_settle(loop);
	events_unsubscribe(gone.subscription);
	gone.calls = 0;
	fake_loop_advance(loop, AGAIN);
	assert_int_equal(gone.calls, 0);
}

static void
freeing_ends_all_that_watch(void **state)
{
	struct loop *l = loop_new();
	struct events *ev = events_new(l);
	struct watcher w = { 0 };

	(void)state;
	events_emit(ev, "tick", ANN, NULL);
	events_subscribe(ev, ANN, 0, on_event, &w);
	events_subscribe(ev, BOB, 0, on_event, &w);
	events_free(ev);
	events_free(NULL);
	fake_loop_advance(l, AGAIN);
	assert_int_equal(w.calls + w.ends, 0);
	loop_free(l);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_event_has_its_fields_behind_the_common_ones),
		TEST(fields_may_be_text),
		TEST(watchers_see_their_own_and_what_is_for_all),
		TEST(the_past_comes_first),
		TEST(a_watcher_learns_that_it_has_seen_all),
		TEST(the_last_1024_are_kept),
		TEST(one_that_is_busy_gets_the_same_event_again),
		TEST(one_that_is_busy_for_long_misses_the_oldest),
		TEST(the_number_missed_waits_to_be_taken),
		TEST(one_that_left_hears_nothing),
		TEST(freeing_ends_all_that_watch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
