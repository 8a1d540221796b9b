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
#include "proto/jx.h"

#include "proto/banned.h"

#define PROTOCOL 1

void
m_daemon_hello(struct call *c)
{
	struct json_object *o = json_object_new_object();
	struct json_object *features = json_object_new_array();

	json_object_array_add(features, json_object_new_string("fds"));
	json_object_array_add(features, json_object_new_string("batch"));
	jx_add_str(o, "version", PACKAGE_VERSION);
	jx_add_int(o, "protocol", PROTOCOL);
	jx_add_int(o, "uid", c->uid);
	jx_add_str(o, "access", access_name(c->access));
	jx_add(o, "features", features);
	call_reply(c, o);
}

static struct json_object *
capsules_json(const struct services *svc)
{
	struct json_object *o = json_object_new_object();
	int state;

	for (state = CAPSULE_CREATING; state <= CAPSULE_UNCERTAIN; state++)
		if (state != CAPSULE_GONE)
			jx_add_int(o, capsule_state_name(state),
			    tracker_count(svc->tracker, state));
	return o;
}

static struct json_object *
store_json(const struct services *svc)
{
	struct json_object *o = json_object_new_object();

	jx_add_str(o, "state", store_health_name(store_health(svc->store)));
	jx_add_str(o, "path", store_path(svc->store));
	if (store_kept_aside(svc->store) != NULL)
		jx_add_str(o, "kept_aside", store_kept_aside(svc->store));
	return o;
}

static struct json_object *
upstream_json(const struct services *svc)
{
	struct json_object *o = json_object_new_object();
	struct upstream_stats s;
	uint64_t pings, failed;

	upstream_stats(svc->upstream, &s);
	keepalive_stats(svc->keepalive, &pings, &failed);
	jx_add_str(o, "base_url", upstream_base_url(svc->upstream));
	jx_add_str(o, "state", s.state);
	jx_add_str(o, "http_version",
	    s.http_version == 20   ? "2"
	    : s.http_version == 11 ? "1.1"
				   : "");
	jx_add_int(o, "connections", (int64_t)s.http.connections);
	jx_add_int(o, "open_connections", s.http.open);
	jx_add_int(o, "in_flight", s.http.in_flight);
	jx_add_int(o, "waiting", s.http.waiting);
	jx_add_int(o, "requests", (int64_t)s.requests);
	jx_add_int(o, "shared", (int64_t)s.shared);
	jx_add_int(o, "retries", (int64_t)s.retries);
	jx_add_int(o, "errors", (int64_t)s.errors);
	jx_add_int(o, "pings", (int64_t)pings);
	jx_add_int(o, "pings_failed", (int64_t)failed);
	jx_add_double(o, "latency_ms", s.latency_ms);
	if (s.last_error[0] != '\0')
		jx_add_str(o, "last_error", s.last_error);
	return o;
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
	struct json_object *o = json_object_new_object();
	struct json_object *calls = json_object_new_object();

	jx_add_int(calls, "in_flight", calls_in_flight(svc->calls));
	jx_add_int(calls, "total", (int64_t)calls_total(svc->calls));
	jx_add_str(o, "version", PACKAGE_VERSION);
	jx_add_int(o, "pid", getpid());
	jx_add_int(o, "uptime_ms", (int64_t)(now_ms() - svc->started_ms));
	jx_add_str(o, "state", state_of(svc));
	jx_add_str(o, "socket", listener_path(svc->listener));
	jx_add_int(o, "clients", listener_clients(svc->listener));
	jx_add(o, "calls", calls);
	jx_add(o, "capsules", capsules_json(svc));
	jx_add(o, "store", store_json(svc));
	jx_add(o, "upstream", upstream_json(svc));
	if (svc->settings->file != NULL)
		jx_add_str(o, "config", svc->settings->file);
	else
		jx_add_null(o, "config");
	call_reply(c, o);
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
