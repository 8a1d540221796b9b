#include "client/wrenn_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/wrenn_escape.h"

#include "proto/banned.h"

#define PROBE_MS     10   /* between two looks at the socket */
#define LOG_TAIL_MAX 2000 /* bytes of the log in an error message */
#define FALLBACK_FDS 1024 /* descriptors looked at without close_range() */

/*
 * One attempt to start wrennd. Whoever holds the lock starts it; others
 * only wait for the socket, and take the lock over when its holder failed.
 */
struct start {
	const char *socket;
	int64_t deadline;
	char *program;
	char *log_path;
	int lock_fd;
	int log_fd;
	off_t log_from; /* where this start's part of the log begins */
};

/* What the child tells: its pid, then why exec failed if it did. */
struct child_word {
	pid_t pid;
	int exec_errno;
};

static bool
is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       access(path, X_OK) == 0;
}

/* dir[0..n)/rest when that is a program; the caller's. */
static char *
program_in(const char *dir, size_t n, const char *rest)
{
	char *path;

	if (asprintf(&path, "%.*s/%s", (int)n, dir, rest) < 0)
		return NULL;
	if (is_program(path))
		return path;
	free(path);
	return NULL;
}

static char *
program_in_path(void)
{
	const char *dirs = getenv("PATH");
	char *path;
	size_t n;

	for (; dirs != NULL && *dirs != '\0'; dirs += n + (dirs[n] == ':')) {
		n = strcspn(dirs, ":");
		/* Only absolute ones: the rest depends on where one stands. */
		if (dirs[0] == '/' &&
		    (path = program_in(dirs, n, "wrennd")) != NULL)
			return path;
	}
	return NULL;
}

/*
 * wrennd beside the running program, in the sbin folder beside its bin, or
 * in PATH. The caller's; NULL when there is none.
 */
static char *
find_program(void)
{
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *path, *slash;

	if (n > 0) {
		exe[n] = '\0';
		slash = strrchr(exe, '/');
		n = slash ? slash - exe : 0;
		path = program_in(exe, (size_t)n, "wrennd");
		if (path == NULL)
			path = program_in(exe, (size_t)n, "../sbin/wrennd");
		if (path != NULL)
			return path;
	}
	return program_in_path();
}

/* The program to start, as an absolute path. */
static int
choose_program(struct start *s, const char *named, struct wrenn_error *err)
{
	if (named == NULL)
		named = getenv("WRENND");
	if (named == NULL || named[0] == '\0') {
		s->program = find_program();
		if (s->program != NULL)
			return 0;
		return wrenn_error_set(err, RPC_DAEMON_UNREACHABLE,
		    "no wrennd runs, and there is no program wrennd beside "
		    "this one or in PATH to start; set WRENND to its path");
	}
	s->program = realpath(named, NULL);
	if (s->program == NULL || !is_program(s->program))
		return wrenn_error_set(err, RPC_DAEMON_UNREACHABLE,
		    "no wrennd runs, and %s is no program to start", named);
	return 0;
}

/* Opens the log to append to, and the lock beside the socket. */
static int
open_files(struct start *s, struct wrenn_error *err)
{
	char *state = wrenn_path_state_dir(err), *dir, *lock = NULL;
	int r = -1;

	if (state == NULL)
		return -1;
	dir = wrenn_path_dir_of(s->socket);
	if (dir == NULL || asprintf(&lock, "%s/start.lock", dir) < 0 ||
	    asprintf(&s->log_path, "%s/wrennd.log", state) < 0) {
		wrenn_error_set(err, RPC_LOCAL, "out of memory");
		goto out;
	}
	if (wrenn_path_make_dir(dir, err) < 0 ||
	    wrenn_path_make_dir(state, err) < 0)
		goto out;
	s->lock_fd =
	    open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock_fd < 0) {
		wrenn_error_errno(err, errno, "%s", lock);
		goto out;
	}
	s->log_fd = open(s->log_path,
	    O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->log_fd < 0) {
		wrenn_error_errno(err, errno, "%s", s->log_path);
		goto out;
	}
	r = 0;
out:
	free(lock);
	free(dir);
	free(state);
	return r;
}

/* The caller's other descriptors: a pipe kept open would make a script wait. */
static void
close_on_exec_from(int fd)
{
	if (close_range((unsigned)fd, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
		return;
	for (; fd < FALLBACK_FDS; fd++) /* before Linux 5.11 */
		fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* Becomes wrennd. Only async-signal-safe calls: the caller may have threads. */
static void __attribute__((noreturn))
become_daemon(const struct start *s, int word_fd)
{
	static const char *const argv[] = { "wrennd", "--on-demand", NULL };
	struct child_word word = { .pid = getpid() };
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;
	int log_fd, sig;

	/* A caller without its standard descriptors lent these their numbers.
	 */
	word_fd = fcntl(word_fd, F_DUPFD_CLOEXEC, 3);
	log_fd = fcntl(s->log_fd, F_DUPFD_CLOEXEC, 3);
	(void)!write(word_fd, &word, sizeof(word));
	for (sig = 1; sig < NSIG; sig++)
		sigaction(sig, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	close(STDIN_FILENO);
	if (open("/dev/null", O_RDONLY) == STDIN_FILENO &&
	    dup2(log_fd, STDOUT_FILENO) >= 0 &&
	    dup2(log_fd, STDERR_FILENO) >= 0 && chdir("/") == 0) {
		close_on_exec_from(3);
		execv(s->program, (char *const *)(uintptr_t)argv);
	}
	word.exec_errno = errno;
	(void)!write(word_fd, &word, sizeof(word));
	_exit(127);
}

/*
 * Forks twice, so that wrennd is nobody's child and cannot become a zombie
 * of a long-lived caller. Returns the read end of the pipe with its words.
 */
static int
spawn(const struct start *s, struct wrenn_error *err)
{
	int words[2], status;
	pid_t child;

	if (pipe2(words, O_CLOEXEC) < 0)
		return wrenn_error_errno(err, errno, "pipe");
	child = fork();
	if (child < 0) {
		wrenn_error_errno(err, errno, "fork");
		close(words[0]);
		close(words[1]);
		return -1;
	}
	if (child == 0) {
		setsid();
		if (fork() == 0)
			become_daemon(s, words[1]);
		_exit(0);
	}
	close(words[1]);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		continue;
	return words[0];
}

/*
 * Reads the child's words up to exec, which closes the pipe. A pidfd of it;
 * -1 when the kernel gives none, -2 when it is gone or never came to be.
 */
static int
read_words(int fd, const struct start *s, struct wrenn_error *err)
{
	struct child_word word = { 0 }, last = { 0 };
	char reason[128];
	ssize_t n;
	int pidfd;

	while ((n = read(fd, &word, sizeof(word))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n != (ssize_t)sizeof(word))
			break;
		last = word;
	}
	if (last.exec_errno != 0) {
		wrenn_error_set(err, RPC_DAEMON_UNREACHABLE,
		    "cannot start %s: %s", s->program,
		    strerror_r(last.exec_errno, reason, sizeof(reason)));
		return -2;
	}
	if (last.pid == 0) {
		wrenn_error_set(
		    err, RPC_LOCAL, "cannot start %s: fork failed", s->program);
		return -2;
	}
	err->code = 0;
	pidfd = pidfd_open(last.pid, 0);
	return pidfd < 0 && errno == ESRCH ? -2 : pidfd;
}

/* The last lines of the log since this start, with escapes made visible. */
static void
add_log_tail(struct buf *out, const struct start *s)
{
	char tail[LOG_TAIL_MAX];
	off_t end = lseek(s->log_fd, 0, SEEK_END), from = s->log_from;
	ssize_t n;
	char *line, *next;

	if (end - from > LOG_TAIL_MAX)
		from = end - LOG_TAIL_MAX;
	n = pread(s->log_fd, tail, sizeof(tail), from);
	if (n <= 0) {
		buf_adds(out, "; it wrote nothing");
		return;
	}
	buf_adds(out, "; its last words:");
	for (line = tail; line < tail + n; line = next + 1) {
		next = memchr(line, '\n', (size_t)(tail + n - line));
		if (next == NULL)
			next = tail + n;
		buf_adds(out, "\n");
		wrenn_escape(out, line, (size_t)(next - line));
	}
}

/* The error for a wrennd that did not come up. */
static int
explain_failure(
    const struct start *s, const char *what, struct wrenn_error *err)
{
	struct buf text;

	buf_init(&text, WRENN_MESSAGE_MAX - 1);
	buf_addf(&text, "%s %s (log: %s)", s->program, what, s->log_path);
	add_log_tail(&text, s);
	wrenn_error_set(err, RPC_DAEMON_UNREACHABLE, "%.*s", (int)text.len,
	    buf_head(&text));
	buf_release(&text);
	return -1;
}

/* Waits for the socket to answer, or for wrennd to end. */
static int
wait_until_up(
    const struct start *s, int pidfd, int *ret_fd, struct wrenn_error *err)
{
	struct pollfd pfd = { .fd = pidfd, .events = POLLIN };
	bool ended = pidfd == -2;

	while (wrenn_connect(s->socket, s->deadline, ret_fd) < 0) {
		if (ended)
			return explain_failure(s, "ended at once", err);
		if (wrenn_now_ms() >= s->deadline)
			return explain_failure(s, "does not come up", err);
		/* One more look after its end: another may have come up. */
		ended = poll(&pfd, 1, PROBE_MS) > 0;
	}
	return 0;
}

/* Starts it; the lock is held. */
static int
start_locked(struct start *s, int *ret_fd, struct wrenn_error *err)
{
	int words, pidfd, r;

	/* Someone may have started it while the lock was not ours yet. */
	if (wrenn_connect(s->socket, s->deadline, ret_fd) == 0)
		return 0;
	s->log_from = lseek(s->log_fd, 0, SEEK_END);
	words = spawn(s, err);
	if (words < 0)
		return -1;
	pidfd = read_words(words, s, err);
	close(words);
	if (err->code != 0)
		return -1;
	r = wait_until_up(s, pidfd, ret_fd, err);
	if (pidfd >= 0)
		close(pidfd);
	return r;
}

/* Takes the lock, or sees the socket answer before. */
static int
start_once(struct start *s, int *ret_fd, struct wrenn_error *err)
{
	while (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return wrenn_error_errno(
			    err, errno, "cannot lock the start of wrennd");
		if (wrenn_connect(s->socket, s->deadline, ret_fd) == 0)
			return 0;
		if (wrenn_now_ms() >= s->deadline)
			return wrenn_error_set(err, RPC_DAEMON_UNREACHABLE,
			    "another program is starting wrennd, but it does "
			    "not come up (log: %s)",
			    s->log_path);
		poll(NULL, 0, PROBE_MS);
	}
	return start_locked(s, ret_fd, err);
}

/*
 * Starts the user's wrennd and connects to it. Nothing of it reaches the
 * caller's standard output or error: it writes to its log.
 */
int
wrenn_start(const char *path, const char *program, int64_t deadline,
    int *ret_fd, struct wrenn_error *err)
{
	struct start s = { .socket = path,
		.deadline = deadline,
		.lock_fd = -1,
		.log_fd = -1 };
	int r;

	r = choose_program(&s, program, err);
	if (r == 0)
		r = open_files(&s, err);
	if (r == 0)
		r = start_once(&s, ret_fd, err);
	if (s.lock_fd >= 0)
		close(s.lock_fd);
	if (s.log_fd >= 0)
		close(s.log_fd);
	free(s.program);
	free(s.log_path);
	return r;
}
