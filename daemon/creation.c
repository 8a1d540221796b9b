#include "daemon/creation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "daemon/api.h"
#include "daemon/cred.h"
#include "daemon/log.h"
#include "daemon/query.h"
#include "daemon/settings.h"
#include "daemon/tracker.h"
#include "daemon/upstream.h"
#include "daemon/watch.h"
#include "proto/buf.h"
#include "proto/ident.h"
#include "proto/jx.h"
#include "proto/queue.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define NONCE_S    1024   /* added to the default inactivity limit */
#define RUNNING_MS 300000 /* from the answer to `running` */

/* One client that waits for the capsule. */
struct asker {
	bool wait; /* until it is running */
	capsules_fn *fn;
	void *arg;
	STAILQ_ENTRY(asker) entry;
};

/*
 * One create. Several askers may share it by an idempotency key. It holds a
 * reference to its capsule and ends in finish().
 */
struct creation {
	struct creations *all;
	struct capsule *capsule;
	struct query *query;
	struct waiter *waiter;
	struct json_object *shown; /* upstream's answer */
	STAILQ_HEAD(, asker) askers;
	LIST_ENTRY(creation) entry;
};

struct creations {
	struct capsules *capsules;
	struct upstream *upstream;
	struct tracker *tracker;
	struct watches *watches;
	const struct cred *cred;
	int64_t default_timeout_s;
	LIST_HEAD(, creation) list;
};

struct creations *
creations_new(struct capsules *cs, struct upstream *u, struct tracker *t,
    struct watches *w, const struct cred *c)
{
	struct creations *all = xcalloc(1, sizeof(*all));

	all->capsules = cs;
	all->upstream = u;
	all->tracker = t;
	all->watches = w;
	all->cred = c;
	LIST_INIT(&all->list);
	return all;
}

void
creations_settings_changed(struct creations *all, const struct settings *s)
{
	all->default_timeout_s = s->default_timeout_s;
}

static void
creation_free(struct creation *c)
{
	struct asker *a;

	while ((a = STAILQ_FIRST(&c->askers)) != NULL) {
		STAILQ_REMOVE_HEAD(&c->askers, entry);
		free(a);
	}
	LIST_REMOVE(c, entry);
	query_cancel(c->query);
	waiter_cancel(c->waiter);
	json_object_put(c->shown);
	capsule_unref(c->capsule);
	free(c);
}

void
creations_free(struct creations *all)
{
	struct creation *c;

	if (all == NULL)
		return;
	while ((c = LIST_FIRST(&all->list)) != NULL)
		creation_free(c);
	free(all);
}

/* ---- what is asked for ---- */

static int
check_name(const char *name, struct rpc_error *why)
{
	if (name == NULL)
		return 0;
	if (ident_is_name(name) && strncmp(name, "cl-", 3) != 0 &&
	    strncmp(name, "rec-", 4) != 0)
		return 0;
	rpc_error_set_param(why, "name",
	    "parameter name must be letters, digits, dots, dashes and "
	    "underscores, start with a letter or digit, and not look like an "
	    "ID");
	return -EINVAL;
}

static int
check_labels(struct json_object *labels, struct rpc_error *why)
{
	if (labels == NULL)
		return 0;
	if (json_object_object_length(labels) > LIMIT_LABELS) {
		rpc_error_set_param(why, "labels",
		    "parameter labels may hold %d labels", LIMIT_LABELS);
		return -EINVAL;
	}
	json_object_object_foreach(labels, key, value) {
		(void)value;
		if (key[0] != '\0' && strlen(key) <= LIMIT_LABEL_KEY)
			continue;
		rpc_error_set_param(why, "labels",
		    "parameter labels: a label's name must be 1 to %d bytes "
		    "long",
		    LIMIT_LABEL_KEY);
		return -EINVAL;
	}
	return 0;
}

static int
check_lease(struct json_object *lease, struct rpc_error *why)
{
	const char *type = jx_str(lease, "type");

	if (lease == NULL || (type != NULL && strcmp(type, "none") == 0))
		return 0;
	if (type != NULL &&
	    (strcmp(type, "connection") == 0 || strcmp(type, "process") == 0 ||
		strcmp(type, "ttl") == 0)) {
		rpc_error_set(why, RPC_UNSUPPORTED,
		    "leases of type %s are not offered by this version; use "
		    "{\"type\":\"none\"} and destroy the capsule by hand",
		    type);
		return -EINVAL;
	}
	rpc_error_set_param(
	    why, "lease", "parameter lease: type must be \"none\"");
	return -EINVAL;
}

static void
copy_text(char *to, size_t size, struct json_object *params, const char *key)
{
	const char *s = jx_str(params, key);

	snprintf(to, size, "%s", s ? s : "");
}

static char *
copy_labels(struct json_object *params)
{
	struct json_object *labels = jx_obj(params, "labels");
	char *text = NULL;
	struct buf b;

	if (labels == NULL)
		return NULL;
	buf_init(&b, LIMIT_REQUEST_LINE);
	if (jx_print(&b, labels) == 0)
		text = buf_steal(&b, NULL);
	buf_release(&b);
	return text;
}

static void
fill_timeout(const struct creations *all, struct capsule_row *row,
    struct json_object *params)
{
	int64_t n;

	row->timeout_chosen =
	    jx_int(params, "timeout_sec", 0, INT64_MAX, &n) == 0;
	/*
	 * The nonce is all that comes back to tell a capsule whose create was
	 * lost from somebody else's.
	 */
	row->timeout_s = row->timeout_chosen
			     ? n
			     : all->default_timeout_s + random() % NONCE_S;
}

/* The row as asked for; release it with capsule_row_release. */
static void
fill_row(const struct creations *all, struct capsule_row *row, uid_t uid,
    struct json_object *params)
{
	struct json_object *v;

	*row = (struct capsule_row){ .state = CAPSULE_CREATING, .uid = uid };
	row->base_url = xstrdup(upstream_base_url(all->upstream));
	snprintf(row->identity, sizeof(row->identity), "%s",
	    cred_identity(all->cred));
	copy_text(row->name, sizeof(row->name), params, "name");
	copy_text(row->key, sizeof(row->key), params, "key");
	copy_text(row->template, sizeof(row->template), params, "template");
	if (row->template[0] == '\0')
		snprintf(row->template, sizeof(row->template), "minimal");
	row->labels = copy_labels(params);
	jx_int(params, "vcpus", 0, INT64_MAX, &row->vcpus);
	jx_int(params, "memory_mb", 0, INT64_MAX, &row->memory_mb);
	row->keepalive = jx_bool(params, "keepalive", true);
	row->auto_resume = jx_get(params, "auto_resume", &v)
			       ? jx_bool(params, "auto_resume", true)
			       : -1;
	fill_timeout(all, row, params);
}

static int
check_params(struct creations *all, uid_t uid, struct json_object *params,
    struct rpc_error *why)
{
	const char *name = jx_str(params, "name");

	if (check_name(name, why) < 0 ||
	    check_labels(jx_obj(params, "labels"), why) < 0 ||
	    check_lease(jx_obj(params, "lease"), why) < 0)
		return -EINVAL;
	if (name != NULL && tracker_by_name(all->tracker, uid, name) != NULL) {
		rpc_error_set(why, RPC_CONFLICT,
		    "you have a capsule named %s already", name);
		return -EEXIST;
	}
	return 0;
}

/* ---- the course of a create ---- */

static void
tell_error(struct creation *c, struct rpc_error *e)
{
	struct asker *a;

	while ((a = STAILQ_FIRST(&c->askers)) != NULL) {
		STAILQ_REMOVE_HEAD(&c->askers, entry);
		a->fn(a->arg, NULL, e);
		free(a);
	}
}

static void
fail(struct creation *c, struct rpc_error *e)
{
	tell_error(c, e);
	creation_free(c);
}

/* Tells those who need not wait for `running`, or all. */
static void
tell_capsule(struct creation *c, bool all)
{
	STAILQ_HEAD(, asker) later = STAILQ_HEAD_INITIALIZER(later);
	struct asker *a;

	while ((a = STAILQ_FIRST(&c->askers)) != NULL) {
		STAILQ_REMOVE_HEAD(&c->askers, entry);
		if (a->wait && !all) {
			STAILQ_INSERT_TAIL(&later, a, entry);
			continue;
		}
		capsules_tell(c->capsule, c->shown, a->fn, a->arg);
		free(a);
	}
	STAILQ_CONCAT(&c->askers, &later);
}

static void
running(void *arg, struct json_object *shown, struct rpc_error *e)
{
	struct creation *c = arg;

	c->waiter = NULL;
	if (e != NULL) {
		e->extra = json_object_new_object();
		jx_add_str(e->extra, "id", c->capsule->row.id);
		fail(c, e);
		rpc_error_release(e);
		return;
	}
	json_object_put(c->shown);
	c->shown = json_object_get(shown);
	tell_capsule(c, true);
	creation_free(c);
}

static void
live_saved(void *arg, int error)
{
	struct creation *c = arg;
	const char *status = jx_str(c->shown, "status");

	/* On a full disk the tracker goes on trying; the capsule exists. */
	if (error != 0)
		log_error("capsule created but not recorded yet id=%s",
		    c->capsule->row.id);
	tell_capsule(c, status != NULL && strcmp(status, "running") == 0);
	if (STAILQ_EMPTY(&c->askers)) {
		creation_free(c);
		return;
	}
	c->waiter = waiter_new(c->all->watches, c->capsule->row.id, "running",
	    RUNNING_MS, running, c);
}

static void
created(struct creation *c, struct json_object *shown, const char *id)
{
	struct capsule *capsule = c->capsule;

	c->shown = json_object_get(shown);
	tracker_set_id(c->all->tracker, capsule, id);
	tracker_set_state(capsule, CAPSULE_LIVE);
	capsule->touched_ms = now_ms();
	log_info("capsule created id=%s uid=%u template=%s", id,
	    capsule->row.uid, capsule->row.template);
	tracker_save(c->all->tracker, capsule, live_saved, c);
}

/* One that waits for the store to hold the row as uncertain. */
struct uncertain {
	struct creation *creation;
	struct rpc_error why;
};

static void
uncertain_saved(void *arg, int error)
{
	struct uncertain *u = arg;

	(void)error; /* the row on disk says `creating`, which means the same */
	fail(u->creation, &u->why);
	rpc_error_release(&u->why);
	free(u);
}

static void
lost(struct creation *c, const struct rpc_error *e)
{
	struct uncertain *u = xcalloc(1, sizeof(*u));
	const char *record = c->capsule->row.record;

	log_warn("capsule created perhaps: its answer was lost record=%s "
		 "message=%s",
	    record, e->message);
	u->creation = c;
	rpc_error_set(&u->why, RPC_OUTCOME_UNKNOWN,
	    "the create was sent but its answer was lost: a capsule may exist; "
	    "it is recorded as %s (wrennctl ls)",
	    record);
	u->why.http_status = e->http_status;
	u->why.extra = json_object_new_object();
	jx_add_str(u->why.extra, "record", record);
	tracker_set_state(c->capsule, CAPSULE_UNCERTAIN);
	tracker_save(c->all->tracker, c->capsule, uncertain_saved, u);
}

static void
answered(void *arg, struct json_object *answer, struct rpc_error *e)
{
	struct creation *c = arg;
	const char *id = jx_str(answer, "id");
	struct rpc_error odd;

	c->query = NULL;
	if (e == NULL && id != NULL && ident_is_id(id, "cl")) {
		created(c, answer, id);
		return;
	}
	if (e == NULL) {
		rpc_error_set(&odd, RPC_BAD_ANSWER,
		    "upstream's answer to the create holds no capsule ID");
		e = &odd;
	}
	/* A success that cannot be read may well have made a capsule. */
	if (e->kind == RPC_OUTCOME_UNKNOWN ||
	    (e->kind == RPC_TOO_LARGE && e->http_status == 0) ||
	    (e->kind == RPC_BAD_ANSWER &&
		(e->http_status < 300 || e->http_status >= 400))) {
		lost(c, e);
		return;
	}
	tracker_forget(c->all->tracker, c->capsule);
	fail(c, e);
}

static void
row_saved(void *arg, int error)
{
	struct creation *c = arg;
	struct rpc_error e;

	if (error != 0) {
		rpc_error_set(&e,
		    error == -ECANCELED ? RPC_SHUTTING_DOWN : RPC_STORE,
		    "the record of capsules cannot be written (%s), so no "
		    "capsule was created",
		    strerror(-error));
		if (error != -ECANCELED)
			tracker_forget(c->all->tracker, c->capsule);
		fail(c, &e);
		return;
	}
	c->query = query_start(c->all->upstream,
	    api_capsule_create(&c->capsule->row), answered, c);
}

static void
add_asker(struct creation *c, bool wait, capsules_fn *fn, void *arg)
{
	struct asker *a = xcalloc(1, sizeof(*a));

	*a = (struct asker){ .wait = wait, .fn = fn, .arg = arg };
	STAILQ_INSERT_TAIL(&c->askers, a, entry);
}

/* Sends it, for good or ill: nothing cancels a create. */
static struct creation *
creation_new(struct creations *all, struct capsule *capsule)
{
	struct creation *c = xcalloc(1, sizeof(*c));

	c->all = all;
	c->capsule = capsule;
	capsule_ref(capsule);
	STAILQ_INIT(&c->askers);
	LIST_INSERT_HEAD(&all->list, c, entry);
	return c;
}

/* ---- the same key again ---- */

static struct creation *
under_way(struct creations *all, const struct capsule *capsule)
{
	struct creation *c;

	LIST_FOREACH(c, &all->list, entry)
		if (c->capsule == capsule)
			return c;
	return NULL;
}

static bool
is_same_create(const struct capsule_row *a, const struct capsule_row *b)
{
	return strcmp(a->template, b->template) == 0 &&
	       strcmp(a->name, b->name) == 0 && a->vcpus == b->vcpus &&
	       a->memory_mb == b->memory_mb &&
	       a->timeout_chosen == b->timeout_chosen &&
	       (!a->timeout_chosen || a->timeout_s == b->timeout_s);
}

static void
answer_first(struct creations *all, struct capsule *first, bool wait,
    capsules_fn *fn, void *arg)
{
	struct creation *c = under_way(all, first);
	struct rpc_error e;

	if (c != NULL) {
		add_asker(c, wait, fn, arg);
		return;
	}
	switch (first->row.state) {
	case CAPSULE_CREATING:
	case CAPSULE_UNCERTAIN:
		rpc_error_set(&e, RPC_OUTCOME_UNKNOWN,
		    "the first create with this key lost its answer: a capsule "
		    "may exist; it is recorded as %s",
		    first->row.record);
		fn(arg, NULL, &e);
		return;
	case CAPSULE_LIVE:
		capsules_get(
		    all->capsules, first->row.uid, first->row.id, fn, arg);
		return;
	case CAPSULE_ENDING:
	case CAPSULE_GONE:
		capsules_tell(first, NULL, fn, arg);
		return;
	}
}

void
creation_start(struct creations *all, uid_t uid, struct json_object *params,
    capsules_fn *fn, void *arg)
{
	const char *key = jx_str(params, "key");
	bool wait = jx_bool(params, "wait", true);
	struct capsule *first = NULL;
	struct creation *c;
	struct capsule_row row;
	struct rpc_error e;

	fill_row(all, &row, uid, params);
	if (key != NULL)
		first = tracker_by_key(all->tracker, uid, key);
	if (first != NULL && !is_same_create(&row, &first->row)) {
		rpc_error_set(&e, RPC_CONFLICT,
		    "this key was used for another create; choose a new one");
		fn(arg, NULL, &e);
	} else if (first != NULL) {
		answer_first(all, first, wait, fn, arg);
	} else if (check_params(all, uid, params, &e) < 0) {
		fn(arg, NULL, &e);
	} else {
		c = creation_new(all, tracker_add(all->tracker, &row));
		add_asker(c, wait, fn, arg);
		tracker_save(all->tracker, c->capsule, row_saved, c);
	}
	capsule_row_release(&row);
}
