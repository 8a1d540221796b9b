#include "daemon/outlet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "daemon/call.h"
#include "daemon/datasock.h"
#include "daemon/loop.h"
#include "proto/jx.h"
#include "proto/queue.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define EVENT_TICK_MS 20 /* how often a slow reader of events is looked at */
/* Of text in one event: escaped, it is still far below an answer's limit. */
#define EVENT_MAX (256 * 1024)

/* What is held: output, or an event. Freed when the last of it has gone. */
struct chunk {
	STAILQ_ENTRY(chunk) entry;
	const char *type;           /* of the event; static */
	struct json_object *fields; /* NULL for output */
	size_t len, off;
	char data[];
};

/* One way out: a socket, or without one the call's events. */
struct lane {
	struct outlet *outlet;
	struct datasock *sock;
	bool closed; /* the client reads no more: the rest is dropped */
	STAILQ_HEAD(, chunk) chunks;
};

struct outlet {
	struct call *call;
	struct lane events, sockets[2];
	struct timer *tick; /* while events are held */
	void (*room)(void *arg);
	void *arg;
};

static struct lane *
lane_of(struct outlet *o, bool is_stderr)
{
	struct lane *l = &o->sockets[is_stderr];

	return l->sock != NULL ? l : &o->events;
}

/* How much of it an event takes: what is cut is cut between characters. */
static size_t
event_len(const char *text, size_t n)
{
	size_t len = n;

	if (n > EVENT_MAX)
		for (len = EVENT_MAX;
		     ((unsigned char)text[len] & 0xc0) == 0x80;)
			len--;
	return len;
}

/* How much of it went: all, some, or -EAGAIN. */
static ssize_t
write_lane(struct lane *l, const char *type, const char *data, size_t n)
{
	struct json_object *fields;
	ssize_t r;

	if (l->closed)
		return (ssize_t)n;
	if (l->sock != NULL) {
		r = datasock_write(l->sock, data, n);
		l->closed = r < 0 && r != -EAGAIN;
		return l->closed ? (ssize_t)n : r;
	}
	n = event_len(data, n);
	fields = json_object_new_object();
	jx_add_strn(fields, "text", data, n);
	return call_event(l->outlet->call, type, fields) ? (ssize_t)n : -EAGAIN;
}

static void
wait_for_room(struct lane *l)
{
	if (l->sock != NULL)
		datasock_want(l->sock, IO_WRITE);
	else
		timer_set(l->outlet->tick, EVENT_TICK_MS);
}

static struct chunk *
hold(struct lane *l, const char *type, const char *data, size_t n)
{
	struct chunk *c = xmalloc(sizeof(*c) + n);

	*c = (struct chunk){ .type = type, .len = n };
	if (n > 0)
		memcpy(c->data, data, n);
	STAILQ_INSERT_TAIL(&l->chunks, c, entry);
	wait_for_room(l);
	return c;
}

static void
drop_first(struct lane *l)
{
	struct chunk *c = STAILQ_FIRST(&l->chunks);

	STAILQ_REMOVE_HEAD(&l->chunks, entry);
	json_object_put(c->fields);
	free(c);
}

/* false when some of it is still there. */
static bool
send_chunk(struct lane *l, struct chunk *c)
{
	ssize_t r;

	if (c->fields != NULL)
		return call_event(
		    l->outlet->call, c->type, json_object_get(c->fields));
	while (c->off < c->len) {
		r = write_lane(l, c->type, c->data + c->off, c->len - c->off);
		if (r == -EAGAIN)
			return false;
		c->off += (size_t)r;
	}
	return true;
}

bool
outlet_is_empty(const struct outlet *o)
{
	return STAILQ_EMPTY(&o->events.chunks) &&
	       STAILQ_EMPTY(&o->sockets[0].chunks) &&
	       STAILQ_EMPTY(&o->sockets[1].chunks);
}

/* The outlet may be gone after it. */
static void
send_held(struct lane *l)
{
	struct chunk *c;

	while ((c = STAILQ_FIRST(&l->chunks)) != NULL) {
		if (!send_chunk(l, c)) {
			wait_for_room(l);
			return;
		}
		drop_first(l);
	}
	if (l->sock != NULL)
		datasock_want(l->sock, 0);
	if (outlet_is_empty(l->outlet))
		l->outlet->room(l->outlet->arg);
}

static void
socket_ready(void *arg)
{
	send_held(arg);
}

static void
tick_due(void *arg)
{
	struct outlet *o = arg;

	send_held(&o->events);
}

bool
outlet_put(struct outlet *o, bool is_stderr, const char *text, size_t n)
{
	struct lane *l = lane_of(o, is_stderr);
	const char *type = is_stderr ? "stderr" : "stdout";
	ssize_t r;

	while (n > 0 && STAILQ_EMPTY(&l->chunks)) {
		r = write_lane(l, type, text, n);
		if (r == -EAGAIN)
			break;
		text += r;
		n -= (size_t)r;
	}
	if (n > 0)
		hold(l, type, text, n);
	return outlet_is_empty(o);
}

bool
outlet_event(struct outlet *o, const char *type, struct json_object *fields)
{
	struct lane *l = &o->events;

	if (STAILQ_EMPTY(&l->chunks) &&
	    call_event(o->call, type, json_object_get(fields)))
		json_object_put(fields);
	else
		hold(l, type, NULL, 0)->fields = fields;
	return outlet_is_empty(o);
}

static void
lane_init(struct outlet *o, struct lane *l, int fd)
{
	l->outlet = o;
	STAILQ_INIT(&l->chunks);
	if (fd >= 0)
		l->sock = datasock_new(o->call->svc->loop, fd, socket_ready, l);
}

static void
lane_release(struct lane *l)
{
	while (!STAILQ_EMPTY(&l->chunks))
		drop_first(l);
	datasock_free(l->sock);
}

struct outlet *
outlet_new(struct call *c, void (*room)(void *arg), void *arg)
{
	struct outlet *o = xcalloc(1, sizeof(*o));

	o->call = c;
	o->room = room;
	o->arg = arg;
	o->tick = timer_new(c->svc->loop, tick_due, o);
	lane_init(o, &o->events, -1);
	lane_init(o, &o->sockets[0], call_take_fd_named(c, "stdout"));
	lane_init(o, &o->sockets[1], call_take_fd_named(c, "stderr"));
	return o;
}

void
outlet_free(struct outlet *o)
{
	if (o == NULL)
		return;
	timer_free(o->tick);
	lane_release(&o->events);
	lane_release(&o->sockets[0]);
	lane_release(&o->sockets[1]);
	free(o);
}
