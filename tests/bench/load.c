/*
 * load SOCKET COUNT WINDOW SECONDS <CALLS: sends COUNT calls to wrennd, WINDOW
 * of them in flight, and prints one line of JSON with what that took.
 *
 * Each line of CALLS is a request behind its id, without the brace at the end:
 *   "method":"capsule.get","params":{"capsule":"cl-…"}
 * They are sent in turn. Of an answer no more is read than its id, that it is
 * a result, and where it ends: what is measured is wrennd, not this. Anything
 * else than COUNT results ends it with status 1, SECONDS without the end too.
 *
 * The window must be small enough for its requests and its answers to fit into
 * the buffers of a socket, since both ends would else wait for the other.
 */
#define _GNU_SOURCE /* asprintf() */

#include <err.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "proto/banned.h"

#define HEAD       "{\"jsonrpc\":\"2.0\",\"id\":"
#define RESULT     ",\"result\":"
#define WINDOW_MAX 128
#define CALLS_MAX  4096
#define IN_MAX     (1 << 20) /* the longest answer */
#define OUT_MAX    (1 << 18)

/* What follows the id of a request, to the end of its line. */
struct call {
	char *text;
	size_t len;
};

struct load {
	int fd;
	struct call calls[CALLS_MAX];
	size_t kinds;
	uint64_t count, sent, answered;
	int64_t *sent_ns; /* of each call; then how long it took, or 0 */
	bool *done;
	char in[IN_MAX], out[OUT_MAX];
	size_t in_len, out_len;
};

static int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void
read_calls(struct load *l)
{
	struct call *c;
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	while ((n = getline(&line, &size, stdin)) > 0) {
		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		if (l->kinds == CALLS_MAX)
			errx(1, "more than %d calls to choose from", CALLS_MAX);
		c = &l->calls[l->kinds++];
		n = asprintf(&c->text, ",%s}\n", line);
		if (n < 0)
			err(1, "asprintf");
		c->len = (size_t)n;
	}
	free(line);
	if (l->kinds == 0)
		errx(1, "no calls on standard input");
}

static int
connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(a.sun_path))
		errx(1, "%s: too long", path);
	memcpy(a.sun_path, path, strlen(path));
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		err(1, "%s", path);
	return fd;
}

static void
flush(struct load *l)
{
	size_t done = 0;
	ssize_t n;

	while (done < l->out_len) {
		n = write(l->fd, l->out + done, l->out_len - done);
		if (n < 0)
			err(1, "write");
		done += (size_t)n;
	}
	l->out_len = 0;
}

static void
put(struct load *l, const char *text, size_t n)
{
	if (n > OUT_MAX - l->out_len)
		errx(1, "requests too long for the buffer");
	memcpy(l->out + l->out_len, text, n);
	l->out_len += n;
}

/* snprintf() would be a tenth of what a call costs here. */
static void
put_number(struct load *l, uint64_t n)
{
	char digits[20], *p = digits + sizeof(digits);

	do {
		*--p = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	put(l, p, (size_t)(digits + sizeof(digits) - p));
}

/* One more request; what is queued goes out with the next flush(). */
static void
queue(struct load *l, int64_t now)
{
	const struct call *call = &l->calls[l->sent % l->kinds];

	put(l, HEAD, strlen(HEAD));
	put_number(l, l->sent);
	put(l, call->text, call->len);
	l->sent_ns[l->sent++] = now;
}

/* The line ends with a newline, so that no comparison runs past it. */
static void
take_answer(struct load *l, const char *line, int64_t now)
{
	uint64_t id;
	char *end;

	if (strncmp(line, HEAD, strlen(HEAD)) != 0)
		errx(1, "no answer: %.200s", line);
	id = strtoull(line + strlen(HEAD), &end, 10);
	if (id >= l->sent || l->done[id])
		errx(1, "an answer that nobody waits for: %.200s", line);
	if (strncmp(end, RESULT, strlen(RESULT)) != 0)
		errx(1, "no result: %.300s", line);
	l->done[id] = true;
	l->sent_ns[id] = now - l->sent_ns[id];
	l->answered++;
}

static void
receive(struct load *l)
{
	char *line = l->in, *newline, *end;
	int64_t now;
	ssize_t n;

	n = read(l->fd, l->in + l->in_len, IN_MAX - 1 - l->in_len);
	if (n < 0)
		err(1, "read");
	if (n == 0)
		errx(1, "wrennd closed the connection, or an answer is longer "
			"than 1 MiB");
	now = now_ns();
	end = l->in + l->in_len + n;
	*end = '\0';
	while ((newline = memchr(line, '\n', (size_t)(end - line))) != NULL) {
		take_answer(l, line, now);
		line = newline + 1;
	}
	l->in_len = (size_t)(end - line);
	memmove(l->in, line, l->in_len);
}

static void
run(struct load *l, uint64_t window)
{
	int64_t now;

	while (l->answered < l->count) {
		now = now_ns();
		while (l->sent < l->count && l->sent - l->answered < window)
			queue(l, now);
		flush(l);
		receive(l);
	}
}

static int
compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static double
seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void
report(struct load *l, double elapsed)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	qsort(l->sent_ns, l->count, sizeof(*l->sent_ns), compare);
	printf("{\"calls\": %" PRIu64 ", \"seconds\": %.6f, "
	       "\"p50_us\": %.2f, \"p99_us\": %.2f, \"cpu_seconds\": %.6f}\n",
	    l->count, elapsed, (double)l->sent_ns[l->count / 2] / 1e3,
	    (double)l->sent_ns[l->count * 99 / 100] / 1e3,
	    seconds(u.ru_utime) + seconds(u.ru_stime));
}

static uint64_t
number(const char *text, uint64_t max)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	if (*text < '0' || *text > '9' || *end != '\0' || n == 0 || n > max)
		errx(2, "%s: not a number from 1 to %" PRIu64, text, max);
	return n;
}

int
main(int argc, char **argv)
{
	struct load *l = calloc(1, sizeof(*l));
	uint64_t window;
	int64_t start;

	if (argc != 5)
		errx(2, "usage: load SOCKET COUNT WINDOW SECONDS <CALLS");
	if (l == NULL)
		err(1, "calloc");
	l->count = number(argv[2], 10000000);
	window = number(argv[3], WINDOW_MAX);
	alarm((unsigned)number(argv[4], 3600));
	l->sent_ns = calloc(l->count, sizeof(*l->sent_ns));
	l->done = calloc(l->count, sizeof(*l->done));
	if (l->sent_ns == NULL || l->done == NULL)
		err(1, "calloc");
	read_calls(l);
	l->fd = connect_to(argv[1]);
	start = now_ns();
	run(l, window);
	report(l, (double)(now_ns() - start) / 1e9);
	return 0;
}
