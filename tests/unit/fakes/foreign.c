#include "tests/unit/fakes/foreign.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#include "proto/limits.h"

#include "proto/banned.h"

union control {
	struct cmsghdr align;
	char space[CMSG_SPACE((LIMIT_FDS + 1) * sizeof(int))];
};

void
foreign_send_fds(int to, const char *text, const int *fds, int count)
{
	union control control = { .space = { 0 } };
	char copy[1024];
	struct iovec iov = { .iov_base = copy, .iov_len = strlen(text) };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int)) };
	struct cmsghdr *c = &control.align; /* the first */

	assert_true(iov.iov_len <= sizeof(copy));
	memcpy(copy, text, iov.iov_len);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
	memcpy(CMSG_DATA(c), fds, (size_t)count * sizeof(int));
	assert_int_equal(sendmsg(to, &msg, MSG_NOSIGNAL), iov.iov_len);
}

/* In the child: makes the pair, hands it over and lives on. */
static void __attribute__((noreturn)) make_pair(int to)
{
	int fds[2];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		_exit(1);
	foreign_send_fds(to, "x", fds, 2);
	close(fds[0]);
	close(fds[1]);
	for (;;)
		pause();
}

void
foreign_start(struct foreign *f)
{
	union control control;
	int channel[2], fds[2];
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space) };

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, channel), 0);
	f->pid = fork();
	assert_true(f->pid >= 0);
	if (f->pid == 0)
		make_pair(channel[1]);
	close(channel[1]);
	assert_int_equal(recvmsg(channel[0], &msg, MSG_CMSG_CLOEXEC), 1);
	assert_int_equal(control.align.cmsg_len, CMSG_LEN(sizeof(fds)));
	memcpy(fds, CMSG_DATA(&control.align), sizeof(fds));
	close(channel[0]);
	f->fd = fds[0];
	f->other = fds[1];
}

void
foreign_stop(struct foreign *f)
{
	if (f->fd >= 0)
		close(f->fd);
	if (f->other >= 0)
		close(f->other);
	kill(f->pid, SIGKILL);
	assert_int_equal(waitpid(f->pid, NULL, 0), f->pid);
}
