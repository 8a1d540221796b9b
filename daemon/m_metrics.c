#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include <json-c/json.h>

#include "daemon/dispatch.h"
#include "daemon/events.h"
#include "daemon/keepalive.h"
#include "daemon/listener.h"
#include "daemon/loop.h"
#include "daemon/store.h"
#include "daemon/tracker.h"
#include "daemon/upstream.h"
#include "proto/buf.h"
#include "proto/jx.h"

#include "proto/banned.h"

#define TEXT_MAX 65536 /* far above what the families below print */

static const char content_type[] =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";

/* The head of a family. A counter's sample has "_total" behind the name. */
static void
family(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_addf(b, "# TYPE wrennd_%s %s\n# HELP wrennd_%s %s\n", name, type,
	    name, help);
}

static void
gauge(struct buf *b, const char *name, const char *help, double value)
{
	family(b, name, "gauge", help);
	buf_addf(b, "wrennd_%s %.17g\n", name, value);
}

static void
counter(struct buf *b, const char *name, const char *help, uint64_t value)
{
	family(b, name, "counter", help);
	buf_addf(b, "wrennd_%s_total %ju\n", name, (uintmax_t)value);
}

static void
add_capsules(struct buf *b, const struct services *svc)
{
	int state;

	family(b, "capsules", "gauge", "Capsules on record, by state.");
	for (state = CAPSULE_CREATING; state <= CAPSULE_UNCERTAIN; state++)
		if (state != CAPSULE_GONE)
			buf_addf(b, "wrennd_capsules{state=\"%s\"} %d\n",
			    capsule_state_name(state),
			    tracker_count(svc->tracker, state));
}

static void
add_upstream(struct buf *b, const struct services *svc)
{
	struct upstream_stats s;
	uint64_t pings, failed;

	upstream_stats(svc->upstream, &s);
	keepalive_stats(svc->keepalive, &pings, &failed);
	gauge(b, "upstream_up", "1 when the last call reached the server.",
	    s.state[0] == 'u' && s.state[1] == 'p');
	gauge(b, "upstream_in_flight", "Requests under way.", s.http.in_flight);
	gauge(b, "upstream_waiting",
	    "Of those, the ones that wait for a connection with room.",
	    s.http.waiting);
	gauge(
	    b, "upstream_connections_open", "HTTP/2 connections.", s.http.open);
	gauge(b, "upstream_latency_seconds",
	    "Moving average of answered requests.", s.latency_ms / 1000);
	counter(b, "upstream_requests", "Requests asked for.", s.requests);
	counter(b, "upstream_shared",
	    "Requests answered by another's identical one.", s.shared);
	counter(b, "upstream_retries", "Requests sent again.", s.retries);
	counter(b, "upstream_errors", "Requests without an answer.", s.errors);
	counter(b, "upstream_connections", "Connections opened.",
	    s.http.connections);
	counter(b, "keepalive_pings", "Pings sent.", pings);
	counter(b, "keepalive_failures", "Pings that failed.", failed);
}

static int
count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	if (dir == NULL)
		return 0;
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n - 3; /* ".", ".." and the folder itself */
}

static double
resident_bytes(void)
{
	FILE *in = fopen("/proc/self/statm", "re");
	long pages = 0;

	if (in == NULL)
		return 0;
	if (fscanf(in, "%*d %ld", &pages) != 1)
		pages = 0;
	fclose(in);
	return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static void
add_daemon(struct buf *b, const struct services *svc)
{
	family(b, "build", "info", "The version that runs.");
	buf_addf(b, "wrennd_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
	gauge(b, "uptime_seconds", "Time since the start.",
	    (double)(now_ms() - svc->started_ms) / 1000);
	gauge(b, "clients", "Connected clients.",
	    listener_clients(svc->listener));
	gauge(b, "calls_in_flight", "Calls without an answer yet.",
	    calls_in_flight(svc->calls));
	counter(b, "calls", "Calls taken.", calls_total(svc->calls));
	counter(b, "events", "Events told.", events_last(svc->events));
	gauge(b, "store_healthy", "1 when the record of capsules is written.",
	    store_health(svc->store) != STORE_FAILING);
	gauge(b, "resident_bytes", "Memory in use.", resident_bytes());
	gauge(b, "open_descriptors", "Open descriptors.", count_descriptors());
}

void
m_daemon_metrics(struct call *c)
{
	struct json_object *o;
	struct buf b;

	buf_init(&b, TEXT_MAX);
	add_daemon(&b, c->svc);
	add_capsules(&b, c->svc);
	add_upstream(&b, c->svc);
	buf_adds(&b, "# EOF\n");
	o = json_object_new_object();
	jx_add_str(o, "content_type", content_type);
	jx_add_strn(o, "text", buf_head(&b), b.len);
	buf_release(&b);
	call_reply(c, o);
}
