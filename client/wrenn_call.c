#include "client/wrenn_priv.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <json-c/json.h>

#include "proto/json_check.h"
#include "proto/jx.h"
#include "proto/rpc_msg.h"

#include "proto/banned.h"

/*
 * Most answers fit into the first read, a longer line takes more of them. The
 * buffer adds a NUL: 16 KiB are allocated, and not 32.
 */
#define READ_FIRST (16 * 1024 - 1)
#define READ_MORE  (64 * 1024)

/* Above this, sending waits for wrennd to take some of it. */
#define OUT_HIGH LIMIT_REQUEST_LINE

/* How long sending waits for a wrennd that takes nothing. */
#define SEND_TIMEOUT_MS 60000

/* Ends the connection for all calls; the first reason stays. */
static int
lose(struct wrenn *w, enum rpc_errno kind, const char *why)
{
	if (w->lost.code == 0)
		wrenn_error_set(&w->lost, kind, "%s", why);
	return -1;
}

static struct wrenn_pending *
pending_by_id(const struct wrenn *w, int64_t id)
{
	struct wrenn_pending *p;

	TAILQ_FOREACH(p, &w->calls, link)
		if (p->id == id)
			return p;
	return NULL;
}

static void
pending_free(struct wrenn *w, struct wrenn_pending *p)
{
	TAILQ_REMOVE(&w->calls, p, link);
	json_object_put(p->result);
	wrenn_error_release(&p->error);
	free(p);
}

bool
wrenn_is_pending(const struct wrenn *w, int64_t id)
{
	return pending_by_id(w, id) != NULL;
}

bool
wrenn_is_done(const struct wrenn *w, int64_t id)
{
	struct wrenn_pending *p = pending_by_id(w, id);

	return p == NULL || p->done || w->lost.code != 0;
}

void
wrenn_forget(struct wrenn *w, int64_t id)
{
	struct wrenn_pending *p = pending_by_id(w, id);

	if (p != NULL)
		pending_free(w, p);
}

/* The number that an id of ours is; -1 for any other text. */
static int64_t
id_number(const char *text)
{
	char *end;
	long long n;

	if (!isdigit((unsigned char)text[0]))
		return -1;
	errno = 0;
	n = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0' ? n : -1;
}

/*
 * Gives an answer to the call that waits for it. One to a forgotten call is
 * dropped; an error without an id is about the connection as a whole.
 */
static int
take_answer(struct wrenn *w, const struct rpc_msg *m)
{
	struct wrenn_pending *p = pending_by_id(w, id_number(m->id));

	if (p == NULL && m->kind == RPC_KIND_ERROR &&
	    (m->id[0] == '\0' || strcmp(m->id, "null") == 0)) {
		if (w->lost.code == 0)
			wrenn_error_from_json(&w->lost, m->error);
		return -1;
	}
	if (p == NULL || p->done)
		return 0;
	p->done = true;
	if (m->kind == RPC_KIND_RESULT)
		p->result = json_object_get(m->result);
	else
		wrenn_error_from_json(&p->error, m->error);
	return 0;
}

void
wrenn_on_event(struct wrenn *w, wrenn_event_fn *fn, void *arg)
{
	w->event = fn;
	w->event_arg = arg;
}

/* Other notifications are for newer clients than this. */
static void
take_notification(struct wrenn *w, const struct rpc_msg *m)
{
	int64_t id;

	if (w->event != NULL && strcmp(m->method, "event") == 0 &&
	    jx_int(m->params, "call", 1, INT64_MAX, &id) == 0)
		w->event(w->event_arg, id, m->params);
}

/* One line from wrennd. */
static int
take_line(struct wrenn *w, const char *text, size_t len)
{
	struct rpc_line line;
	int r = 0;
	size_t i;

	rpc_line_parse(&line, text, len);
	if (line.fault.kind != RPC_OK)
		r = lose(w, RPC_PROTOCOL,
		    "what answers at the socket does not speak the protocol");
	for (i = 0; r == 0 && i < line.count; i++) {
		if (line.msgs[i].kind == RPC_KIND_RESULT ||
		    line.msgs[i].kind == RPC_KIND_ERROR)
			r = take_answer(w, &line.msgs[i]);
		else if (line.msgs[i].kind == RPC_KIND_NOTIFICATION)
			take_notification(w, &line.msgs[i]);
		else if (line.msgs[i].kind == RPC_KIND_BAD)
			r = lose(w, RPC_PROTOCOL, line.msgs[i].fault.message);
	}
	rpc_line_release(&line);
	return r;
}

static int
take_lines(struct wrenn *w)
{
	const char *line;
	size_t len;

	for (;;) {
		switch (rpc_frame_next(&w->in, &line, &len)) {
		case RPC_FRAME_MORE:
			return 0;
		case RPC_FRAME_LINE:
			if (take_line(w, line, len) < 0)
				return -1;
			break;
		case RPC_FRAME_TOO_LONG:
			return lose(w, RPC_PROTOCOL,
			    "an answer was longer than the protocol allows");
		}
	}
}

/* Takes in what has arrived, once. -1 when the connection is over. */
int
wrenn_read_ready(struct wrenn *w)
{
	size_t size = w->in.in.len < READ_FIRST ? READ_FIRST : READ_MORE;
	char *space;
	ssize_t n;

	if (w->lost.code != 0)
		return -1;
	if (rpc_frame_reserve(&w->in, size, &space, &size) < 0)
		return lose(w, RPC_LOCAL, "out of memory");
	n = recv(w->fd, space, size, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return lose(w, RPC_DAEMON_LOST,
		    "wrennd closed the connection before it had answered");
	rpc_frame_commit(&w->in, (size_t)n);
	return take_lines(w);
}

/*
 * Sends what the socket takes. When wrennd has hung up, what it said before
 * may still be waiting to be read: reading finds out, not this.
 */
int
wrenn_flush_ready(struct wrenn *w)
{
	ssize_t n;

	while (w->out.len > 0) {
		n = send(w->fd, buf_head(&w->out), w->out.len,
		    MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0) {
			buf_clear(&w->out);
			return -1;
		}
		buf_consume(&w->out, (size_t)n);
	}
	return 0;
}

/* Waits once for the socket and does what it is ready for. */
static int
wait_io(struct wrenn *w, int64_t deadline, struct wrenn_error *err)
{
	struct pollfd pfd = { .fd = w->fd, .events = POLLIN };

	if (wrenn_check_waiting(w, deadline, err) < 0)
		return -1;
	if (w->out.len > 0)
		pfd.events |= POLLOUT;
	if (poll(&pfd, 1, wrenn_poll_ms(w, deadline)) < 0) {
		if (errno == EINTR)
			return 0;
		return wrenn_error_errno(err, errno, "poll");
	}
	if (pfd.revents & POLLOUT)
		wrenn_flush_ready(w);
	if (pfd.revents & (POLLIN | POLLHUP | POLLERR))
		wrenn_read_ready(w);
	return 0;
}

/* Waits until at most `left` bytes have not been sent. */
static int
drain_to(struct wrenn *w, size_t left, struct wrenn_error *err)
{
	int64_t deadline = wrenn_deadline(SEND_TIMEOUT_MS);

	while (w->out.len > left) {
		if (w->lost.code != 0)
			return wrenn_error_copy(err, &w->lost);
		if (wait_io(w, deadline, err) < 0)
			return -1;
	}
	return 0;
}

/* Prints a request at the end of `out`, with its newline. */
static int
print_request(struct buf *out, int64_t id, const char *method,
    struct json_object *params, const struct wrenn_fd *fds, size_t fd_count)
{
	const char *names[LIMIT_FDS];
	char id_text[24];
	size_t i;
	int r;

	for (i = 0; i < fd_count; i++)
		names[i] = fds[i].name;
	snprintf(id_text, sizeof(id_text), "%jd", (intmax_t)id);
	r = rpc_print_request(
	    out, id > 0 ? id_text : NULL, method, params, names, (int)fd_count);
	return r < 0 ? r : buf_adds(out, "\n");
}

/*
 * Why sendmsg() failed. When wrennd has hung up, what it said before may
 * still be there to be read, and says more.
 */
static int
explain_send(struct wrenn *w, int errnum, struct wrenn_error *err)
{
	if (errnum != EPIPE && errnum != ECONNRESET)
		return wrenn_error_errno(
		    err, errnum, "cannot pass the descriptors");
	wrenn_read_ready(w);
	if (w->lost.code == 0)
		lose(w, RPC_DAEMON_LOST, "wrennd closed the connection");
	return wrenn_error_copy(err, &w->lost);
}

/*
 * Sends the line with the descriptors in one sendmsg. If the socket takes
 * only a part, the descriptors went with its first byte and the rest follows
 * as plain bytes. Nothing else may be waiting in w->out.
 */
static int
send_with_fds(struct wrenn *w, const struct buf *line,
    const struct wrenn_fd *fds, size_t fd_count, struct wrenn_error *err)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(LIMIT_FDS * sizeof(int))];
	} control = { .space = { 0 } };
	struct iovec iov = { .iov_base = buf_head(line), .iov_len = line->len };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = CMSG_SPACE(fd_count * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int64_t deadline = wrenn_deadline(SEND_TIMEOUT_MS);
	struct pollfd pfd = { .fd = w->fd, .events = POLLOUT };
	int numbers[LIMIT_FDS];
	ssize_t n;
	size_t i;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
	for (i = 0; i < fd_count; i++)
		numbers[i] = fds[i].fd;
	memcpy(CMSG_DATA(c), numbers, fd_count * sizeof(int));
	while ((n = sendmsg(w->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL)) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return explain_send(w, errno, err);
		if (wrenn_check_waiting(w, deadline, err) < 0)
			return -1;
		poll(&pfd, 1, wrenn_poll_ms(w, deadline));
	}
	if (buf_add(&w->out, buf_head(line) + n, line->len - (size_t)n) < 0)
		return lose(w, RPC_LOCAL, "out of memory");
	return 0;
}

/* Sends one line; with descriptors it goes alone. */
static int
send_line(struct wrenn *w, const struct buf *line, const struct wrenn_fd *fds,
    size_t fd_count, struct wrenn_error *err)
{
	if (line->len > LIMIT_REQUEST_LINE + 1)
		return wrenn_error_set(err, RPC_TOO_LARGE,
		    "the request is %zu bytes long; wrennd takes at most %d",
		    line->len - 1, LIMIT_REQUEST_LINE);
	if (w->lost.code != 0)
		return wrenn_error_copy(err, &w->lost);
	if (fd_count > 0) {
		if (drain_to(w, 0, err) < 0)
			return -1;
		return send_with_fds(w, line, fds, fd_count, err);
	}
	if (drain_to(w, OUT_HIGH, err) < 0)
		return -1;
	if (buf_add(&w->out, buf_head(line), line->len) < 0)
		return wrenn_error_set(err, RPC_LOCAL, "out of memory");
	wrenn_flush_ready(w);
	return 0;
}

/* Prints and sends; id 0 makes it a notification. */
static int
send_request(struct wrenn *w, int64_t id, const char *method,
    struct json_object *params, const struct wrenn_fd *fds, size_t fd_count,
    struct wrenn_error *err)
{
	struct buf line;
	int r;

	/* Room for more than the limit, so that the error can say how much. */
	buf_init(&line, 16 * LIMIT_REQUEST_LINE);
	r = print_request(&line, id, method, params, fds, fd_count);
	if (r == -ENOSPC)
		r = wrenn_error_set(err, RPC_TOO_LARGE,
		    "the request is longer than the %d bytes wrennd takes",
		    LIMIT_REQUEST_LINE);
	else if (r < 0)
		r = wrenn_error_set(err, RPC_LOCAL, "out of memory");
	else if (utf8_valid_prefix(buf_head(&line), line.len) < line.len)
		r = wrenn_error_set(err, RPC_INVALID_PARAMS,
		    "a parameter holds bytes that are not UTF-8, which JSON "
		    "cannot carry");
	else
		r = send_line(w, &line, fds, fd_count, err);
	buf_release(&line);
	return r;
}

int64_t
wrenn_send_fds(struct wrenn *w, const char *method, struct json_object *params,
    const struct wrenn_fd *fds, size_t fd_count, struct wrenn_error *err)
{
	struct wrenn_pending *p;

	if (fd_count > LIMIT_FDS)
		return wrenn_error_set(err, RPC_USAGE,
		    "a request carries at most %d descriptors", LIMIT_FDS);
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return wrenn_error_set(err, RPC_LOCAL, "out of memory");
	p->id = ++w->last_id;
	TAILQ_INSERT_TAIL(&w->calls, p, link);
	if (send_request(w, p->id, method, params, fds, fd_count, err) < 0) {
		pending_free(w, p);
		return -1;
	}
	return p->id;
}

int64_t
wrenn_send(struct wrenn *w, const char *method, struct json_object *params,
    struct wrenn_error *err)
{
	return wrenn_send_fds(w, method, params, NULL, 0, err);
}

int
wrenn_notify(struct wrenn *w, const char *method, struct json_object *params,
    struct wrenn_error *err)
{
	return send_request(w, 0, method, params, NULL, 0, err);
}

int
wrenn_cancel(struct wrenn *w, int64_t id, struct wrenn_error *err)
{
	struct json_object *params = json_object_new_object();
	int r;

	jx_add_int(params, "call", id);
	r = wrenn_notify(w, "call.cancel", params, err);
	json_object_put(params);
	return r;
}

/* Hands an answer over and drops the call. */
static int
hand_over(struct wrenn *w, struct wrenn_pending *p,
    struct json_object **ret_result, struct wrenn_error *err)
{
	int r = 0;

	if (p->error.code != 0) {
		r = wrenn_error_copy(err, &p->error);
	} else {
		*ret_result = p->result;
		p->result = NULL; /* now the caller's */
	}
	pending_free(w, p);
	return r;
}

int
wrenn_wait(struct wrenn *w, int64_t id, int64_t timeout_ms,
    struct json_object **ret_result, struct wrenn_error *err)
{
	int64_t deadline = wrenn_deadline(timeout_ms);
	struct wrenn_pending *p = pending_by_id(w, id);

	if (p == NULL)
		return wrenn_error_set(err, RPC_USAGE,
		    "no call %jd waits for an answer", (intmax_t)id);
	/* What has come counts, even with a timeout of 0. */
	if (!p->done) {
		wrenn_flush_ready(w);
		wrenn_read_ready(w);
	}
	while (!p->done) {
		if (w->lost.code != 0) {
			pending_free(w, p);
			return wrenn_error_copy(err, &w->lost);
		}
		if (wait_io(w, deadline, err) < 0)
			return -1;
	}
	return hand_over(w, p, ret_result, err);
}

int
wrenn_call(struct wrenn *w, const char *method, struct json_object *params,
    int64_t timeout_ms, struct json_object **ret_result,
    struct wrenn_error *err)
{
	struct wrenn_error ignored;
	int64_t id;

	id = wrenn_send(w, method, params, err);
	if (id < 0)
		return -1;
	if (wrenn_wait(w, id, timeout_ms, ret_result, err) == 0)
		return 0;
	if (wrenn_is_pending(w, id)) {
		if (wrenn_cancel(w, id, &ignored) < 0)
			wrenn_error_release(&ignored);
		wrenn_forget(w, id);
	}
	return -1;
}
