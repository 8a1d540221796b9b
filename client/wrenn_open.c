#include "client/wrenn_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <json-c/json.h>

#include "proto/jx.h"
#include "proto/rpc_msg.h"

#include "proto/banned.h"

#define OPEN_TIMEOUT_MS 10000

/* Lines that wait for the socket: many pipelined calls, or a few large. */
#define OUT_MAX (4 * LIMIT_REQUEST_LINE)

int64_t
wrenn_deadline(int64_t timeout_ms)
{
	if (timeout_ms < 0 || timeout_ms > INT64_MAX / 2)
		return INT64_MAX;
	return wrenn_now_ms() + timeout_ms;
}

/* w may be NULL, before there is a connection. */
int
wrenn_poll_ms(const struct wrenn *w, int64_t deadline)
{
	int64_t left = INT_MAX;

	if (deadline != INT64_MAX)
		left = deadline - wrenn_now_ms();
	if (w != NULL && w->interrupt != NULL && left > INTERRUPT_POLL_MS)
		left = INTERRUPT_POLL_MS;
	if (left < 0)
		return 0;
	return left > INT_MAX ? INT_MAX : (int)left;
}

int
wrenn_check_waiting(
    const struct wrenn *w, int64_t deadline, struct wrenn_error *err)
{
	if (w->interrupt != NULL && *w->interrupt != 0)
		return wrenn_error_set(err, RPC_CANCELLED, "interrupted");
	if (deadline != INT64_MAX && wrenn_now_ms() >= deadline)
		return wrenn_error_set(
		    err, RPC_TIMEOUT, "wrennd did not answer in time");
	return 0;
}

/*
 * A Unix socket's connect() waits only for room in the listener's queue,
 * and as long as the send timeout says.
 */
static int
connect_within(int fd, const struct sockaddr_un *sa, int64_t deadline)
{
	int64_t left = wrenn_poll_ms(NULL, deadline);
	struct timeval tv = { .tv_sec = left / 1000,
		.tv_usec = left % 1000 * 1000 + 1 };

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	while (connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0) {
		if (errno == EINTR && wrenn_poll_ms(NULL, deadline) > 0)
			continue;
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	}
	return 0;
}

int
wrenn_connect(const char *path, int64_t deadline, int *ret_fd)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, r;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = connect_within(fd, &sa, deadline);
	if (r == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		r = -errno;
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

/* Why the connection failed, in words. */
static int
explain(const char *path, int errnum, struct wrenn_error *err)
{
	char reason[128];
	const char *why;

	switch (errnum) {
	case ENAMETOOLONG:
		return wrenn_error_set(err, RPC_DAEMON_UNREACHABLE,
		    "the socket path %s is %zu bytes long; Unix sockets allow "
		    "at most %zu",
		    path, strlen(path),
		    sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
	case ENOENT:
		why = "there is no such socket";
		break;
	case ECONNREFUSED:
		why = "nobody listens there";
		break;
	case EACCES:
		why = "you may not use that socket";
		break;
	case ETIMEDOUT:
		why = "it takes no connections at the moment";
		break;
	default:
		why = strerror_r(errnum, reason, sizeof(reason));
	}
	return wrenn_error_set(err, RPC_DAEMON_UNREACHABLE,
	    "no wrennd answers at %s: %s", path, why);
}

/*
 * At a default path of the user's own, only the user's or root's processes
 * are trusted with what is sent.
 */
static int
check_peer(int fd, const char *path, struct wrenn_error *err)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
		return wrenn_error_errno(err, errno, "%s", path);
	if (peer.uid == geteuid() || peer.uid == 0)
		return 0;
	return wrenn_error_set(err, RPC_DAEMON_UNREACHABLE,
	    "%s is served by uid %u, not by you (uid %u)", path,
	    (unsigned)peer.uid, (unsigned)geteuid());
}

/* Puts daemon.hello before the first request; it costs no round trip. */
static void
queue_hello(struct wrenn *w, const struct wrenn_options *o)
{
	struct json_object *params;

	if (o->client == NULL)
		return;
	params = json_object_new_object();
	jx_add_str(params, "client", o->client);
	if (o->version != NULL)
		jx_add_str(params, "version", o->version);
	if (rpc_print_request(&w->out, NULL, "daemon.hello", params, NULL, 0) <
		0 ||
	    buf_adds(&w->out, "\n") < 0)
		buf_clear(&w->out);
	json_object_put(params);
}

/* Takes fd and path over, also when it fails. */
static int
wrap(int fd, char *path, const struct wrenn_options *o, struct wrenn **ret,
    struct wrenn_error *err)
{
	struct wrenn *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		close(fd);
		free(path);
		return wrenn_error_set(err, RPC_LOCAL, "out of memory");
	}
	w->fd = fd;
	w->path = path;
	TAILQ_INIT(&w->calls);
	rpc_frame_init(&w->in, LIMIT_ANSWER_LINE);
	buf_init(&w->out, OUT_MAX);
	queue_hello(w, o);
	*ret = w;
	return 0;
}

/* Connects to one's own daemon at the default path, started if need be. */
static int
reach_own(const char *path, const struct wrenn_options *o, int64_t deadline,
    int *ret_fd, struct wrenn_error *err)
{
	int r = wrenn_connect(path, deadline, ret_fd);

	if ((r == -ENOENT || r == -ECONNREFUSED) && o->autostart)
		r = wrenn_start(path, o->daemon, deadline, ret_fd, err);
	else if (r < 0)
		r = explain(path, -r, err);
	if (r < 0)
		return r;
	if (check_peer(*ret_fd, path, err) < 0) {
		close(*ret_fd);
		return -1;
	}
	return 0;
}

int
wrenn_open(
    const struct wrenn_options *o, struct wrenn **ret, struct wrenn_error *err)
{
	int64_t deadline =
	    wrenn_deadline(o->timeout_ms ? o->timeout_ms : OPEN_TIMEOUT_MS);
	const char *named = o->socket;
	char *path;
	int fd, r;

	if (named == NULL && !o->system_wide)
		named = getenv("WRENND_SOCKET");
	if (named != NULL && named[0] == '\0')
		named = NULL;
	path = named ? strdup(named) : wrenn_path_socket(o->system_wide, err);
	if (path == NULL)
		return named ? wrenn_error_set(err, RPC_LOCAL, "out of memory")
			     : -1;
	if (named == NULL && !o->system_wide) {
		r = reach_own(path, o, deadline, &fd, err);
	} else {
		r = wrenn_connect(path, deadline, &fd);
		if (r < 0)
			r = explain(path, -r, err);
	}
	if (r < 0) {
		free(path);
		return -1;
	}
	return wrap(fd, path, o, ret, err);
}

void
wrenn_close(struct wrenn *w)
{
	if (w == NULL)
		return;
	while (!TAILQ_EMPTY(&w->calls))
		wrenn_forget(w, TAILQ_FIRST(&w->calls)->id);
	close(w->fd);
	rpc_frame_release(&w->in);
	buf_release(&w->out);
	wrenn_error_release(&w->lost);
	free(w->path);
	free(w);
}

const char *
wrenn_socket(const struct wrenn *w)
{
	return w->path;
}

void
wrenn_set_interrupt(struct wrenn *w, const volatile sig_atomic_t *flag)
{
	w->interrupt = flag;
}
