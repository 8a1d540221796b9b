/*
 * The server at the other end of a fake connection: nghttp2's, so that what
 * breaks the rules of HTTP/2 is seen. It records requests, and does what the
 * test says, when h2_peer_pump() is called.
 */
#ifndef TESTS_UNIT_FAKES_H2_PEER_H
#define TESTS_UNIT_FAKES_H2_PEER_H

#include <stdbool.h>

#include <nghttp2/nghttp2.h>

#include "proto/buf.h"

#define H2_PEER_REQUESTS 256

struct fake_conn;

/* A request as it came, and the answer as far as it is to be given. */
struct h2_request {
	int32_t id;
	struct buf headers; /* "name: value\n" each */
	struct buf hidden;  /* of those, which may not be indexed */
	struct buf body;
	bool ended;
	bool closed;
	uint32_t code; /* with which it was closed */
	struct buf answer;
	bool answer_ends;
	const char *trailers;
};

struct h2_peer {
	struct fake_conn *conn;
	nghttp2_session *ng;
	size_t seen; /* of what the connection took */
	struct h2_request requests[H2_PEER_REQUESTS];
	int count;
	int pings, pongs, goaways, updates;
	int promised; /* for tests that push by raw frames */
	uint32_t goaway_code;
	bool stingy; /* the windows of its streams open by hand */
	bool quiet;  /* it reads, and says nothing, not even a PING's answer */
};

/* Its SETTINGS go out with the first pump. streams: 0 leaves them out. */
void h2_peer_init(struct h2_peer *p, struct fake_conn *c, uint32_t streams);
void h2_peer_release(struct h2_peer *p);

/* Takes in what was sent, and sends what there is. Whether that was any. */
bool h2_peer_pump(struct h2_peer *p);

/*
 * lines: "name: value\n" each. A status of 100 to 199 may be followed by
 * others. The end comes with the last of h2_peer_body(), or with trailers.
 */
void h2_peer_head(
    struct h2_peer *p, int i, int status, const char *lines, bool end);
void h2_peer_body(
    struct h2_peer *p, int i, const void *data, size_t n, bool end);
void h2_peer_trailers(struct h2_peer *p, int i, const char *lines);
/* A whole one. */
void h2_peer_answer(struct h2_peer *p, int i, int status, const char *body);

void h2_peer_reset(struct h2_peer *p, int i, uint32_t code);
void h2_peer_goaway(struct h2_peer *p, int32_t last, uint32_t code);
void h2_peer_setting(struct h2_peer *p, int32_t id, uint32_t value);
void h2_peer_raw_frame(struct h2_peer *p, int type, int flags, int32_t id,
    const void *payload, size_t n);

#endif
