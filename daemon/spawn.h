/*
 * The only fork: one shell command whose standard output is wanted.
 */
#ifndef DAEMON_SPAWN_H
#define DAEMON_SPAWN_H

#include <stddef.h>

struct loop;
struct spawn;

/*
 * Runs `/bin/sh -c command` with stdin closed and stderr kept. `done` is
 * called once on the loop: with the output (borrowed, wiped afterwards) and
 * its length when the command exited with 0, else with output NULL and what
 * went wrong. At most `max` bytes and `timeout_ms`.
 */
typedef void spawn_fn(
    void *arg, const char *output, size_t len, const char *why);
struct spawn *spawn_start(struct loop *l, const char *command, size_t max,
    int timeout_ms, spawn_fn *done, void *arg);

/* Kills it; done is not called any more. NULL is fine. */
void spawn_cancel(struct spawn *s);

#endif
