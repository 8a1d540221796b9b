/*
 * What h2.c, the connection, and h2_stream.c, the requests on it, share.
 */
#ifndef DAEMON_H2_PRIV_H
#define DAEMON_H2_PRIV_H

#include <nghttp2/nghttp2.h>

#include "daemon/h2.h"
#include "daemon/loop.h"

#define H2_RECORD           16384 /* the most of TLS: one write fills it */
#define H2_FRAME            (16384 + 64) /* the most that nghttp2 gives at once */
#define H2_STREAM_WINDOW    (1024 * 1024)
#define H2_HEADER_BYTES_MAX (256 * 1024) /* of an answer, unpacked */

TAILQ_HEAD(h2_stream_list, h2_stream);

/*
 * Lives from h2_new() to h2_free(), which changed() may call. Streams are on
 * `busy`, then on `ended` until they are told, which happens when no function
 * of nghttp2 is running.
 */
struct h2 {
	struct h2_shared *shared;
	enum h2_state state;
	struct h2_refusal refusal;
	bool greeted; /* by the server's SETTINGS */
	bool left;    /* by the server, with a GOAWAY */
	bool proven;  /* it has brought an answer */
	bool carried; /* a request, at least one */
	bool retired; /* its end is our wish */
	struct conn *conn;
	nghttp2_session *ng;
	struct h2_stream_list busy, ended;
	int streams; /* as the server counts them */
	struct later flush, more;
	struct timer *tick;
	uint64_t born_ms, used_ms, heard_ms;
	uint64_t pinged_ms; /* 0: no answer is awaited */
	size_t block_bytes; /* of the header block that is being read */
	unsigned int idle_frames;
	size_t out_len, out_sent;
	char out[H2_RECORD + H2_FRAME];
	char why[256]; /* it ends */
	void (*changed)(void *arg);
	bool news; /* that changed() has not been told */
	void *arg;
};

/* Writes what there is to be said, at the end of the turn. */
void h2_flush(struct h2 *h);

/* The callbacks that are about streams. */
void h2_stream_callbacks(nghttp2_session_callbacks *cb);
/* A frame of the answer came, or of the end. */
void h2_stream_frame(struct h2_stream *s, const nghttp2_frame *f);
/* nghttp2 is done with it. */
void h2_stream_closed(struct h2_stream *s, uint32_t code);
/* It ends with its connection. */
void h2_stream_broke_off(struct h2_stream *s, const char *why);

#endif
