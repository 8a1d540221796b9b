#include "daemon/capsules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "daemon/api.h"
#include "daemon/creation.h"
#include "daemon/cred.h"
#include "daemon/keepalive.h"
#include "daemon/log.h"
#include "daemon/query.h"
#include "daemon/reaper.h"
#include "daemon/settings.h"
#include "daemon/tracker.h"
#include "daemon/upstream.h"
#include "daemon/view.h"
#include "daemon/watch.h"
#include "proto/buf.h"
#include "proto/ident.h"
#include "proto/json_check.h"
#include "proto/json_out.h"
#include "proto/json_walk.h"
#include "proto/jx.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define LOOKS_MAX 16 /* at rows that a list lacked, for each list */

struct capsules {
	struct capsules_parts parts;
	struct creations *creations;
	struct query *look; /* at the list, for rows of another credential */
	uint64_t look_generation; /* of the credential when it was asked */
	bool auto_resume, system_wide;
	LIST_HEAD(, capsule_op) ops;
};

/*
 * One operation under way. Holds a reference to its capsule, if that is
 * tracked; ends in finish(), or by capsule_op_cancel().
 */
struct capsule_op {
	struct capsules *capsules;
	struct target target;
	struct json_object *params; /* of a list */
	uid_t uid;
	uint64_t generation; /* of the credential when it began */
	bool was_by_hand;    /* paused so before this pause */
	struct query *query;
	struct waiter *waiter;
	capsules_fn *fn;
	void *arg;
	LIST_ENTRY(capsule_op) entry;
};

struct capsules *
capsules_new(const struct capsules_parts *parts, const struct settings *s)
{
	struct capsules *cs = xcalloc(1, sizeof(*cs));

	cs->parts = *parts;
	cs->creations = creations_new(
	    cs, parts->upstream, parts->tracker, parts->watches, parts->cred);
	LIST_INIT(&cs->ops);
	capsules_settings_changed(cs, s);
	return cs;
}

void
capsules_settings_changed(struct capsules *cs, const struct settings *s)
{
	cs->auto_resume = s->auto_resume;
	cs->system_wide = s->system_wide;
	creations_settings_changed(cs->creations, s);
}

static void
op_free(struct capsule_op *op)
{
	LIST_REMOVE(op, entry);
	query_cancel(op->query);
	waiter_cancel(op->waiter);
	json_object_put(op->params);
	capsule_unref(op->target.capsule);
	free(op);
}

void
capsules_free(struct capsules *cs)
{
	struct capsule_op *op;

	if (cs == NULL)
		return;
	while ((op = LIST_FIRST(&cs->ops)) != NULL)
		op_free(op);
	query_cancel(cs->look);
	creations_free(cs->creations);
	free(cs);
}

/* ---- what is known here ---- */

static struct json_object *
labels_of(const struct capsule *c)
{
	struct json_check_fault fault;
	struct json_object *o = NULL;

	if (c->row.labels != NULL)
		o = jx_parse(c->row.labels, strlen(c->row.labels), &fault);
	return o ? o : json_object_new_object();
}

/* Made with another credential, or on another server. */
static bool
is_foreign(struct capsules *cs, const struct capsule *c)
{
	return strcmp(c->row.identity, cred_identity(cs->parts.cred)) != 0 ||
	       strcmp(c->row.base_url, upstream_base_url(cs->parts.upstream)) !=
		   0;
}

static void
bind_row(struct capsules *cs, struct capsule *c)
{
	snprintf(c->row.identity, sizeof(c->row.identity), "%s",
	    cred_identity(cs->parts.cred));
	free(c->row.base_url);
	c->row.base_url = xstrdup(upstream_base_url(cs->parts.upstream));
	log_info("capsule belongs to the new credential too id=%s", c->row.id);
}

static void
forget_gone(void *arg, int error)
{
	struct capsule *c = arg;

	(void)error;
	capsule_unref(c);
}

/* Upstream says that it is stopped: nothing will bring it back. */
static void
set_gone(struct capsules *cs, struct capsule *c)
{
	log_info(
	    "capsule was stopped upstream id=%s uid=%u", c->row.id, c->row.uid);
	tracker_set_state(c, CAPSULE_GONE);
	if (c->row.key[0] == '\0') {
		tracker_forget(cs->parts.tracker, c);
		return;
	}
	capsule_ref(c);
	tracker_save(cs->parts.tracker, c, forget_gone, c);
}

/*
 * Learns from the status that upstream showed, or "". An answer to a request
 * that an earlier credential may have asked says nothing about this one's
 * capsules.
 */
static void
observe(struct capsules *cs, struct capsule *c, uint64_t generation,
    const char *status)
{
	bool changed = false;

	if (c == NULL || status[0] == '\0' || c->row.state != CAPSULE_LIVE ||
	    generation != cred_generation(cs->parts.cred))
		return;
	if (strcmp(status, "stopped") == 0) {
		set_gone(cs, c);
		return;
	}
	/* A credential that is shown it is of the team that made it. */
	if (is_foreign(cs, c)) {
		bind_row(cs, c);
		changed = true;
	}
	if (strcmp(status, "running") == 0 && c->row.paused_by_hand) {
		c->row.paused_by_hand = false;
		changed = true;
	}
	if (changed)
		tracker_save(cs->parts.tracker, c, NULL, NULL);
}

void
capsules_explain(
    struct capsules *cs, const struct capsule *c, struct rpc_error *e)
{
	size_t n = strlen(e->message);

	if (c == NULL || e->kind != RPC_NOT_FOUND || !is_foreign(cs, c))
		return;
	snprintf(e->message + n, sizeof(e->message) - n,
	    " (capsule %s was made with another credential or server than "
	    "those in use: %.12s at %s)",
	    c->row.id, c->row.identity, c->row.base_url);
}

bool
capsules_may_resume(struct capsules *cs, const struct capsule *c, int wish)
{
	if (wish >= 0)
		return wish;
	return c->row.auto_resume >= 0 ? c->row.auto_resume : cs->auto_resume;
}

/* ---- targets ---- */

static int
refuse_state(const struct capsule *c, struct rpc_error *why)
{
	switch (c->row.state) {
	case CAPSULE_LIVE:
		return 0;
	case CAPSULE_CREATING:
		rpc_error_set(why, RPC_CONFLICT,
		    "capsule %s is still being created", c->row.record);
		return -EBUSY;
	case CAPSULE_UNCERTAIN:
		rpc_error_set(why, RPC_CONFLICT,
		    "%s is a create whose answer was lost, so its ID is not "
		    "known; wrennctl ls -a shows what upstream has, and "
		    "wrennctl rm %s forgets the record",
		    c->row.record, c->row.record);
		return -EBUSY;
	case CAPSULE_ENDING:
		rpc_error_set(why, RPC_NOT_FOUND,
		    "capsule %s is being destroyed", c->row.id);
		return -ENOENT;
	case CAPSULE_GONE:
		rpc_error_set(
		    why, RPC_NOT_FOUND, "capsule %s is gone", c->row.id);
		return -ENOENT;
	}
	return -EINVAL;
}

/* Of a machine's users only those who administer see what nobody here made. */
static bool
may_see_untracked(const struct capsules *cs, uid_t uid)
{
	return !cs->system_wide || uid == 0 || uid == geteuid();
}

int
capsules_target(struct capsules *cs, uid_t uid, const char *ref,
    struct target *ret, struct rpc_error *why)
{
	struct capsule *c;
	int r;

	c = tracker_resolve(cs->parts.tracker, uid, ref, NULL);
	if (c != NULL) {
		r = refuse_state(c, why);
		if (r < 0)
			return r;
		memcpy(ret->id, c->row.id, sizeof(ret->id));
		ret->capsule = c;
		return 0;
	}
	/* One that was not created here; but another user's stays hidden. */
	if (!ident_is_id(ref, "cl") || !may_see_untracked(cs, uid) ||
	    tracker_by_id(cs->parts.tracker, ref) != NULL) {
		/* Again, for the words that people get. */
		tracker_resolve(cs->parts.tracker, uid, ref, why);
		return -ENOENT;
	}
	memcpy(ret->id, ref, strlen(ref) + 1); /* an ID has its length */
	ret->capsule = NULL;
	return 0;
}

/* ---- operations ---- */

static struct capsule_op *
op_new(struct capsules *cs, uid_t uid, const struct target *target,
    capsules_fn *fn, void *arg)
{
	struct capsule_op *op = xcalloc(1, sizeof(*op));

	op->capsules = cs;
	op->uid = uid;
	op->generation = cred_generation(cs->parts.cred);
	op->fn = fn;
	op->arg = arg;
	if (target != NULL)
		op->target = *target;
	if (op->target.capsule != NULL)
		capsule_ref(op->target.capsule);
	LIST_INSERT_HEAD(&cs->ops, op, entry);
	return op;
}

void
capsule_op_cancel(struct capsule_op *op)
{
	if (op != NULL)
		op_free(op);
}

static void
finish(struct capsule_op *op, const struct buf *result, struct rpc_error *e)
{
	if (e != NULL)
		capsules_explain(op->capsules, op->target.capsule, e);
	op->fn(op->arg, result, e);
	op_free(op);
}

/* A target and its operation, or fn called with why not. */
static struct capsule_op *
op_on(
    struct capsules *cs, uid_t uid, const char *ref, capsules_fn *fn, void *arg)
{
	struct rpc_error why;
	struct target target;

	if (capsules_target(cs, uid, ref, &target, &why) < 0) {
		fn(arg, NULL, &why);
		return NULL;
	}
	return op_new(cs, uid, &target, fn, arg);
}

/* ---- results ---- */

/* Room for what is told from here, mostly: so it need not grow. */
static void
result_init(struct buf *b, struct json_out *out, size_t shown)
{
	char *space;

	buf_init(b, LIMIT_ANSWER_LINE);
	buf_reserve(b, shown < LIMIT_ANSWER_LINE / 2 ? shown + 512 : 0, &space);
	json_out_init(out, b);
}

/* Tells fn of what was written, or that it did not fit. */
static void
result_tell(
    struct buf *b, const struct json_out *out, capsules_fn *fn, void *arg)
{
	struct rpc_error e;

	if (out->error == 0) {
		fn(arg, b, NULL);
	} else {
		rpc_error_set(
		    &e, RPC_TOO_LARGE, "the answer is larger than 16 MiB");
		fn(arg, NULL, &e);
	}
	buf_release(b);
}

void
capsules_tell(const struct capsule *c, struct json_object *tree,
    capsules_fn *fn, void *arg)
{
	struct json_out out;
	struct buf b, text;
	struct shown s;

	buf_init(&text, LIMIT_ANSWER_LINE);
	if (tree != NULL)
		jx_print(&text, tree);
	shown_init(&s, buf_head(&text), text.len);
	result_init(&b, &out, s.len);
	view_print(&out, c, &s);
	buf_release(&text);
	result_tell(&b, &out, fn, arg);
}

/*
 * Ends it with what upstream showed. What the record says is told as it was
 * before the answer, and what is learnt from it is for the next one.
 */
static void
finish_shown(struct capsule_op *op, const struct shown *s, bool learn)
{
	struct capsule *c = op->target.capsule;
	struct json_out out;
	struct buf b;

	result_init(&b, &out, s->len);
	view_print(&out, c, s);
	if (learn)
		observe(op->capsules, c, op->generation, s->status);
	result_tell(&b, &out, op->fn, op->arg);
	op_free(op);
}

/* Ends it with the text of upstream's answer, or with the error. */
static void
finish_text(struct capsule_op *op, const char *text, size_t len, bool learn,
    struct rpc_error *e)
{
	struct rpc_error odd;
	struct shown s;

	/* An answer without a body tells nothing of one not on record. */
	if (len == 0 && op->target.capsule == NULL) {
		text = "{}";
		len = 2;
	}
	if (e == NULL && !shown_init(&s, text, len)) {
		rpc_error_set(&odd, RPC_BAD_ANSWER,
		    "what upstream answered is no capsule");
		e = &odd;
	}
	if (e != NULL)
		finish(op, NULL, e);
	else
		finish_shown(op, &s, learn);
}

static void
shown(void *arg, const char *text, size_t len, struct rpc_error *e)
{
	struct capsule_op *op = arg;

	op->query = NULL;
	finish_text(op, text, len, true, e);
}

struct capsule_op *
capsules_get(
    struct capsules *cs, uid_t uid, const char *ref, capsules_fn *fn, void *arg)
{
	struct capsule *c = tracker_resolve(cs->parts.tracker, uid, ref, NULL);
	struct capsule_op *op;

	/* A row without an ID can be shown all the same. */
	if (c != NULL && c->row.state != CAPSULE_LIVE) {
		capsules_tell(c, NULL, fn, arg);
		return NULL;
	}
	op = op_on(cs, uid, ref, fn, arg);
	if (op != NULL)
		op->query = query_start_text(cs->parts.upstream,
		    api_capsule_get(op->target.id), shown, op);
	return op;
}

static void
pinged(void *arg, const char *text, size_t len, struct rpc_error *e)
{
	struct capsule_op *op = arg;
	struct json_out out;
	struct buf b;

	(void)text;
	(void)len;
	op->query = NULL;
	if (e == NULL && op->target.capsule != NULL)
		keepalive_touch(op->target.capsule);
	if (e != NULL) {
		finish(op, NULL, e);
		return;
	}
	result_init(&b, &out, 0);
	json_out_object(&out, NULL);
	json_out_end_object(&out);
	finish(op, &b, NULL);
	buf_release(&b);
}

struct capsule_op *
capsules_ping(
    struct capsules *cs, uid_t uid, const char *ref, capsules_fn *fn, void *arg)
{
	struct capsule_op *op = op_on(cs, uid, ref, fn, arg);

	if (op != NULL)
		op->query = query_start_text(cs->parts.upstream,
		    api_capsule_action(op->target.id, "ping"), pinged, op);
	return op;
}

static void
set_paused_by_hand(struct capsule_op *op, bool paused, store_fn *fn)
{
	struct capsule *c = op->target.capsule;

	if (c->forgotten)
		return; /* destroyed meanwhile: nothing is to be written */
	c->row.paused_by_hand = paused;
	tracker_save(op->capsules->parts.tracker, c, fn, op);
}

static void
paused(void *arg, const char *text, size_t len, struct rpc_error *e)
{
	struct capsule_op *op = arg;
	struct capsule *c = op->target.capsule;

	op->query = NULL;
	if (e == NULL && c != NULL) {
		/* A look at it meanwhile may have found it running still. */
		if (!c->row.paused_by_hand)
			set_paused_by_hand(op, true, NULL);
		capsule_note(c, "paused");
	}
	/* After a lost answer it may sleep: it was asked for by hand. */
	if (e != NULL && e->kind != RPC_OUTCOME_UNKNOWN && c != NULL &&
	    c->row.paused_by_hand != op->was_by_hand)
		set_paused_by_hand(op, op->was_by_hand, NULL);
	finish_text(op, text, len, false, e);
}

static void
send_pause(struct capsule_op *op)
{
	op->query = query_start_text(op->capsules->parts.upstream,
	    api_capsule_action(op->target.id, "pause"), paused, op);
}

static void
by_hand_saved(void *arg, int error)
{
	struct capsule_op *op = arg;
	struct rpc_error e;

	if (error != -ECANCELED) {
		send_pause(op); /* a full disk is no reason to keep it awake */
		return;
	}
	rpc_error_set(&e, RPC_SHUTTING_DOWN, "wrennd is stopping");
	finish(op, NULL, &e);
}

/*
 * That it is by hand is on disk before the request leaves: a later run must
 * not take the capsule for one that fell asleep, and wake it.
 */
void
capsules_pause(
    struct capsules *cs, uid_t uid, const char *ref, capsules_fn *fn, void *arg)
{
	struct capsule_op *op = op_on(cs, uid, ref, fn, arg);

	if (op == NULL)
		return;
	if (op->target.capsule == NULL) {
		send_pause(op);
		return;
	}
	op->was_by_hand = op->target.capsule->row.paused_by_hand;
	set_paused_by_hand(op, true, by_hand_saved);
}

static void
resumed(void *arg, const char *text, size_t len, struct rpc_error *e)
{
	struct capsule_op *op = arg;

	op->query = NULL;
	if (e == NULL && op->target.capsule != NULL) {
		set_paused_by_hand(op, false, NULL);
		capsule_note(op->target.capsule, "resumed");
		keepalive_touch(op->target.capsule);
	}
	finish_text(op, text, len, false, e);
}

void
capsules_resume(
    struct capsules *cs, uid_t uid, const char *ref, capsules_fn *fn, void *arg)
{
	struct capsule_op *op = op_on(cs, uid, ref, fn, arg);

	if (op != NULL)
		op->query = query_start_text(cs->parts.upstream,
		    api_capsule_action(op->target.id, "resume"), resumed, op);
}

static void
waited(void *arg, struct json_object *answer, struct rpc_error *e)
{
	struct capsule_op *op = arg;
	struct buf text;

	op->waiter = NULL;
	buf_init(&text, LIMIT_ANSWER_LINE);
	if (e == NULL)
		jx_print(&text, answer);
	finish_text(op, buf_head(&text), text.len, true, e);
	buf_release(&text);
}

struct capsule_op *
capsules_wait(struct capsules *cs, uid_t uid, struct json_object *params,
    capsules_fn *fn, void *arg)
{
	const char *status = jx_str(params, "status");
	struct capsule_op *op;
	int64_t seconds = 60;

	jx_int(params, "timeout_sec", 1, INT32_MAX, &seconds);
	op = op_on(cs, uid, jx_str(params, "capsule"), fn, arg);
	if (op != NULL)
		op->waiter = waiter_new(cs->parts.watches, op->target.id,
		    status ? status : "running", (uint64_t)seconds * 1000,
		    waited, op);
	return op;
}

/* ---- destroying ---- */

static void
tell_destroyed(const char *id, const char *state, capsules_fn *fn, void *arg)
{
	struct json_out out;
	struct buf b;

	result_init(&b, &out, 0);
	json_out_object(&out, NULL);
	json_out_str(&out, "id", id);
	json_out_str(&out, "state", state);
	json_out_end_object(&out);
	result_tell(&b, &out, fn, arg);
}

static void
finish_destroy(struct capsule_op *op, struct rpc_error *e)
{
	if (e != NULL) {
		finish(op, NULL, e);
		return;
	}
	tell_destroyed(op->target.id, "gone", op->fn, op->arg);
	op_free(op);
}

static void
reaped(void *arg, struct rpc_error *e)
{
	struct capsule_op *op = arg;
	size_t n;

	if (e != NULL && e->kind != RPC_SHUTTING_DOWN) {
		n = strlen(e->message);
		snprintf(e->message + n, sizeof(e->message) - n,
		    "; wrennd goes on trying to destroy %s", op->target.id);
	}
	finish_destroy(op, e);
}

static void
deleted(void *arg, struct json_object *answer, struct rpc_error *e)
{
	struct capsule_op *op = arg;

	(void)answer;
	op->query = NULL;
	finish_destroy(op, e);
}

/* Forgets the record of a lost create, by hand and by its record ID. */
static bool
forget_uncertain(
    struct capsules *cs, struct capsule *c, capsules_fn *fn, void *arg)
{
	if (c->row.state != CAPSULE_UNCERTAIN)
		return false;
	log_info("the record of a lost create is forgotten by hand record=%s",
	    c->row.record);
	tell_destroyed(c->row.record, "forgotten", fn, arg);
	tracker_forget(cs->parts.tracker, c);
	return true;
}

void
capsules_destroy(
    struct capsules *cs, uid_t uid, const char *ref, capsules_fn *fn, void *arg)
{
	struct capsule *c = tracker_resolve(cs->parts.tracker, uid, ref, NULL);
	struct capsule_op *op;
	struct target target;

	if (c != NULL && forget_uncertain(cs, c, fn, arg))
		return;
	if (c != NULL && c->row.state == CAPSULE_ENDING) {
		target.capsule = c;
		snprintf(target.id, sizeof(target.id), "%s", c->row.id);
		op = op_new(cs, uid, &target, fn, arg);
	} else {
		op = op_on(cs, uid, ref, fn, arg);
	}
	if (op == NULL)
		return;
	if (op->target.capsule != NULL)
		reaper_end(cs->parts.reaper, op->target.capsule, reaped, op);
	else
		op->query = query_start(cs->parts.upstream,
		    api_capsule_destroy(op->target.id), deleted, op);
}

/* ---- listing ---- */

static bool
has_labels(const struct capsule *c, struct json_object *wanted)
{
	struct json_object *have;
	bool all = true;

	if (wanted == NULL)
		return true;
	have = labels_of(c);
	json_object_object_foreach(wanted, key, value) {
		const char *mine = jx_str(have, key);

		if (mine == NULL || strcmp(mine, jx_text_of(value, NULL)) != 0)
			all = false;
	}
	json_object_put(have);
	return all;
}

/* Adds what upstream listed; notes which rows were among it. */
static void
add_listed(struct capsule_op *op, struct json_out *list, const struct shown *s)
{
	struct capsules *cs = op->capsules;
	struct json_object *wanted = jx_obj(op->params, "labels");
	struct capsule *c;

	if (s->id[0] == '\0')
		return;
	c = tracker_by_id(cs->parts.tracker, s->id);
	if (c == NULL) {
		if (jx_bool(op->params, "untracked", false) && wanted == NULL &&
		    may_see_untracked(cs, op->uid))
			view_print(list, NULL, s);
		return;
	}
	if (c->row.uid == op->uid && has_labels(c, wanted))
		view_print(list, c, s);
	c->listed = true;
	observe(cs, c, op->generation, s->status);
}

/* A look at a row that the list lacked; the next list knows more. */
static void
looked(void *arg, const struct buf *result, struct rpc_error *e)
{
	(void)arg;
	(void)result;
	(void)e;
}

/* Rows that the list lacks: being created, uncertain, stopped elsewhere. */
static void
add_unlisted(struct capsule_op *op, struct json_out *list)
{
	struct capsules *cs = op->capsules;
	struct json_object *wanted = jx_obj(op->params, "labels");
	struct capsule *c, *next;
	int looks = 0;

	for (c = tracker_first(cs->parts.tracker); c != NULL; c = next) {
		next = tracker_next(c);
		if (c->listed || c->row.uid != op->uid ||
		    c->row.state == CAPSULE_GONE || !has_labels(c, wanted))
			continue;
		view_print(list, c, NULL);
		/* The list leaves out what is stopped; one look tells. */
		if (c->row.state == CAPSULE_LIVE && looks++ < LOOKS_MAX)
			capsules_get(cs, op->uid, c->row.id, looked, NULL);
	}
}

static void
print_list(
    struct capsule_op *op, struct json_out *out, const char *text, size_t len)
{
	struct capsule *c;
	const char *one;
	struct shown s;
	size_t pos = 0, n;

	for (c = tracker_first(op->capsules->parts.tracker); c != NULL;
	     c = tracker_next(c))
		c->listed = false;
	json_out_object(out, NULL);
	json_out_array(out, "capsules");
	while (json_next_element(text, len, &pos, &one, &n))
		if (shown_init(&s, one, n))
			add_listed(op, out, &s);
	add_unlisted(op, out);
	json_out_end_array(out);
	json_out_end_object(out);
}

static void
listed(void *arg, const char *text, size_t len, struct rpc_error *e)
{
	struct capsule_op *op = arg;
	struct json_out out;
	struct rpc_error odd;
	struct buf b;

	op->query = NULL;
	if (e == NULL && (len == 0 || json_first(text, len) != '[')) {
		rpc_error_set(&odd, RPC_BAD_ANSWER,
		    "upstream's list of capsules is not an array");
		e = &odd;
	}
	if (e != NULL) {
		finish(op, NULL, e);
		return;
	}
	result_init(&b, &out, len);
	print_list(op, &out, text, len);
	result_tell(&b, &out, op->fn, op->arg);
	op_free(op);
}

struct capsule_op *
capsules_list(struct capsules *cs, uid_t uid, struct json_object *params,
    capsules_fn *fn, void *arg)
{
	struct capsule_op *op = op_new(cs, uid, NULL, fn, arg);

	op->params = json_object_get(params);
	op->query = query_start_text(
	    cs->parts.upstream, api_capsule_list(), listed, op);
	return op;
}

/* ---- creating ---- */

void
capsules_create(struct capsules *cs, uid_t uid, struct json_object *params,
    capsules_fn *fn, void *arg)
{
	creation_start(cs->creations, uid, params, fn, arg);
}

/* ---- credentials ---- */

static void
looked_at_list(void *arg, struct json_object *answer, struct rpc_error *e)
{
	struct capsules *cs = arg;
	struct capsule *c;
	const char *id, *status;
	size_t i;

	cs->look = NULL;
	if (e == NULL && json_object_is_type(answer, json_type_array)) {
		for (i = 0; i < json_object_array_length(answer); i++) {
			struct json_object *one =
			    json_object_array_get_idx(answer, i);

			id = jx_str(one, "id");
			c = id ? tracker_by_id(cs->parts.tracker, id) : NULL;
			status = jx_str(one, "status");
			observe(
			    cs, c, cs->look_generation, status ? status : "");
		}
	}
	reaper_kick(cs->parts.reaper);
}

void
capsules_credential_changed(struct capsules *cs)
{
	struct capsule *c;

	/* What was asked with the one before tells nothing any more. */
	query_cancel(cs->look);
	cs->look = NULL;
	if (cred_identity(cs->parts.cred)[0] == '\0')
		return;
	for (c = tracker_first(cs->parts.tracker); c != NULL;
	     c = tracker_next(c))
		if (is_foreign(cs, c))
			break;
	cs->look_generation = cred_generation(cs->parts.cred);
	if (c != NULL)
		cs->look = query_start(
		    cs->parts.upstream, api_capsule_list(), looked_at_list, cs);
	else
		reaper_kick(cs->parts.reaper);
}

void
capsules_start(struct capsules *cs)
{
	reaper_start(cs->parts.reaper);
	capsules_credential_changed(cs);
}
