/*
 * daemon/loop.h with a clock that only the test moves. Linked in place of
 * daemon/loop.c: list its object before libdaemon.a. Descriptors are real;
 * timers fire when fake_loop_advance() has brought the clock there. A loop
 * that is freed while timers or descriptors are left ends the program, since
 * somebody forgot them.
 */
#ifndef TESTS_UNIT_FAKES_FAKE_LOOP_H
#define TESTS_UNIT_FAKES_FAKE_LOOP_H

#include <stdint.h>

#include "daemon/loop.h"

/* Turns until nothing is ready, due or put off. */
void fake_loop_settle(struct loop *l);

/* Moves the clock; each timer fires at its own time, in order. */
void fake_loop_advance(struct loop *l, uint64_t ms);

/*
 * Moves the clock alone, as when the process was stopped: what is due by then
 * fires with the next turn, beside what has come meanwhile.
 */
void fake_loop_jump(struct loop *l, uint64_t ms);

/*
 * Turns until *n has reached `least`, waiting for descriptors that another
 * thread or process serves. The clock stands still. The program ends when
 * that takes longer than five real seconds.
 */
void fake_loop_until(struct loop *l, const int *n, int least);

#endif
