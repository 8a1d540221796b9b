#include "daemon/tracker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <json-c/json.h>

#include "daemon/events.h"
#include "daemon/log.h"
#include "proto/jx.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define SAVE_AGAIN_MS 2000
#define KEY_KEPT_MS   (24 * 3600 * 1000LL) /* after its capsule is gone */
#define PREFIX_MIN    4                    /* "cl-" and one more */

struct tracker {
	struct loop *loop;
	struct store *store;
	TAILQ_HEAD(, capsule) capsules; /* in the order of their creation */
	struct hash by_id, by_record, by_name;
	size_t longest; /* of all IDs: what is not shorter begins none */
	int counts[CAPSULE_UNCERTAIN + 1];
	struct timer *again;   /* saves what could not be saved */
	struct events *events; /* NULL: nobody is told */
};

/* One write under way. */
struct save {
	struct tracker *tracker;
	struct capsule *capsule;
	store_fn *fn;
	void *arg;
};

static uint64_t
value_of(const char *text)
{
	return hash_text(text, strlen(text), 0);
}

static uint64_t
value_of_name(uid_t uid, const char *name)
{
	return hash_text(name, strlen(name), uid);
}

/* Names are unique among a user's capsules that are not gone. */
static void
index_name(struct tracker *t, struct capsule *c)
{
	const struct capsule_row *r = &c->row;

	if (r->name[0] != '\0' && r->state != CAPSULE_GONE &&
	    tracker_by_name(t, r->uid, r->name) == NULL)
		hash_add(
		    &t->by_name, &c->by_name, value_of_name(r->uid, r->name));
}

static void
index_id(struct tracker *t, struct capsule *c)
{
	size_t n = strlen(c->row.id);

	if (n == 0 || tracker_by_id(t, c->row.id) != NULL)
		return;
	hash_add(&t->by_id, &c->by_id, value_of(c->row.id));
	if (n > t->longest)
		t->longest = n;
}

static void
index_record(struct tracker *t, struct capsule *c)
{
	size_t n = strlen(c->row.record);

	hash_add(&t->by_record, &c->by_record, value_of(c->row.record));
	if (n > t->longest)
		t->longest = n;
}

void
capsule_ref(struct capsule *c)
{
	c->refs++;
}

void
capsule_unref(struct capsule *c)
{
	if (c == NULL || --c->refs > 0)
		return;
	timer_free(c->ping);
	capsule_row_release(&c->row);
	free(c);
}

static struct capsule *
insert(struct tracker *t, const struct capsule_row *row)
{
	struct capsule *c = xcalloc(1, sizeof(*c));

	capsule_row_copy(&c->row, row);
	c->refs = 1; /* the tracker's */
	c->tracker = t;
	TAILQ_INSERT_TAIL(&t->capsules, c, entry);
	index_id(t, c);
	index_record(t, c);
	index_name(t, c);
	t->counts[row->state]++;
	return c;
}

static void
make_record_id(char *record, size_t size)
{
	uint64_t n = 0;

	if (getrandom(&n, sizeof(n), 0) != sizeof(n))
		abort();
	snprintf(record, size, "rec-%016jx", (uintmax_t)n);
}

struct capsule *
tracker_add(struct tracker *t, const struct capsule_row *row)
{
	struct capsule_row fresh = *row;

	make_record_id(fresh.record, sizeof(fresh.record));
	fresh.created_at = fresh.changed_at = wall_ms();
	return insert(t, &fresh);
}

static void
load_row(void *arg, const struct capsule_row *row)
{
	struct tracker *t = arg;

	insert(t, row);
}

static void
take_out(struct tracker *t, struct capsule *c)
{
	hash_remove(&t->by_id, &c->by_id);
	hash_remove(&t->by_record, &c->by_record);
	hash_remove(&t->by_name, &c->by_name);
	t->counts[c->row.state]--;
	TAILQ_REMOVE(&t->capsules, c, entry);
	c->forgotten = true;
	capsule_unref(c);
}

/* Gone, and with it the time for which its key is kept. */
static bool
is_expired(const struct capsule *c)
{
	return c->row.state == CAPSULE_GONE &&
	       (c->row.key[0] == '\0' ||
		   wall_ms() - c->row.changed_at > KEY_KEPT_MS);
}

/* Once the store is open for writing. */
static void
settle_loaded(struct tracker *t)
{
	struct capsule *c, *next;

	TAILQ_FOREACH_SAFE(c, &t->capsules, entry, next) {
		if (c->row.state == CAPSULE_CREATING) {
			log_warn("a create was interrupted; its outcome is "
				 "unknown record=%s",
			    c->row.record);
			tracker_set_state(c, CAPSULE_UNCERTAIN);
			tracker_save(t, c, NULL, NULL);
		} else if (is_expired(c)) {
			tracker_forget(t, c);
		}
	}
}

static void
save_again(void *arg)
{
	struct tracker *t = arg;
	struct capsule *c;

	TAILQ_FOREACH(c, &t->capsules, entry)
		if (c->dirty)
			tracker_save(t, c, NULL, NULL);
}

struct tracker *
tracker_new(struct loop *l, struct store *s)
{
	struct tracker *t = xcalloc(1, sizeof(*t));

	t->loop = l;
	t->store = s;
	TAILQ_INIT(&t->capsules);
	t->again = timer_new(l, save_again, t);
	if (store_load(s, load_row, t) < 0) {
		tracker_free(t);
		return NULL;
	}
	settle_loaded(t);
	return t;
}

void
tracker_free(struct tracker *t)
{
	struct capsule *c;

	if (t == NULL)
		return;
	while ((c = TAILQ_FIRST(&t->capsules)) != NULL)
		take_out(t, c);
	hash_release(&t->by_id);
	hash_release(&t->by_record);
	hash_release(&t->by_name);
	timer_free(t->again);
	free(t);
}

struct capsule *
tracker_by_id(struct tracker *t, const char *id)
{
	struct hash_entry *e = hash_first(&t->by_id, value_of(id));
	struct capsule *c;

	for (; e != NULL; e = hash_next(e)) {
		c = hash_owner(e, struct capsule, by_id);
		if (strcmp(c->row.id, id) == 0)
			return c;
	}
	return NULL;
}

static struct capsule *
by_record(struct tracker *t, const char *record)
{
	struct hash_entry *e = hash_first(&t->by_record, value_of(record));
	struct capsule *c;

	for (; e != NULL; e = hash_next(e)) {
		c = hash_owner(e, struct capsule, by_record);
		if (strcmp(c->row.record, record) == 0)
			return c;
	}
	return NULL;
}

struct capsule *
tracker_by_name(struct tracker *t, uid_t uid, const char *name)
{
	struct hash_entry *e;
	struct capsule *c;

	e = hash_first(&t->by_name, value_of_name(uid, name));
	for (; e != NULL; e = hash_next(e)) {
		c = hash_owner(e, struct capsule, by_name);
		if (c->row.uid == uid && strcmp(c->row.name, name) == 0)
			return c;
	}
	return NULL;
}

struct capsule *
tracker_by_key(struct tracker *t, uid_t uid, const char *key)
{
	struct capsule *c, *next, *found = NULL;

	/* Those whose time is over are dropped on the way. */
	TAILQ_FOREACH_SAFE(c, &t->capsules, entry, next) {
		if (is_expired(c) && c->ending == NULL)
			tracker_forget(t, c);
		else if (c->row.uid == uid && strcmp(c->row.key, key) == 0)
			found = c;
	}
	return found;
}

/* Whether ref is the beginning of what c is called by upstream or here. */
static bool
has_prefix(const struct capsule *c, const char *ref)
{
	size_t n = strlen(ref);

	return strncmp(c->row.id, ref, n) == 0 ||
	       strncmp(c->row.record, ref, n) == 0;
}

/* What is called just that, by upstream or here, whoever's it is. */
static struct capsule *
exact(struct tracker *t, const char *ref)
{
	struct capsule *c = tracker_by_id(t, ref);

	return c != NULL ? c : by_record(t, ref);
}

/* How many of a user's are begun by ref, and the last of them. */
static int
begun_by(struct tracker *t, uid_t uid, const char *ref, struct capsule **ret)
{
	struct capsule *c;
	int matches = 0;

	/* The usual full ID of a capsule that was not made here. */
	if (strlen(ref) >= t->longest)
		return 0;
	TAILQ_FOREACH(c, &t->capsules, entry) {
		if (c->row.uid != uid || !has_prefix(c, ref) ||
		    c->row.state == CAPSULE_GONE)
			continue;
		*ret = c;
		matches++;
	}
	return matches;
}

struct capsule *
tracker_resolve(
    struct tracker *t, uid_t uid, const char *ref, struct rpc_error *ret)
{
	struct capsule *match;
	int matches;

	match = tracker_by_name(t, uid, ref);
	if (match != NULL)
		return match;
	match = exact(t, ref);
	if (match != NULL && match->row.uid == uid)
		return match;
	matches = begun_by(t, uid, ref, &match);
	if (matches == 1 && strlen(ref) >= PREFIX_MIN)
		return match;
	if (ret == NULL)
		return NULL;
	if (matches > 1 && strlen(ref) >= PREFIX_MIN)
		rpc_error_set(ret, RPC_AMBIGUOUS,
		    "%s is the beginning of %d capsules' IDs; give more of it",
		    ref, matches);
	else
		rpc_error_set(ret, RPC_NOT_FOUND,
		    "no capsule of yours is called %s (wrennctl ls shows them)",
		    ref);
	return NULL;
}

void
tracker_set_id(struct tracker *t, struct capsule *c, const char *id)
{
	hash_remove(&t->by_id, &c->by_id);
	snprintf(c->row.id, sizeof(c->row.id), "%s", id);
	index_id(t, c);
}

void
tracker_set_state(struct capsule *c, enum capsule_state state)
{
	log_debug("capsule record=%s id=%s: %s -> %s", c->row.record, c->row.id,
	    capsule_state_name(c->row.state), capsule_state_name(state));
	if (!c->forgotten) {
		c->tracker->counts[c->row.state]--;
		c->tracker->counts[state]++;
	}
	c->row.state = state;
	c->row.changed_at = wall_ms();
	capsule_note(c, capsule_state_name(state));
}

void
tracker_set_events(struct tracker *t, struct events *ev)
{
	t->events = ev;
}

void
capsule_note(struct capsule *c, const char *what)
{
	struct json_object *o;
	char type[32];

	if (c->tracker->events == NULL)
		return;
	o = json_object_new_object();
	jx_add_str(o, "capsule", c->row.id[0] ? c->row.id : c->row.record);
	if (c->row.name[0] != '\0')
		jx_add_str(o, "name", c->row.name);
	snprintf(type, sizeof(type), "capsule.%s", what);
	events_emit(c->tracker->events, type, c->row.uid, o);
}

static void
saved(void *arg, int error)
{
	struct save *s = arg;

	if (error != 0 && !s->capsule->forgotten) {
		s->capsule->dirty = true;
		timer_set(s->tracker->again, SAVE_AGAIN_MS);
	}
	if (s->fn != NULL)
		s->fn(s->arg, error);
	capsule_unref(s->capsule);
	free(s);
}

void
tracker_save(struct tracker *t, struct capsule *c, store_fn *fn, void *arg)
{
	struct save *s = xcalloc(1, sizeof(*s));

	*s = (struct save){ .tracker = t, .capsule = c, .fn = fn, .arg = arg };
	capsule_ref(c);
	c->dirty = false;
	if (c->row.state == CAPSULE_GONE)
		hash_remove(&t->by_name, &c->by_name);
	store_put(t->store, &c->row, saved, s);
}

void
tracker_forget(struct tracker *t, struct capsule *c)
{
	if (c->forgotten)
		return;
	store_remove(t->store, c->row.record, NULL, NULL);
	take_out(t, c);
}

struct capsule *
tracker_first(struct tracker *t)
{
	return TAILQ_FIRST(&t->capsules);
}

struct capsule *
tracker_next(struct capsule *c)
{
	return TAILQ_NEXT(c, entry);
}

int
tracker_count(struct tracker *t, enum capsule_state state)
{
	return t->counts[state];
}
