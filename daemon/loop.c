#include "daemon/loop.h"

#include <stdlib.h>
#include <time.h>

#include <event2/event.h>

#include "proto/xalloc.h"

#include "proto/banned.h"

#define MAX_SIGNALS 8

struct loop {
	struct event_base *base;
	struct later_queue later;
	bool stopping;
	struct signal_watch {
		struct event *ev;
		loop_fn *fn;
		void *arg;
	} signals[MAX_SIGNALS];
	int signal_count;
};

struct timer {
	struct event *ev;
	loop_fn *fn;
	void *arg;
};

struct io {
	struct loop *loop;
	struct event *ev;
	int fd;
	int wanted;
	io_fn *fn;
	void *arg;
};

static uint64_t
clock_ms(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t
now_ms(void)
{
	return clock_ms(CLOCK_BOOTTIME);
}

int64_t
wall_ms(void)
{
	return (int64_t)clock_ms(CLOCK_REALTIME);
}

struct loop *
loop_new(void)
{
	struct loop *l = xcalloc(1, sizeof(*l));

	later_queue_init(&l->later);
	l->base = event_base_new();
	if (l->base == NULL) {
		free(l);
		return NULL;
	}
	return l;
}

void
loop_free(struct loop *l)
{
	int i;

	if (l == NULL)
		return;
	for (i = 0; i < l->signal_count; i++)
		event_free(l->signals[i].ev);
	event_base_free(l->base);
	free(l);
}

int
loop_run(struct loop *l)
{
	while (!l->stopping) {
		int flags = EVLOOP_ONCE;

		if (!later_queue_is_empty(&l->later))
			flags |= EVLOOP_NONBLOCK;
		if (event_base_loop(l->base, flags) < 0)
			return -1;
		later_queue_run(&l->later);
	}
	l->stopping = false;
	return 0;
}

void
loop_stop(struct loop *l)
{
	l->stopping = true;
}

uint64_t
loop_turns(const struct loop *l)
{
	return l->later.turns;
}

static void
timer_cb(evutil_socket_t fd, short what, void *arg)
{
	struct timer *t = arg;

	(void)fd;
	(void)what;
	t->fn(t->arg);
}

struct timer *
timer_new(struct loop *l, loop_fn *fn, void *arg)
{
	struct timer *t = xmalloc(sizeof(*t));

	*t = (struct timer){ .fn = fn, .arg = arg };
	t->ev = evtimer_new(l->base, timer_cb, t);
	if (t->ev == NULL)
		abort();
	return t;
}

void
timer_free(struct timer *t)
{
	if (t == NULL)
		return;
	event_free(t->ev);
	free(t);
}

void
timer_set(struct timer *t, int64_t ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	if (ms < 0)
		evtimer_del(t->ev);
	else
		evtimer_add(t->ev, &tv);
}

bool
timer_armed(const struct timer *t)
{
	return evtimer_pending(t->ev, NULL);
}

static void
io_cb(evutil_socket_t fd, short what, void *arg)
{
	struct io *io = arg;
	int events = 0;

	(void)fd;
	if (what & EV_READ)
		events |= IO_READ;
	if (what & EV_WRITE)
		events |= IO_WRITE;
	io->fn(io->arg, events);
}

struct io *
io_new(struct loop *l, int fd, io_fn *fn, void *arg)
{
	struct io *io = xmalloc(sizeof(*io));

	*io = (struct io){ .loop = l, .fd = fd, .fn = fn, .arg = arg };
	io->ev = event_new(l->base, fd, EV_PERSIST, io_cb, io);
	if (io->ev == NULL)
		abort();
	return io;
}

void
io_free(struct io *io)
{
	if (io == NULL)
		return;
	event_free(io->ev);
	free(io);
}

void
io_want(struct io *io, int events)
{
	short what = EV_PERSIST;

	if (events == io->wanted)
		return;
	event_del(io->ev);
	io->wanted = events;
	if (events == 0)
		return;
	if (events & IO_READ)
		what |= EV_READ;
	if (events & IO_WRITE)
		what |= EV_WRITE;
	event_assign(io->ev, io->loop->base, io->fd, what, io_cb, io);
	event_add(io->ev, NULL);
}

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

static void
signal_cb(evutil_socket_t signo, short what, void *arg)
{
	struct signal_watch *w = arg;

	(void)signo;
	(void)what;
	w->fn(w->arg);
}

void
loop_on_signal(struct loop *l, int signo, loop_fn *fn, void *arg)
{
	struct signal_watch *w = &l->signals[l->signal_count];

	if (l->signal_count == MAX_SIGNALS)
		abort();
	l->signal_count++;
	w->fn = fn;
	w->arg = arg;
	w->ev = evsignal_new(l->base, signo, signal_cb, w);
	if (w->ev == NULL || evsignal_add(w->ev, NULL) < 0)
		abort();
}
