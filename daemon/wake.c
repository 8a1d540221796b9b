#include "daemon/wake.h"

#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "daemon/api.h"
#include "daemon/keepalive.h"
#include "daemon/log.h"
#include "daemon/query.h"
#include "daemon/tracker.h"
#include "daemon/upstream.h"
#include "daemon/watch.h"
#include "proto/jx.h"
#include "proto/queue.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define RUNNING_MS 120000 /* from `starting` to `running` */

/* One call that waits for the capsule. */
struct wake_caller {
	struct wake *wake;
	bool allowed;
	wake_fn *fn;
	void *arg;
	TAILQ_ENTRY(wake_caller) entry;
};

/*
 * One capsule being looked at and, where it must be, resumed. Holds a
 * reference to it; there is one at a time, capsule->wake.
 */
struct wake {
	struct wakes *all;
	struct capsule *capsule;
	struct query *query;
	struct waiter *waiter;
	bool resumed;
	int looks;
	TAILQ_HEAD(, wake_caller) callers;
	LIST_ENTRY(wake) entry;
};

struct wakes {
	struct upstream *upstream;
	struct watches *watches;
	LIST_HEAD(, wake) list;
};

static void look(struct wake *w);

struct wakes *
wakes_new(struct upstream *u, struct watches *watches)
{
	struct wakes *w = xcalloc(1, sizeof(*w));

	w->upstream = u;
	w->watches = watches;
	LIST_INIT(&w->list);
	return w;
}

static void
wake_free(struct wake *w)
{
	LIST_REMOVE(w, entry);
	query_cancel(w->query);
	waiter_cancel(w->waiter);
	if (w->capsule->wake == w)
		w->capsule->wake = NULL;
	capsule_unref(w->capsule);
	free(w);
}

/*
 * Ends it: calls that come from within the callers' functions start anew. Each
 * gets an error of its own, to which it may add words.
 */
static void
finish(struct wake *w, const struct rpc_error *error)
{
	struct wake_caller *caller;
	struct rpc_error copy;

	w->capsule->wake = NULL;
	while ((caller = TAILQ_FIRST(&w->callers)) != NULL) {
		TAILQ_REMOVE(&w->callers, caller, entry);
		if (error != NULL)
			copy = *error;
		caller->fn(caller->arg, w->resumed, error ? &copy : NULL);
		free(caller);
	}
	wake_free(w);
}

void
wakes_free(struct wakes *all)
{
	struct wake_caller *caller;
	struct wake *w;

	if (all == NULL)
		return;
	while ((w = LIST_FIRST(&all->list)) != NULL) {
		while ((caller = TAILQ_FIRST(&w->callers)) != NULL) {
			TAILQ_REMOVE(&w->callers, caller, entry);
			free(caller);
		}
		wake_free(w);
	}
	free(all);
}

static void
running(void *arg, struct json_object *capsule, struct rpc_error *error)
{
	struct wake *w = arg;

	(void)capsule;
	w->waiter = NULL;
	finish(w, error);
}

static void
wait_until_running(struct wake *w)
{
	w->waiter = waiter_new(w->all->watches, w->capsule->row.id, "running",
	    RUNNING_MS, running, w);
}

static void
resumed(void *arg, struct json_object *answer, struct rpc_error *error)
{
	struct wake *w = arg;
	const char *status = jx_str(answer, "status");

	w->query = NULL;
	/* Somebody else resumed it, or the answer was lost: look again. */
	if (error != NULL &&
	    (api_is_not_running(error) || error->kind == RPC_OUTCOME_UNKNOWN)) {
		look(w);
		return;
	}
	if (error != NULL) {
		finish(w, error);
		return;
	}
	w->resumed = true;
	keepalive_touch(w->capsule);
	capsule_note(w->capsule, "resumed");
	log_info("capsule resumed for a call id=%s", w->capsule->row.id);
	if (status != NULL && strcmp(status, "running") == 0)
		finish(w, NULL);
	else
		wait_until_running(w);
}

static bool
anybody_allows(const struct wake *w)
{
	struct wake_caller *caller;

	TAILQ_FOREACH(caller, &w->callers, entry)
		if (caller->allowed)
			return true;
	return false;
}

static void
refuse(struct wake *w, const char *why)
{
	struct rpc_error e;

	rpc_error_set(&e, RPC_CAPSULE_PAUSED,
	    "capsule %s is paused%s; resume it with: wrennctl resume %s",
	    w->capsule->row.id, why, w->capsule->row.id);
	finish(w, &e);
}

static void
paused(struct wake *w)
{
	if (w->capsule->row.paused_by_hand) {
		refuse(w, " by hand");
		return;
	}
	if (!anybody_allows(w)) {
		refuse(w, " and auto_resume is off");
		return;
	}
	w->query = query_start(w->all->upstream,
	    api_capsule_action(w->capsule->row.id, "resume"), resumed, w);
}

static void
looked(void *arg, struct json_object *answer, struct rpc_error *error)
{
	struct wake *w = arg;
	const char *status = jx_str(answer, "status");
	struct rpc_error e;

	w->query = NULL;
	if (error != NULL) {
		finish(w, error);
		return;
	}
	if (status == NULL)
		status = "of unknown status";
	if (strcmp(status, "running") == 0) {
		finish(w, NULL);
	} else if (strcmp(status, "paused") == 0 && w->looks <= 3) {
		paused(w);
	} else if (strcmp(status, "pending") == 0 ||
		   strcmp(status, "starting") == 0) {
		wait_until_running(w);
	} else {
		rpc_error_set(&e, RPC_CONFLICT, "capsule %s is %s",
		    w->capsule->row.id, status);
		finish(w, &e);
	}
}

static void
look(struct wake *w)
{
	w->looks++;
	w->query = query_start(
	    w->all->upstream, api_capsule_get(w->capsule->row.id), looked, w);
}

static struct wake *
wake_new(struct wakes *all, struct capsule *c)
{
	struct wake *w = xcalloc(1, sizeof(*w));

	w->all = all;
	w->capsule = c;
	TAILQ_INIT(&w->callers);
	capsule_ref(c);
	c->wake = w;
	LIST_INSERT_HEAD(&all->list, w, entry);
	look(w);
	return w;
}

struct wake_caller *
wake_start(
    struct wakes *all, struct capsule *c, bool allowed, wake_fn *fn, void *arg)
{
	struct wake_caller *caller = xcalloc(1, sizeof(*caller));

	caller->wake = c->wake ? c->wake : wake_new(all, c);
	caller->allowed = allowed;
	caller->fn = fn;
	caller->arg = arg;
	TAILQ_INSERT_TAIL(&caller->wake->callers, caller, entry);
	return caller;
}

void
wake_cancel(struct wake_caller *caller)
{
	if (caller == NULL)
		return;
	TAILQ_REMOVE(&caller->wake->callers, caller, entry);
	free(caller);
}
