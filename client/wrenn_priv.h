/*
 * What the files of libwrenn share.
 */
#ifndef CLIENT_WRENN_PRIV_H
#define CLIENT_WRENN_PRIV_H

#include <time.h>

#include "client/wrenn.h"
#include "proto/buf.h"
#include "proto/queue.h"
#include "proto/rpc_error.h"
#include "proto/rpc_frame.h"

/* How long poll() sleeps at most while an interrupt flag is watched. */
#define INTERRUPT_POLL_MS 250

/* A call without an answer yet, or with one that nobody asked for yet. */
struct wrenn_pending {
	TAILQ_ENTRY(wrenn_pending) link;
	int64_t id;
	bool done;
	struct json_object *result;
	struct wrenn_error error; /* code 0 when it is a result */
};

/*
 * One connection. It lives from wrenn_open to wrenn_close; once `lost` has a
 * code, nothing is sent or read any more and every call fails with it.
 */
struct wrenn {
	int fd;
	char *path;
	int64_t last_id;
	const volatile sig_atomic_t *interrupt;
	wrenn_event_fn *event; /* NULL: events are dropped */
	void *event_arg;
	struct rpc_frame in;
	struct buf out; /* lines that the socket did not take yet */
	TAILQ_HEAD(, wrenn_pending) calls;
	struct wrenn_error lost;
};

/* Monotonic milliseconds. */
static inline int64_t
wrenn_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* A deadline from a timeout, and what is left of it for poll(). */
int64_t wrenn_deadline(int64_t timeout_ms);
int wrenn_poll_ms(const struct wrenn *w, int64_t deadline);

/* -1 with "cancelled" or "timeout" once the caller must not wait longer. */
int wrenn_check_waiting(
    const struct wrenn *w, int64_t deadline, struct wrenn_error *err);

/* wrenn_error.c: errors begin and are copied here. All return -1. */
int wrenn_error_set(struct wrenn_error *err, enum rpc_errno kind,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int wrenn_error_errno(struct wrenn_error *err, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int wrenn_error_copy(struct wrenn_error *to, const struct wrenn_error *from);
void wrenn_error_from_json(struct wrenn_error *err, struct json_object *o);

/* wrenn_path.c: where things are; the strings are the caller's. */
char *wrenn_path_socket(bool system_wide, struct wrenn_error *err);
char *wrenn_path_state_dir(struct wrenn_error *err);
char *wrenn_path_dir_of(const char *path);
int wrenn_path_make_dir(const char *dir, struct wrenn_error *err);

/* wrenn_open.c: 0 and a connected socket, or a negative errno. */
int wrenn_connect(const char *path, int64_t deadline, int *ret_fd);

/* wrenn_start.c: starts wrennd for that socket; the connected socket. */
int wrenn_start(const char *path, const char *program, int64_t deadline,
    int *ret_fd, struct wrenn_error *err);

/* wrenn_call.c: what a transfer needs of a connection besides wrenn.h. */
int wrenn_read_ready(struct wrenn *w);  /* reads once, without waiting */
int wrenn_flush_ready(struct wrenn *w); /* writes what goes at once */
bool wrenn_is_done(const struct wrenn *w, int64_t id);

#endif
