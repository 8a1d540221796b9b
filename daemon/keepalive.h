/*
 * Keeps capsules awake while calls use them: upstream stamps activity when a
 * call begins, not while it runs, so a silent command longer than the
 * inactivity limit would be paused under its caller.
 */
#ifndef DAEMON_KEEPALIVE_H
#define DAEMON_KEEPALIVE_H

#include <stdint.h>

struct capsule;
struct keepalive;
struct loop;
struct upstream;

struct keepalive *keepalive_new(struct loop *l, struct upstream *u);
void keepalive_free(struct keepalive *k);

/* A call begins or ends to use the capsule. Calls may overlap. */
void keepalive_hold(struct keepalive *k, struct capsule *c);
void keepalive_drop(struct capsule *c);

/* Upstream saw activity begin just now: the next ping can wait. */
void keepalive_touch(struct capsule *c);

/*
 * When a capsule that was touched at touched_ms is to be pinged: after a third
 * of its inactivity limit, less up to a tenth of that by `jitter` (0 to
 * 65535), so that many do not fall on one moment. Pure.
 */
uint64_t keepalive_due(uint64_t touched_ms, int64_t timeout_s, unsigned jitter);

/* How many pings were sent, and how many of them failed. */
void keepalive_stats(
    const struct keepalive *k, uint64_t *ret_sent, uint64_t *ret_failed);

#endif
