#include "daemon/use.h"

#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "daemon/api.h"
#include "daemon/capsules.h"
#include "daemon/keepalive.h"
#include "daemon/loop.h"
#include "daemon/tracker.h"
#include "daemon/upstream.h"
#include "daemon/wake.h"
#include "proto/jx.h"
#include "proto/queue.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define SENDS_MAX 3 /* once, and after each of two resumes */

/*
 * One use: look, perhaps wake, send, and once more when the capsule fell
 * asleep in between (a 409 was not carried out). Holds a reference to its
 * capsule, and unless it is passive keeps it awake, until finish() or
 * use_cancel().
 */
struct use {
	struct uses *all;
	struct use_spec spec;
	struct target target;
	struct wake_caller *wake;
	struct upstream_request *request;
	struct upstream_call *call;
	struct later ready; /* of one without a request */
	int sends;
	bool resumed;
	LIST_ENTRY(use) entry;
};

struct uses {
	struct loop *loop;
	struct capsules *capsules;
	struct upstream *upstream;
	struct keepalive *keepalive;
	struct wakes *wakes;
	LIST_HEAD(, use) list;
};

struct uses *
uses_new(struct loop *l, struct capsules *cs, struct upstream *u,
    struct keepalive *k, struct wakes *w)
{
	struct uses *us = xcalloc(1, sizeof(*us));

	*us = (struct uses){ l, cs, u, k, w, LIST_HEAD_INITIALIZER(us->list) };
	return us;
}

static void
use_free(struct use *u)
{
	LIST_REMOVE(u, entry);
	later_cancel(u->all->loop, &u->ready);
	wake_cancel(u->wake);
	upstream_cancel(u->call);
	upstream_request_free(u->request);
	if (u->target.capsule != NULL && !u->spec.passive)
		keepalive_drop(u->target.capsule);
	capsule_unref(u->target.capsule);
	free(u);
}

void
uses_free(struct uses *us)
{
	struct use *u;

	if (us == NULL)
		return;
	while ((u = LIST_FIRST(&us->list)) != NULL)
		use_free(u);
	free(us);
}

void
use_cancel(struct use *u)
{
	use_free(u);
}

void
use_resume(struct use *u)
{
	if (u->call != NULL)
		upstream_resume(u->call);
}

static void
finish(struct use *u, const struct upstream_answer *answer, struct rpc_error *e)
{
	if (e != NULL)
		capsules_explain(u->all->capsules, u->target.capsule, e);
	u->spec.done(u->spec.arg, answer, u->resumed, e);
	use_free(u);
}

static void send_request(struct use *u);

static void
woken(void *arg, bool resumed, struct rpc_error *e)
{
	struct use *u = arg;

	u->wake = NULL;
	u->resumed |= resumed;
	if (e != NULL)
		finish(u, NULL, e);
	else
		send_request(u);
}

static void
wake(struct use *u)
{
	struct capsule *c = u->target.capsule;

	u->wake = wake_start(u->all->wakes, c,
	    capsules_may_resume(u->all->capsules, c, u->spec.auto_resume),
	    woken, u);
}

/* A 409 of a capsule of ours that may be brought to run. */
static bool
may_wake(const struct use *u, const struct rpc_error *e)
{
	return u->target.capsule != NULL && !u->spec.look_first &&
	       u->sends < SENDS_MAX && api_is_not_running(e);
}

static void
answered(void *arg, const struct upstream_answer *a)
{
	struct use *u = arg;
	struct rpc_error e = { .kind = RPC_OK };

	u->call = NULL;
	if (api_check(a, u->request->idempotent, &e) == RPC_OK) {
		finish(u, a, NULL);
	} else if (may_wake(u, &e)) {
		upstream_request_free(u->request);
		u->request = NULL;
		wake(u);
	} else {
		finish(u, a, &e);
	}
	rpc_error_release(&e);
}

static void
ready(void *arg)
{
	struct use *u = arg;

	u->spec.ready(u->spec.arg, u->target.id, u->resumed);
}

static void
send_request(struct use *u)
{
	u->sends++;
	if (u->target.capsule != NULL && !u->spec.passive)
		keepalive_touch(u->target.capsule);
	if (u->spec.request == NULL) {
		loop_later(u->all->loop, &u->ready);
		return;
	}
	u->request = u->spec.request(u->spec.arg, u->target.id);
	u->call = upstream_send(u->all->upstream, u->request, answered, u);
}

struct use *
use_start(struct uses *us, const struct use_spec *spec, struct rpc_error *why)
{
	struct target target;
	struct use *u;

	if (capsules_target(us->capsules, spec->uid, spec->ref, &target, why) <
	    0)
		return NULL;
	u = xcalloc(1, sizeof(*u));
	u->all = us;
	u->spec = *spec;
	u->spec.ref = NULL; /* lent for this call only */
	u->target = target;
	later_init(&u->ready, ready, u);
	LIST_INSERT_HEAD(&us->list, u, entry);
	if (target.capsule != NULL)
		capsule_ref(target.capsule);
	if (target.capsule != NULL && !spec->passive)
		keepalive_hold(us->keepalive, target.capsule);
	if (spec->look_first && target.capsule != NULL)
		wake(u);
	else
		send_request(u);
	return u;
}

int
use_auto_resume(struct json_object *params)
{
	struct json_object *v;

	if (!jx_get(params, "auto_resume", &v))
		return -1;
	return jx_bool(params, "auto_resume", true);
}
