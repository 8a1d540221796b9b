/*
 * The interface of a transport: one HTTP request in, at most one result out,
 * with the truth about what happened to it. Transports know nothing of what
 * requests mean, and never send one twice by themselves.
 */
#ifndef DAEMON_HTTP_H
#define DAEMON_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/buf.h"
#include "proto/rpc_error.h"

/*
 * A body that is produced as it is sent. read() returns bytes (at least 1), 0
 * at the end, -EAGAIN for "not now" (then http_resume() when there is more),
 * or another negative errno, which aborts the exchange.
 */
struct http_source {
	int64_t length; /* -1 when not known */
	ssize_t (*read)(void *arg, char *data, size_t n);
	void *arg;
};

/*
 * Takes the body of a 2xx answer as it comes; other answers are collected.
 * write() takes all n bytes and returns 0, or -EAGAIN, having taken none
 * (then http_resume()), or another negative errno, which aborts.
 */
struct http_sink {
	int (*write)(void *arg, const char *data, size_t n);
	void *arg;
};

/*
 * Lent to the transport: the body, source and sink until the result or the
 * cancel, the rest only while start() runs.
 */
struct http_request {
	const char *method;
	const char *url;
	const char *const *headers; /* "Name: value" */
	size_t header_count;
	const char *credential; /* one more, kept out of compression tables */
	const char *body;       /* NULL when there is none, or a source */
	size_t body_len;
	const struct http_source *source;
	const struct http_sink *sink;
	bool bulk;  /* a connection of its own, HTTP/1.1 */
	bool whole; /* the end of the connection is no proof of a 2xx */
	bool slow;  /* may take long: leaves room for the others */
	uint64_t timeout_ms; /* in all; 0 for none */
	uint64_t stall_ms;   /* without a byte either way; 0 for none */
	size_t max_body;     /* of a collected answer */
};

enum http_outcome {
	HTTP_ANSWERED, /* whole answer, whatever its status */
	HTTP_NOT_SENT, /* surely not processed: safe to send again */
	HTTP_UNKNOWN,  /* sent, in part at least, and no whole answer */
};

struct http_result {
	enum http_outcome outcome;
	int status; /* also when the answer broke off later; else 0 */
	char content_type[64];
	struct buf body;
	enum rpc_errno error; /* when not answered */
	char why[256];        /* likewise, for people */
	bool want_http1;      /* not sent: the server speaks no HTTP/2 */
	bool turned_away;     /* not sent: refused by a server that is there */
	bool renewed;         /* not sent: it waited when renew() was called */
};

struct http;
struct http_exchange;

/* The result is the transport's and gone after the call. */
typedef void http_done_fn(void *arg, struct http_result *result);

struct http_stats {
	uint64_t exchanges;   /* started */
	uint64_t connections; /* opened in all */
	int open;             /* connections now; 0 where not known */
	int in_flight;        /* exchanges */
	int waiting;          /* of those, for a connection with room */
};

struct http_ops {
	struct http_exchange *(*start)(struct http *,
	    const struct http_request *, http_done_fn *, void *arg);
	/* done is not called any more. Never from a source or sink. */
	void (*cancel)(struct http_exchange *);
	/* Goes on after an -EAGAIN. Never from a source or sink. */
	void (*resume)(struct http_exchange *);
	/*
	 * New requests use new connections; the old ones run out. Those that
	 * wait for one are given back, since their credential may have gone.
	 */
	void (*renew)(struct http *);
	void (*stats)(const struct http *, struct http_stats *);
	void (*free)(struct http *);
};

struct http {
	const struct http_ops *ops;
};

#endif
