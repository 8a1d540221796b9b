#include "daemon/multi.h"

#include <stdlib.h>

#include "daemon/log.h"
#include "daemon/loop.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

/* Lives until multi_free(), which settled() may call. */
struct multi {
	struct loop *loop;
	CURLM *handle;
	struct timer *timer;
	struct later collect;
	const struct multi_ops *ops;
	void *arg;
};

/* One socket, as libcurl announced it; freed when libcurl removes it. */
struct watch {
	struct multi *multi;
	curl_socket_t fd;
	struct io *io;
};

static void
drive(struct multi *m, curl_socket_t fd, int events)
{
	int running;
	CURLMcode rc;

	rc = curl_multi_socket_action(m->handle, fd, events, &running);
	if (rc != CURLM_OK)
		log_error("libcurl: %s", curl_multi_strerror(rc));
	loop_later(m->loop, &m->collect);
}

static void
socket_ready(void *arg, int events)
{
	struct watch *w = arg;
	int mask = 0;

	if (events & IO_READ)
		mask |= CURL_CSELECT_IN;
	if (events & IO_WRITE)
		mask |= CURL_CSELECT_OUT;
	/* w may be freed in there. */
	drive(w->multi, w->fd, mask);
}

static int
socket_cb(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct multi *m = arg;
	struct watch *w = known;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w != NULL)
			io_free(w->io);
		free(w);
		curl_multi_assign(m->handle, fd, NULL);
		return 0;
	}
	if (w == NULL) {
		w = xmalloc(sizeof(*w));
		*w = (struct watch){ .multi = m, .fd = fd };
		w->io = io_new(m->loop, fd, socket_ready, w);
		curl_multi_assign(m->handle, fd, w);
	}
	if (what & CURL_POLL_IN)
		events |= IO_READ;
	if (what & CURL_POLL_OUT)
		events |= IO_WRITE;
	io_want(w->io, events);
	return 0;
}

static int
timer_cb(CURLM *handle, long ms, void *arg)
{
	struct multi *m = arg;

	(void)handle;
	timer_set(m->timer, ms);
	return 0;
}

static void
timer_due(void *arg)
{
	drive(arg, CURL_SOCKET_TIMEOUT, 0);
}

static void
collect(void *arg)
{
	struct multi *m = arg;
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(m->handle, &left)) != NULL)
		if (msg->msg == CURLMSG_DONE)
			m->ops->done(
			    m->arg, msg->easy_handle, msg->data.result);
	m->ops->settled(m->arg);
}

struct multi *
multi_new(struct loop *l, const struct multi_ops *ops, void *arg)
{
	struct multi *m = xcalloc(1, sizeof(*m));

	m->loop = l;
	m->ops = ops;
	m->arg = arg;
	m->timer = timer_new(l, timer_due, m);
	later_init(&m->collect, collect, m);
	m->handle = curl_multi_init();
	if (m->handle == NULL)
		abort();
	curl_multi_setopt(m->handle, CURLMOPT_SOCKETFUNCTION, socket_cb);
	curl_multi_setopt(m->handle, CURLMOPT_SOCKETDATA, m);
	curl_multi_setopt(m->handle, CURLMOPT_TIMERFUNCTION, timer_cb);
	curl_multi_setopt(m->handle, CURLMOPT_TIMERDATA, m);
	return m;
}

void
multi_free(struct multi *m)
{
	if (m == NULL)
		return;
	later_cancel(m->loop, &m->collect);
	/* First: it still calls for its sockets and its timer. */
	curl_multi_cleanup(m->handle);
	timer_free(m->timer);
	free(m);
}

void
multi_add(struct multi *m, CURL *easy)
{
	/* Runs timer_cb with 0. */
	curl_multi_add_handle(m->handle, easy);
}

void
multi_remove(struct multi *m, CURL *easy)
{
	curl_multi_remove_handle(m->handle, easy);
}

void
multi_set(struct multi *m, CURLMoption option, long value)
{
	curl_multi_setopt(m->handle, option, value);
}

void
multi_settle(struct multi *m)
{
	loop_later(m->loop, &m->collect);
}
