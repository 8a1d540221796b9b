/*
 * The one event loop: descriptors, timers, signals, and work put off to the
 * end of the turn. Sole owner of libevent beside the modules that own
 * descriptors. Callbacks run one at a time and must not block.
 *
 * Whatever is freed here may be freed from inside its own callback.
 */
#ifndef DAEMON_LOOP_H
#define DAEMON_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/later.h"

struct loop;
struct timer;
struct io;

#define IO_READ  1
#define IO_WRITE 2

typedef void loop_fn(void *arg);
typedef void io_fn(void *arg, int events);

struct loop *loop_new(void);
void loop_free(struct loop *l);
int loop_run(struct loop *l);   /* until loop_stop; 0, or -1 */
void loop_stop(struct loop *l); /* after this turn */
uint64_t loop_turns(const struct loop *l);

/*
 * Milliseconds that also count while the machine sleeps (CLOCK_BOOTTIME):
 * for deadlines. Wall-clock milliseconds since 1970: for people.
 */
uint64_t now_ms(void);
int64_t wall_ms(void);

struct timer *timer_new(struct loop *l, loop_fn *fn, void *arg);
void timer_free(struct timer *t);            /* NULL is fine */
void timer_set(struct timer *t, int64_t ms); /* once; -1 disarms */
bool timer_armed(const struct timer *t);

/* Watches fd, which stays the caller's, for what io_want() names. */
struct io *io_new(struct loop *l, int fd, io_fn *fn, void *arg);
void io_free(struct io *io); /* NULL is fine; before close(fd) */
void io_want(struct io *io, int events);

void loop_later(struct loop *l, struct later *w); /* once per turn */
/*
 * In this turn still, behind all that loop_later() put off: sends what the
 * whole turn has produced. Not queued again by itself.
 */
void loop_last(struct loop *l, struct later *w);
void later_cancel(struct loop *l, struct later *w);

/* fn runs on the loop each time the signal comes. At most 8. */
void loop_on_signal(struct loop *l, int signo, loop_fn *fn, void *arg);

#endif
