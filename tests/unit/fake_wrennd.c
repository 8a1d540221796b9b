#include "tests/unit/fake_wrennd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/banned.h"

void
fake_must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fake wrennd: %s\n", what);
	abort();
}

static void *
run(void *arg)
{
	struct fake_wrennd *f = arg;

	f->fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
	fake_must(f->fd >= 0, "accept");
	f->serve(f);
	if (f->fd >= 0)
		close(f->fd);
	return NULL;
}

void
fake_start(struct fake_wrennd *f, void (*serve)(struct fake_wrennd *))
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	*f = (struct fake_wrennd){ .dir = "/tmp/test-wrenn-XXXXXX",
		.serve = serve,
		.fd = -1,
		.passed_fd = -1 };
	fake_must(mkdtemp(f->dir) != NULL, "mkdtemp");
	snprintf(f->path, sizeof(f->path), "%s/sock", f->dir);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", f->path);
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fake_must(bind(f->listener, (struct sockaddr *)&sa, sizeof(sa)) == 0 &&
		      listen(f->listener, 5) == 0,
	    "listen");
	fake_must(pthread_create(&f->thread, NULL, run, f) == 0, "thread");
}

void
fake_stop(struct fake_wrennd *f)
{
	pthread_join(f->thread, NULL);
	close(f->listener);
	unlink(f->path);
	rmdir(f->dir);
}

/* One byte, with the descriptor that may come along. */
static ssize_t
read_byte(struct fake_wrennd *f, char *byte)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space) };
	struct cmsghdr *c;
	ssize_t n = recvmsg(f->fd, &msg, MSG_CMSG_CLOEXEC);

	c = CMSG_FIRSTHDR(&msg);
	if (n > 0 && c != NULL && c->cmsg_type == SCM_RIGHTS)
		memcpy(&f->passed_fd, CMSG_DATA(c), sizeof(int));
	return n;
}

bool
fake_read_line(struct fake_wrennd *f)
{
	size_t n = 0;
	char c;

	f->passed_fd = -1;
	while (read_byte(f, &c) == 1) {
		if (c == '\n') {
			f->line[n] = '\0';
			return true;
		}
		fake_must(n < sizeof(f->line) - 1, "line too long");
		f->line[n++] = c;
	}
	return false;
}

void
fake_expect(struct fake_wrennd *f, const char *text)
{
	fake_must(fake_read_line(f), "the client hung up");
	if (strstr(f->line, text) != NULL)
		return;
	fprintf(stderr, "wanted: %s\ngot:    %s\n", text, f->line);
	fake_must(false, "another line was expected");
}

void
fake_send(struct fake_wrennd *f, const char *text)
{
	size_t n = strlen(text);
	ssize_t r;

	while (n > 0) {
		r = send(f->fd, text, n, MSG_NOSIGNAL);
		fake_must(r > 0, "the client does not read");
		text += r;
		n -= (size_t)r;
	}
}
