/*
 * The output of a command under way, shown as it comes: two sockets that
 * wrennd writes to, pumped to standard output and standard error.
 */
#ifndef CLIENT_LIVE_H
#define CLIENT_LIVE_H

#include <stdint.h>

struct ctl;
struct json_object;
struct wrenn_error;

/* Lives for the length of one function: live_start(), then live_release(). */
struct live {
	struct ctl *ctl;
	int64_t id;  /* of the call */
	int near[2]; /* of stdout and stderr; -1 once at its end */
	char *chunk;
};

/* Starts exec.stream; params stays the caller's. 0, or -1 with the error. */
int live_start(struct live *l, struct ctl *ctl, struct json_object *params,
    struct wrenn_error *err);
void live_release(struct live *l); /* in any case */

/*
 * Until the ends, which come just before the answer, or an interrupt. -1 with
 * the error when nobody reads standard output any more.
 */
int live_pump(struct live *l, struct wrenn_error *err);

#endif
