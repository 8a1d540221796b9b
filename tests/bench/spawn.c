/*
 * spawn COUNT PARALLEL SECONDS COMMAND...: runs COMMAND that often, so many at
 * once, and prints one line of JSON with what that took: all together, and each
 * from before its start until it has ended. Output of the commands is thrown
 * away. One that fails ends this with status 1, SECONDS without the end too.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/banned.h"

#define PARALLEL_MAX 64

extern char **environ;

/* A process under way; pid is 0 where there is none. */
struct slot {
	volatile pid_t pid;
	int64_t start_ns;
};

static struct slot slots[PARALLEL_MAX];

static int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void
kill_all(void)
{
	size_t i;

	for (i = 0; i < PARALLEL_MAX; i++)
		if (slots[i].pid > 0)
			kill(slots[i].pid, SIGKILL);
}

static void
on_signal(int number)
{
	(void)number;
	kill_all();
	_exit(1);
}

static posix_spawn_file_actions_t
no_output(void)
{
	posix_spawn_file_actions_t a;

	if (posix_spawn_file_actions_init(&a) != 0 ||
	    posix_spawn_file_actions_addopen(
		&a, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) != 0)
		errx(1, "posix_spawn_file_actions");
	return a;
}

static struct slot *
slot_of(pid_t pid)
{
	struct slot *s = slots;

	while (s < slots + PARALLEL_MAX && s->pid != pid)
		s++;
	return s < slots + PARALLEL_MAX ? s : NULL;
}

static void
begin(posix_spawn_file_actions_t *actions, char **command)
{
	struct slot *s = slot_of(0);
	pid_t pid;
	int r;

	s->start_ns = now_ns();
	r = posix_spawnp(&pid, command[0], actions, NULL, command, environ);
	if (r != 0) {
		kill_all();
		errx(1, "%s: %s", command[0], strerror(r));
	}
	s->pid = pid;
}

/* Waits for one to end; returns how long it took. */
static int64_t
reap(char **command)
{
	struct slot *s;
	int64_t took;
	int status;
	pid_t pid;

	pid = wait(&status);
	s = pid > 0 ? slot_of(pid) : NULL;
	if (s == NULL)
		err(1, "wait");
	took = now_ns() - s->start_ns;
	s->pid = 0;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		kill_all();
		errx(1, "%s: wait status %#x", command[0], (unsigned)status);
	}
	return took;
}

static double
seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void
report(const int64_t *took, long count, double elapsed)
{
	struct rusage u;
	long i;

	getrusage(RUSAGE_CHILDREN, &u);
	printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"ms\": [", elapsed,
	    seconds(u.ru_utime) + seconds(u.ru_stime));
	for (i = 0; i < count; i++)
		printf("%s%.4f", i == 0 ? "" : ", ", (double)took[i] / 1e6);
	printf("]}\n");
}

static long
number(const char *text, long max)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*end != '\0' || n < 1 || n > max)
		errx(2, "%s: not a number from 1 to %ld", text, max);
	return n;
}

int
main(int argc, char **argv)
{
	posix_spawn_file_actions_t actions = no_output();
	long count, parallel, begun = 0, ended = 0;
	char **command = argv + 4;
	int64_t start, *took;

	if (argc < 5)
		errx(2, "usage: spawn COUNT PARALLEL SECONDS COMMAND...");
	count = number(argv[1], 1000000);
	parallel = number(argv[2], PARALLEL_MAX);
	took = calloc((size_t)count, sizeof(*took));
	if (took == NULL)
		err(1, "calloc");
	signal(SIGALRM, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	alarm((unsigned)number(argv[3], 3600));
	start = now_ns();
	while (ended < count) {
		while (begun < count && begun - ended < parallel) {
			begin(&actions, command);
			begun++;
		}
		took[ended++] = reap(command);
	}
	report(took, count, (double)(now_ns() - start) / 1e9);
	free(took);
	return 0;
}
