/*
 * This program is its own wrennd: started with --on-demand it listens at the
 * default socket and answers every line, until it is told to stop.
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "client/wrenn.h"

#include "proto/banned.h"

#define SOON    10000 /* ms */
#define CLIENTS 12

/* --- as wrennd */

static int
count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = -3; /* ".", ".." and the one that reads */

	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static int
listen_at_default(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/wrennd/wrennd.sock",
	    getenv("XDG_RUNTIME_DIR"));
	unlink(sa.sun_path);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(fd, CLIENTS) < 0)
		exit(1);
	return fd;
}

/* One client after the other, one short line after the other. */
static void
serve(int listener)
{
	char line[1000], answer[100];
	int fd, n;

	for (;;) {
		fd = accept(listener, NULL, NULL);
		while ((n = (int)recv(fd, line, sizeof(line) - 1, 0)) > 0) {
			line[n] = '\0';
			if (strstr(line, "\"stop\"") != NULL)
				exit(0);
			n = snprintf(answer, sizeof(answer),
			    "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":"
			    "{\"pid\":%d}}\n",
			    (int)getpid());
			send(fd, answer, (size_t)n, MSG_NOSIGNAL);
		}
		close(fd);
	}
}

/* In a session of its own, which another one leads: it gets no terminal. */
static bool
is_apart(void)
{
	const char *tester = getenv("TEST_SESSION");

	return tester != NULL && getsid(0) != strtol(tester, NULL, 10) &&
	       getsid(0) != getpid();
}

static int
be_wrennd(void)
{
	char cwd[100];
	sigset_t mask;

	alarm(60); /* should the test die */
	sigprocmask(SIG_SETMASK, NULL, &mask);
	printf("started with %d descriptors in %s, session %d, SIGUSR1 %d\n",
	    count_fds(), getcwd(cwd, sizeof(cwd)), is_apart(),
	    sigismember(&mask, SIGUSR1));
	if (getenv("TEST_FAIL") != NULL) {
		printf("first words\n\033[31mlast words\n");
		return 3;
	}
	fflush(stdout);
	serve(listen_at_default());
	return 0;
}

/* --- the tests */

static char dir[] = "/tmp/test-start-XXXXXX";

/* A home of its own for each test, and this program as wrennd. */
static int
enter(void **state)
{
	char path[200];

	(void)state;
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	if (mkdtemp(dir) == NULL)
		return -1;
	unsetenv("TEST_FAIL");
	unsetenv("WRENND_SOCKET");
	setenv("XDG_RUNTIME_DIR", dir, 1);
	snprintf(path, sizeof(path), "%s/a/state", dir);
	setenv("XDG_STATE_HOME", path, 1);
	setenv("WRENND", "/proc/self/exe", 1);
	return 0;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int
leave(void **state)
{
	(void)state;
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* The log of all starts, and its mode. */
static void
read_log(char *text, size_t size)
{
	char path[200];
	struct stat st;
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/a/state/wrennd/wrennd.log", dir);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(text, 1, size - 1, f);
	text[n] = '\0';
	assert_int_equal(fstat(fileno(f), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	fclose(f);
}

/* How often the word stands in the text. */
static int
occurrences(const char *text, const char *word)
{
	int n = 0;

	while ((text = strstr(text, word)) != NULL) {
		text++;
		n++;
	}
	return n;
}

static const struct wrenn_options starting = { .autostart = true };

static void
stop_it(struct wrenn *w)
{
	struct json_object *result;
	struct wrenn_error err;

	assert_int_equal(wrenn_call(w, "stop", NULL, SOON, &result, &err), -1);
	wrenn_error_release(&err);
	wrenn_close(w);
}

static void
test_it_is_started_cleanly(void **state)
{
	struct json_object *result;
	struct wrenn_error err;
	struct wrenn *w;
	char text[1000];
	sigset_t usr1;
	int leak[2];

	(void)state;
	/* Neither this nor that may reach it. */
	assert_int_equal(pipe(leak), 0);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	assert_int_equal(wrenn_open(&starting, &w, &err), 0);
	sigprocmask(SIG_UNBLOCK, &usr1, NULL);
	assert_int_equal(wrenn_call(w, "m", NULL, SOON, &result, &err), 0);
	json_object_put(result);
	stop_it(w);
	close(leak[0]);
	close(leak[1]);
	read_log(text, sizeof(text));
	assert_string_equal(
	    text, "started with 3 descriptors in /, session 1, SIGUSR1 0\n");
	/* It is nobody's child. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void
test_many_clients_start_one(void **state)
{
	struct json_object *result;
	struct wrenn_error err;
	struct wrenn *w;
	char text[2000];
	int i, status;

	(void)state;
	for (i = 0; i < CLIENTS; i++) {
		if (fork() > 0)
			continue;
		if (wrenn_open(&starting, &w, &err) < 0 ||
		    wrenn_call(w, "m", NULL, SOON, &result, &err) < 0) {
			fprintf(stderr, "%s\n", err.message);
			_exit(1);
		}
		_exit(0);
	}
	for (i = 0; i < CLIENTS; i++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(wrenn_open(&starting, &w, &err), 0);
	stop_it(w);
	read_log(text, sizeof(text));
	assert_int_equal(occurrences(text, "started"), 1);
}

static void
test_a_failure_shows_the_last_words(void **state)
{
	struct wrenn_error err;
	struct wrenn *w;
	char text[2000];
	int i;

	(void)state;
	setenv("TEST_FAIL", "1", 1);
	for (i = 1; i <= 2; i++) {
		assert_int_equal(wrenn_open(&starting, &w, &err), -1);
		assert_string_equal(err.name, "daemon_unreachable");
		assert_non_null(
		    strstr(err.message, "/a/state/wrennd/wrennd.log"));
		assert_non_null(
		    strstr(err.message, "\nfirst words\n\\x1b[31mlast words"));
		/* Those of this start alone. */
		assert_int_equal(occurrences(err.message, "first words"), 1);
		wrenn_error_release(&err);
		read_log(text, sizeof(text));
		assert_int_equal(occurrences(text, "first words"), i);
	}
}

static void
test_no_program_to_start(void **state)
{
	struct wrenn_error err;
	struct wrenn *w;

	(void)state;
	setenv("WRENND", "/nonexistent/wrennd", 1);
	assert_int_equal(wrenn_open(&starting, &w, &err), -1);
	assert_string_equal(err.name, "daemon_unreachable");
	assert_non_null(strstr(err.message, "/nonexistent/wrennd"));
	wrenn_error_release(&err);
	setenv("WRENND", "/etc/passwd", 1);
	assert_int_equal(wrenn_open(&starting, &w, &err), -1);
	assert_non_null(strstr(err.message, "/etc/passwd is no program"));
	wrenn_error_release(&err);
}

/* Only one's own daemon at its default place is ever started. */
static void
test_others_are_not_started(void **state)
{
	struct wrenn_options named = { .autostart = true };
	struct wrenn_options never = { .autostart = false };
	struct wrenn_error err;
	struct wrenn *w;
	char path[200];

	(void)state;
	snprintf(path, sizeof(path), "%s/other.sock", dir);
	named.socket = path;
	assert_int_equal(wrenn_open(&named, &w, &err), -1);
	assert_non_null(strstr(err.message, path));
	wrenn_error_release(&err);
	assert_int_equal(wrenn_open(&never, &w, &err), -1);
	assert_non_null(strstr(err.message, "/wrennd/wrennd.sock"));
	wrenn_error_release(&err);
	setenv("WRENND_SOCKET", path, 1);
	assert_int_equal(wrenn_open(&starting, &w, &err), -1);
	assert_non_null(strstr(err.message, path));
	wrenn_error_release(&err);
	/* Nothing was made: no folder, no log. */
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(mkdir(dir, 0700), 0);
}

#define AT_HOME(test) cmocka_unit_test_setup_teardown(test, enter, leave)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		AT_HOME(test_it_is_started_cleanly),
		AT_HOME(test_many_clients_start_one),
		AT_HOME(test_a_failure_shows_the_last_words),
		AT_HOME(test_no_program_to_start),
		AT_HOME(test_others_are_not_started),
	};
	char session[16];

	if (argc > 1 && strcmp(argv[1], "--on-demand") == 0)
		return be_wrennd();
	snprintf(session, sizeof(session), "%d", (int)getsid(0));
	setenv("TEST_SESSION", session, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
