#include "daemon/datasock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/xalloc.h"

#include "proto/banned.h"

struct datasock {
	int fd;
	struct io *io;
	loop_fn *ready;
	void *arg;
};

static int
option(int fd, int name)
{
	socklen_t len = sizeof(int);
	int value = -1;

	if (getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0)
		return -1;
	return value;
}

const char *
datasock_fault(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer), cred_len = sizeof(struct ucred);
	struct ucred cred;
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode))
		return "it is no socket";
	if (option(fd, SO_DOMAIN) != AF_UNIX ||
	    option(fd, SO_TYPE) != SOCK_STREAM)
		return "it is no AF_UNIX stream socket";
	if (option(fd, SO_ACCEPTCONN) != 0 ||
	    getpeername(fd, (struct sockaddr *)&peer, &len) < 0)
		return "it is not connected";
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &cred_len) < 0 ||
	    cred.pid == getpid())
		return "it leads back to wrennd";
	return NULL;
}

static void
io_ready(void *arg, int events)
{
	struct datasock *d = arg;

	(void)events;
	d->ready(d->arg);
}

struct datasock *
datasock_new(struct loop *l, int fd, loop_fn *ready, void *arg)
{
	struct datasock *d = xcalloc(1, sizeof(*d));

	*d = (struct datasock){ .fd = fd, .ready = ready, .arg = arg };
	d->io = io_new(l, fd, io_ready, d);
	return d;
}

void
datasock_free(struct datasock *d)
{
	if (d == NULL)
		return;
	io_free(d->io);
	close(d->fd);
	free(d);
}

void
datasock_want(struct datasock *d, int events)
{
	io_want(d->io, events);
}

ssize_t
datasock_read(struct datasock *d, void *data, size_t n)
{
	ssize_t r = recv(d->fd, data, n, MSG_DONTWAIT);

	return r < 0 ? (errno == EINTR ? -EAGAIN : -errno) : r;
}

ssize_t
datasock_write(struct datasock *d, const void *data, size_t n)
{
	ssize_t r = send(d->fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);

	return r < 0 ? (errno == EINTR ? -EAGAIN : -errno) : r;
}
