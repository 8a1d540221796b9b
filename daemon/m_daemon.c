#include <unistd.h>

#include <json-c/json.h>

#include "daemon/dispatch.h"
#include "daemon/keepalive.h"
#include "daemon/listener.h"
#include "daemon/loop.h"
#include "daemon/settings.h"
#include "daemon/store.h"
#include "daemon/tracker.h"
#include "daemon/upstream.h"
#include "proto/buf.h"
#include "proto/json_out.h"

#include "proto/banned.h"

#define PROTOCOL 1

#define RESULT_FIRST 1000 /* enough for most, so that it need not grow */

static void
result_init(struct buf *b, struct json_out *o)
{
	char *space;

	buf_init(b, LIMIT_ANSWER_LINE);
	buf_reserve(b, RESULT_FIRST, &space);
	json_out_init(o, b);
	json_out_object(o, NULL);
}

static void
reply(struct call *c, struct json_out *o)
{
	struct buf *b = o->buf;

	json_out_end_object(o);
	call_reply_out(c, o);
	buf_release(b);
}

void
m_daemon_hello(struct call *c)
{
	struct json_out o;
	struct buf b;

	result_init(&b, &o);
	json_out_str(&o, "version", PACKAGE_VERSION);
	json_out_int(&o, "protocol", PROTOCOL);
	json_out_int(&o, "uid", c->uid);
	json_out_str(&o, "access", access_name(c->access));
	json_out_array(&o, "features");
	json_out_str(&o, NULL, "fds");
	json_out_str(&o, NULL, "batch");
	json_out_end_array(&o);
	reply(c, &o);
}

static void
add_calls(struct json_out *o, const struct services *svc)
{
	json_out_object(o, "calls");
	json_out_int(o, "in_flight", calls_in_flight(svc->calls));
	json_out_int(o, "total", (int64_t)calls_total(svc->calls));
	json_out_end_object(o);
}

static void
add_capsules(struct json_out *o, const struct services *svc)
{
	int state;

	json_out_object(o, "capsules");
	for (state = CAPSULE_CREATING; state <= CAPSULE_UNCERTAIN; state++)
		if (state != CAPSULE_GONE)
			json_out_int(o, capsule_state_name(state),
			    tracker_count(svc->tracker, state));
	json_out_end_object(o);
}

static void
add_store(struct json_out *o, const struct services *svc)
{
	json_out_object(o, "store");
	json_out_str(o, "state", store_health_name(store_health(svc->store)));
	json_out_str(o, "path", store_path(svc->store));
	if (store_kept_aside(svc->store) != NULL)
		json_out_str(o, "kept_aside", store_kept_aside(svc->store));
	json_out_end_object(o);
}

static void
add_upstream(struct json_out *o, const struct services *svc)
{
	struct upstream_stats s;
	uint64_t pings, failed;

	upstream_stats(svc->upstream, &s);
	keepalive_stats(svc->keepalive, &pings, &failed);
	json_out_object(o, "upstream");
	json_out_str(o, "base_url", upstream_base_url(svc->upstream));
	json_out_str(o, "state", s.state);
	json_out_str(o, "http_version",
	    s.http_version == 20   ? "2"
	    : s.http_version == 11 ? "1.1"
				   : "");
	json_out_int(o, "connections", (int64_t)s.http.connections);
	json_out_int(o, "open_connections", s.http.open);
	json_out_int(o, "in_flight", s.http.in_flight);
	json_out_int(o, "waiting", s.http.waiting);
	json_out_int(o, "requests", (int64_t)s.requests);
	json_out_int(o, "shared", (int64_t)s.shared);
	json_out_int(o, "retries", (int64_t)s.retries);
	json_out_int(o, "errors", (int64_t)s.errors);
	json_out_int(o, "pings", (int64_t)pings);
	json_out_int(o, "pings_failed", (int64_t)failed);
	json_out_double(o, "latency_ms", s.latency_ms);
	if (s.last_error[0] != '\0')
		json_out_str(o, "last_error", s.last_error);
	json_out_end_object(o);
}

static const char *
state_of(const struct services *svc)
{
	return store_health(svc->store) == STORE_OK ? "running" : "degraded";
}

void
m_daemon_status(struct call *c)
{
	const struct services *svc = c->svc;
	struct json_out o;
	struct buf b;

	result_init(&b, &o);
	json_out_str(&o, "version", PACKAGE_VERSION);
	json_out_int(&o, "pid", getpid());
	json_out_int(&o, "uptime_ms", (int64_t)(now_ms() - svc->started_ms));
	json_out_str(&o, "state", state_of(svc));
	json_out_str(&o, "socket", listener_path(svc->listener));
	json_out_int(&o, "clients", listener_clients(svc->listener));
	add_calls(&o, svc);
	add_capsules(&o, svc);
	add_store(&o, svc);
	add_upstream(&o, svc);
	if (svc->settings->file != NULL)
		json_out_str(&o, "config", svc->settings->file);
	else
		json_out_null(&o, "config");
	reply(c, &o);
}

static void
reloaded(void *arg, struct rpc_error *e)
{
	struct call *c = arg;

	if (e != NULL)
		call_fail(c, e);
	else
		call_reply(c, json_object_new_object());
}

void
m_daemon_reload(struct call *c)
{
	c->svc->reload(c->svc->daemon, reloaded, c);
}

void
m_daemon_shutdown(struct call *c)
{
	const struct services *svc = c->svc;

	call_reply(c, json_object_new_object());
	svc->shutdown(svc->daemon);
}
