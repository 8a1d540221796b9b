#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#include "daemon/loop.h"

#include "proto/banned.h"

/* What happened, in order, as letters. */
static char trace[64];

static void
note(char letter)
{
	size_t n = strlen(trace);

	assert_true(n < sizeof(trace) - 1);
	trace[n] = letter;
	trace[n + 1] = '\0';
}

static int
clear_trace(void **state)
{
	(void)state;
	trace[0] = '\0';
	return 0;
}

/* One piece of work that writes its letter, and may queue another. */
struct work {
	struct loop *loop;
	char letter;
	struct later later;
	struct work *next, *last, *cancels;
};

static void
do_work(void *arg)
{
	struct work *w = arg;

	note(w->letter);
	if (w->next != NULL)
		loop_later(w->loop, &w->next->later);
	if (w->last != NULL)
		loop_last(w->loop, &w->last->later);
	if (w->cancels != NULL)
		later_cancel(w->loop, &w->cancels->later);
}

static void
work_init(struct work *w, struct loop *l, char letter)
{
	*w = (struct work){ .loop = l, .letter = letter };
	later_init(&w->later, do_work, w);
}

static void
stop(void *arg)
{
	loop_stop(arg);
}

/* Runs for that many milliseconds. */
static void
run_ms(struct loop *l, int ms)
{
	struct timer *t = timer_new(l, stop, l);

	timer_set(t, ms);
	assert_int_equal(loop_run(l), 0);
	timer_free(t);
}

static void
later_runs_in_the_order_queued_and_once(void **state)
{
	struct loop *l = loop_new();
	struct work a, b, c;

	(void)state;
	work_init(&a, l, 'a');
	work_init(&b, l, 'b');
	work_init(&c, l, 'c');
	loop_later(l, &b.later);
	loop_later(l, &a.later);
	loop_later(l, &b.later);
	loop_later(l, &c.later);
	run_ms(l, 1);
	assert_string_equal(trace, "bac");
	loop_free(l);
}

static void
cancelled_work_never_runs_and_can_be_queued_again(void **state)
{
	struct loop *l = loop_new();
	struct work a, b, c;

	(void)state;
	work_init(&a, l, 'a');
	work_init(&b, l, 'b');
	work_init(&c, l, 'c');
	a.cancels = &b;
	loop_later(l, &a.later);
	loop_later(l, &b.later);
	loop_later(l, &c.later);
	later_cancel(l, &c.later);
	later_cancel(l, &c.later);
	run_ms(l, 1);
	assert_string_equal(trace, "a");
	loop_later(l, &c.later);
	run_ms(l, 1);
	assert_string_equal(trace, "ac");
	loop_free(l);
}

/* What later work queues waits for the next turn: nobody is starved. */
static void
work_queued_by_work_waits_for_the_next_turn(void **state)
{
	struct loop *l = loop_new();
	struct work a, b;
	uint64_t turn;

	(void)state;
	work_init(&a, l, 'a');
	work_init(&b, l, 'b');
	a.next = &a;
	loop_later(l, &a.later);
	loop_later(l, &b.later);
	turn = loop_turns(l);
	run_ms(l, 0);
	assert_int_equal(strncmp(trace, "ab", 2), 0);
	assert_true(strlen(trace) <= loop_turns(l) - turn + 1);
	later_cancel(l, &a.later);
	loop_free(l);
}

/* Behind all of the turn, also what that queues itself, and then no more. */
static void
the_last_work_comes_last_in_its_turn(void **state)
{
	struct loop *l = loop_new();
	struct work a, n, y, z;
	int i;

	(void)state;
	work_init(&a, l, 'a');
	work_init(&n, l, 'n');
	work_init(&y, l, 'y');
	work_init(&z, l, 'z');
	a.next = &n;
	a.last = &y;
	y.last = &z;
	for (i = 0; i < 2; i++) {
		loop_last(l, &z.later);
		loop_later(l, &a.later);
		loop_last(l, &z.later);
		run_ms(l, 1);
	}
	assert_string_equal(trace, "azyznazyzn");
	loop_last(l, &z.later);
	later_cancel(l, &z.later);
	run_ms(l, 1);
	assert_string_equal(trace, "azyznazyzn");
	loop_free(l);
}

/* A timer that writes its letter. */
struct alarm {
	char letter;
	struct timer *timer;
	bool frees_itself;
};

static void
ring(void *arg)
{
	struct alarm *a = arg;

	note(a->letter);
	if (a->frees_itself) {
		timer_free(a->timer);
		a->timer = NULL;
	}
}

static void
timers_fire_once_and_in_order(void **state)
{
	struct loop *l = loop_new();
	struct alarm a = { .letter = 'a' }, b = { .letter = 'b' };

	(void)state;
	a.timer = timer_new(l, ring, &a);
	b.timer = timer_new(l, ring, &b);
	assert_false(timer_armed(a.timer));
	timer_set(a.timer, 8);
	timer_set(b.timer, 1);
	assert_true(timer_armed(a.timer));
	run_ms(l, 20);
	assert_string_equal(trace, "ba");
	assert_false(timer_armed(a.timer));
	timer_free(a.timer);
	timer_free(b.timer);
	loop_free(l);
}

static void
timers_can_be_put_off_and_disarmed(void **state)
{
	struct loop *l = loop_new();
	struct alarm a = { .letter = 'a' }, b = { .letter = 'b' };

	(void)state;
	a.timer = timer_new(l, ring, &a);
	b.timer = timer_new(l, ring, &b);
	timer_set(a.timer, 1);
	timer_set(a.timer, 60000);
	timer_set(b.timer, 1);
	timer_set(b.timer, -1);
	assert_false(timer_armed(b.timer));
	run_ms(l, 10);
	assert_string_equal(trace, "");
	assert_true(timer_armed(a.timer));
	timer_free(a.timer);
	timer_free(b.timer);
	timer_free(NULL);
	loop_free(l);
}

/* A pipe or socket that is watched. */
struct watch {
	struct io *io;
	int fd, events, calls;
	bool frees_itself, drains;
};

static void
ready(void *arg, int events)
{
	struct watch *w = arg;
	char c;

	w->events = events;
	w->calls++;
	if (w->drains && (events & IO_READ))
		assert_int_equal(read(w->fd, &c, 1), 1);
	if (w->frees_itself) {
		io_free(w->io);
		w->io = NULL;
	}
}

/* Level-triggered while wanted, silent as soon as it is not. */
static void
descriptors_are_told_of_as_often_as_wanted(void **state)
{
	struct loop *l = loop_new();
	struct watch w = { 0 };
	int fds[2], calls;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	w.fd = fds[0];
	w.io = io_new(l, w.fd, ready, &w);
	assert_int_equal(write(fds[1], "xyz", 3), 3);
	run_ms(l, 2);
	assert_int_equal(w.calls, 0);
	io_want(w.io, IO_READ);
	run_ms(l, 2);
	assert_true(w.calls > 1);
	assert_int_equal(w.events, IO_READ);
	io_want(w.io, 0);
	calls = w.calls;
	run_ms(l, 2);
	assert_int_equal(w.calls, calls);
	w.drains = true;
	io_want(w.io, IO_READ);
	run_ms(l, 5);
	assert_int_equal(w.calls, calls + 3);
	io_free(w.io);
	close(fds[0]);
	close(fds[1]);
	loop_free(l);
}

static void
reading_and_writing_are_wanted_apart(void **state)
{
	struct loop *l = loop_new();
	struct watch w = { 0 };
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	w.fd = fds[1];
	w.io = io_new(l, w.fd, ready, &w);
	io_want(w.io, IO_READ);
	run_ms(l, 2);
	assert_int_equal(w.calls, 0);
	io_want(w.io, IO_READ | IO_WRITE);
	run_ms(l, 2);
	assert_true(w.calls > 0);
	assert_int_equal(w.events, IO_WRITE);
	io_free(w.io);
	close(fds[0]);
	close(fds[1]);
	loop_free(l);
}

static void
all_may_be_freed_in_their_own_callbacks(void **state)
{
	struct loop *l = loop_new();
	struct alarm a = { .letter = 'a', .frees_itself = true };
	struct watch w = { .frees_itself = true };
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	w.io = io_new(l, fds[1], ready, &w);
	io_want(w.io, IO_WRITE);
	a.timer = timer_new(l, ring, &a);
	timer_set(a.timer, 0);
	run_ms(l, 5);
	assert_string_equal(trace, "a");
	assert_null(a.timer);
	assert_int_equal(w.calls, 1);
	assert_null(w.io);
	io_free(NULL);
	close(fds[0]);
	close(fds[1]);
	loop_free(l);
}

/* Both ends of a pair are ready; whoever is called first frees the other. */
static void
free_other(void *arg, int events)
{
	struct watch *pair = arg;

	(void)events;
	note('x');
	io_free(pair[0].io);
	io_free(pair[1].io);
	pair[0].io = pair[1].io = NULL;
}

static void
one_may_be_freed_by_another_that_is_ready_too(void **state)
{
	struct loop *l = loop_new();
	struct watch pair[2];
	int fds[2], more[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(pipe2(more, O_CLOEXEC), 0);
	pair[0].io = io_new(l, fds[1], free_other, pair);
	pair[1].io = io_new(l, more[1], free_other, pair);
	io_want(pair[0].io, IO_WRITE);
	io_want(pair[1].io, IO_WRITE);
	run_ms(l, 2);
	assert_string_equal(trace, "x");
	close(fds[0]);
	close(fds[1]);
	close(more[0]);
	close(more[1]);
	loop_free(l);
}

static void
on_signal(void *arg)
{
	note('s');
	loop_stop(arg);
}

static void
signals_arrive_on_the_loop(void **state)
{
	struct loop *l = loop_new();

	(void)state;
	loop_on_signal(l, SIGUSR1, on_signal, l);
	assert_int_equal(raise(SIGUSR1), 0);
	assert_string_equal(trace, "");
	assert_int_equal(loop_run(l), 0);
	assert_string_equal(trace, "s");
	loop_free(l);
}

/* A stop before the run counts, and each run ends with one. */
static void
a_stopped_loop_can_run_again(void **state)
{
	struct loop *l = loop_new();
	struct work a;

	(void)state;
	work_init(&a, l, 'a');
	loop_later(l, &a.later);
	loop_stop(l);
	assert_int_equal(loop_run(l), 0);
	assert_string_equal(trace, "");
	run_ms(l, 1);
	assert_string_equal(trace, "a");
	loop_free(l);
}

static void
clocks_go_forward(void **state)
{
	uint64_t before = now_ms();
	struct loop *l = loop_new();

	(void)state;
	assert_true(wall_ms() > INT64_C(1600000000000));
	run_ms(l, 20);
	assert_true(now_ms() - before >= 19);
	loop_free(l);
	loop_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(
		    later_runs_in_the_order_queued_and_once, clear_trace),
		cmocka_unit_test_setup(
		    cancelled_work_never_runs_and_can_be_queued_again,
		    clear_trace),
		cmocka_unit_test_setup(
		    work_queued_by_work_waits_for_the_next_turn, clear_trace),
		cmocka_unit_test_setup(
		    the_last_work_comes_last_in_its_turn, clear_trace),
		cmocka_unit_test_setup(
		    timers_fire_once_and_in_order, clear_trace),
		cmocka_unit_test_setup(
		    timers_can_be_put_off_and_disarmed, clear_trace),
		cmocka_unit_test(descriptors_are_told_of_as_often_as_wanted),
		cmocka_unit_test(reading_and_writing_are_wanted_apart),
		cmocka_unit_test_setup(
		    all_may_be_freed_in_their_own_callbacks, clear_trace),
		cmocka_unit_test_setup(
		    one_may_be_freed_by_another_that_is_ready_too, clear_trace),
		cmocka_unit_test_setup(signals_arrive_on_the_loop, clear_trace),
		cmocka_unit_test_setup(
		    a_stopped_loop_can_run_again, clear_trace),
		cmocka_unit_test(clocks_go_forward),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
