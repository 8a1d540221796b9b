#include "daemon/http_h2.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/h2.h"
#include "daemon/loop.h"
#include "proto/limits.h"
#include "proto/queue.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define REFUSED_MS 1000

struct http_h2;

/* What a request lends only to start(), for one that has to wait. */
struct request_copy {
	struct http_request req;
	char *headers[8];
};

/*
 * One request. Lives from start() until its result was told or it was
 * cancelled; waits for a connection with room, or is on one.
 */
struct http_exchange {
	struct http_h2 *owner;
	struct h2_stream stream;   /* busy once it is on a connection */
	struct request_copy *copy; /* while it waits */
	uint64_t number;           /* in the order they came */
	bool slow;
	bool late; /* its deadline has passed, once */
	uint64_t stall_ms, moved_seen;
	struct timer *deadline, *stall; /* NULL without one */
	http_done_fn *done;
	void *arg;
	TAILQ_ENTRY(http_exchange) entry; /* while it waits */
	LIST_ENTRY(http_exchange) all;
};
TAILQ_HEAD(exchange_list, http_exchange);

/* A connection's place in the pool; goes with it. */
struct slot {
	struct http_h2 *owner;
	struct h2 *h2;
	TAILQ_ENTRY(slot) entry;
};

struct http_h2 {
	struct http http; /* first: what callers hold */
	struct h2_shared shared;
	char *origin;
	int max_connections;
	TAILQ_HEAD(, slot) slots;
	LIST_HEAD(, http_exchange) all;
	struct exchange_list quick, slow; /* that wait */
	uint64_t refused_ms;   /* a connection, at last; 0 for never */
	uint64_t renewed_upto; /* exchanges up to this one wait no more */
	struct timer *again;   /* when one that was refused may be tried */
	struct later pump;
	struct http_stats stats;
};

static struct http_h2 *
owner_of(const struct http *h)
{
	return (struct http_h2 *)(uintptr_t)h;
}

/* ---- exchanges ---- */

static struct exchange_list *
line_of(struct http_exchange *x)
{
	return x->slow ? &x->owner->slow : &x->owner->quick;
}

static void
copy_free(struct request_copy *c)
{
	size_t i;

	if (c == NULL)
		return;
	for (i = 0; i < c->req.header_count; i++)
		free(c->headers[i]);
	if (c->req.credential != NULL) {
		explicit_bzero((char *)(uintptr_t)c->req.credential,
		    strlen(c->req.credential));
		free((char *)(uintptr_t)c->req.credential);
	}
	free((char *)(uintptr_t)c->req.url);
	free(c);
}

static struct request_copy *
copy_request(const struct http_request *r)
{
	struct request_copy *c = xcalloc(1, sizeof(*c));
	size_t i;

	if (r->header_count > sizeof(c->headers) / sizeof(c->headers[0]))
		abort(); /* requests are our own */
	c->req = *r;
	c->req.url = xstrdup(r->url);
	c->req.credential = xstrdup(r->credential);
	for (i = 0; i < r->header_count; i++)
		c->headers[i] = xstrdup(r->headers[i]);
	c->req.headers = (const char *const *)c->headers;
	return c;
}

static void
stop_waiting(struct http_exchange *x)
{
	if (x->copy == NULL)
		return;
	TAILQ_REMOVE(line_of(x), x, entry);
	x->owner->stats.waiting--;
	copy_free(x->copy);
	x->copy = NULL;
}

static void
exchange_free(struct http_exchange *x)
{
	struct http_h2 *h = x->owner;

	LIST_REMOVE(x, all);
	h->stats.in_flight--;
	h->shared.bodies -= x->stream.result.body.len;
	timer_free(x->deadline);
	timer_free(x->stall);
	buf_release(&x->stream.result.body);
	free(x);
}

/* Tells the result, with which the exchange ends. */
static void
end(struct http_exchange *x)
{
	x->done(x->arg, &x->stream.result);
	exchange_free(x);
}

static void
stream_ended(struct h2_stream *s)
{
	end((struct http_exchange *)(uintptr_t)((char *)s -
						offsetof(struct http_exchange,
						    stream)));
}

/* Of an exchange that waits. */
static void
end_unsent(struct http_exchange *x, enum rpc_errno error, const char *why)
{
	struct http_result *r = &x->stream.result;

	stop_waiting(x);
	r->outcome = HTTP_NOT_SENT;
	r->error = error;
	snprintf(r->why, sizeof(r->why), "%s", why);
	end(x);
}

/* Of one that is on a connection. */
static void
end_late(struct http_exchange *x, const char *why)
{
	struct http_result *r = &x->stream.result;

	r->outcome = h2_outcome(&x->stream);
	r->error = RPC_TIMEOUT;
	snprintf(r->why, sizeof(r->why), "%s%s", why,
	    r->outcome == HTTP_NOT_SENT ? "; nothing was sent" : "");
	h2_reset(&x->stream);
	end(x);
}

static bool
is_connected(const struct http_h2 *h)
{
	struct slot *s;

	TAILQ_FOREACH(s, &h->slots, entry)
		if (h2_state(s->h2) == H2_OPEN)
			return true;
	return false;
}

static void
deadline_due(void *arg)
{
	struct http_exchange *x = arg;

	/* When the process was stopped, the answer may be there to be read. */
	if (!x->late) {
		x->late = true;
		timer_set(x->deadline, 0);
		return;
	}
	if (x->copy == NULL)
		end_late(x, "no answer came in time");
	else if (is_connected(x->owner))
		end_unsent(x, RPC_BUSY,
		    "the server takes no more requests at a time, and none "
		    "of those under way ended in time");
	else
		end_unsent(x, RPC_UNREACHABLE, "no connection came in time");
}

/* Nothing moved since the last look, and it is not the local end's doing. */
static void
stall_due(void *arg)
{
	struct http_exchange *x = arg;
	struct h2_stream *s = &x->stream;
	char why[64];

	if (s->moved == x->moved_seen && !s->source_waits && !s->sink_waits) {
		snprintf(why, sizeof(why), "nothing moved for %llu s",
		    (unsigned long long)x->stall_ms / 1000);
		if (x->copy != NULL)
			end_unsent(x, RPC_UNREACHABLE, why);
		else
			end_late(x, why);
		return;
	}
	x->moved_seen = s->moved;
	timer_set(x->stall, (int64_t)x->stall_ms);
}

/* ---- connections ---- */

static void slot_changed(void *arg);

static struct slot *
slot_with_room(struct http_h2 *h, bool slow)
{
	struct slot *s;

	/* The oldest first, so that the others may come to rest. */
	TAILQ_FOREACH(s, &h->slots, entry)
		if (h2_room(s->h2, slow) > 0)
			return s;
	return NULL;
}

/* Those that take requests, or will. */
static int
count_usable(const struct http_h2 *h, bool *ret_connecting)
{
	struct slot *s;
	int n = 0;

	*ret_connecting = false;
	TAILQ_FOREACH(s, &h->slots, entry) {
		if (h2_state(s->h2) == H2_CONNECTING)
			*ret_connecting = true;
		n += h2_state(s->h2) <= H2_OPEN;
	}
	return n;
}

static void
slot_add(struct http_h2 *h)
{
	struct slot *s = xcalloc(1, sizeof(*s));

	s->owner = h;
	s->h2 = h2_new(&h->shared, slot_changed, s);
	h->stats.connections++;
	h->stats.open++;
	TAILQ_INSERT_TAIL(&h->slots, s, entry);
}

static void
slot_free(struct slot *s)
{
	TAILQ_REMOVE(&s->owner->slots, s, entry);
	s->owner->stats.open--;
	h2_free(s->h2);
	free(s);
}

/*
 * One at a time: its answer may be that it takes all that wait. A server that
 * refuses a further one is not asked again at once.
 */
static void
connect_if_wanted(struct http_h2 *h, bool wanted)
{
	bool connecting;
	int n = count_usable(h, &connecting);
	uint64_t since = now_ms() - h->refused_ms;

	if (!wanted || connecting || n >= h->max_connections)
		return;
	if (n > 0 && h->refused_ms != 0 && since < REFUSED_MS) {
		/* Those in use may be so for hours, and bring no news. */
		timer_set(h->again, (int64_t)(REFUSED_MS - since));
		return;
	}
	slot_add(h);
}

/*
 * Whether one more is all that can be sent. Calls that take long leave that
 * to the others, unless there never is more than one.
 */
static bool
is_last_room(const struct http_h2 *h)
{
	bool connecting;
	int room = h->max_connections - count_usable(h, &connecting);
	struct slot *s;

	if (h->max_connections == 1)
		return false;
	TAILQ_FOREACH(s, &h->slots, entry)
		room += h2_room(s->h2, false);
	return room <= 1;
}

static void
send_waiting(struct http_h2 *h, struct exchange_list *line, bool slow)
{
	struct http_exchange *x;
	struct slot *s;

	while ((x = TAILQ_FIRST(line)) != NULL && !(slow && is_last_room(h)) &&
	       (s = slot_with_room(h, slow)) != NULL) {
		h2_start(s->h2, &x->stream, &x->copy->req);
		stop_waiting(x);
	}
}

/*
 * Ends those up to a number that wait in a line. A result may bring new ones,
 * and take others away.
 */
static void
end_waiting(struct exchange_list *line, uint64_t upto,
    const struct h2_refusal *why, bool renewed)
{
	struct http_exchange *x;

	while ((x = TAILQ_FIRST(line)) != NULL && x->number <= upto) {
		x->stream.result.want_http1 = why->want_http1;
		x->stream.result.renewed = renewed;
		end_unsent(x, why->error, why->why);
	}
}

/* Gives room to those that wait, or makes more. */
static void
pump_due(void *arg)
{
	static const struct h2_refusal anew = {
		.error = RPC_UNREACHABLE,
		.why = "connections are made anew",
	};
	struct http_h2 *h = arg;

	end_waiting(&h->quick, h->renewed_upto, &anew, true);
	end_waiting(&h->slow, h->renewed_upto, &anew, true);
	send_waiting(h, &h->quick, false);
	send_waiting(h, &h->slow, true);
	connect_if_wanted(h, !TAILQ_EMPTY(&h->quick) || !TAILQ_EMPTY(&h->slow));
}

/* A connection that could not be made, while there is no other. */
static void
refused(struct http_h2 *h, const struct h2_refusal *r)
{
	uint64_t upto = h->stats.exchanges;
	bool connecting;

	h->refused_ms = now_ms();
	if (!r->want_http1 && count_usable(h, &connecting) > 0)
		return;
	end_waiting(&h->quick, upto, r, false);
	end_waiting(&h->slow, upto, r, false);
}

static void
slot_changed(void *arg)
{
	struct slot *s = arg;
	struct http_h2 *h = s->owner;
	const struct h2_refusal *r = h2_refusal(s->h2);
	struct h2_refusal why;
	char text[256];

	/* Another takes the place of one in use, before it is asked for. */
	if (h2_state(s->h2) == H2_DRAINING && h2_used_lately(s->h2))
		connect_if_wanted(h, slot_with_room(h, false) == NULL);
	if (r != NULL) {
		why = *r;
		snprintf(text, sizeof(text), "%s", r->why);
		why.why = text;
	}
	if (h2_state(s->h2) == H2_CLOSED)
		slot_free(s);
	if (r != NULL)
		refused(h, &why);
	loop_later(h->shared.loop, &h->pump);
}

/* ---- the transport ---- */

static struct http_exchange *
h2_transport_start(struct http *http, const struct http_request *req,
    http_done_fn *done, void *arg)
{
	struct http_h2 *h = owner_of(http);
	struct http_exchange *x = xcalloc(1, sizeof(*x));
	struct slot *s = NULL;

	x->owner = h;
	x->slow = req->slow;
	x->done = done;
	x->arg = arg;
	x->stream.ended = stream_ended;
	buf_init(&x->stream.result.body, req->max_body);
	if (req->timeout_ms > 0) {
		x->deadline = timer_new(h->shared.loop, deadline_due, x);
		timer_set(x->deadline, (int64_t)req->timeout_ms);
	}
	if (req->stall_ms > 0) {
		x->stall_ms = req->stall_ms;
		x->stall = timer_new(h->shared.loop, stall_due, x);
		timer_set(x->stall, (int64_t)req->stall_ms);
	}
	LIST_INSERT_HEAD(&h->all, x, all);
	x->number = ++h->stats.exchanges;
	h->stats.in_flight++;
	if (TAILQ_EMPTY(line_of(x)) && !(x->slow && is_last_room(h)))
		s = slot_with_room(h, x->slow);
	if (s != NULL) {
		h2_start(s->h2, &x->stream, req);
		return x;
	}
	x->copy = copy_request(req);
	h->stats.waiting++;
	TAILQ_INSERT_TAIL(line_of(x), x, entry);
	loop_later(h->shared.loop, &h->pump);
	return x;
}

static void
h2_transport_cancel(struct http_exchange *x)
{
	stop_waiting(x);
	h2_reset(&x->stream);
	exchange_free(x);
}

static void
h2_transport_resume(struct http_exchange *x)
{
	h2_resume(&x->stream);
}

static void
h2_transport_renew(struct http *http)
{
	struct http_h2 *h = owner_of(http);
	struct slot *s;

	TAILQ_FOREACH(s, &h->slots, entry)
		h2_retire(s->h2);
	h->renewed_upto = h->stats.exchanges;
	loop_later(h->shared.loop, &h->pump);
}

static void
h2_transport_stats(const struct http *http, struct http_stats *ret)
{
	*ret = owner_of(http)->stats;
}

static void
h2_transport_free(struct http *http)
{
	struct http_h2 *h = owner_of(http);
	struct http_exchange *x;
	struct slot *s;

	while ((x = LIST_FIRST(&h->all)) != NULL)
		h2_transport_cancel(x);
	while ((s = TAILQ_FIRST(&h->slots)) != NULL)
		slot_free(s);
	later_cancel(h->shared.loop, &h->pump);
	timer_free(h->again);
	free(h->origin);
	free(h);
}

static const struct http_ops h2_ops = {
	.start = h2_transport_start,
	.cancel = h2_transport_cancel,
	.resume = h2_transport_resume,
	.renew = h2_transport_renew,
	.stats = h2_transport_stats,
	.free = h2_transport_free,
};

/* A URL up to its path. */
static char *
origin_of(const char *url)
{
	const char *host = strstr(url, "://") + 3;

	return xasprintf(
	    "%.*s", (int)(host - url) + (int)strcspn(host, "/"), url);
}

struct http *
http_h2_new(
    struct loop *l, struct dialer *d, const struct http_h2_options *options)
{
	struct http_h2 *h = xcalloc(1, sizeof(*h));

	h->http.ops = &h2_ops;
	h->origin = origin_of(options->base_url);
	h->max_connections = options->max_connections;
	h->shared = (struct h2_shared){
		.loop = l,
		.dialer = d,
		.origin = h->origin,
		.ping_after_ms = options->ping_after_ms,
		.ping_timeout_ms = options->ping_timeout_ms,
	};
	TAILQ_INIT(&h->slots);
	LIST_INIT(&h->all);
	TAILQ_INIT(&h->quick);
	TAILQ_INIT(&h->slow);
	later_init(&h->pump, pump_due, h);
	h->again = timer_new(l, pump_due, h);
	return &h->http;
}
