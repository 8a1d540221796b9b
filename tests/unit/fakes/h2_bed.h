/*
 * One connection of daemon/h2.h over the fake loop and a fake connection, with
 * a peer at its other end, and calls on it that note what they are told.
 */
#ifndef TESTS_UNIT_FAKES_H2_BED_H
#define TESTS_UNIT_FAKES_H2_BED_H

#include "daemon/h2.h"
#include "tests/unit/fakes/fake_conn.h"
#include "tests/unit/fakes/fake_loop.h"
#include "tests/unit/fakes/h2_peer.h"

#define H2_BED_CALLS   256
#define H2_BED_ORIGIN  "https://api.example:8443"
#define H2_BED_PING_MS 15000 /* without a byte, and 10 s for the answer */
#define H2_BED_PONG_MS 10000

struct h2_bed;

struct h2_call {
	struct h2_stream stream;
	struct h2_bed *bed;
	int ended; /* how often it was told */
	int place; /* among all that were told, from 1 on */
	void (*then)(struct h2_call *c);
};

struct h2_bed {
	struct loop *loop;
	struct h2_shared shared;
	struct h2 *h2;
	struct fake_conn *conn;
	struct h2_peer peer;
	int changes;
	int room; /* when it was told of a change last */
	struct h2_call calls[H2_BED_CALLS];
	int count, told;
};

/* Not connected yet. streams: what the peer allows, 0 says nothing. */
void h2_bed_init(struct h2_bed *b, uint32_t streams);
void h2_bed_release(struct h2_bed *b);

/* The connection stands, and both ends have said their SETTINGS. */
void h2_bed_open(struct h2_bed *b);

/*
 * Until nobody has anything to say. The program ends if there is more room then
 * than anybody was told of.
 */
void h2_bed_run(struct h2_bed *b);
/* The same, and the time goes on by so much. */
void h2_bed_wait(struct h2_bed *b, uint64_t ms);

struct h2_call *h2_bed_start(struct h2_bed *b, const struct http_request *r);
struct h2_call *h2_bed_get(struct h2_bed *b);
/* The body is lent until the call has ended. */
struct h2_call *h2_bed_post(struct h2_bed *b, const char *body, size_t n);

/* For cmocka_unit_test_setup_teardown: *state is an open bed. */
int h2_bed_setup(void **state);
int h2_bed_teardown(void **state);

/*
 * Where in bytes of HTTP/2, after `skip` that are none, the first frame of
 * that type and stream begins; SIZE_MAX if there is none.
 */
size_t h2_bed_find(const struct buf *b, size_t skip, int type, int32_t id);

#endif
