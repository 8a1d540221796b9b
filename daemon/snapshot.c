#include "daemon/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "daemon/api.h"
#include "daemon/api_team.h"
#include "daemon/capsules.h"
#include "daemon/query.h"
#include "daemon/tracker.h"
#include "daemon/upstream.h"
#include "proto/jx.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

/*
 * One snapshot: that the capsule will sleep is noted, then the request is
 * sent. If the name is taken and may be used, and the server does not replace
 * by itself, the capsule is looked at, the old one deleted and the request sent
 * once more. Holds a reference to its capsule, until finish() or
 * snapshot_cancel().
 */
struct snapshot {
	struct snapshot_parts parts;
	struct snapshot_spec spec;
	struct target target;
	struct query *query;
	bool was_by_hand; /* paused so before */
	/* The older one: deleted for sure, or not found by the delete, which
	 * may have been sent twice. */
	enum { OLD_KEPT, OLD_MISSED, OLD_DELETED } old;
};

static void
snapshot_free(struct snapshot *s)
{
	capsule_unref(s->target.capsule);
	free(s);
}

void
snapshot_cancel(struct snapshot *s)
{
	query_cancel(s->query);
	snapshot_free(s);
}

static void
set_by_hand(struct snapshot *s, bool by_hand)
{
	struct capsule *c = s->target.capsule;

	if (c == NULL || c->forgotten || c->row.paused_by_hand == by_hand)
		return;
	c->row.paused_by_hand = by_hand;
	tracker_save(s->parts.tracker, c, NULL, NULL);
}

/* Says first what became of the older snapshot. */
static void
add_words(struct snapshot *s, struct rpc_error *e, const char *what)
{
	char *text = xasprintf(
	    "the older snapshot %s %s: %s", s->spec.name, what, e->message);

	snprintf(e->message, sizeof(e->message), "%s", text);
	free(text);
}

static void
finish(struct snapshot *s, const char *text, size_t len, struct rpc_error *e)
{
	if (e != NULL)
		capsules_explain(s->parts.capsules, s->target.capsule, e);
	s->spec.fn(s->spec.arg, text, len, e);
	snapshot_free(s);
}

/* Nothing was done: the capsule is as it was. */
static void
undo(struct snapshot *s, struct rpc_error *e)
{
	set_by_hand(s, s->was_by_hand);
	finish(s, "", 0, e);
}

static void send_create(struct snapshot *s);

static void
old_deleted(void *arg, const char *text, size_t len, struct rpc_error *e)
{
	struct snapshot *s = arg;

	(void)text;
	(void)len;
	s->query = NULL;
	if (e == NULL || e->kind == RPC_NOT_FOUND) {
		s->old = e == NULL ? OLD_DELETED : OLD_MISSED;
		send_create(s);
		return;
	}
	add_words(s, e,
	    e->http_status >= 400 && e->http_status < 500 ? "is still there"
							  : "may be gone");
	undo(s, e);
}

static void
delete_old(struct snapshot *s)
{
	s->query = query_start_text(s->parts.upstream,
	    api_snapshot_delete(s->spec.name), old_deleted, s);
}

/*
 * Servers may look at the name before they look at the capsule. What is there
 * is not deleted for one of which none can be taken.
 */
static void
looked(void *arg, struct json_object *answer, struct rpc_error *e)
{
	const char *status = jx_str(answer, "status");
	struct snapshot *s = arg;
	struct rpc_error odd;

	s->query = NULL;
	if (status != NULL &&
	    (strcmp(status, "running") == 0 || strcmp(status, "paused") == 0)) {
		delete_old(s);
		return;
	}
	if (e == NULL) {
		rpc_error_set(&odd, RPC_CONFLICT,
		    "the capsule is neither running nor paused (status: %.32s)",
		    status != NULL ? status : "none");
		e = &odd;
	}
	add_words(s, e, "is still there");
	undo(s, e);
}

/* Whether the name is to be made free: once. */
static bool
may_make_room(const struct snapshot *s, bool is_taken)
{
	return s->spec.overwrite && s->old == OLD_KEPT && is_taken;
}

static void
make_room(struct snapshot *s)
{
	s->query = query_start(
	    s->parts.upstream, api_capsule_get(s->target.id), looked, s);
}

static void
taken(struct snapshot *s, const char *text, size_t len)
{
	/* A look at it meanwhile may have found it running still. */
	set_by_hand(s, true);
	if (s->target.capsule != NULL)
		capsule_note(s->target.capsule, "paused");
	finish(s, text, len, NULL);
}

/* Says what became of the older one, whatever became of the new. */
static void
tell_old(struct snapshot *s, struct rpc_error *e)
{
	bool sure = s->old == OLD_DELETED;

	if (e->kind == RPC_OUTCOME_UNKNOWN)
		add_words(s, e,
		    sure ? "was deleted, and whether the new one was taken is "
			   "not known"
			 : "may be gone, and whether the new one was taken is "
			   "not known");
	else
		add_words(s, e,
		    sure ? "was deleted, but taking the new one failed"
			 : "may be gone, but taking the new one failed");
	if (!sure)
		return;
	if (e->extra == NULL)
		e->extra = json_object_new_object();
	jx_add_bool(e->extra, "deleted", true);
}

static void
failed(struct snapshot *s, struct rpc_error *e)
{
	bool is_taken = e->http_status == 409 &&
			strcmp(e->upstream_code, "template_name_taken") == 0;
	bool done = e->http_status >= 200 && e->http_status < 300;

	if (may_make_room(s, is_taken)) {
		make_room(s);
		return;
	}
	if (s->old == OLD_DELETED || (s->old == OLD_MISSED && !is_taken))
		tell_old(s, e);
	/* It sleeps, or may after a lost answer, as it was asked to. */
	if (done || e->kind == RPC_OUTCOME_UNKNOWN)
		finish(s, "", 0, e);
	else
		undo(s, e);
}

static void
answered(void *arg, const char *text, size_t len, struct rpc_error *e)
{
	struct snapshot *s = arg;

	s->query = NULL;
	if (e == NULL)
		taken(s, text, len);
	else
		failed(s, e);
}

static void
send_create(struct snapshot *s)
{
	s->query = query_start_text(s->parts.upstream,
	    api_snapshot_create(s->target.id, s->spec.name, s->spec.overwrite),
	    answered, s);
}

static void
by_hand_saved(void *arg, int error)
{
	struct snapshot *s = arg;
	struct rpc_error e;

	if (error != -ECANCELED) {
		send_create(s); /* as for a pause, a full disk is no reason */
		return;
	}
	rpc_error_set(&e, RPC_SHUTTING_DOWN, "wrennd is stopping");
	finish(s, "", 0, &e);
}

struct snapshot *
snapshot_start(const struct snapshot_parts *parts,
    const struct snapshot_spec *spec, struct rpc_error *why)
{
	struct target target;
	struct capsule *c;
	struct snapshot *s;

	if (capsules_target(
		parts->capsules, spec->uid, spec->ref, &target, why) < 0)
		return NULL;
	s = xcalloc(1, sizeof(*s));
	s->parts = *parts;
	s->spec = *spec;
	s->spec.ref = NULL; /* lent for this call only */
	s->target = target;
	c = target.capsule;
	if (c == NULL) {
		send_create(s);
		return s;
	}
	/*
	 * On disk before the request leaves: a later run must not take the
	 * capsule for one that fell asleep, and wake it.
	 */
	capsule_ref(c);
	s->was_by_hand = c->row.paused_by_hand;
	c->row.paused_by_hand = true;
	tracker_save(parts->tracker, c, by_hand_saved, s);
	return s;
}
