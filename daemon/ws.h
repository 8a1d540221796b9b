/*
 * One WebSocket (RFC 6455) as its client, from connecting to its end, over a
 * connection that libcurl makes. Sole owner of wslay.
 *
 * Messages are whole and at most as long as the owner says; of text it is
 * certain that it is UTF-8. PINGs are answered, and sent when nothing comes.
 */
#ifndef DAEMON_WS_H
#define DAEMON_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/rpc_error.h"

struct dialer;
struct loop;
struct ws;

/* Lent to ws_open(), but for the numbers. */
struct ws_spec {
	const char *url;            /* http or https */
	const char *const *headers; /* "Name: value" */
	size_t header_count;
	size_t max_message;       /* bytes */
	uint64_t open_timeout_ms; /* until the server has agreed */
	uint64_t ping_after_ms;   /* without a byte; then a PING is sent */
	uint64_t ping_timeout_ms; /* and without one more the peer is dead */
};

/* How it ended. Lent. */
struct ws_end {
	bool opened;          /* the server had agreed */
	bool clean;           /* it said goodbye */
	int code;             /* why, if it did: RFC 6455, 7.4; or 1005 */
	enum rpc_errno error; /* what it was, if it did not */
	const char *why;      /* for people, in any case */
	int http_status;      /* of a refusal; 0 if no answer came */
	const char *body;     /* of a refusal, NUL-terminated */
	size_t len;
};

struct ws_ops {
	void (*opened)(void *arg);
	/* Lent. From here the owner may send, pause and free. */
	void (*message)(void *arg, const char *data, size_t n);
	/* After ws_send() has refused: now it would not. */
	void (*room)(void *arg);
	/* The last call; the owner frees it, here or later. */
	void (*ended)(void *arg, const struct ws_end *end);
};

/* Calls nothing before it returns. */
struct ws *ws_open(struct loop *l, struct dialer *d, const struct ws_spec *spec,
    const struct ws_ops *ops, void *arg);
/* Says goodbye where there is time for it. NULL is fine. */
void ws_free(struct ws *w);

/*
 * One text message. -EAGAIN, with nothing taken, when too much of what was
 * sent before is still waiting; room() tells. Only once it is open.
 */
int ws_send(struct ws *w, const char *text, size_t n);

/*
 * While paused nothing is read, and TCP holds the server back. Messages that
 * have arrived already (a few KiB) are still told.
 */
void ws_pause(struct ws *w, bool paused);

#endif
