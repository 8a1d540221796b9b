/*
 * libwrenn: calls to wrennd from C. docs/libwrenn.3 is the manual page.
 *
 * A struct wrenn is one connection. The library has no global state, prints
 * nothing, installs no signal handler, never ends the process and raises no
 * SIGPIPE. Different connections may be used by different threads, one
 * connection by one thread at a time.
 *
 * Functions that can fail return a negative number and fill *err; what they
 * hand out is set only on success. An error is freed with
 * wrenn_error_release(). Times are milliseconds.
 */
#ifndef WRENN_H
#define WRENN_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct json_object; /* of json-c */
struct wrenn;

#define WRENN_FOREVER     (-1) /* as a timeout: no deadline */
#define WRENN_MESSAGE_MAX 4096

/* What went wrong. code 0 means nothing did. */
struct wrenn_error {
	int code;           /* of JSON-RPC */
	char name[48];      /* the stable name, such as "not_found" */
	char sdk_class[48]; /* class of the Wrenn SDK, "" when it has none */
	int http_status;    /* of upstream, 0 when it did not answer */
	bool retryable;     /* safe to send again, and may succeed later */
	char message[WRENN_MESSAGE_MAX]; /* for people; may hold any text */
	struct json_object *data; /* the error's "data" object, or NULL */
};

void wrenn_error_release(struct wrenn_error *err);

/* How to reach wrennd. All zero: the caller's own one, without start. */
struct wrenn_options {
	const char *socket;  /* path; NULL: the default */
	bool system_wide;    /* the system's daemon, not the user's */
	bool autostart;      /* start the user's daemon if there is none */
	const char *daemon;  /* path of wrennd; NULL: it is searched for */
	const char *client;  /* name told to wrennd; NULL: none is */
	const char *version; /* version told with it; NULL: none is */
	int64_t timeout_ms;  /* to connect or to start; 0: 10 s */
};

int wrenn_open(const struct wrenn_options *options, struct wrenn **ret,
    struct wrenn_error *err);
void wrenn_close(struct wrenn *w); /* NULL is allowed */

/* The path that was connected to. */
const char *wrenn_socket(const struct wrenn *w);

/*
 * While *flag is not zero, waiting functions fail with "cancelled" within a
 * quarter of a second; a signal handler may set it. NULL: no flag.
 */
void wrenn_set_interrupt(struct wrenn *w, const volatile sig_atomic_t *flag);

/*
 * One call and its answer. params is an object or NULL and stays the
 * caller's; *ret_result becomes the caller's (json_object_put) and may be
 * NULL for a JSON null. A call given up (deadline, interrupt) is cancelled.
 */
int wrenn_call(struct wrenn *w, const char *method, struct json_object *params,
    int64_t timeout_ms, struct json_object **ret_result,
    struct wrenn_error *err);

/* Sends without waiting: the id of the call, or a negative number. */
int64_t wrenn_send(struct wrenn *w, const char *method,
    struct json_object *params, struct wrenn_error *err);

/* A descriptor to pass along: a connected AF_UNIX stream socket. */
struct wrenn_fd {
	const char *name;
	int fd; /* stays the caller's */
};

/* As wrenn_send, with 1 to 3 descriptors. */
int64_t wrenn_send_fds(struct wrenn *w, const char *method,
    struct json_object *params, const struct wrenn_fd *fds, size_t fd_count,
    struct wrenn_error *err);

/*
 * The answer to a call that was sent, whatever came before it. When it fails
 * because of the deadline or the interrupt flag, wrenn_is_pending() is true
 * and the call may be waited for again, cancelled or forgotten.
 */
int wrenn_wait(struct wrenn *w, int64_t id, int64_t timeout_ms,
    struct json_object **ret_result, struct wrenn_error *err);
bool wrenn_is_pending(const struct wrenn *w, int64_t id);

/* Asks wrennd to end a call early; its answer still comes. */
int wrenn_cancel(struct wrenn *w, int64_t id, struct wrenn_error *err);

/* Drops the answer to a call, whether it came already or comes later. */
void wrenn_forget(struct wrenn *w, int64_t id);

/* Sends what has no answer. */
int wrenn_notify(struct wrenn *w, const char *method,
    struct json_object *params, struct wrenn_error *err);

/*
 * What a streaming call tells before its answer: `fn` gets each notification
 * "event", with the id of its call and its parameters (lent), from within
 * the functions that wait. It must not call into the library. NULL for none.
 */
typedef void wrenn_event_fn(void *arg, int64_t id, struct json_object *params);
void wrenn_on_event(struct wrenn *w, wrenn_event_fn *fn, void *arg);

/* What a transfer tells, and how long wrennd may take to end it. */
struct wrenn_transfer {
	void (*progress)(uint64_t bytes, void *arg); /* may be NULL */
	void *arg;
	int64_t timeout_ms; /* for the answer after the last byte */
};

/*
 * file.read with the bytes written to fd. Succeeds only when all of the file
 * arrived and was written; the number of bytes is then in *ret_size.
 */
int wrenn_file_read_to_fd(struct wrenn *w, struct json_object *params, int fd,
    const struct wrenn_transfer *transfer, uint64_t *ret_size,
    struct wrenn_error *err);

/*
 * file.write with the bytes read from fd up to its end. Where params has a
 * "size", exactly so many must come; else any number, and a caller that
 * dies before the end leaves nothing complete.
 */
int wrenn_file_write_from_fd(struct wrenn *w, struct json_object *params,
    int fd, const struct wrenn_transfer *transfer, uint64_t *ret_size,
    struct wrenn_error *err);

#ifdef __cplusplus
}
#endif

#endif
