/*
 * A command in a capsule, followed over WebSockets until it ends. A stream
 * that drops is picked up again; the command is started once. What was
 * written while no stream was open is lost upstream, and told as a gap.
 */
#ifndef DAEMON_FOLLOW_H
#define DAEMON_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/rpc_error.h"

struct follow;
struct follows;
struct loop;
struct upstream;

/* What they work with; all outlive it. */
struct follows *follows_new(struct loop *l, struct upstream *u);
void follows_free(struct follows *fs);

/* Before the daemon ends: kills the commands that follows have started. */
void follows_kill(struct follows *fs);
/* Something is being killed, or will be as soon as it begins. */
bool follows_at_work(const struct follows *fs);

struct follow_ops {
	/* It runs. Again after a stream was picked up: with gap true. */
	void (*running)(void *arg, int64_t pid, bool gap);
	/* UTF-8, of which upstream has damaged what was none. Lent. */
	void (*output)(void *arg, bool is_stderr, const char *text, size_t n);
	/* The stream dropped; it is being picked up. */
	void (*dropped)(void *arg, const char *why);
	/*
	 * The end, once: an exit code (-1: by a signal) with error NULL; or an
	 * error (lent). It is freed by follow_stop().
	 */
	void (*ended)(void *arg, int64_t exit_code, struct rpc_error *error);
};

/* Lent. */
struct follow_spec {
	const char *capsule; /* ID */
	const char *start;   /* the JSON message that starts it; or NULL */
	const char *process; /* then this one is followed: pid or tag */
};

/* Calls nothing before it returns. NULL, with *why filled, on no credential. */
struct follow *follow_start(struct follows *fs, const struct follow_spec *spec,
    const struct follow_ops *ops, void *arg, struct rpc_error *why);

/*
 * Nothing is called any more. A command that was started, and has not told
 * its end, is killed; that is seen to even if it is still about to start.
 */
void follow_stop(struct follow *f);

/* While paused upstream is held back; a little may still come. */
void follow_pause(struct follow *f, bool paused);

#endif
