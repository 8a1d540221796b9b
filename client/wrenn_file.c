#include "client/wrenn_priv.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <json-c/json.h>

#include "proto/jx.h"

#include "proto/banned.h"

#define CHUNK       (256 * 1024)
#define SEND_BUFFER (1024 * 1024)
#define SEND_SLICE  (64 * 1024) /* to a pipe, so that Ctrl-C is seen */
#define NO_SIZE     UINT64_MAX

/*
 * One transfer between a local descriptor and the near end of the socket
 * pair whose far end wrennd has. Lives for the length of one function.
 */
struct pump {
	struct wrenn *w;
	const struct wrenn_transfer *t;
	int fd;         /* local, the caller's */
	int near;       /* -1 once closed */
	int64_t id;     /* of the call */
	uint64_t bytes; /* that passed */
	uint64_t size;  /* announced, or NO_SIZE */
	bool regular;   /* fd is a regular file: always ready */
	char *chunk;    /* CHUNK bytes */
	size_t held;    /* of chunk, read but not sent */
	size_t sent;    /* of held */
};

/*
 * SIGPIPE for a broken local pipe: held back, and taken away if it was not
 * already pending, so that write() only says EPIPE.
 */
struct no_sigpipe {
	sigset_t saved;
	bool was_pending;
};

static void
sigpipe_hold(struct no_sigpipe *h)
{
	sigset_t set;

	sigpending(&set);
	h->was_pending = sigismember(&set, SIGPIPE) == 1;
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &set, &h->saved);
}

static void
sigpipe_release(const struct no_sigpipe *h)
{
	struct timespec now = { 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	if (!h->was_pending)
		while (sigtimedwait(&set, NULL, &now) < 0 && errno == EINTR)
			continue;
	pthread_sigmask(SIG_SETMASK, &h->saved, NULL);
}

static void
close_near(struct pump *p)
{
	if (p->near >= 0)
		close(p->near);
	p->near = -1;
}

/* Tells wrennd that the call is not wanted any more. */
static int
give_up(struct pump *p)
{
	struct wrenn_error ignored;

	if (wrenn_is_pending(p->w, p->id)) {
		if (wrenn_cancel(p->w, p->id, &ignored) < 0)
			wrenn_error_release(&ignored);
		wrenn_forget(p->w, p->id);
	}
	return -1;
}

/* Makes the pair, of which the end that `upload` says has the large buffer. */
static int
make_pair(bool upload, int ends[2], struct wrenn_error *err)
{
	int size = SEND_BUFFER;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return wrenn_error_errno(err, errno, "socketpair");
	/* The kernel gives what its limit allows; less is only slower. */
	setsockopt(
	    ends[upload ? 0 : 1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return 0;
}

/* Sends the request with the far end, and has a chunk of memory. */
static int
pump_open(struct pump *p, const char *method, struct json_object *params,
    bool upload, struct wrenn_error *err)
{
	struct wrenn_fd far = { .name = "data" };
	struct stat st;
	int ends[2];

	p->near = -1;
	p->regular = fstat(p->fd, &st) == 0 && S_ISREG(st.st_mode);
	p->chunk = malloc(CHUNK);
	if (p->chunk == NULL)
		return wrenn_error_set(err, RPC_LOCAL, "out of memory");
	if (make_pair(upload, ends, err) < 0)
		return -1;
	p->near = ends[0];
	far.fd = ends[1];
	p->id = wrenn_send_fds(p->w, method, params, &far, 1, err);
	close(ends[1]);
	return p->id < 0 ? -1 : 0;
}

static void
pump_release(struct pump *p)
{
	close_near(p);
	free(p->chunk);
}

/*
 * Waits for the connection, and for the descriptor `fd` (-1: none) as
 * `events` say. Sets *ret_ready when the descriptor is ready.
 */
static int
pump_poll(struct pump *p, int fd, short events, int64_t deadline,
    bool *ret_ready, struct wrenn_error *err)
{
	struct pollfd pfds[2] = {
		{ .fd = p->w->fd, .events = POLLIN },
		{ .fd = fd, .events = events },
	};

	*ret_ready = false;
	if (wrenn_check_waiting(p->w, deadline, err) < 0)
		return -1;
	if (p->w->out.len > 0)
		pfds[0].events |= POLLOUT;
	/* Once it is lost there is nothing to hear; poll() would spin. */
	if (p->w->lost.code != 0)
		pfds[0].fd = -1;
	if (poll(pfds, 2, wrenn_poll_ms(p->w, deadline)) < 0)
		return errno == EINTR ? 0
				      : wrenn_error_errno(err, errno, "poll");
	if (pfds[0].revents & POLLOUT)
		wrenn_flush_ready(p->w);
	if (pfds[0].revents & (POLLIN | POLLHUP | POLLERR))
		wrenn_read_ready(p->w);
	*ret_ready = pfds[1].revents != 0;
	return 0;
}

static void
tell_progress(const struct pump *p)
{
	if (p->t->progress != NULL)
		p->t->progress(p->bytes, p->t->arg);
}

/*
 * Waits for the answer and compares its size with the bytes that passed.
 * *ret_size is set when they agree.
 */
static int
finish(struct pump *p, uint64_t *ret_size, struct wrenn_error *err)
{
	struct json_object *result;
	int64_t size;
	int r;

	if (wrenn_wait(p->w, p->id, p->t->timeout_ms, &result, err) < 0)
		return -1;
	r = jx_int(result, "size", 0, INT64_MAX, &size);
	json_object_put(result);
	if (r < 0)
		return wrenn_error_set(err, RPC_PROTOCOL,
		    "wrennd did not say how many bytes the file has");
	if ((uint64_t)size != p->bytes)
		return wrenn_error_set(err, RPC_TRUNCATED,
		    "the transfer broke off: %ju of %jd bytes",
		    (uintmax_t)p->bytes, (intmax_t)size);
	*ret_size = p->bytes;
	return 0;
}

/* Writes all of it, in slices where that may block. */
static int
write_all(struct pump *p, size_t n, struct wrenn_error *err)
{
	struct pollfd pfd = { .fd = p->fd, .events = POLLOUT };
	size_t done = 0, part;
	ssize_t r;

	while (done < n) {
		if (wrenn_check_waiting(p->w, INT64_MAX, err) < 0)
			return -1;
		if (!p->regular &&
		    poll(&pfd, 1, wrenn_poll_ms(p->w, INT64_MAX)) <= 0)
			continue;
		part = n - done;
		if (!p->regular && part > SEND_SLICE)
			part = SEND_SLICE;
		r = write(p->fd, p->chunk + done, part);
		if (r < 0 && errno != EINTR && errno != EAGAIN)
			return wrenn_error_errno(err, errno, "cannot write");
		if (r > 0)
			done += (size_t)r;
	}
	return 0;
}

/* Passes on what wrennd has written. 1 at the end of the bytes. */
static int
pump_in(struct pump *p, struct wrenn_error *err)
{
	ssize_t n = recv(p->near, p->chunk, CHUNK, MSG_DONTWAIT);

	if (n == 0)
		return 1;
	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return 0;
		return wrenn_error_errno(err, errno, "data socket");
	}
	if (write_all(p, (size_t)n, err) < 0)
		return -1;
	p->bytes += (uint64_t)n;
	tell_progress(p);
	return 0;
}

/*
 * True when wrennd has refused the call, or went away without an answer to
 * it. After a good answer the bytes still count, even if wrennd is gone.
 */
static bool
has_failed(const struct pump *p)
{
	const struct wrenn_pending *c;

	TAILQ_FOREACH(c, &p->w->calls, link)
		if (c->id == p->id && c->done)
			return c->error.code != 0;
	return p->w->lost.code != 0;
}

/* All bytes of a download, up to the end or an error answer. */
static int
pump_download(struct pump *p, struct wrenn_error *err)
{
	bool ready;
	int r = 0;

	while (r == 0 && !has_failed(p)) {
		if (pump_poll(p, p->near, POLLIN, INT64_MAX, &ready, err) < 0)
			return -1;
		if (ready)
			r = pump_in(p, err);
	}
	return r < 0 ? -1 : 0;
}

static const struct wrenn_transfer plain_transfer = {
	.timeout_ms = WRENN_FOREVER,
};

int
wrenn_file_read_to_fd(struct wrenn *w, struct json_object *params, int fd,
    const struct wrenn_transfer *transfer, uint64_t *ret_size,
    struct wrenn_error *err)
{
	struct pump p = { .w = w,
		.fd = fd,
		.size = NO_SIZE,
		.t = transfer ? transfer : &plain_transfer };
	struct no_sigpipe hold;
	int r;

	sigpipe_hold(&hold);
	r = pump_open(&p, "file.read", params, false, err);
	if (r == 0) {
		r = pump_download(&p, err);
		close_near(&p);
		if (r == 0)
			r = finish(&p, ret_size, err);
		if (r < 0)
			give_up(&p);
	}
	pump_release(&p);
	sigpipe_release(&hold);
	return r;
}

/*
 * Reads the next chunk: one byte more than is still announced, so that a
 * file that grew is noticed before its last byte goes. 1 at the end. Files
 * of /proc say they are empty and are not, so 0 is not believed.
 */
static int
read_chunk(struct pump *p, struct wrenn_error *err)
{
	uint64_t left = p->size - p->bytes;
	size_t want = CHUNK;
	ssize_t n;

	if (left == 0 && p->size > 0)
		return 1;
	if (p->size != NO_SIZE && left < CHUNK)
		want = (size_t)left + 1;
	n = read(p->fd, p->chunk, want);
	if (n < 0) {
		if (errno == EINTR || errno == EAGAIN)
			return 0;
		return wrenn_error_errno(err, errno, "cannot read");
	}
	if (p->size != NO_SIZE && (uint64_t)n > left)
		return wrenn_error_set(err, RPC_LOCAL,
		    "the file grew while it was sent (from %ju bytes)",
		    (uintmax_t)p->size);
	if (n == 0 && p->size != NO_SIZE && left > 0)
		return wrenn_error_set(err, RPC_LOCAL,
		    "the file shrank while it was sent (%ju of %ju bytes)",
		    (uintmax_t)p->bytes, (uintmax_t)p->size);
	p->held = (size_t)n;
	p->sent = 0;
	return n == 0;
}

/* Sends what is held. 1 when wrennd takes no more of it. */
static int
send_chunk(struct pump *p, struct wrenn_error *err)
{
	ssize_t n;

	n = send(p->near, p->chunk + p->sent, p->held - p->sent,
	    MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return 0;
		if (errno == EPIPE || errno == ECONNRESET)
			return 1; /* its answer says why */
		return wrenn_error_errno(err, errno, "data socket");
	}
	p->sent += (size_t)n;
	p->bytes += (uint64_t)n;
	tell_progress(p);
	return 0;
}

/* One step of an upload; 1 at its end. */
static int
pump_out(struct pump *p, struct wrenn_error *err)
{
	bool sending = p->sent < p->held, ready;

	if (!sending && p->regular)
		return read_chunk(p, err);
	if (pump_poll(p, sending ? p->near : p->fd, sending ? POLLOUT : POLLIN,
		INT64_MAX, &ready, err) < 0)
		return -1;
	if (!ready)
		return 0;
	return sending ? send_chunk(p, err) : read_chunk(p, err);
}

/* Says that the last byte was sent, so that nothing less is ever taken. */
static int
end_input(struct pump *p, struct wrenn_error *err)
{
	struct json_object *params;
	int r;

	shutdown(p->near, SHUT_WR);
	if (p->size != NO_SIZE)
		return 0;
	params = json_object_new_object();
	jx_add_int(params, "call", p->id);
	r = wrenn_notify(p->w, "call.end", params, err);
	json_object_put(params);
	return r;
}

/* All bytes of an upload, up to the end of the input or an early answer. */
static int
pump_upload(struct pump *p, struct wrenn_error *err)
{
	int r = 0;

	while (r == 0 && !wrenn_is_done(p->w, p->id))
		r = pump_out(p, err);
	if (r < 0)
		return -1;
	if (r == 1 && p->sent == p->held && !wrenn_is_done(p->w, p->id))
		return end_input(p, err);
	return 0;
}

int
wrenn_file_write_from_fd(struct wrenn *w, struct json_object *params, int fd,
    const struct wrenn_transfer *transfer, uint64_t *ret_size,
    struct wrenn_error *err)
{
	struct pump p = { .w = w,
		.fd = fd,
		.size = NO_SIZE,
		.t = transfer ? transfer : &plain_transfer };
	int64_t size;
	int r;

	if (jx_int(params, "size", 0, INT64_MAX - 1, &size) == 0)
		p.size = (uint64_t)size;
	r = pump_open(&p, "file.write", params, true, err);
	if (r == 0) {
		r = pump_upload(&p, err);
		if (r == 0)
			r = finish(&p, ret_size, err);
		if (r < 0)
			give_up(&p);
	}
	pump_release(&p);
	return r;
}
