#include "daemon/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "daemon/api.h"
#include "daemon/loop.h"
#include "daemon/query.h"
#include "daemon/store.h"
#include "proto/jx.h"
#include "proto/queue.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define POLL_FIRST_MS 100
#define POLL_MAX_MS   2000

struct watch;

/* One who waits; freed after fn was called, or by waiter_cancel. */
struct waiter {
	struct watch *watch;
	char status[16];
	uint64_t deadline_ms;
	waiter_fn *fn;
	void *arg;
	TAILQ_ENTRY(waiter) entry;
};

/* The poll of one capsule: there while somebody waits for it. */
struct watch {
	struct watches *all;
	char id[CAPSULE_ID_MAX];
	char seen[16]; /* the last status, for the error of a timeout */
	struct query *query;
	struct timer *timer;
	uint64_t delay_ms, next_ms; /* when it is looked at again */
	int telling;                /* inside tell(): not to be freed */
	TAILQ_HEAD(, waiter) waiters;
	LIST_ENTRY(watch) entry;
};

struct watches {
	struct loop *loop;
	struct upstream *upstream;
	LIST_HEAD(, watch) list;
};

struct watches *
watches_new(struct loop *l, struct upstream *u)
{
	struct watches *w = xcalloc(1, sizeof(*w));

	w->loop = l;
	w->upstream = u;
	LIST_INIT(&w->list);
	return w;
}

static void
watch_free(struct watch *w)
{
	LIST_REMOVE(w, entry);
	query_cancel(w->query);
	timer_free(w->timer);
	free(w);
}

void
watches_free(struct watches *all)
{
	struct waiter *one;
	struct watch *w;

	if (all == NULL)
		return;
	while ((w = LIST_FIRST(&all->list)) != NULL) {
		while ((one = TAILQ_FIRST(&w->waiters)) != NULL) {
			TAILQ_REMOVE(&w->waiters, one, entry);
			free(one);
		}
		watch_free(w);
	}
	free(all);
}

/* Each gets an error of its own, to which it may add words. */
static void
end_waiter(struct waiter *one, struct json_object *capsule,
    const struct rpc_error *error)
{
	struct rpc_error copy;

	if (error != NULL)
		copy = *error;
	TAILQ_REMOVE(&one->watch->waiters, one, entry);
	one->fn(one->arg, capsule, error ? &copy : NULL);
	free(one);
}

/* Whether nothing but a new create leads out of that status. */
static bool
is_final(const char *status)
{
	return strcmp(status, "stopped") == 0 || strcmp(status, "error") == 0;
}

/* The next waiter for whom `status` settles it, or whose time is over. */
static struct waiter *
next_settled(struct watch *w, const char *status)
{
	struct waiter *one;

	TAILQ_FOREACH(one, &w->waiters, entry)
		if (strcmp(one->status, status) == 0 || is_final(status) ||
		    now_ms() >= one->deadline_ms)
			return one;
	return NULL;
}

static void
settle(struct waiter *one, struct json_object *capsule, const char *status)
{
	struct watch *w = one->watch;
	struct rpc_error e;

	if (strcmp(one->status, status) == 0) {
		end_waiter(one, capsule, NULL);
		return;
	}
	if (is_final(status))
		rpc_error_set(&e, RPC_CONFLICT,
		    "capsule %s is %s and will not become %s", w->id, status,
		    one->status);
	else
		rpc_error_set(&e, RPC_TIMEOUT,
		    "capsule %s did not become %s in time; it is %s", w->id,
		    one->status, w->seen[0] ? w->seen : "not known");
	end_waiter(one, NULL, &e);
}

/* Wakes for the next look or the nearest deadline, whichever comes first. */
static void
arm(struct watch *w)
{
	uint64_t now = now_ms(), at = w->query ? UINT64_MAX : w->next_ms;
	struct waiter *one;

	TAILQ_FOREACH(one, &w->waiters, entry)
		if (one->deadline_ms < at)
			at = one->deadline_ms;
	timer_set(w->timer, at > now ? (int64_t)(at - now) : 0);
}

/* The next look comes after the delay, which grows. */
static void
put_off(struct watch *w)
{
	w->next_ms = now_ms() + w->delay_ms;
	if (w->delay_ms < POLL_MAX_MS)
		w->delay_ms += w->delay_ms / 2;
}

/* capsule is NULL and status "" when the poll brought nothing. */
static void
tell(struct watch *w, struct json_object *capsule, const char *status)
{
	struct waiter *one;

	w->telling++;
	while ((one = next_settled(w, status)) != NULL)
		settle(one, capsule, status);
	w->telling--;
	if (TAILQ_EMPTY(&w->waiters))
		watch_free(w);
	else
		arm(w);
}

static void
tell_error(struct watch *w, struct rpc_error *error)
{
	struct waiter *one;

	w->telling++;
	while ((one = TAILQ_FIRST(&w->waiters)) != NULL)
		end_waiter(one, NULL, error);
	w->telling--;
	watch_free(w);
}

/* An error that the next poll may well not meet again. */
static bool
is_passing(const struct rpc_error *e)
{
	return rpc_error_row(e->kind)->retryable || e->kind == RPC_TIMEOUT ||
	       e->kind == RPC_BAD_ANSWER || e->kind == RPC_TRUNCATED;
}

static void
polled(void *arg, struct json_object *answer, struct rpc_error *error)
{
	struct watch *w = arg;
	const char *status = jx_str(answer, "status");

	w->query = NULL;
	if (error != NULL && !is_passing(error)) {
		tell_error(w, error);
		return;
	}
	if (status != NULL)
		snprintf(w->seen, sizeof(w->seen), "%s", status);
	put_off(w);
	tell(w, answer, status ? status : "");
}

/* An answer that is slow to come holds up no deadline. */
static void
look(void *arg)
{
	struct watch *w = arg;

	if (next_settled(w, "") != NULL) {
		tell(w, NULL, "");
		return;
	}
	if (w->query == NULL && now_ms() >= w->next_ms)
		w->query = query_start(
		    w->all->upstream, api_capsule_get(w->id), polled, w);
	arm(w);
}

static struct watch *
watch_get(struct watches *all, const char *id)
{
	struct watch *w;

	LIST_FOREACH(w, &all->list, entry)
		if (strcmp(w->id, id) == 0)
			return w;
	w = xcalloc(1, sizeof(*w));
	w->all = all;
	snprintf(w->id, sizeof(w->id), "%s", id);
	w->delay_ms = POLL_FIRST_MS;
	w->timer = timer_new(all->loop, look, w);
	TAILQ_INIT(&w->waiters);
	w->next_ms = now_ms();
	LIST_INSERT_HEAD(&all->list, w, entry);
	return w;
}

struct waiter *
waiter_new(struct watches *all, const char *id, const char *status,
    uint64_t timeout_ms, waiter_fn *fn, void *arg)
{
	struct waiter *one = xcalloc(1, sizeof(*one));

	one->watch = watch_get(all, id);
	snprintf(one->status, sizeof(one->status), "%s", status);
	one->deadline_ms = now_ms() + timeout_ms;
	one->fn = fn;
	one->arg = arg;
	TAILQ_INSERT_TAIL(&one->watch->waiters, one, entry);
	arm(one->watch);
	return one;
}

void
waiter_cancel(struct waiter *one)
{
	struct watch *w;

	if (one == NULL)
		return;
	w = one->watch;
	TAILQ_REMOVE(&w->waiters, one, entry);
	free(one);
	if (TAILQ_EMPTY(&w->waiters) && w->telling == 0)
		watch_free(w);
}
