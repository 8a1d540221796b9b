#include "daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <json-c/json.h>

#include "daemon/capsules.h"
#include "daemon/cred.h"
#include "daemon/dialer.h"
#include "daemon/dispatch.h"
#include "daemon/events.h"
#include "daemon/follow.h"
#include "daemon/keepalive.h"
#include "daemon/listener.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/notify.h"
#include "daemon/peer.h"
#include "daemon/reaper.h"
#include "daemon/store.h"
#include "daemon/tracker.h"
#include "daemon/upstream.h"
#include "daemon/use.h"
#include "daemon/wake.h"
#include "daemon/watch.h"
#include "proto/jx.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define LOCK_TRIES    90 /* about as long as wrennctl waits for us */
#define LOCK_PAUSE_US 100000
#define KEY_TICK_MS   3000 /* how often key files are looked at */
#define DESCRIPTORS   8192
#define DRAIN_TICK_MS 20
#define KILL_MS       3000 /* for commands to be ended, at the end */
#define IDLE_TICKS    8    /* in the time after which an idle one leaves */

struct daemon {
	const struct daemon_options *options;
	struct settings *settings;
	int lock; /* on the state folder */
	struct loop *loop;
	struct cred *cred;
	struct store *store;
	struct tracker *tracker;
	struct upstream *upstream;
	struct keepalive *keepalive;
	struct watches *watches;
	struct wakes *wakes;
	struct reaper *reaper;
	struct capsules *capsules;
	struct uses *uses;
	struct follows *follows;
	struct calls *calls;
	struct dispatch *dispatch;
	struct listener *listener;
	struct notify *notify;
	struct events *events;
	struct services services;

	struct timer *key_tick;
	struct timer *tick; /* of the drain, or of being idle */
	uint64_t drain_until_ms, busy_ms;
	bool draining, killing, failed;

	/* A reload under way, and who asked. */
	void (*reload_done)(void *arg, struct rpc_error *);
	void *reload_arg;
};

/* ---- the state folder ---- */

/* Makes the folder and those above it, for the owner only. */
static int
make_folders(const char *dir)
{
	char *path = xstrdup(dir), *p;
	int r = 0;

	for (p = path + 1; r == 0 && *p != '\0'; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			r = -1;
		*p = '/';
	}
	if (r == 0 && mkdir(path, 0700) < 0 && errno != EEXIST)
		r = -1;
	if (r < 0)
		log_error("%s: %m", dir);
	free(path);
	return r;
}

/*
 * One that was started on demand may find its predecessor still finishing
 * its calls, and waits for it: nothing else runs here yet.
 */
static int
take_lock(const struct daemon *d)
{
	int tries = d->options->on_demand ? LOCK_TRIES : 1;

	while (flock(d->lock, LOCK_EX | LOCK_NB) < 0) {
		if (--tries == 0)
			return -1;
		usleep(LOCK_PAUSE_US);
	}
	return 0;
}

static int
lock_state(struct daemon *d)
{
	char *path;

	if (make_folders(d->settings->state_dir) < 0)
		return -1;
	path = xasprintf("%s/lock", d->settings->state_dir);
	d->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->lock < 0)
		log_error("%s: %m", path);
	else if (take_lock(d) < 0) {
		log_error("another wrennd works with %s already",
		    d->settings->state_dir);
		close(d->lock);
		d->lock = -1;
	}
	free(path);
	return d->lock < 0 ? -1 : 0;
}

/* ---- stopping ---- */

/*
 * Calls that only look, or follow events without end, are not waited for. What
 * was started for the others is killed when their time is over.
 */
static void
drain_tick(void *arg)
{
	struct daemon *d = arg;
	int left = calls_at_work(d->calls);
	uint64_t now = now_ms();

	if (!d->killing && (left == 0 || now >= d->drain_until_ms)) {
		d->killing = true;
		d->drain_until_ms = now + KILL_MS;
		follows_kill(d->follows);
		if (left > 0)
			log_warn(
			    "stopping with calls under way calls=%d", left);
	}
	if (now < d->drain_until_ms &&
	    (!d->killing || follows_at_work(d->follows)))
		timer_set(d->tick, DRAIN_TICK_MS);
	else
		loop_stop(d->loop);
}

/* The first time it drains; asked again, it stops at once. */
static void
stop(void *arg)
{
	struct daemon *d = arg;

	if (d->draining) {
		loop_stop(d->loop);
		return;
	}
	log_info("stopping: no new work, calls under way are finished "
		 "calls=%d",
	    calls_at_work(d->calls));
	d->draining = true;
	notify_stopping();
	events_emit(d->events, "daemon.stopping", EVENTS_FOR_ALL, NULL);
	d->drain_until_ms = now_ms() + (uint64_t)d->settings->drain_timeout_ms;
	dispatch_drain(d->dispatch);
	if (d->listener != NULL)
		listener_stop(d->listener);
	timer_free(d->tick);
	d->tick = timer_new(d->loop, drain_tick, d);
	timer_set(d->tick, DRAIN_TICK_MS);
}

static bool
guards_something(const struct daemon *d)
{
	struct capsule *c;

	for (c = tracker_first(d->tracker); c != NULL; c = tracker_next(c))
		if (c->row.state != CAPSULE_GONE)
			return true;
	return false;
}

static void
idle_tick(void *arg)
{
	struct daemon *d = arg;

	if (listener_clients(d->listener) > 0 ||
	    calls_in_flight(d->calls) > 0 || guards_something(d))
		d->busy_ms = now_ms();
	if (now_ms() - d->busy_ms >= (uint64_t)d->settings->idle_timeout_ms)
		stop(d);
	else
		timer_set(d->tick, d->settings->idle_timeout_ms / IDLE_TICKS);
}

/* ---- reloading ---- */

static void
warn_if_changed(const char *name, const char *a, const char *b)
{
	if ((a == NULL) != (b == NULL) || (a != NULL && strcmp(a, b) != 0))
		log_warn("%s changed: it takes effect when wrennd is started "
			 "again",
		    name);
}

static void
take_settings(struct daemon *d, struct settings *s)
{
	const struct settings *old = d->settings;

	warn_if_changed("socket", old->socket, s->socket);
	warn_if_changed("socket_group", old->socket_group, s->socket_group);
	warn_if_changed("state_dir", old->state_dir, s->state_dir);
	warn_if_changed("base_url", old->base_url, s->base_url);
	warn_if_changed("ca_file", old->ca_file, s->ca_file);
	warn_if_changed("client_cert", old->client_cert, s->client_cert);
	warn_if_changed("client_key", old->client_key, s->client_key);
	warn_if_changed("proxy", old->proxy, s->proxy);
	if (old->socket_mode != s->socket_mode ||
	    old->connect_timeout_ms != s->connect_timeout_ms ||
	    old->max_connections != s->max_connections)
		log_warn("socket_mode, connect_timeout or max_connections "
			 "changed: they take effect when wrennd is started "
			 "again");
	settings_free(d->settings);
	d->settings = s;
	d->services.settings = s;
	log_set_level(s->log_level);
	capsules_settings_changed(d->capsules, s);
	/* A signal may come before the credential, and so the listener. */
	if (d->listener != NULL)
		listener_settings_changed(d->listener, s);
}

/* Stands for the one who asked when a key file changed by itself. */
static void
keys_read(void *arg, struct rpc_error *e)
{
	(void)arg;
	(void)e;
}

static void
credentials_reloaded(void *arg, bool changed)
{
	struct daemon *d = arg;
	void (*done)(void *, struct rpc_error *) = d->reload_done;

	if (changed) {
		log_info("the credential changed");
		events_emit(
		    d->events, "credential.changed", EVENTS_FOR_ALL, NULL);
		upstream_renew(d->upstream);
		capsules_credential_changed(d->capsules);
	}
	d->reload_done = NULL;
	if (done != keys_read)
		notify_reloaded();
	done(d->reload_arg, NULL);
}

static void
reload(void *daemon, void (*done)(void *arg, struct rpc_error *), void *arg)
{
	struct daemon *d = daemon;
	struct settings *s;
	struct rpc_error e;
	int r;

	if (d->reload_done != NULL) {
		rpc_error_set(&e, RPC_BUSY, "a reload is under way");
		done(arg, &e);
		return;
	}
	s = settings_load(&d->options->args);
	if (s == NULL) {
		rpc_error_set(&e, RPC_INTERNAL,
		    "the configuration is wrong, so the one in force stays; "
		    "wrennd --check-config says what it is");
		done(arg, &e);
		return;
	}
	notify_reloading();
	take_settings(d, s);
	d->reload_done = done;
	d->reload_arg = arg;
	r = cred_reload(d->cred, d->settings, credentials_reloaded, d);
	if (r < 0) {
		d->reload_done = NULL;
		notify_reloaded();
		rpc_error_set(&e, RPC_INTERNAL,
		    "a key file could not be read; wrennd's log says which");
		done(arg, &e);
	}
}

/* A change is seen once: it waits while another reload is under way. */
static void
look_at_keys(void *arg)
{
	struct daemon *d = arg;

	timer_set(d->key_tick, KEY_TICK_MS);
	if (d->draining || d->reload_done != NULL ||
	    !cred_files_changed(d->cred, d->settings))
		return;
	log_info("a key file changed and is read again");
	d->reload_done = keys_read;
	if (cred_reload(d->cred, d->settings, credentials_reloaded, d) < 0)
		d->reload_done = NULL; /* the log says why; the old one stays */
}

static void
hangup_done(void *arg, struct rpc_error *e)
{
	(void)arg;
	if (e != NULL)
		log_error("reload: %s", e->message);
	else
		log_info("reloaded");
}

static void
on_hangup(void *arg)
{
	reload(arg, hangup_done, NULL);
}

/* ---- starting ---- */

/* A client, a connection upstream and a data socket are one each. */
static void
raise_descriptors(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur >= DESCRIPTORS)
		return;
	r.rlim_cur = r.rlim_max < DESCRIPTORS ? r.rlim_max : DESCRIPTORS;
	if (setrlimit(RLIMIT_NOFILE, &r) < 0)
		log_warn("the limit on descriptors stays low: %m");
}

static void
seed_random(void)
{
	unsigned seed = 0;

	/* For jitter and nonces, not for secrets. */
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = (unsigned)getpid();
	srandom(seed);
}

static int
open_records(struct daemon *d)
{
	d->cred = cred_new(d->loop, d->settings);
	if (d->cred == NULL)
		return -1;
	d->store =
	    store_open(d->loop, d->settings->state_dir, d->options->new_store);
	if (d->store == NULL)
		return -1;
	d->tracker = tracker_new(d->loop, d->store);
	return d->tracker ? 0 : -1;
}

static void
upstream_changed(void *arg, const char *state, const char *why)
{
	struct daemon *d = arg;
	struct json_object *o = json_object_new_object();
	bool up = strcmp(state, "up") == 0;

	if (!up)
		jx_add_str(o, "why", why);
	events_emit(
	    d->events, up ? "upstream.up" : "upstream.down", EVENTS_FOR_ALL, o);
}

static void
make_parts(struct daemon *d)
{
	struct capsules_parts parts;

	d->events = events_new(d->loop);
	tracker_set_events(d->tracker, d->events);
	d->upstream = upstream_new(d->loop, d->settings, d->cred);
	upstream_on_change(d->upstream, upstream_changed, d);
	d->keepalive = keepalive_new(d->loop, d->upstream);
	d->watches = watches_new(d->loop, d->upstream);
	d->wakes = wakes_new(d->upstream, d->watches);
	d->reaper = reaper_new(d->loop, d->upstream, d->tracker, d->cred);
	parts = (struct capsules_parts){
		.loop = d->loop,
		.upstream = d->upstream,
		.tracker = d->tracker,
		.watches = d->watches,
		.reaper = d->reaper,
		.cred = d->cred,
	};
	d->capsules = capsules_new(&parts, d->settings);
	d->uses =
	    uses_new(d->loop, d->capsules, d->upstream, d->keepalive, d->wakes);
	d->follows = follows_new(d->loop, d->upstream);
	d->calls = calls_new(d->loop);
	d->services = (struct services){
		.loop = d->loop,
		.settings = d->settings,
		.cred = d->cred,
		.store = d->store,
		.tracker = d->tracker,
		.upstream = d->upstream,
		.keepalive = d->keepalive,
		.capsules = d->capsules,
		.uses = d->uses,
		.follows = d->follows,
		.events = d->events,
		.calls = d->calls,
		.started_ms = now_ms(),
		.reload = reload,
		.shutdown = stop,
		.daemon = d,
	};
	d->dispatch = dispatch_new(&d->services);
}

/* Clients are let in only once the credential is there. */
static void
credential_ready(void *arg, bool changed)
{
	struct daemon *d = arg;
	int inherited;

	(void)changed;
	if (d->draining)
		return; /* told to stop while the command ran */
	inherited = notify_listen_fd();
	if (inherited != -2)
		d->listener = listener_new(d->loop, d->settings, inherited,
		    &dispatch_peer_ops, d->dispatch);
	if (d->listener == NULL) {
		d->failed = true;
		loop_stop(d->loop);
		return;
	}
	d->services.listener = d->listener;
	capsules_start(d->capsules);
	if (d->options->on_demand) {
		d->busy_ms = now_ms();
		d->tick = timer_new(d->loop, idle_tick, d);
		timer_set(d->tick, d->settings->idle_timeout_ms / IDLE_TICKS);
	}
	d->key_tick = timer_new(d->loop, look_at_keys, d);
	timer_set(d->key_tick, KEY_TICK_MS);
	d->notify = notify_new(d->loop, d->store);
	notify_ready("serving");
	log_info("ready version=%s socket=%s base_url=%s", PACKAGE_VERSION,
	    listener_path(d->listener), d->settings->base_url);
}

static int
start(struct daemon *d)
{
	log_set_level(d->settings->log_level);
	umask(077); /* what is in the state folder is its owner's alone */
	if (cred_process_init() < 0 || lock_state(d) < 0)
		return -1;
	seed_random();
	raise_descriptors();
	d->loop = loop_new();
	if (d->loop == NULL || open_records(d) < 0)
		return -1;
	make_parts(d);
	signal(SIGPIPE, SIG_IGN);
	loop_on_signal(d->loop, SIGTERM, stop, d);
	loop_on_signal(d->loop, SIGINT, stop, d);
	loop_on_signal(d->loop, SIGHUP, on_hangup, d);
	return cred_reload(d->cred, d->settings, credential_ready, d);
}

/*
 * Clients first, since their calls lean on all the rest; then the store,
 * whose last answers go to parts that are still there. Calls that were to run
 * to their end are cancelled before the parts they would cancel in are gone;
 * behind the reaper nothing tells a call anything any more.
 */
static void
finish(struct daemon *d)
{
	listener_free(d->listener);
	dispatch_free(d->dispatch);
	store_close(d->store);
	notify_free(d->notify);
	reaper_free(d->reaper);
	calls_free(d->calls);
	capsules_free(d->capsules);
	follows_free(d->follows);
	uses_free(d->uses);
	wakes_free(d->wakes);
	watches_free(d->watches);
	keepalive_free(d->keepalive);
	tracker_free(d->tracker);
	upstream_free(d->upstream);
	events_free(d->events);
	cred_free(d->cred);
	timer_free(d->tick);
	timer_free(d->key_tick);
	loop_free(d->loop);
	if (d->lock >= 0)
		close(d->lock);
	settings_free(d->settings);
}

int
daemon_run(const struct daemon_options *o)
{
	struct daemon d = { .options = o, .lock = -1 };

	d.settings = settings_load(&o->args);
	if (d.settings == NULL)
		return EXIT_FAILURE;
	dialer_process_init();
	if (start(&d) < 0 || loop_run(d.loop) < 0)
		d.failed = true;
	finish(&d);
	dialer_process_end();
	if (!d.failed)
		log_info("stopped");
	return d.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
