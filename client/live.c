#include "client/live.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/cmd.h"
#include "client/wrenn_priv.h"

#include "proto/banned.h"

#define CHUNK       (256 * 1024)
#define SEND_BUFFER (1024 * 1024) /* of wrennd's ends */
#define POLL_MS     250           /* how late an interrupt may be seen */

static void
close_near(struct live *l, int i)
{
	if (l->near[i] >= 0)
		close(l->near[i]);
	l->near[i] = -1;
}

static int
make_pair(struct live *l, int i, struct wrenn_fd *far, struct wrenn_error *err)
{
	int ends[2], size = SEND_BUFFER;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return wrenn_error_errno(err, errno, "socketpair");
	/* The kernel gives what its limit allows; less is only slower. */
	setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	l->near[i] = ends[0];
	far->fd = ends[1];
	return 0;
}

int
live_start(struct live *l, struct ctl *ctl, struct json_object *params,
    struct wrenn_error *err)
{
	struct wrenn_fd far[2] = { { "stdout", -1 }, { "stderr", -1 } };
	int i, r = 0;

	*l = (struct live){ .ctl = ctl, .id = -1, .near = { -1, -1 } };
	l->chunk = malloc(CHUNK);
	if (l->chunk == NULL)
		return wrenn_error_set(err, RPC_LOCAL, "out of memory");
	for (i = 0; i < 2 && r == 0; i++)
		r = make_pair(l, i, &far[i], err);
	if (r == 0)
		l->id =
		    wrenn_send_fds(ctl->w, "exec.stream", params, far, 2, err);
	for (i = 0; i < 2; i++)
		if (far[i].fd >= 0)
			close(far[i].fd);
	return l->id < 0 ? -1 : 0;
}

void
live_release(struct live *l)
{
	close_near(l, 0);
	close_near(l, 1);
	free(l->chunk);
}

/* All of it, but for an interrupt. 0, or a negative errno. */
static int
write_all(int fd, const char *data, size_t n)
{
	ssize_t r;

	while (n > 0 && interrupt_signal() == 0) {
		r = write(fd, data, n);
		if (r < 0 && errno == EAGAIN)
			poll(&(struct pollfd){ fd, POLLOUT, 0 }, 1, POLL_MS);
		else if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0) {
			data += r;
			n -= (size_t)r;
		}
	}
	return 0;
}

/* What there is of one. A disk that is full is told of in the end. */
static int
pass_on(struct live *l, int i, struct wrenn_error *err)
{
	struct out *out = &l->ctl->out;
	ssize_t n;
	int r;

	n = recv(l->near[i], l->chunk, CHUNK, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		close_near(l, i);
		return 0;
	}
	if (i == 0 && out->write_errno != 0)
		return 0;
	r = write_all(
	    i == 0 ? STDOUT_FILENO : STDERR_FILENO, l->chunk, (size_t)n);
	if (i == 0 && r == -EPIPE)
		return wrenn_error_errno(err, EPIPE, "standard output");
	if (i == 0 && r < 0)
		out->write_errno = -r;
	return 0;
}

int
live_pump(struct live *l, struct wrenn_error *err)
{
	struct pollfd fds[2];
	int i;

	while (
	    (l->near[0] >= 0 || l->near[1] >= 0) && interrupt_signal() == 0) {
		for (i = 0; i < 2; i++)
			fds[i] = (struct pollfd){ l->near[i], POLLIN, 0 };
		if (poll(fds, 2, POLL_MS) <= 0)
			continue;
		for (i = 0; i < 2; i++)
			if (fds[i].revents != 0 && pass_on(l, i, err) < 0)
				return -1;
	}
	return 0;
}
