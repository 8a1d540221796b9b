#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#include "daemon/datasock.h"
#include "tests/unit/fakes/fake_loop.h"
#include "tests/unit/fakes/foreign.h"

#include "proto/banned.h"

static void
check(int fd, const char *fault)
{
	const char *found = datasock_fault(fd);

	if (fault == NULL)
		assert_null(found);
	else
		assert_string_equal(found, fault);
	close(fd);
}

static void
what_is_no_socket_is_refused(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	check(fds[0], "it is no socket");
	check(fds[1], "it is no socket");
	check(open("/dev/null", O_RDWR | O_CLOEXEC), "it is no socket");
	check(open("/", O_RDONLY | O_CLOEXEC), "it is no socket");
	check(-1, "it is no socket");
}

static void
other_sockets_are_refused(void **state)
{
	int fds[2];

	(void)state;
	check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
	    "it is no AF_UNIX stream socket");
	check(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0),
	    "it is no AF_UNIX stream socket");
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	check(fds[0], "it is no AF_UNIX stream socket");
	close(fds[1]);
}

static void
sockets_that_lead_nowhere_are_refused(void **state)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	check(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
	    "it is not connected");
	/* An address of one NUL and no name: the kernel chooses one. */
	assert_int_equal(
	    bind(fd, (struct sockaddr *)&a, sizeof(a.sun_family)), 0);
	assert_int_equal(listen(fd, 1), 0);
	check(fd, "it is not connected");
}

static void
sockets_of_this_process_are_refused(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	check(fds[0], "it leads back to wrennd");
	check(fds[1], "it leads back to wrennd");
}

static void
another_process_socket_is_fit(void **state)
{
	struct foreign f;

	(void)state;
	foreign_start(&f);
	assert_null(datasock_fault(f.fd));
	foreign_stop(&f);
}

static void
count(void *arg)
{
	(*(int *)arg)++;
}

/* Its mode is not touched: the client may rely on it. */
static void
bytes_flow_without_blocking(void **state)
{
	struct loop *l = loop_new();
	char data[70000] = { 0 };
	struct datasock *d;
	int fds[2], calls = 0, flags;
	ssize_t n;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	flags = fcntl(fds[0], F_GETFL);
	d = datasock_new(l, fds[0], count, &calls);
	assert_int_equal(fcntl(fds[0], F_GETFL), flags);
	assert_int_equal(datasock_read(d, data, 10), -EAGAIN);
	do
		n = datasock_write(d, data, sizeof(data));
	while (n > 0);
	assert_int_equal(n, -EAGAIN);
	datasock_want(d, IO_WRITE);
	fake_loop_settle(l);
	assert_int_equal(calls, 0);
	datasock_want(d, 0);
	assert_int_equal(send(fds[1], "abc", 3, 0), 3);
	assert_int_equal(datasock_read(d, data, 10), 3);
	assert_memory_equal(data, "abc", 3);
	close(fds[1]);
	assert_int_equal(datasock_write(d, "x", 1), -EPIPE);
	datasock_free(d);
	datasock_free(NULL);
	assert_int_equal(fcntl(fds[0], F_GETFD), -1);
	loop_free(l);
}

static void
readiness_is_told_while_it_is_wanted(void **state)
{
	struct loop *l = loop_new();
	struct datasock *d;
	int fds[2], calls = 0;
	char c;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	d = datasock_new(l, fds[0], count, &calls);
	assert_int_equal(send(fds[1], "a", 1, 0), 1);
	fake_loop_settle(l);
	assert_int_equal(calls, 0);
	datasock_want(d, IO_READ);
	fake_loop_until(l, &calls, 1);
	assert_int_equal(datasock_read(d, &c, 1), 1);
	shutdown(fds[1], SHUT_WR);
	fake_loop_until(l, &calls, 2);
	assert_int_equal(datasock_read(d, &c, 1), 0);
	datasock_free(d);
	close(fds[1]);
	loop_free(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_socket_is_refused),
		cmocka_unit_test(other_sockets_are_refused),
		cmocka_unit_test(sockets_that_lead_nowhere_are_refused),
		cmocka_unit_test(sockets_of_this_process_are_refused),
		cmocka_unit_test(another_process_socket_is_fit),
		cmocka_unit_test(bytes_flow_without_blocking),
		cmocka_unit_test(readiness_is_told_while_it_is_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
