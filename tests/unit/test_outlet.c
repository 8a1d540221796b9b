#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "daemon/call.h"
#include "daemon/outlet.h"
#include "proto/jx.h"
#include "proto/xalloc.h"
#include "tests/unit/fakes/fake_loop.h"

#include "proto/banned.h"

#define TICK_MS   20
#define EVENT_MAX (256 * 1024)

/* A call whose client takes so many events, and its sockets' other ends. */
struct bed {
	struct loop *loop;
	struct services services;
	struct call call;
	struct outlet *outlet;
	int ends[2]; /* of stdout and stderr; -1 for events */
	int takes, rooms;
	struct buf events; /* type=text; of each */
	size_t longest;
	bool free_at_room;
};

static struct bed *bed;

/* In place of daemon/call.c. */
bool
call_event(struct call *c, const char *type, struct json_object *fields)
{
	const char *text = jx_str(fields, "text");
	bool took = bed->takes > 0;

	assert_ptr_equal(c, &bed->call);
	if (took) {
		bed->takes--;
		buf_addf(&bed->events, "%s=%s;", type, text ? text : "");
		if (text != NULL && strlen(text) > bed->longest)
			bed->longest = strlen(text);
	}
	json_object_put(fields);
	return took;
}

int
call_take_fd_named(struct call *c, const char *name)
{
	int which = strcmp(name, "stdout") != 0, fd = c->fds[which];

	c->fds[which] = -1;
	return fd;
}

static void
room(void *arg)
{
	struct bed *b = arg;

	assert_true(outlet_is_empty(b->outlet));
	b->rooms++;
	if (b->free_at_room) {
		outlet_free(b->outlet);
		b->outlet = NULL;
	}
}

static int
setup(void **state)
{
	struct bed *b = xcalloc(1, sizeof(*b));

	b->loop = loop_new();
	b->services.loop = b->loop;
	b->call.svc = &b->services;
	b->call.fds[0] = b->call.fds[1] = b->ends[0] = b->ends[1] = -1;
	b->takes = 1000;
	buf_init(&b->events, 64 * 1024 * 1024);
	bed = b;
	*state = b;
	return 0;
}

static int
teardown(void **state)
{
	struct bed *b = *state;
	int i;

	outlet_free(b->outlet);
	for (i = 0; i < 2; i++)
		if (b->ends[i] >= 0)
			close(b->ends[i]);
	buf_release(&b->events);
	loop_free(b->loop);
	free(b);
	return 0;
}

static void
with_socket(struct bed *b, int which)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	b->ends[which] = fds[0];
	b->call.fds[which] = fds[1];
}

static void
start(struct bed *b)
{
	b->outlet = outlet_new(&b->call, room, b);
	assert_true(outlet_is_empty(b->outlet));
}

static void
expect_events(struct bed *b, const char *text)
{
	assert_string_equal(b->events.len ? buf_str(&b->events) : "", text);
	buf_clear(&b->events);
}

/* Reads what there is, and checks that it is the pattern from `at` on. */
static size_t
drain(const struct bed *b, int which, size_t at)
{
	unsigned char data[65536];
	ssize_t n;
	ssize_t i;

	while ((n = recv(b->ends[which], data, sizeof(data), MSG_DONTWAIT)) > 0)
		for (i = 0; i < n; i++, at++)
			if (data[i] != (unsigned char)(at % 251))
				fail_msg("byte %zu is another", at);
	return at;
}

static char *
pattern(size_t n)
{
	char *data = xmalloc(n);
	size_t i;

	for (i = 0; i < n; i++)
		data[i] = (char)(i % 251);
	return data;
}

static void
without_sockets_all_are_events(void **state)
{
	struct bed *b = *state;

	start(b);
	assert_true(outlet_put(b->outlet, false, "a", 1));
	assert_true(outlet_put(b->outlet, true, "b", 1));
	assert_true(outlet_put(b->outlet, false, "", 0));
	assert_true(outlet_event(b->outlet, "gap", json_object_new_object()));
	expect_events(b, "stdout=a;stderr=b;gap=;");
	assert_int_equal(b->rooms, 0);
}

static void
what_has_a_socket_goes_there(void **state)
{
	struct bed *b = *state;
	char data[8];

	with_socket(b, 1);
	start(b);
	assert_true(outlet_put(b->outlet, false, "a", 1));
	assert_true(outlet_put(b->outlet, true, "b\0c", 3));
	expect_events(b, "stdout=a;");
	assert_int_equal(recv(b->ends[1], data, 8, MSG_DONTWAIT), 3);
	assert_memory_equal(data, "b\0c", 3);
	outlet_free(b->outlet);
	b->outlet = NULL;
	assert_int_equal(recv(b->ends[1], data, 8, 0), 0);
}

static void
a_slow_reader_of_events_gets_all_in_order(void **state)
{
	struct bed *b = *state;

	b->takes = 1;
	start(b);
	assert_true(outlet_put(b->outlet, false, "a", 1));
	assert_false(outlet_put(b->outlet, true, "b", 1));
	assert_false(outlet_event(b->outlet, "gap", json_object_new_object()));
	assert_false(outlet_put(b->outlet, false, "c", 1));
	fake_loop_advance(b->loop, 10 * TICK_MS);
	expect_events(b, "stdout=a;");
	b->takes = 2;
	fake_loop_advance(b->loop, TICK_MS);
	expect_events(b, "stderr=b;gap=;");
	assert_int_equal(b->rooms, 0);
	b->takes = 9;
	/* Its turn has not come: nothing overtakes what is held. */
	assert_false(outlet_put(b->outlet, false, "d", 1));
	expect_events(b, "");
	fake_loop_advance(b->loop, TICK_MS);
	expect_events(b, "stdout=c;stdout=d;");
	assert_int_equal(b->rooms, 1);
	fake_loop_advance(b->loop, 10 * TICK_MS);
	assert_int_equal(b->rooms, 1);
}

static void
long_output_is_cut_between_characters(void **state)
{
	struct bed *b = *state;
	size_t n = 4 * 1024 * 1024, i;
	char *text = xmalloc(n);

	/* One byte, and then characters of three each. */
	text[0] = 'x';
	for (i = 1; i + 3 <= n; i += 3)
		memcpy(text + i, "\xe2\x82\xac", 3);
	n = i;
	b->takes = 3;
	start(b);
	assert_false(outlet_put(b->outlet, false, text, n));
	b->takes = 1000;
	fake_loop_advance(b->loop, TICK_MS);
	assert_int_equal(b->rooms, 1);
	assert_in_range(b->longest, EVENT_MAX - 2, EVENT_MAX);
	/* Each has 8 bytes around its text. */
	i = (size_t)(1000 - b->takes + 3);
	assert_int_equal(b->events.len, n + 8 * i);
	assert_int_equal(i, n / EVENT_MAX + 1);
	free(text);
}

static void
a_slow_socket_gets_all(void **state)
{
	struct bed *b = *state;
	size_t n = 4 * 1024 * 1024, at = 0;
	char *data = pattern(n);

	with_socket(b, 0);
	start(b);
	assert_false(outlet_put(b->outlet, false, data, n));
	fake_loop_settle(b->loop);
	assert_int_equal(b->rooms, 0);
	/* The other lane goes on, but the source is still to wait. */
	assert_false(outlet_put(b->outlet, true, "x", 1));
	expect_events(b, "stderr=x;");
	while (at < n) {
		at = drain(b, 0, at);
		fake_loop_settle(b->loop);
	}
	assert_int_equal(b->rooms, 1);
	assert_true(outlet_is_empty(b->outlet));
	free(data);
}

static void
a_socket_that_nobody_reads_any_more_takes_all(void **state)
{
	struct bed *b = *state;
	size_t n = 4 * 1024 * 1024;
	char *data = pattern(n);

	with_socket(b, 0);
	start(b);
	assert_false(outlet_put(b->outlet, false, data, n));
	close(b->ends[0]);
	b->ends[0] = -1;
	fake_loop_settle(b->loop);
	assert_int_equal(b->rooms, 1);
	assert_true(outlet_put(b->outlet, false, data, n));
	free(data);
}

static void
it_may_be_freed_when_there_is_room(void **state)
{
	struct bed *b = *state;
	size_t n = 1024 * 1024, at = 0;
	char *data = pattern(n);

	b->free_at_room = true;
	with_socket(b, 0);
	start(b);
	outlet_put(b->outlet, false, data, n);
	while (b->outlet != NULL) {
		at = drain(b, 0, at);
		fake_loop_settle(b->loop);
	}
	b->takes = 0;
	start(b);
	outlet_put(b->outlet, false, "x", 1);
	b->takes = 1;
	fake_loop_advance(b->loop, TICK_MS);
	assert_null(b->outlet);
	free(data);
}

static void
what_is_held_is_freed_with_it(void **state)
{
	struct bed *b = *state;

	b->takes = 0;
	start(b);
	outlet_put(b->outlet, false, "x", 1);
	outlet_event(b->outlet, "gap", json_object_new_object());
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_sockets_all_are_events),
		TEST(what_has_a_socket_goes_there),
		TEST(a_slow_reader_of_events_gets_all_in_order),
		TEST(long_output_is_cut_between_characters),
		TEST(a_slow_socket_gets_all),
		TEST(a_socket_that_nobody_reads_any_more_takes_all),
		TEST(it_may_be_freed_when_there_is_room),
		TEST(what_is_held_is_freed_with_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
