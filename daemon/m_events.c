#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "daemon/capsules.h"
#include "daemon/dispatch.h"
#include "daemon/events.h"
#include "daemon/loop.h"
#include "proto/jx.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

/* One who follows; freed with the answer or the cancel. */
struct follow {
	struct call *call;
	struct subscription *subscription;
	bool endless;
	uint64_t until; /* the last event it is to see, unless endless */
	char capsule[CAPSULE_ID_MAX];
	struct later end;
};

static void
follow_free(struct follow *f)
{
	events_unsubscribe(f->subscription);
	later_cancel(f->call->svc->loop, &f->end);
	free(f);
}

static void
cancel(void *arg)
{
	follow_free(arg);
}

static void
end(void *arg)
{
	struct follow *f = arg;
	struct call *c = f->call;
	struct json_object *o = json_object_new_object();

	jx_add_int(o, "last", (int64_t)f->until);
	follow_free(f);
	call_reply(c, o);
}

/* Whether the type is one of those wanted; "capsule." wants all of them. */
static bool
is_wanted_type(struct json_object *wanted, const char *type)
{
	const char *one;
	size_t i, n;

	for (i = 0; i < json_object_array_length(wanted); i++) {
		one = jx_text_of(json_object_array_get_idx(wanted, i), &n);
		if (strcmp(one, type) == 0 ||
		    (n > 0 && one[n - 1] == '.' && strncmp(one, type, n) == 0))
			return true;
	}
	return false;
}

static bool
is_wanted(const struct follow *f, struct json_object *event)
{
	struct json_object *types = jx_arr(f->call->params, "types");
	const char *ref = jx_str(f->call->params, "capsule");
	const char *capsule = jx_str(event, "capsule");

	if (types != NULL && !is_wanted_type(types, jx_str(event, "type")))
		return false;
	if (ref == NULL)
		return true;
	return capsule != NULL &&
	       (strcmp(capsule, f->capsule) == 0 || strcmp(capsule, ref) == 0);
}

/*
 * The event's own type stands inside "event", since the notification's type
 * says what kind of notification it is.
 */
static bool
send_event(struct call *c, struct json_object *event)
{
	struct json_object *fields = json_object_new_object();

	jx_add(fields, "event", json_object_get(event));
	return call_event(c, "event", fields);
}

static bool
send_gap(struct call *c, uint64_t missed)
{
	struct json_object *fields = json_object_new_object();

	jx_add_int(fields, "missed", (int64_t)missed);
	return call_event(c, "gap", fields);
}

static bool
on_event(void *arg, struct json_object *event, uint64_t *missed)
{
	struct follow *f = arg;
	int64_t seq = 0;

	jx_int(event, "seq", 0, INT64_MAX, &seq);
	if (!f->endless && (event == NULL || (uint64_t)seq > f->until)) {
		loop_later(f->call->svc->loop, &f->end);
		return true;
	}
	if (event == NULL)
		return true;
	if (*missed > 0 && !send_gap(f->call, *missed))
		return false;
	*missed = 0;
	return !is_wanted(f, event) || send_event(f->call, event);
}

static void
start(struct call *c, uint64_t since, const struct target *target)
{
	struct events *ev = c->svc->events;
	struct follow *f = xcalloc(1, sizeof(*f));

	f->call = c;
	later_init(&f->end, end, f);
	snprintf(f->capsule, sizeof(f->capsule), "%s", target->id);
	f->endless = jx_bool(c->params, "follow", true);
	f->until = events_last(ev);
	f->subscription = events_subscribe(ev, c->uid, since, on_event, f);
	call_on_cancel(c, cancel, f);
}

void
m_daemon_events(struct call *c)
{
	const char *ref = jx_str(c->params, "capsule");
	struct target target = { .id = "" };
	int64_t since = (int64_t)events_last(c->svc->events);
	struct rpc_error why;

	if (c->id[0] == '\0' || c->batch != NULL) {
		call_failf(c, RPC_INVALID_REQUEST,
		    "daemon.events streams: it needs an id, and no batch");
		return;
	}
	/* A capsule that is gone by now may be asked for by its ID. */
	if (ref != NULL)
		capsules_target(c->svc->capsules, c->uid, ref, &target, &why);
	jx_int(c->params, "since", 0, INT64_MAX, &since);
	start(c, (uint64_t)since, &target);
}
