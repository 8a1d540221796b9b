#include "daemon/events.h"

#include <stdlib.h>

#include <json-c/json.h>

#include "daemon/loop.h"
#include "proto/buf.h"
#include "proto/json_out.h"
#include "proto/jx.h"
#include "proto/limits.h"
#include "proto/queue.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define AGAIN_MS      100
#define EVENTS_A_TURN (2 * LIMIT_REQUESTS_PER_TURN)

/* As text: few are ever looked at. */
struct kept {
	uid_t uid;
	struct buf event;
};

/* A watcher: at `next`, and told of what is above in the next turn. */
struct subscription {
	struct events *all;
	uid_t uid;
	uint64_t next;   /* number of the event it is to see next */
	uint64_t missed; /* and not told yet */
	struct later catch_up;
	struct timer *again; /* after it said "not now" */
	event_fn *fn;
	void *arg;
	LIST_ENTRY(subscription) entry;
};

struct events {
	struct loop *loop;
	uint64_t last;
	struct kept ring[EVENTS_KEPT]; /* event n is at n % EVENTS_KEPT */
	LIST_HEAD(, subscription) watchers;
};

struct events *
events_new(struct loop *l)
{
	struct events *ev = xcalloc(1, sizeof(*ev));
	int i;

	ev->loop = l;
	LIST_INIT(&ev->watchers);
	for (i = 0; i < EVENTS_KEPT; i++)
		buf_init(&ev->ring[i].event, LIMIT_ANSWER_LINE);
	return ev;
}

void
events_free(struct events *ev)
{
	struct subscription *s;
	int i;

	if (ev == NULL)
		return;
	while ((s = LIST_FIRST(&ev->watchers)) != NULL)
		events_unsubscribe(s);
	for (i = 0; i < EVENTS_KEPT; i++)
		buf_release(&ev->ring[i].event);
	free(ev);
}

void
events_emit_text(
    struct events *ev, const char *type, uid_t uid, const struct buf *fields)
{
	struct kept *k = &ev->ring[++ev->last % EVENTS_KEPT];
	struct subscription *s;
	struct json_out o;

	k->uid = uid;
	buf_clear(&k->event);
	json_out_init(&o, &k->event);
	json_out_object(&o, NULL);
	json_out_int(&o, "seq", (int64_t)ev->last);
	json_out_int(&o, "time", wall_ms());
	json_out_str(&o, "type", type);
	if (fields != NULL)
		json_out_members(&o, buf_head(fields), fields->len);
	json_out_end_object(&o);
	if (o.error != 0)
		abort(); /* events are small: there is no memory */
	LIST_FOREACH(s, &ev->watchers, entry)
		if (!timer_armed(s->again))
			loop_later(ev->loop, &s->catch_up);
}

void
events_emit(
    struct events *ev, const char *type, uid_t uid, struct json_object *fields)
{
	struct buf text;

	buf_init(&text, LIMIT_ANSWER_LINE);
	if (jx_print(&text, fields) < 0)
		abort(); /* as above */
	events_emit_text(ev, type, uid, fields ? &text : NULL);
	json_object_put(fields);
	buf_release(&text);
}

uint64_t
events_last(const struct events *ev)
{
	return ev->last;
}

static uint64_t
oldest_kept(const struct events *ev)
{
	return ev->last >= EVENTS_KEPT ? ev->last - EVENTS_KEPT + 1 : 1;
}

/* The next event for the watcher, or NULL. */
static const struct buf *
next_event(struct subscription *s)
{
	struct events *ev = s->all;
	struct kept *k;

	if (s->next < oldest_kept(ev)) {
		s->missed += oldest_kept(ev) - s->next;
		s->next = oldest_kept(ev);
	}
	while (s->next <= ev->last) {
		k = &ev->ring[s->next++ % EVENTS_KEPT];
		if (k->uid == s->uid || k->uid == EVENTS_FOR_ALL)
			return &k->event;
	}
	return NULL;
}

static bool
tell(struct subscription *s, const struct buf *text)
{
	struct json_object *event;
	bool now;

	if (jx_read(buf_head(text), text->len, &event) < 0)
		return false; /* perhaps there is memory later */
	now = s->fn(s->arg, event, &s->missed);
	json_object_put(event);
	return now;
}

/*
 * A few events a turn: as many as calls can make in one, so that a watcher
 * that reads keeps up, and no more, so that a long past does not hold up the
 * loop. fn must not unsubscribe.
 */
static void
catch_up(void *arg)
{
	struct subscription *s = arg;
	const struct buf *event;
	int n;

	for (n = 0; n < EVENTS_A_TURN; n++) {
		event = next_event(s);
		if (event == NULL) {
			s->fn(s->arg, NULL, &s->missed);
			return;
		}
		if (!tell(s, event)) {
			s->next--;
			timer_set(s->again, AGAIN_MS);
			return;
		}
	}
	loop_later(s->all->loop, &s->catch_up);
}

static void
try_again(void *arg)
{
	struct subscription *s = arg;

	loop_later(s->all->loop, &s->catch_up);
}

struct subscription *
events_subscribe(
    struct events *ev, uid_t uid, uint64_t since, event_fn *fn, void *arg)
{
	struct subscription *s = xcalloc(1, sizeof(*s));

	s->all = ev;
	s->uid = uid;
	/* From an earlier run, whose numbers went further: from the start. */
	s->next = since > ev->last ? 1 : since + 1;
	s->fn = fn;
	s->arg = arg;
	s->again = timer_new(ev->loop, try_again, s);
	later_init(&s->catch_up, catch_up, s);
	loop_later(ev->loop, &s->catch_up);
	LIST_INSERT_HEAD(&ev->watchers, s, entry);
	return s;
}

void
events_unsubscribe(struct subscription *s)
{
	later_cancel(s->all->loop, &s->catch_up);
	timer_free(s->again);
	LIST_REMOVE(s, entry);
	free(s);
}
