/*
 * One HTTP/2 connection (RFC 9113), from connecting to its end: streams,
 * flow control, PING, GOAWAY. Sole owner of nghttp2.
 *
 * It never sends a request twice, and says of each what is known.
 */
#ifndef DAEMON_H2_H
#define DAEMON_H2_H

#include "daemon/http.h"
#include "proto/queue.h"

struct dialer;
struct h2;
struct loop;

/*
 * One request on a connection. Embedded in its owner, who fills the first
 * part; busy from h2_start() until ended() is called or h2_reset() returns.
 */
struct h2_stream {
	struct http_result result; /* its body is initialised and released by
				      the owner */
	/* The result is complete. May start, reset and free streams. */
	void (*ended)(struct h2_stream *s);

	struct h2 *session; /* NULL while it is not busy */
	TAILQ_ENTRY(h2_stream) entry;
	int32_t id;
	const char *body;
	size_t body_left;
	const struct http_source *source;
	const struct http_sink *sink;
	struct buf held;     /* of the answer; its sink has no room for it */
	uint64_t moved;      /* pieces, either way */
	size_t header_bytes; /* of the answer, unpacked */
	int interim;         /* 1xx answers */
	int fault_errno;     /* of the source or sink */
	enum rpc_errno fault;
	bool has_body, head_written, body_written, headers_came, whole,
	    reset_by_server, crowded;
	bool finished;
	bool source_waits, sink_waits;
};

enum h2_state {
	H2_CONNECTING,
	H2_OPEN,
	H2_DRAINING, /* takes no new streams */
	H2_CLOSED,
};

/* Of all connections of a transport. */
struct h2_shared {
	struct loop *loop;
	struct dialer *dialer;
	const char *origin;       /* a URL without a path */
	uint64_t ping_after_ms;   /* without a byte; then a PING is sent */
	uint64_t ping_timeout_ms; /* and without one more the peer is dead */
	size_t bodies;            /* bytes of all answers in memory */
};

/*
 * Begins to connect. changed() is called from the loop whenever the state or
 * the room may be another, never from a function of this file; it may free.
 */
struct h2 *h2_new(
    struct h2_shared *shared, void (*changed)(void *arg), void *arg);
/* Without a word to those streams that are left. */
void h2_free(struct h2 *h);

enum h2_state h2_state(const struct h2 *h);
/*
 * Why a connection never came about, or ended before a word of HTTP/2 or
 * before it carried a request: the next one may fare no better.
 */
struct h2_refusal {
	bool want_http1; /* connected, but ALPN did not agree to "h2" */
	enum rpc_errno error;
	const char *why;
};
/* NULL of one that is not closed, was of use, or was retired. */
const struct h2_refusal *h2_refusal(const struct h2 *h);

/* How many more streams it takes now; those that may take long get less. */
int h2_room(const struct h2 *h, bool slow);
/* Whether it has brought an answer, and may have to bring more. */
bool h2_used_lately(const struct h2 *h);

/* Only with room. The request is sent at the end of the turn. */
void h2_start(struct h2 *h, struct h2_stream *s, const struct http_request *r);
/* Ends it without a word to ended(). RST_STREAM tells the server. */
void h2_reset(struct h2_stream *s);
/* What is known of one that breaks off now. */
enum http_outcome h2_outcome(const struct h2_stream *s);
/* A source or a sink that said -EAGAIN goes on. */
void h2_resume(struct h2_stream *s);

/* No new streams; it closes when the last one has ended. */
void h2_retire(struct h2 *h);

#endif
