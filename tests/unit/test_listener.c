#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#include "daemon/listener.h"
#include "daemon/log.h"
#include "daemon/peer.h"
#include "daemon/settings.h"
#include "tests/unit/fakes/fake_loop.h"
#include "tests/unit/fakes/rig.h"

#include "proto/banned.h"

/* A folder, a listener in it, and its clients. */
struct fixture {
	char dir[32];
	char path[80];
	struct settings settings;
	struct loop *loop;
	struct listener *listener;
	int gone;
};

static bool
on_line(struct peer *p, const char *line, size_t len, int fds, void *arg)
{
	struct buf b;

	(void)fds;
	(void)arg;
	buf_init(&b, 100);
	assert_int_equal(buf_add(&b, line, len), 0);
	assert_int_equal(peer_send(p, &b), 0);
	buf_release(&b);
	return true;
}

static void
on_too_long(struct peer *p, void *arg)
{
	(void)arg;
	peer_doom(p, "too long");
}

static bool
is_busy(struct peer *p, void *arg)
{
	(void)p;
	(void)arg;
	return false;
}

static void
on_gone(struct peer *p, void *arg)
{
	struct fixture *f = arg;

	f->gone++;
	listener_forget(f->listener, p);
}

static const struct peer_ops ops = { on_line, on_too_long, is_busy, on_gone };

static int
enter(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	log_set_level(LOG_ERROR);
	snprintf(f->dir, sizeof(f->dir), "/tmp/test-listener-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/made/sock", f->dir);
	f->settings.socket = f->path;
	f->settings.socket_mode = 0660;
	f->settings.clients_per_uid = 3;
	f->loop = loop_new();
	*state = f;
	return 0;
}

static int
leave(void **state)
{
	struct fixture *f = *state;

	listener_free(f->listener);
	loop_free(f->loop);
	rig_remove_folder(f->dir);
	free(f);
	return 0;
}

static struct listener *
open_listener(struct fixture *f)
{
	f->listener = listener_new(f->loop, &f->settings, -1, &ops, f);
	return f->listener;
}

static struct sockaddr_un
address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return a;
}

static int
client(struct fixture *f)
{
	struct sockaddr_un a = address(f->path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		close(fd);
		return -1;
	}
	fake_loop_settle(f->loop);
	return fd;
}

static void
expect_echo(struct fixture *f, int fd)
{
	char text[10] = { 0 };

	assert_int_equal(send(fd, "hi\n", 3, MSG_NOSIGNAL), 3);
	fake_loop_settle(f->loop);
	assert_int_equal(recv(fd, text, sizeof(text), MSG_DONTWAIT), 3);
	assert_string_equal(text, "hi\n");
}

static void
the_socket_is_made_for_its_users(void **state)
{
	struct fixture *f = *state;
	char folder[64];
	struct stat st;

	assert_non_null(open_listener(f));
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	snprintf(folder, sizeof(folder), "%s/made", f->dir);
	assert_int_equal(stat(folder, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_string_equal(listener_path(f->listener), f->path);
	listener_stop(f->listener);
	assert_int_equal(stat(f->path, &st), -1);
	listener_stop(f->listener);
}

static void
clients_are_served_and_counted(void **state)
{
	struct fixture *f = *state;
	int a, b;

	assert_non_null(open_listener(f));
	a = client(f);
	b = client(f);
	assert_int_equal(listener_clients(f->listener), 2);
	expect_echo(f, b);
	expect_echo(f, a);
	close(a);
	fake_loop_settle(f->loop);
	assert_int_equal(listener_clients(f->listener), 1);
	assert_int_equal(f->gone, 1);
	/* Those there stay when no new ones are taken. */
	listener_stop(f->listener);
	assert_int_equal(client(f), -1);
	expect_echo(f, b);
	listener_free(f->listener);
	f->listener = NULL;
	assert_int_equal(f->gone, 2);
	close(b);
}

static void
one_user_has_a_limit(void **state)
{
	struct fixture *f = *state;
	char text[500] = { 0 };
	int fds[4], i;

	assert_non_null(open_listener(f));
	for (i = 0; i < 4; i++)
		fds[i] = client(f);
	assert_int_equal(listener_clients(f->listener), 3);
	assert_true(recv(fds[3], text, sizeof(text) - 1, 0) > 0);
	assert_non_null(strstr(text, "\"name\":\"busy\""));
	assert_int_equal(text[strlen(text) - 1], '\n');
	assert_int_equal(recv(fds[3], text, sizeof(text), 0), 0);
	close(fds[3]);
	close(fds[0]);
	fake_loop_settle(f->loop);
	fds[0] = client(f);
	expect_echo(f, fds[0]);
	f->settings.clients_per_uid = 4;
	listener_settings_changed(f->listener, &f->settings);
	fds[3] = client(f);
	expect_echo(f, fds[3]);
	for (i = 0; i < 4; i++)
		close(fds[i]);
}

static void
a_stale_socket_is_replaced(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un a;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(f->path, sizeof(f->path), "%s/sock", f->dir);
	a = address(f->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
	assert_non_null(open_listener(f));
	fd = client(f);
	expect_echo(f, fd);
	close(fd);
}

static void
a_live_one_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct listener *second;
	int fd;

	assert_non_null(open_listener(f));
	second = listener_new(f->loop, &f->settings, -1, &ops, f);
	assert_null(second);
	fd = client(f);
	assert_true(fd >= 0);
	expect_echo(f, fd);
	close(fd);
}

static void
what_is_no_socket_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int fd;

	snprintf(f->path, sizeof(f->path), "%s/file", f->dir);
	fd = open(f->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_null(open_listener(f));
	assert_int_equal(stat(f->path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
}

static void
impossible_settings_are_refused(void **state)
{
	struct fixture *f = *state;
	char path[200];

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	f->settings.socket = path;
	assert_null(open_listener(f));
	snprintf(path, sizeof(path), "%s/no/such/folder", f->dir);
	assert_null(open_listener(f));
	f->settings.socket = f->path;
	f->settings.socket_group = (char[]){ "no such group" };
	assert_null(open_listener(f));
}

/* Somebody else's socket in its place is not removed. */
static void
only_its_own_socket_is_removed(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un a = address(f->path);
	struct stat st;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char aside[100];

	assert_non_null(open_listener(f));
	snprintf(aside, sizeof(aside), "%s.old", f->path);
	assert_int_equal(rename(f->path, aside), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	listener_stop(f->listener);
	assert_int_equal(stat(f->path, &st), 0);
	close(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_socket_is_made_for_its_users),
		TEST(clients_are_served_and_counted),
		TEST(one_user_has_a_limit),
		TEST(a_stale_socket_is_replaced),
		TEST(a_live_one_is_left_alone),
		TEST(what_is_no_socket_is_left_alone),
		TEST(impossible_settings_are_refused),
		TEST(only_its_own_socket_is_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
