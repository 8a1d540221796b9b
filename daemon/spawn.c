#include "daemon/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/loop.h"
#include "proto/buf.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

/*
 * One command. It is over when its output has ended and it has exited, in
 * either order, or when the timer kills it; finish() then frees it.
 */
struct spawn {
	pid_t pid;
	int out, pidfd;
	struct io *out_io, *pid_io;
	struct timer *timer;
	bool ended, exited;
	int status;
	struct buf output;
	spawn_fn *done;
	void *arg;
};

/* In the child: nothing but what POSIX allows after fork. */
static void __attribute__((noreturn)) child(const char *command, int out)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;
	int sig, null;

	for (sig = 1; sig < NSIG; sig++)
		sigaction(sig, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0);
	null = open("/dev/null", O_RDONLY);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(out, STDOUT_FILENO) < 0)
		_exit(127);
	close_range(3, ~0U, 0);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

static void
release(struct spawn *s)
{
	io_free(s->out_io);
	io_free(s->pid_io);
	timer_free(s->timer);
	close(s->out);
	close(s->pidfd);
	buf_release(&s->output);
	free(s);
}

/* Kills the whole group, so that only the child itself is waited for. */
static void
reap_killed(struct spawn *s)
{
	if (s->exited)
		return;
	kill(-s->pid, SIGKILL);
	kill(s->pid, SIGKILL);
	while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
		;
	s->exited = true;
}

static void
finish(struct spawn *s, const char *why)
{
	reap_killed(s);
	if (why == NULL)
		s->done(s->arg, buf_str(&s->output), s->output.len, NULL);
	else
		s->done(s->arg, NULL, 0, why);
	release(s);
}

static void
give_up(void *arg)
{
	finish(arg, "it ran too long");
}

static void
finish_if_over(struct spawn *s)
{
	char why[48];

	if (!s->ended || !s->exited)
		return;
	if (WIFEXITED(s->status) && WEXITSTATUS(s->status) == 0) {
		finish(s, NULL);
		return;
	}
	snprintf(why, sizeof(why), "it exited with status %d",
	    WIFEXITED(s->status) ? WEXITSTATUS(s->status)
				 : 128 + WTERMSIG(s->status));
	finish(s, why);
}

static void
exit_cb(void *arg, int events)
{
	struct spawn *s = arg;

	(void)events;
	if (waitpid(s->pid, &s->status, WNOHANG) != s->pid)
		return;
	s->exited = true;
	io_want(s->pid_io, 0);
	finish_if_over(s);
}

static void
output_cb(void *arg, int events)
{
	struct spawn *s = arg;
	char *space;
	ssize_t n;

	(void)events;
	if (buf_reserve(&s->output, 1024, &space) < 0) {
		finish(s, "its output is too long");
		return;
	}
	n = read(s->out, space, 1024);
	if (n > 0) {
		buf_commit(&s->output, (size_t)n);
		return;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	s->ended = true;
	io_want(s->out_io, 0);
	finish_if_over(s);
}

struct spawn *
spawn_start(struct loop *l, const char *command, size_t max, int timeout_ms,
    spawn_fn *done, void *arg)
{
	struct spawn *s;
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return NULL;
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		child(command, fds[1]);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return NULL;
	}
	s = xcalloc(1, sizeof(*s));
	*s = (struct spawn){
		.pid = pid, .out = fds[0], .done = done, .arg = arg
	};
	buf_init(&s->output, max + 1024);
	s->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (s->pidfd < 0) {
		reap_killed(s);
		release(s);
		return NULL;
	}
	fcntl(s->out, F_SETFL, O_NONBLOCK);
	s->out_io = io_new(l, s->out, output_cb, s);
	io_want(s->out_io, IO_READ);
	s->pid_io = io_new(l, s->pidfd, exit_cb, s);
	io_want(s->pid_io, IO_READ);
	s->timer = timer_new(l, give_up, s);
	timer_set(s->timer, timeout_ms);
	return s;
}

void
spawn_cancel(struct spawn *s)
{
	if (s == NULL)
		return;
	reap_killed(s);
	release(s);
}
