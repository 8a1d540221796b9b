#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#include "daemon/log.h"
#include "daemon/peer.h"
#include "tests/unit/fakes/fake_loop.h"
#include "tests/unit/fakes/foreign.h"

#include "proto/banned.h"

/* A peer, the client's end of its socket, and what came up from it. */
struct fixture {
	struct loop *loop;
	struct peer_user user;
	struct peer *peer;                /* NULL once gone */
	int client, server;               /* the peer's end */
	void (*during)(struct fixture *); /* the next line */
	char lines[512];                  /* each with '|' behind it */
	int count, too_long, gone, last_fds;
	bool busy, refuse;
	int take; /* so many descriptors of a line */
	int taken[LIMIT_FDS];
};

static bool
on_line(struct peer *p, const char *line, size_t len, int fds, void *arg)
{
	struct fixture *f = arg;
	size_t n = strlen(f->lines);

	f->count++;
	f->last_fds = fds;
	if (n + len + 2 < sizeof(f->lines))
		snprintf(f->lines + n, sizeof(f->lines) - n, "%.*s|", (int)len,
		    line);
	if (f->during != NULL)
		f->during(f);
	if (f->refuse)
		return false;
	if (f->take > 0)
		peer_take_fds(p, f->taken, f->take);
	return true;
}

static void
on_too_long(struct peer *p, void *arg)
{
	struct fixture *f = arg;

	(void)p;
	f->too_long++;
}

static bool
is_busy(struct peer *p, void *arg)
{
	struct fixture *f = arg;

	(void)p;
	return f->busy;
}

static void
on_gone(struct peer *p, void *arg)
{
	struct fixture *f = arg;

	assert_ptr_equal(p, f->peer);
	f->gone++;
	f->peer = NULL;
}

static const struct peer_ops ops = { on_line, on_too_long, is_busy, on_gone };

static int
enter(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fds[2];

	assert_non_null(f);
	log_set_level(LOG_ERROR);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	f->client = fds[1];
	f->server = fds[0];
	f->loop = loop_new();
	f->user.uid = 7;
	f->peer = peer_new(f->loop, fds[0], 123, &f->user, &ops, f);
	*state = f;
	return 0;
}

static int
leave(void **state)
{
	struct fixture *f = *state;

	if (f->client >= 0)
		close(f->client);
	if (f->peer != NULL)
		peer_free(f->peer);
	assert_int_equal(f->user.output, 0);
	loop_free(f->loop);
	free(f);
	return 0;
}

static void
client_sends(struct fixture *f, const char *text)
{
	assert_int_equal(
	    send(f->client, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	fake_loop_settle(f->loop);
}

/* All that has arrived at the client; the number of bytes, or -1 at the end. */
static ssize_t
client_reads(struct fixture *f)
{
	static char data[1 << 20];
	ssize_t n, all = 0;

	fake_loop_settle(f->loop);
	for (;;) {
		n = recv(f->client, data, sizeof(data), MSG_DONTWAIT);
		if (n == 0)
			return all > 0 ? all : -1;
		if (n < 0)
			return all;
		all += n;
		fake_loop_settle(f->loop);
	}
}

/* Answers with so many bytes and a newline. */
static int
answer(struct fixture *f, size_t n)
{
	struct buf b;
	char *space;
	int r;

	buf_init(&b, n);
	assert_int_equal(buf_reserve(&b, n, &space), 0);
	memset(space, 'a', n);
	buf_commit(&b, n);
	r = peer_send(f->peer, &b);
	buf_release(&b);
	return r;
}

static void
lines_are_told_whole_however_they_arrive(void **state)
{
	struct fixture *f = *state;

	client_sends(f, "on");
	client_sends(f, "e");
	assert_string_equal(f->lines, "");
	client_sends(f, "\ntwo\nthr");
	assert_string_equal(f->lines, "one|two|");
	client_sends(f, "ee\n");
	assert_string_equal(f->lines, "one|two|three|");
	assert_int_equal(f->last_fds, 0);
	assert_int_equal(peer_uid(f->peer), 7);
	assert_int_equal(peer_pid(f->peer), 123);
	assert_ptr_equal(peer_user(f->peer), &f->user);
}

static void
many_lines_at_once_are_all_told(void **state)
{
	struct fixture *f = *state;
	char text[2 * 500 + 1];
	int i;

	for (i = 0; i < 500; i++)
		memcpy(text + 2 * i, "x\n", 2);
	text[sizeof(text) - 1] = '\0';
	client_sends(f, text);
	assert_int_equal(f->count, 500);
}

static void
a_long_line_is_told_once_and_skipped(void **state)
{
	struct fixture *f = *state;
	char part[64 * 1024 + 1];
	int i;

	memset(part, 'x', sizeof(part) - 1);
	part[sizeof(part) - 1] = '\0';
	for (i = 0; i < 3 * LIMIT_REQUEST_LINE / (64 * 1024); i++)
		client_sends(f, part);
	assert_int_equal(f->too_long, 1);
	client_sends(f, "\nnext\n");
	assert_string_equal(f->lines, "next|");
	assert_int_equal(f->too_long, 1);
	assert_int_equal(f->gone, 0);
}

static void
answers_reach_the_client(void **state)
{
	struct fixture *f = *state;
	char text[20] = { 0 };

	assert_int_equal(answer(f, 3), 0);
	assert_int_equal(answer(f, 0), 0);
	fake_loop_settle(f->loop);
	assert_int_equal(recv(f->client, text, sizeof(text), MSG_DONTWAIT), 5);
	assert_string_equal(text, "aaa\n\n");
}

/*
 * The buffers of a large request and a large answer go when these are done.
 * (Under the sanitizers nothing is counted, and this tests nothing.)
 */
static void
an_idle_client_holds_little_memory(void **state)
{
	struct fixture *f = *state;
	size_t before = mallinfo2().uordblks;
	char *large = calloc(1, 40000 + 2);

	assert_non_null(large);
	client_sends(f, "small\n");
	assert_int_equal(answer(f, 500), 0);
	assert_int_equal(client_reads(f), 501);
	memset(large, 'x', 40000);
	large[40000] = '\n';
	client_sends(f, large);
	free(large);
	assert_int_equal(f->count, 2);
	assert_int_equal(answer(f, 100000), 0);
	assert_int_equal(client_reads(f), 100001);
	assert_true(mallinfo2().uordblks <= before + 2500);
}

static bool
has_arrived(struct fixture *f)
{
	char c;

	return recv(f->client, &c, 1, MSG_DONTWAIT | MSG_PEEK) == 1;
}

/* Those of one turn go out together at its end; a large one does not wait. */
static void
small_answers_wait_for_the_end_of_the_turn(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(answer(f, 100), 0);
	assert_false(has_arrived(f));
	assert_int_equal(answer(f, 100), 0);
	assert_false(has_arrived(f));
	assert_int_equal(f->user.output, 202);
	fake_loop_settle(f->loop);
	assert_int_equal(f->user.output, 0);
	assert_int_equal(client_reads(f), 202);
	assert_int_equal(answer(f, 100), 0);
	assert_int_equal(answer(f, 64 * 1024), 0);
	assert_true(has_arrived(f));
}

static void
a_doomed_client_gets_what_was_said_before(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(answer(f, 100), 0);
	peer_doom(f->peer, "test");
	assert_int_equal(answer(f, 100), 0);
	assert_int_equal(client_reads(f), 101);
	assert_int_equal(f->gone, 1);
}

/* At a shutdown, in the turn of an answer. */
static void
a_freed_client_gets_its_last_answer(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(answer(f, 100), 0);
	peer_free(f->peer);
	f->peer = NULL;
	assert_int_equal(client_reads(f), 101);
}

static void
a_closed_client_is_gone_once(void **state)
{
	struct fixture *f = *state;

	client_sends(f, "last\n");
	close(f->client);
	f->client = -1;
	f->busy = true; /* calls of one that cannot be told do not hold it */
	fake_loop_settle(f->loop);
	assert_string_equal(f->lines, "last|");
	assert_int_equal(f->gone, 1);
}

/* What was sent right before the hang-up counts. */
static void
lines_before_the_hang_up_are_told(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(send(f->client, "a\nb\nhalf", 8, 0), 8);
	close(f->client);
	f->client = -1;
	fake_loop_settle(f->loop);
	assert_string_equal(f->lines, "a|b|");
	assert_int_equal(f->gone, 1);
}

static void
a_half_closed_client_still_gets_its_answers(void **state)
{
	struct fixture *f = *state;

	f->busy = true;
	client_sends(f, "ask\n");
	assert_int_equal(shutdown(f->client, SHUT_WR), 0);
	fake_loop_advance(f->loop, 100000);
	assert_int_equal(f->gone, 0);
	assert_int_equal(answer(f, 5), 0);
	f->busy = false;
	assert_int_equal(client_reads(f), 6);
	fake_loop_advance(f->loop, 200);
	assert_int_equal(f->gone, 1);
	assert_int_equal(client_reads(f), -1);
}

static void
a_half_closed_client_that_goes_is_noticed(void **state)
{
	struct fixture *f = *state;

	f->busy = true;
	assert_int_equal(shutdown(f->client, SHUT_WR), 0);
	fake_loop_advance(f->loop, 1000);
	close(f->client);
	f->client = -1;
	fake_loop_advance(f->loop, 200);
	assert_int_equal(f->gone, 1);
}

/* Answers until the client's socket is full, and more; then it reads. */
static void
fill_and_read(struct fixture *f)
{
	static char data[LIMIT_OUTPUT_SOFT];

	f->during = NULL;
	assert_int_equal(answer(f, 1), 0);
	while (f->user.output < LIMIT_OUTPUT_SOFT)
		assert_int_equal(answer(f, 4096), 0);
	while (recv(f->client, data, sizeof(data), MSG_DONTWAIT) > 0)
		continue;
}

/*
 * It reads before the end of the turn, which then sends all the rest: no event
 * tells that a line has waited for that.
 */
static void
a_line_goes_on_when_the_turn_ends_with_room(void **state)
{
	struct fixture *f = *state;
	int large = 212992; /* what is allowed as a rule; twice that is had */

	assert_int_equal(
	    setsockopt(f->server, SOL_SOCKET, SO_SNDBUF, &large, sizeof(large)),
	    0);
	f->during = fill_and_read;
	client_sends(f, "one\ntwo\n");
	assert_int_equal(f->user.output, 0);
	assert_string_equal(f->lines, "one|two|");
}

/* Its requests wait until it has read its answers. */
static void
a_client_that_does_not_read_is_not_read(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(answer(f, LIMIT_OUTPUT_SOFT * 4), 0);
	assert_true(f->user.output >= LIMIT_OUTPUT_SOFT);
	client_sends(f, "one\n");
	assert_int_equal(f->count, 0);
	assert_int_equal(client_reads(f), LIMIT_OUTPUT_SOFT * 4 + 1);
	fake_loop_settle(f->loop);
	assert_string_equal(f->lines, "one|");
	assert_int_equal(f->user.output, 0);
}

/* The same when it takes several answers to get there. */
static void
many_small_answers_count_like_a_large_one(void **state)
{
	struct fixture *f = *state;
	int i;

	for (i = 0; i < 100; i++)
		assert_int_equal(answer(f, LIMIT_OUTPUT_SOFT / 10), 0);
	client_sends(f, "one\n");
	assert_int_equal(f->count, 0);
	fake_loop_advance(f->loop, LIMIT_STALL_MS - 1);
	assert_int_equal(f->gone, 0);
	fake_loop_advance(f->loop, 1);
	assert_int_equal(f->gone, 1);
}

static void
a_stalled_client_is_dropped_a_slow_one_is_not(void **state)
{
	struct fixture *f = *state;
	char data[100000];
	int i;

	assert_int_equal(answer(f, LIMIT_OUTPUT_SOFT * 16), 0);
	for (i = 0; i < 8; i++) {
		fake_loop_advance(f->loop, LIMIT_STALL_MS - 1);
		assert_int_equal(f->gone, 0);
		while (recv(f->client, data, sizeof(data), MSG_DONTWAIT) > 0)
			; /* what is in the socket, not what is queued */
		fake_loop_settle(f->loop);
	}
	fake_loop_advance(f->loop, 2 * LIMIT_STALL_MS);
	assert_int_equal(f->gone, 1);
}

static void
too_many_answers_close_it(void **state)
{
	struct fixture *f = *state;

	f->user.output = 0;
	assert_int_equal(answer(f, LIMIT_ANSWER_LINE), 0);
	assert_int_equal(answer(f, LIMIT_ANSWER_LINE), 0);
	assert_int_equal(answer(f, LIMIT_ANSWER_LINE), 0);
	assert_int_equal(f->gone, 0); /* never inside a call of ours */
	assert_int_equal(answer(f, 10), 0);
	fake_loop_settle(f->loop);
	assert_int_equal(f->gone, 1);
}

/* A user's share is used up by other clients: only small ones pass. */
static void
the_users_share_bounds_large_answers(void **state)
{
	struct fixture *f = *state;

	f->user.output = LIMIT_OUTPUT_PER_UID;
	assert_int_equal(answer(f, LIMIT_OUTPUT_SOFT + 1), -ENOBUFS);
	assert_int_equal(answer(f, 100), 0);
	assert_int_equal(client_reads(f), 101);
	assert_int_equal(f->user.output, LIMIT_OUTPUT_PER_UID);
	f->user.output = 0;
}

static int
open_null(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void
send_fds(struct fixture *f, const char *text, int count)
{
	int fds[4] = { -1, -1, -1, -1 }, i;

	for (i = 0; i < count; i++)
		fds[i] = open_null();
	foreign_send_fds(f->client, text, fds, count);
	for (i = 0; i < count; i++)
		close(fds[i]);
	fake_loop_settle(f->loop);
}

static void
descriptors_come_with_their_line(void **state)
{
	struct fixture *f = *state;
	int i;

	client_sends(f, "none\n");
	assert_int_equal(f->last_fds, 0);
	f->take = 3;
	send_fds(f, "three\n", 3);
	assert_int_equal(f->last_fds, 3);
	for (i = 0; i < 3; i++) {
		assert_int_equal(fcntl(f->taken[i], F_GETFD), FD_CLOEXEC);
		close(f->taken[i]);
	}
	f->take = 0;
	client_sends(f, "none\n");
	assert_int_equal(f->last_fds, 0);
	assert_int_equal(f->gone, 0);
}

static void
lines_around_keep_their_own(void **state)
{
	struct fixture *f = *state;
	int null = open_null();

	f->take = 1;
	assert_int_equal(send(f->client, "sta", 3, 0), 3);
	foreign_send_fds(f->client, "rt\n", &null, 1);
	assert_int_equal(send(f->client, "", 0, 0), 0);
	close(null);
	fake_loop_settle(f->loop);
	assert_string_equal(f->lines, "start|");
	assert_int_equal(f->last_fds, 1);
	close(f->taken[0]);
	/* Before a line that is split, it belongs to its end. */
	null = open_null();
	foreign_send_fds(f->client, "be", &null, 1);
	close(null);
	fake_loop_settle(f->loop);
	client_sends(f, "gin\n");
	assert_string_equal(f->lines, "start|begin|");
	assert_int_equal(f->last_fds, 1);
	close(f->taken[0]);
	assert_int_equal(f->gone, 0);
}

/* How many descriptors this process has open. */
static int
open_fds(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void
a_breach_of_the_rule_closes_all(void **state)
{
	struct fixture *f = *state;
	int before = open_fds();

	f->take = 1;
	send_fds(f, "two\n", 2);
	close(f->taken[0]);
	assert_int_equal(f->gone, 1);
	assert_int_equal(open_fds(), before - 1); /* its socket */
}

static void
a_refused_line_closes_all(void **state)
{
	struct fixture *f = *state;
	int before = open_fds();

	f->refuse = true;
	send_fds(f, "two\nthree\n", 2);
	assert_int_equal(f->gone, 1);
	assert_int_equal(f->count, 1);
	assert_int_equal(open_fds(), before - 1);
}

static void
descriptors_with_a_long_line_close_all(void **state)
{
	struct fixture *f = *state;
	char part[64 * 1024 + 1];
	int before = open_fds(), i;

	memset(part, 'x', sizeof(part) - 1);
	part[sizeof(part) - 1] = '\0';
	send_fds(f, "x", 1);
	for (i = 0; i < LIMIT_REQUEST_LINE / (64 * 1024); i++)
		client_sends(f, part);
	fake_loop_settle(f->loop);
	assert_int_equal(f->gone, 1);
	assert_int_equal(f->too_long, 0);
	assert_int_equal(open_fds(), before - 1);
}

static void
a_doomed_client_is_not_read_any_more(void **state)
{
	struct fixture *f = *state;

	peer_doom(f->peer, "of a test");
	peer_doom(f->peer, "of a test");
	assert_int_equal(f->gone, 0);
	client_sends(f, "late\n");
	assert_int_equal(f->gone, 1);
	assert_int_equal(f->count, 0);
}

static void
it_carries_what_the_layer_above_keeps(void **state)
{
	struct fixture *f = *state;

	assert_null(peer_calls(f->peer));
	peer_set_calls(f->peer, f);
	assert_ptr_equal(peer_calls(f->peer), f);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lines_are_told_whole_however_they_arrive),
		TEST(many_lines_at_once_are_all_told),
		TEST(a_long_line_is_told_once_and_skipped),
		TEST(answers_reach_the_client),
		TEST(an_idle_client_holds_little_memory),
		TEST(small_answers_wait_for_the_end_of_the_turn),
		TEST(a_doomed_client_gets_what_was_said_before),
		TEST(a_freed_client_gets_its_last_answer),
		TEST(a_closed_client_is_gone_once),
		TEST(lines_before_the_hang_up_are_told),
		TEST(a_half_closed_client_still_gets_its_answers),
		TEST(a_half_closed_client_that_goes_is_noticed),
		TEST(a_line_goes_on_when_the_turn_ends_with_room),
		TEST(a_client_that_does_not_read_is_not_read),
		TEST(many_small_answers_count_like_a_large_one),
		TEST(a_stalled_client_is_dropped_a_slow_one_is_not),
		TEST(too_many_answers_close_it),
		TEST(the_users_share_bounds_large_answers),
		TEST(descriptors_come_with_their_line),
		TEST(lines_around_keep_their_own),
		TEST(a_breach_of_the_rule_closes_all),
		TEST(a_refused_line_closes_all),
		TEST(descriptors_with_a_long_line_close_all),
		TEST(a_doomed_client_is_not_read_any_more),
		TEST(it_carries_what_the_layer_above_keeps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
