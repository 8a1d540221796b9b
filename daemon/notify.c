#include "daemon/notify.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifdef HAVE_LIBSYSTEMD
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#endif

#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/store.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

/* Freed after the store, whose last answer it may still wait for. */
struct notify {
	struct store *store;
	struct timer *timer;
	int64_t every_ms;
};

#ifdef HAVE_LIBSYSTEMD

int
notify_listen_fd(void)
{
	int n = sd_listen_fds(1);
	int fd = SD_LISTEN_FDS_START;

	if (n == 0)
		return -1;
	if (n == 1 && sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) > 0)
		return fd;
	log_error("socket activation passed %d descriptors; it takes one "
		  "listening AF_UNIX stream socket (see wrennd.socket)",
	    n);
	return -2;
}

static void
probed(void *arg, int error)
{
	struct notify *n = arg;

	if (error != 0)
		return; /* the store is closing */
	sd_notify(0, "WATCHDOG=1");
	timer_set(n->timer, n->every_ms);
}

static void
due(void *arg)
{
	struct notify *n = arg;

	store_probe(n->store, probed, n);
}

static int64_t
watchdog_ms(void)
{
	uint64_t usec;

	if (sd_watchdog_enabled(0, &usec) <= 0)
		return -1;
	return (int64_t)(usec / 2000);
}

static void
tell(const char *state)
{
	if (sd_notify(0, state) < 0)
		log_warn("the service manager was not told: %s", state);
}

void
notify_ready(const char *status)
{
	sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

#else

int
notify_listen_fd(void)
{
	return -1;
}

static void
due(void *arg)
{
	(void)arg;
}

static int64_t
watchdog_ms(void)
{
	return -1;
}

static void
tell(const char *state)
{
	(void)state;
}

void
notify_ready(const char *status)
{
	(void)status;
}

#endif

void
notify_stopping(void)
{
	tell("STOPPING=1");
}

void
notify_reloading(void)
{
	char state[64];
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%ju",
	    (uintmax_t)ts.tv_sec * 1000000 + (uintmax_t)ts.tv_nsec / 1000);
	tell(state);
}

void
notify_reloaded(void)
{
	tell("READY=1");
}

struct notify *
notify_new(struct loop *l, struct store *s)
{
	struct notify *n = xcalloc(1, sizeof(*n));

	n->store = s;
	n->every_ms = watchdog_ms();
	n->timer = timer_new(l, due, n);
	if (n->every_ms >= 0)
		timer_set(n->timer, 0);
	return n;
}

void
notify_free(struct notify *n)
{
	if (n == NULL)
		return;
	timer_free(n->timer);
	free(n);
}
