#include "daemon/keepalive.h"

#include <stdlib.h>

#include "daemon/api.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/tracker.h"
#include "daemon/upstream.h"
#include "proto/queue.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define AGAIN_MS 5000 /* at most, after a ping that did not get through */

struct keepalive {
	struct loop *loop;
	struct upstream *upstream;
	uint64_t sent, failed;
	LIST_HEAD(, ping) pings;
};

/* A ping under way; it holds a reference to its capsule. */
struct ping {
	struct keepalive *keepalive;
	struct capsule *capsule;
	struct upstream_request *request;
	struct upstream_call *call;
	LIST_ENTRY(ping) entry;
};

uint64_t
keepalive_due(uint64_t touched_ms, int64_t timeout_s, unsigned jitter)
{
	uint64_t third = (uint64_t)timeout_s * 1000 / 3;

	return touched_ms + third - third / 10 * (jitter & 0xffff) / 0x10000;
}

struct keepalive *
keepalive_new(struct loop *l, struct upstream *u)
{
	struct keepalive *k = xcalloc(1, sizeof(*k));

	k->loop = l;
	k->upstream = u;
	LIST_INIT(&k->pings);
	return k;
}

static void
ping_free(struct ping *p)
{
	LIST_REMOVE(p, entry);
	upstream_request_free(p->request);
	capsule_unref(p->capsule);
	free(p);
}

void
keepalive_free(struct keepalive *k)
{
	struct ping *p;

	if (k == NULL)
		return;
	while ((p = LIST_FIRST(&k->pings)) != NULL) {
		upstream_cancel(p->call);
		ping_free(p);
	}
	free(k);
}

static bool
is_wanted(const struct capsule *c)
{
	return c->holds > 0 && c->row.keepalive && c->row.timeout_s > 0;
}

static void
arm(struct capsule *c)
{
	uint64_t due, now = now_ms();

	due =
	    keepalive_due(c->touched_ms, c->row.timeout_s, (unsigned)random());
	timer_set(c->ping, due > now ? (int64_t)(due - now) : 0);
}

/* Soon, as long as the inactivity limit leaves time for some more tries. */
static void
arm_again(struct capsule *c)
{
	int64_t ms = AGAIN_MS;

	if (ms > c->row.timeout_s * 1000 / 10)
		ms = c->row.timeout_s * 1000 / 10;
	timer_set(c->ping, ms - random() % (ms / 2));
}

static void
ping_done(void *arg, const struct upstream_answer *a)
{
	struct ping *p = arg;
	struct capsule *c = p->capsule;
	struct rpc_error e;
	bool again = false;

	if (api_check(a, true, &e) != RPC_OK) {
		p->keepalive->failed++;
		log_warn("keepalive: ping failed id=%s error=%s message=%s",
		    c->row.id, rpc_error_row(e.kind)->name, e.message);
		again = rpc_error_row(e.kind)->retryable;
		rpc_error_release(&e);
	}
	/* One that was refused counts too: the next third brings the next. */
	if (!again)
		keepalive_touch(c);
	if (is_wanted(c) && again)
		arm_again(c);
	else if (is_wanted(c))
		arm(c);
	ping_free(p);
}

static void
ping_due(void *arg)
{
	struct capsule *c = arg;
	struct keepalive *k = c->keepalive;
	struct ping *p;

	/* Something else may have touched it since the timer was set. */
	if (keepalive_due(c->touched_ms, c->row.timeout_s, 0xffff) > now_ms()) {
		arm(c);
		return;
	}
	p = xcalloc(1, sizeof(*p));
	p->keepalive = k;
	p->capsule = c;
	capsule_ref(c);
	LIST_INSERT_HEAD(&k->pings, p, entry);
	k->sent++;
	p->request = api_capsule_action(c->row.id, "ping");
	p->call = upstream_send(k->upstream, p->request, ping_done, p);
}

void
keepalive_hold(struct keepalive *k, struct capsule *c)
{
	c->holds++;
	keepalive_touch(c);
	if (!is_wanted(c) || c->holds > 1)
		return;
	if (c->ping == NULL) {
		c->keepalive = k;
		c->ping = timer_new(k->loop, ping_due, c);
	}
	arm(c);
}

void
keepalive_drop(struct capsule *c)
{
	if (--c->holds == 0 && c->ping != NULL)
		timer_set(c->ping, -1);
}

void
keepalive_touch(struct capsule *c)
{
	c->touched_ms = now_ms();
}

void
keepalive_stats(
    const struct keepalive *k, uint64_t *ret_sent, uint64_t *ret_failed)
{
	*ret_sent = k->sent;
	*ret_failed = k->failed;
}
