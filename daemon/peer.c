#include "daemon/peer.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/loop.h"
#include "proto/buf.h"
#include "proto/rpc_frame.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define IDLE_KEEP    1024            /* bytes that an empty buffer keeps */
#define READ_FIRST   (IDLE_KEEP - 1) /* and a NUL; most requests are shorter */
#define READ_MOST    (64 * 1024 - 1)
#define SEND_AT_ONCE (64 * 1024) /* more does not wait for the turn */
#define HALF_TICK_MS 200 /* how often a half-closed client is looked at */
#define FDS_HELD     (4 * LIMIT_FDS) /* of lines read but not handled yet */

/* A descriptor that arrived, and where in the stream of bytes. */
struct arrival {
	int fd;
	uint64_t end; /* of the bytes it came with */
};

/*
 * Lives from accept to the end of the turn in which it was doomed or hung up.
 * Doomed peers are not read and call nothing but gone().
 */
struct peer {
	struct loop *loop;
	int fd;
	pid_t pid;
	struct peer_user *user;
	struct io *io;
	struct later more;   /* lines are left, or it is to be freed */
	struct later flush;  /* answers of this turn are to be sent */
	struct timer *stall; /* NULL until it is needed, as is half */
	struct timer *half;  /* armed once the client shut its sending side */
	struct rpc_frame in;
	size_t read_size;  /* see adapt_read_size() */
	uint64_t received; /* bytes in all */
	struct arrival fds[FDS_HELD];
	int fd_count;
	int line_fds; /* of the line being handled */
	struct buf out;
	bool blocked;     /* the socket took no more of it */
	size_t send_size; /* of what the turn before had to send */
	uint64_t sent;    /* bytes in all; seen_sent: at the last look */
	uint64_t seen_sent;
	bool half_closed, hung_up, doomed;
	const struct peer_ops *ops;
	void *arg;
	void *calls;
};

static void peer_more(void *arg);
static void send_queued(struct peer *p);

/* ---- descriptors ---- */

static void
close_fds(struct peer *p)
{
	int i;

	for (i = 0; i < p->fd_count; i++)
		close(p->fds[i].fd);
	p->fd_count = 0;
}

/* Keeps the descriptors of a message that ends at p->received. */
static bool
keep_fds(struct peer *p, struct msghdr *msg)
{
	struct cmsghdr *c;
	size_t i, n;
	int fd;
	bool fits = !(msg->msg_flags & MSG_CTRUNC);

	for (c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (p->fd_count == FDS_HELD) {
				close(fd);
				fits = false;
				continue;
			}
			p->fds[p->fd_count++] =
			    (struct arrival){ fd, p->received };
		}
	}
	return fits;
}

/*
 * How many descriptors belong to the line that ends at `end`. A recvmsg()
 * stops behind a message with descriptors, so they are those of the last
 * line that it brought, or of the line that it brought the beginning of.
 */
static int
fds_up_to(const struct peer *p, uint64_t end)
{
	int n = 0;

	while (n < p->fd_count && p->fds[n].end <= end)
		n++;
	return n;
}

void
peer_take_fds(struct peer *p, int *fds, int count)
{
	int i;

	for (i = 0; i < count; i++)
		fds[i] = p->fds[i].fd;
	p->fd_count -= count;
	p->line_fds -= count;
	memmove(
	    p->fds, p->fds + count, (size_t)p->fd_count * sizeof(p->fds[0]));
}

/* ---- the end ---- */

static void
set_output(struct peer *p, size_t before)
{
	p->user->output += p->out.len;
	p->user->output -= before;
}

void
peer_free(struct peer *p)
{
	if (!p->hung_up)
		send_queued(p);
	later_cancel(p->loop, &p->more);
	later_cancel(p->loop, &p->flush);
	close_fds(p);
	io_free(p->io);
	timer_free(p->stall);
	timer_free(p->half);
	close(p->fd);
	p->user->output -= p->out.len;
	buf_release(&p->out);
	rpc_frame_release(&p->in);
	free(p);
}

static void
hang_up(struct peer *p)
{
	p->hung_up = true;
	io_want(p->io, 0);
	loop_later(p->loop, &p->more);
}

void
peer_doom(struct peer *p, const char *why)
{
	if (p->doomed)
		return;
	log_info("client closed: %s pid=%d uid=%u", why, p->pid, p->user->uid);
	p->doomed = true;
	close_fds(p);
	send_queued(p);
	if (!p->hung_up)
		hang_up(p);
}

/* ---- output ---- */

/* Most clients never need theirs. */
static void
arm(struct peer *p, struct timer **t, loop_fn *fn, int64_t ms)
{
	if (*t == NULL)
		*t = timer_new(p->loop, fn, p);
	timer_set(*t, ms);
}

static void stall_due(void *arg);

/* A client that takes too little of its answers is watched for a while. */
static void
watch_stall(struct peer *p)
{
	bool armed = p->stall != NULL && timer_armed(p->stall);

	if (p->out.len >= LIMIT_OUTPUT_SOFT && !armed) {
		p->seen_sent = p->sent;
		arm(p, &p->stall, stall_due, LIMIT_STALL_MS);
	} else if (p->out.len < LIMIT_OUTPUT_SOFT && armed) {
		timer_set(p->stall, -1);
	}
}

static void
want_events(struct peer *p)
{
	int events = 0;

	if (p->hung_up)
		return;
	/* A client that does not read its answers is not read either. */
	if (p->out.len < LIMIT_OUTPUT_SOFT && !p->half_closed)
		events |= IO_READ;
	if (p->out.len > 0)
		events |= IO_WRITE;
	io_want(p->io, events);
	watch_stall(p);
}

static void
stall_due(void *arg)
{
	struct peer *p = arg;

	if (p->sent == p->seen_sent)
		peer_doom(p, "it reads none of its answers");
	else
		want_events(p);
}

static void
send_queued(struct peer *p)
{
	size_t before = p->out.len;
	ssize_t n;

	p->send_size = before < SEND_AT_ONCE ? before : SEND_AT_ONCE;
	while (p->out.len > 0) {
		n = send(p->fd, buf_head(&p->out), p->out.len,
		    MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			hang_up(p);
			break;
		}
		p->blocked = n < 0;
		if (n < 0)
			break;
		p->sent += (uint64_t)n;
		buf_consume(&p->out, (size_t)n);
	}
	if (p->out.len == 0 && p->out.alloc > IDLE_KEEP)
		buf_release(&p->out);
	else if (p->out.len == 0)
		buf_wipe(&p->out); /* a key that was made, say */
	set_output(p, before);
	want_events(p);
	/* Lines may have waited for the answers to drain. */
	if (before >= LIMIT_OUTPUT_SOFT && p->out.len < LIMIT_OUTPUT_SOFT)
		loop_later(p->loop, &p->more);
}

int
peer_send(struct peer *p, const struct buf *line)
{
	size_t before = p->out.len;
	char *space;

	if (p->hung_up)
		return 0;
	if (p->user->output + line->len > LIMIT_OUTPUT_PER_UID &&
	    before + line->len > LIMIT_OUTPUT_SOFT)
		return -ENOBUFS;
	/* Many answers come in turns of many: the buffer need not grow then. */
	if (before == 0)
		buf_reserve(&p->out, p->send_size, &space);
	if (buf_add(&p->out, buf_head(line), line->len) < 0 ||
	    buf_add(&p->out, "\n", 1) < 0) {
		set_output(p, before);
		peer_doom(p, "too many answers are queued for it");
		return 0;
	}
	set_output(p, before);
	if (p->blocked)
		want_events(p);
	else if (p->out.len >= SEND_AT_ONCE)
		send_queued(p);
	else
		loop_last(p->loop, &p->flush);
	return 0;
}

static void
flush(void *arg)
{
	struct peer *p = arg;

	if (!p->hung_up)
		send_queued(p);
}

bool
peer_reads(const struct peer *p)
{
	return p->out.len < LIMIT_OUTPUT_SOFT;
}

/* ---- input ---- */

/*
 * A client may shut its sending side and go on reading its answers, as
 * `printf … | socat - UNIX:…` does. It is kept until the last one went out or
 * it is gone altogether, which only poll() tells: POLLHUP means both sides.
 */
static void
half_tick(void *arg)
{
	struct peer *p = arg;
	struct pollfd pfd = { .fd = p->fd };
	bool done =
	    p->out.len == 0 && !p->more.queued && !p->ops->busy(p, p->arg);

	if (done || poll(&pfd, 1, 0) < 0 || (pfd.revents & POLLHUP))
		hang_up(p);
	else
		arm(p, &p->half, half_tick, HALF_TICK_MS);
}

static void
end_of_input(struct peer *p)
{
	struct pollfd pfd = { .fd = p->fd };

	if (poll(&pfd, 1, 0) < 0 || (pfd.revents & POLLHUP)) {
		hang_up(p);
		return;
	}
	p->half_closed = true;
	arm(p, &p->half, half_tick, 0);
	want_events(p);
}

/* A client that sends much at a time is read in larger pieces. */
static void
adapt_read_size(struct peer *p, size_t n)
{
	if (n == p->read_size && n < READ_MOST)
		p->read_size = 2 * n + 1;
	else if (n < p->read_size / 4)
		p->read_size = READ_FIRST;
}

/* Reads once. false when there is nothing more to be had now. */
static bool
receive(struct peer *p)
{
	union {
		char space[CMSG_SPACE(LIMIT_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	char *space;
	ssize_t n;

	if (rpc_frame_reserve(&p->in, p->read_size, &space, &iov.iov_len) < 0) {
		peer_doom(p, "no memory for its requests");
		return false;
	}
	iov.iov_base = space;
	n = recvmsg(p->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EINTR;
	if (n == 0) {
		end_of_input(p);
		return false;
	}
	adapt_read_size(p, (size_t)n);
	rpc_frame_commit(&p->in, (size_t)n);
	p->received += (uint64_t)n;
	if (!keep_fds(p, &msg)) {
		peer_doom(p, "it passed too many descriptors");
		return false;
	}
	return true;
}

/* Where in the stream of bytes the line handed out last ends. */
static uint64_t
line_end(const struct peer *p)
{
	return p->received - (p->in.in.len - p->in.taken);
}

static void
handle_line(struct peer *p, const char *line, size_t len)
{
	p->line_fds = fds_up_to(p, line_end(p));
	if (!p->ops->line(p, line, len, p->line_fds, p->arg))
		peer_doom(p, "descriptors and the request's \"fds\" differ");
	else if (p->line_fds > 0 && !p->doomed)
		peer_doom(p, "descriptors came that no request names");
}

/*
 * Handles lines until there are none, the client is not to be read, or it
 * had its share of this turn.
 */
static void
handle_lines(struct peer *p)
{
	enum rpc_frame_result r;
	const char *line;
	size_t len;
	int n;

	for (n = 0; n < LIMIT_REQUESTS_PER_TURN; n++) {
		if (p->hung_up || p->out.len >= LIMIT_OUTPUT_SOFT)
			return;
		r = rpc_frame_next(&p->in, &line, &len);
		if (r == RPC_FRAME_MORE) {
			if (p->in.in.len == 0 && p->in.in.alloc > IDLE_KEEP)
				rpc_frame_release(&p->in);
			return;
		}
		if (r == RPC_FRAME_LINE)
			handle_line(p, line, len);
		else if (p->fd_count > 0)
			peer_doom(p, "descriptors came with a line that is "
				     "too long");
		else
			p->ops->too_long(p, p->arg);
	}
	loop_later(p->loop, &p->more);
}

static void
io_ready(void *arg, int events)
{
	struct peer *p = arg;

	if (events & IO_WRITE)
		send_queued(p);
	if ((events & IO_READ) && !p->hung_up && !p->more.queued && receive(p))
		handle_lines(p);
}

static void
peer_more(void *arg)
{
	struct peer *p = arg;

	if (!p->hung_up) {
		handle_lines(p);
		return;
	}
	p->ops->gone(p, p->arg);
	peer_free(p);
}

/* ---- the whole ---- */

struct peer *
peer_new(struct loop *l, int fd, pid_t pid, struct peer_user *user,
    const struct peer_ops *ops, void *arg)
{
	struct peer *p = xcalloc(1, sizeof(*p));

	p->loop = l;
	p->fd = fd;
	p->pid = pid;
	p->user = user;
	p->ops = ops;
	p->arg = arg;
	rpc_frame_init(&p->in, LIMIT_REQUEST_LINE);
	buf_init(&p->out, LIMIT_OUTPUT_HARD);
	later_init(&p->more, peer_more, p);
	later_init(&p->flush, flush, p);
	p->read_size = READ_FIRST;
	p->io = io_new(l, fd, io_ready, p);
	want_events(p);
	return p;
}

void
peer_set_calls(struct peer *p, void *calls)
{
	p->calls = calls;
}

void *
peer_calls(const struct peer *p)
{
	return p->calls;
}

uid_t
peer_uid(const struct peer *p)
{
	return p->user->uid;
}

pid_t
peer_pid(const struct peer *p)
{
	return p->pid;
}

struct peer_user *
peer_user(const struct peer *p)
{
	return p->user;
}
