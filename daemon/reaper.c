#include "daemon/reaper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "daemon/api.h"
#include "daemon/cred.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/query.h"
#include "daemon/tracker.h"
#include "daemon/upstream.h"
#include "proto/jx.h"
#include "proto/queue.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MAX_MS   60000
#define NOT_FOUND_GAP_MS 60000 /* between two 404s that count */

/* Somebody who wants to know how the first try went. */
struct reaper_caller {
	reaper_fn *fn;
	void *arg;
	STAILQ_ENTRY(reaper_caller) entry;
};

/* The ending of one capsule; holds a reference to it until it is gone. */
struct ending {
	struct reaper *reaper;
	struct capsule *capsule;
	struct query *query;
	struct timer *timer;
	bool saving;         /* `ending` is not durable yet */
	uint64_t generation; /* of the credential that the query went with */
	int tries;
	uint64_t not_found_ms; /* of the first 404, 0 when there was none */
	STAILQ_HEAD(, reaper_caller) callers;
	LIST_ENTRY(ending) entry;
};

struct reaper {
	struct loop *loop;
	struct upstream *upstream;
	struct tracker *tracker;
	const struct cred *cred;
	LIST_HEAD(, ending) endings;
};

uint64_t
reaper_backoff_ms(int n)
{
	uint64_t ms = BACKOFF_FIRST_MS;

	while (n-- > 1 && ms < BACKOFF_MAX_MS)
		ms *= 2;
	return ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
}

struct reaper *
reaper_new(
    struct loop *l, struct upstream *u, struct tracker *t, const struct cred *c)
{
	struct reaper *r = xcalloc(1, sizeof(*r));

	r->loop = l;
	r->upstream = u;
	r->tracker = t;
	r->cred = c;
	LIST_INIT(&r->endings);
	return r;
}

/* Each gets an error of its own, to which it may add words. */
static void
tell_callers(struct ending *e, const struct rpc_error *error)
{
	struct reaper_caller *caller;
	struct rpc_error copy;

	while ((caller = STAILQ_FIRST(&e->callers)) != NULL) {
		STAILQ_REMOVE_HEAD(&e->callers, entry);
		if (error != NULL)
			copy = *error;
		caller->fn(caller->arg, error ? &copy : NULL);
		free(caller);
	}
}

static void
ending_free(struct ending *e)
{
	LIST_REMOVE(e, entry);
	query_cancel(e->query);
	timer_free(e->timer);
	e->capsule->ending = NULL;
	capsule_unref(e->capsule);
	free(e);
}

void
reaper_free(struct reaper *r)
{
	struct rpc_error error;
	struct ending *e;

	if (r == NULL)
		return;
	rpc_error_set(&error, RPC_SHUTTING_DOWN, "wrennd is stopping");
	while ((e = LIST_FIRST(&r->endings)) != NULL) {
		tell_callers(e, &error);
		ending_free(e);
	}
	free(r);
}

/* ---- one ending ---- */

static void
gone_saved(void *arg, int error)
{
	struct ending *e = arg;

	/*
	 * Upstream it is gone. After an error the row stays: on disk it is
	 * `live` or `ending` until the tracker has saved it again.
	 */
	tell_callers(e, NULL);
	if (e->capsule->row.key[0] == '\0' && error == 0)
		tracker_forget(e->reaper->tracker, e->capsule);
	ending_free(e);
}

static void
set_gone(struct ending *e)
{
	struct capsule *c = e->capsule;

	log_info("capsule gone id=%s uid=%u", c->row.id, c->row.uid);
	tracker_set_state(c, CAPSULE_GONE);
	tracker_save(e->reaper->tracker, c, gone_saved, e);
}

static void
try_later(struct ending *e, uint64_t ms)
{
	timer_set(e->timer, (int64_t)ms);
}

/* Asks, and notes which credential the answer will be about. */
static void
ask(struct ending *e, struct upstream_request *r, query_fn *fn)
{
	e->generation = cred_generation(e->reaper->cred);
	e->query = query_start(e->reaper->upstream, r, fn, e);
}

/*
 * Whether the answer that just came may prove that it is not there: another
 * team's credential finds nothing, and nor does another server.
 */
static bool
proves_absence(const struct ending *e)
{
	const struct reaper *r = e->reaper;
	const struct capsule_row *row = &e->capsule->row;

	return e->generation == cred_generation(r->cred) &&
	       strcmp(cred_identity(r->cred), row->identity) == 0 &&
	       strcmp(upstream_base_url(r->upstream), row->base_url) == 0;
}

/* Listed after two 404s: only a good list without it ends the matter. */
static void
listed(void *arg, struct json_object *answer, struct rpc_error *error)
{
	struct ending *e = arg;
	size_t i, n;

	e->query = NULL;
	if (error != NULL || !json_object_is_type(answer, json_type_array) ||
	    !proves_absence(e)) {
		try_later(e, reaper_backoff_ms(++e->tries));
		return;
	}
	n = json_object_array_length(answer);
	for (i = 0; i < n; i++) {
		const char *id =
		    jx_str(json_object_array_get_idx(answer, i), "id");

		if (id != NULL && strcmp(id, e->capsule->row.id) == 0) {
			e->not_found_ms = 0;
			try_later(e, reaper_backoff_ms(++e->tries));
			return;
		}
	}
	set_gone(e);
}

static void
not_found(struct ending *e)
{
	uint64_t now = now_ms();

	if (!proves_absence(e)) {
		try_later(e, BACKOFF_MAX_MS);
		return;
	}
	if (e->not_found_ms == 0)
		e->not_found_ms = now;
	if (now - e->not_found_ms < NOT_FOUND_GAP_MS) {
		try_later(e, NOT_FOUND_GAP_MS - (now - e->not_found_ms));
		return;
	}
	ask(e, api_capsule_list(), listed);
}

static void
deleted(void *arg, struct json_object *answer, struct rpc_error *error)
{
	struct ending *e = arg;

	(void)answer;
	e->query = NULL;
	if (error == NULL) {
		set_gone(e);
		return;
	}
	e->tries++;
	log_warn("capsule not destroyed yet id=%s tries=%d error=%s message=%s",
	    e->capsule->row.id, e->tries, rpc_error_row(error->kind)->name,
	    error->message);
	tell_callers(e, error);
	if (error->kind == RPC_NOT_FOUND)
		not_found(e);
	else
		try_later(e, reaper_backoff_ms(e->tries));
}

static void
try_now(void *arg)
{
	struct ending *e = arg;

	/* The timer may be armed while it is saved, asked or gone. */
	if (e->query != NULL || e->saving ||
	    e->capsule->row.state != CAPSULE_ENDING)
		return;
	ask(e, api_capsule_destroy(e->capsule->row.id), deleted);
}

static struct ending *
ending_new(struct reaper *r, struct capsule *c)
{
	struct ending *e = xcalloc(1, sizeof(*e));

	e->reaper = r;
	e->capsule = c;
	e->timer = timer_new(r->loop, try_now, e);
	STAILQ_INIT(&e->callers);
	capsule_ref(c);
	c->ending = e;
	LIST_INSERT_HEAD(&r->endings, e, entry);
	return e;
}

static void
ending_saved(void *arg, int error)
{
	struct ending *e = arg;

	e->saving = false;
	if (error == -ECANCELED)
		return; /* wrennd is stopping; the next run sees `live` */
	/* Destroying goes on with a full disk: it can only set things right. */
	if (error != 0)
		log_warn("capsule is destroyed without a record of it id=%s",
		    e->capsule->row.id);
	try_now(e);
}

void
reaper_end(struct reaper *r, struct capsule *c, reaper_fn *fn, void *arg)
{
	struct reaper_caller *caller = xcalloc(1, sizeof(*caller));
	struct ending *e = c->ending ? c->ending : ending_new(r, c);

	caller->fn = fn;
	caller->arg = arg;
	STAILQ_INSERT_TAIL(&e->callers, caller, entry);
	if (c->row.state == CAPSULE_GONE || e->saving)
		return; /* gone_saved() and ending_saved() go on */
	if (c->row.state == CAPSULE_ENDING) {
		try_now(e);
		return;
	}
	e->saving = true;
	tracker_set_state(c, CAPSULE_ENDING);
	tracker_save(r->tracker, c, ending_saved, e);
}

void
reaper_start(struct reaper *r)
{
	struct capsule *c;

	for (c = tracker_first(r->tracker); c != NULL; c = tracker_next(c))
		if (c->row.state == CAPSULE_ENDING && c->ending == NULL)
			try_later(ending_new(r, c), 0);
}

void
reaper_kick(struct reaper *r)
{
	struct ending *e;

	LIST_FOREACH(e, &r->endings, entry)
		if (e->capsule->row.state == CAPSULE_ENDING)
			try_later(e, 0);
}
