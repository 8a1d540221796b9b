#include "tests/unit/fakes/h2_bed.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/xalloc.h"

#include "proto/banned.h"

#define MAX_BODY (1024 * 1024)
#define STEP_MS  1000 /* in which a peer answers, when time goes on */

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "HTTP/2 bed: %s\n", what);
	abort();
}

static void
changed(void *arg)
{
	struct h2_bed *b = arg;

	b->changes++;
	b->room = h2_room(b->h2, false);
}

static void
ended(struct h2_stream *s)
{
	struct h2_call *c =
	    (struct h2_call *)(uintptr_t)((char *)s -
					  offsetof(struct h2_call, stream));

	must(s->session == NULL, "it is told of, and busy still");
	c->ended++;
	c->place = ++c->bed->told;
	if (c->then != NULL)
		c->then(c);
}

void
h2_bed_init(struct h2_bed *b, uint32_t streams)
{
	*b = (struct h2_bed){ .loop = loop_new() };
	b->shared = (struct h2_shared){
		.loop = b->loop,
		.origin = H2_BED_ORIGIN,
		.ping_after_ms = H2_BED_PING_MS,
		.ping_timeout_ms = H2_BED_PONG_MS,
	};
	b->h2 = h2_new(&b->shared, changed, b);
	b->conn = fake_conn_at(fake_conn_count() - 1);
	h2_peer_init(&b->peer, b->conn, streams);
}

void
h2_bed_release(struct h2_bed *b)
{
	int i;

	for (i = 0; i < b->count; i++) {
		h2_reset(&b->calls[i].stream);
		buf_release(&b->calls[i].stream.result.body);
	}
	h2_free(b->h2);
	h2_peer_release(&b->peer);
	fake_conn_forget();
	loop_free(b->loop);
}

void
h2_bed_open(struct h2_bed *b)
{
	fake_conn_open(b->conn, "h2");
	h2_bed_run(b);
}

void
h2_bed_run(struct h2_bed *b)
{
	do
		fake_loop_settle(b->loop);
	while (h2_peer_pump(&b->peer));
	must(h2_room(b->h2, false) <= b->room, "nobody was told of the room");
}

void
h2_bed_wait(struct h2_bed *b, uint64_t ms)
{
	uint64_t step;

	for (h2_bed_run(b); ms > 0; ms -= step) {
		step = ms < STEP_MS ? ms : STEP_MS;
		fake_loop_advance(b->loop, step);
		h2_bed_run(b);
	}
}

struct h2_call *
h2_bed_start(struct h2_bed *b, const struct http_request *r)
{
	struct h2_call *c = &b->calls[b->count++];

	must(b->count <= H2_BED_CALLS, "too many calls");
	c->bed = b;
	c->stream.ended = ended;
	buf_init(&c->stream.result.body, r->max_body ? r->max_body : MAX_BODY);
	h2_start(b->h2, &c->stream, r);
	return c;
}

struct h2_call *
h2_bed_get(struct h2_bed *b)
{
	struct http_request r = {
		.method = "GET",
		.url = H2_BED_ORIGIN "/v1/capsules",
	};

	return h2_bed_start(b, &r);
}

struct h2_call *
h2_bed_post(struct h2_bed *b, const char *body, size_t n)
{
	struct http_request r = {
		.method = "POST",
		.url = H2_BED_ORIGIN "/v1/capsules",
		.body = body,
		.body_len = n,
	};

	return h2_bed_start(b, &r);
}

int
h2_bed_setup(void **state)
{
	struct h2_bed *b = xcalloc(1, sizeof(*b));

	h2_bed_init(b, 100);
	h2_bed_open(b);
	*state = b;
	return 0;
}

int
h2_bed_teardown(void **state)
{
	h2_bed_release(*state);
	free(*state);
	return 0;
}

size_t
h2_bed_find(const struct buf *b, size_t skip, int type, int32_t id)
{
	const unsigned char *p = (const unsigned char *)buf_head(b);
	size_t at = skip, n;
	int32_t its;

	while (at + 9 <= b->len) {
		n = (size_t)p[at] << 16 | (size_t)p[at + 1] << 8 | p[at + 2];
		its = (p[at + 5] & 0x7f) << 24 | p[at + 6] << 16 |
		      p[at + 7] << 8 | p[at + 8];
		if (p[at + 3] == type && its == id)
			return at;
		at += 9 + n;
	}
	return SIZE_MAX;
}
