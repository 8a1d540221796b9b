#include "tests/unit/fakes/fake_loop.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "proto/xalloc.h"

#include "proto/banned.h"

#define MAX_IOS    64
#define PATIENCE_S 5
#define WALL_START INT64_C(1700000000000)

struct loop {
	TAILQ_HEAD(, timer) timers;
	TAILQ_HEAD(, io) ios;
	struct later_queue later;
	uint64_t armings; /* so that timers fire in the order they were set */
};

struct timer {
	struct loop *loop;
	loop_fn *fn;
	void *arg;
	bool armed;
	uint64_t due, arming;
	TAILQ_ENTRY(timer) entry;
};

struct io {
	struct loop *loop;
	int fd, wanted;
	io_fn *fn;
	void *arg;
	TAILQ_ENTRY(io) entry;
};

/* Shared by all loops, as the real one is; never 0, which means "never". */
static uint64_t clock_ms = 1000000;

uint64_t
now_ms(void)
{
	return clock_ms;
}

int64_t
wall_ms(void)
{
	return WALL_START + (int64_t)clock_ms;
}

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fake loop: %s\n", what);
	abort();
}

struct loop *
loop_new(void)
{
	struct loop *l = xcalloc(1, sizeof(*l));

	TAILQ_INIT(&l->timers);
	TAILQ_INIT(&l->ios);
	later_queue_init(&l->later);
	return l;
}

void
loop_free(struct loop *l)
{
	must(TAILQ_EMPTY(&l->timers), "a timer was never freed");
	must(TAILQ_EMPTY(&l->ios), "a descriptor is still watched");
	must(later_queue_is_empty(&l->later), "work is still put off");
	free(l);
}

/* ---- timers ---- */

struct timer *
timer_new(struct loop *l, loop_fn *fn, void *arg)
{
	struct timer *t = xcalloc(1, sizeof(*t));

	t->loop = l;
	t->fn = fn;
	t->arg = arg;
	TAILQ_INSERT_TAIL(&l->timers, t, entry);
	return t;
}

void
timer_free(struct timer *t)
{
	if (t == NULL)
		return;
	TAILQ_REMOVE(&t->loop->timers, t, entry);
	free(t);
}

void
timer_set(struct timer *t, int64_t ms)
{
	t->armed = ms >= 0;
	t->due = clock_ms + (uint64_t)ms;
	t->arming = ++t->loop->armings;
}

bool
timer_armed(const struct timer *t)
{
	return t->armed;
}

/* The one that is next, or NULL. */
static struct timer *
next_timer(struct loop *l)
{
	struct timer *t, *next = NULL;

	TAILQ_FOREACH(t, &l->timers, entry)
		if (t->armed &&
		    (next == NULL || t->due < next->due ||
			(t->due == next->due && t->arming < next->arming)))
			next = t;
	return next;
}

/* Fires what is due; what that arms in turn waits for the next turn. */
static bool
run_timers(struct loop *l)
{
	uint64_t last = l->armings;
	struct timer *t;
	bool any = false;

	while ((t = next_timer(l)) != NULL && t->due <= clock_ms &&
	       t->arming <= last) {
		t->armed = false;
		t->fn(t->arg);
		any = true;
	}
	return any;
}

/* ---- descriptors ---- */

struct io *
io_new(struct loop *l, int fd, io_fn *fn, void *arg)
{
	struct io *io = xcalloc(1, sizeof(*io));

	io->loop = l;
	io->fd = fd;
	io->fn = fn;
	io->arg = arg;
	TAILQ_INSERT_TAIL(&l->ios, io, entry);
	return io;
}

void
io_free(struct io *io)
{
	if (io == NULL)
		return;
	TAILQ_REMOVE(&io->loop->ios, io, entry);
	free(io);
}

void
io_want(struct io *io, int events)
{
	io->wanted = events;
}

static bool
is_watched(struct loop *l, const struct io *io)
{
	struct io *other;

	TAILQ_FOREACH(other, &l->ios, entry)
		if (other == io)
			return true;
	return false;
}

static int
events_of(short what)
{
	int events = 0;

	if (what & (POLLIN | POLLHUP | POLLERR))
		events |= IO_READ;
	if (what & (POLLOUT | POLLHUP | POLLERR))
		events |= IO_WRITE;
	return events;
}

/* An io may be freed by the callback of another one. */
static bool
run_ios(struct loop *l, int wait_ms)
{
	struct pollfd fds[MAX_IOS];
	struct io *io, *ios[MAX_IOS];
	int n = 0, i, events;

	TAILQ_FOREACH(io, &l->ios, entry) {
		if (io->wanted == 0)
			continue;
		must(n < MAX_IOS, "too many descriptors");
		fds[n] = (struct pollfd){ .fd = io->fd };
		if (io->wanted & IO_READ)
			fds[n].events |= POLLIN;
		if (io->wanted & IO_WRITE)
			fds[n].events |= POLLOUT;
		ios[n++] = io;
	}
	if (poll(fds, (nfds_t)n, wait_ms) <= 0)
		return false;
	for (i = 0; i < n; i++) {
		must(!(fds[i].revents & POLLNVAL), "a watched one is closed");
		if (fds[i].revents == 0 || !is_watched(l, ios[i]))
			continue;
		events = events_of(fds[i].revents) & ios[i]->wanted;
		if (events != 0)
			ios[i]->fn(ios[i]->arg, events);
	}
	return true;
}

/* ---- the end of the turn ---- */

void
loop_later(struct loop *l, struct later *w)
{
	later_queue_add(&l->later, w, false);
}

void
loop_last(struct loop *l, struct later *w)
{
	later_queue_add(&l->later, w, true);
}

void
later_cancel(struct loop *l, struct later *w)
{
	later_queue_remove(&l->later, w);
}

/* ---- for tests ---- */

static bool
turn(struct loop *l, int wait_ms)
{
	bool any = run_ios(l, wait_ms);

	any |= run_timers(l);
	return later_queue_run(&l->later) || any;
}

void
fake_loop_settle(struct loop *l)
{
	int turns = 0;

	while (turn(l, 0))
		must(++turns < 100000, "it never comes to rest");
}

void
fake_loop_advance(struct loop *l, uint64_t ms)
{
	uint64_t end = clock_ms + ms;
	struct timer *t;

	fake_loop_settle(l);
	while ((t = next_timer(l)) != NULL && t->due <= end) {
		clock_ms = t->due;
		fake_loop_settle(l);
	}
	clock_ms = end;
}

void
fake_loop_jump(struct loop *l, uint64_t ms)
{
	fake_loop_settle(l);
	clock_ms += ms;
}

void
fake_loop_until(struct loop *l, const int *n, int least)
{
	time_t end = time(NULL) + PATIENCE_S;

	while (*n < least) {
		must(time(NULL) <= end, "what was waited for never came");
		turn(l, later_queue_is_empty(&l->later) ? 10 : 0);
	}
}
