#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "proto/buf.h"
#include "proto/rpc_frame.h"

#include "proto/banned.h"

#define MAX_LINE 16

/*
 * Feeds the bytes in reads of at most `chunk` and writes down what comes out:
 * each line with a newline behind it, each line that was too long as '!'.
 */
static void
transcribe(struct rpc_frame *f, const char *bytes, size_t n, size_t chunk,
    struct buf *out)
{
	enum rpc_frame_result result;
	const char *line;
	size_t room, len;
	char *space;

	while (n > 0) {
		assert_int_equal(rpc_frame_reserve(f, chunk, &space, &room), 0);
		assert_in_range(room, 1, chunk);
		if (room > n)
			room = n;
		memcpy(space, bytes, room);
		rpc_frame_commit(f, room);
		bytes += room;
		n -= room;
		while ((result = rpc_frame_next(f, &line, &len)) !=
		       RPC_FRAME_MORE) {
			if (result == RPC_FRAME_TOO_LONG) {
				assert_int_equal(buf_adds(out, "!"), 0);
				continue;
			}
			assert_int_equal(buf_add(out, line, len), 0);
			assert_int_equal(buf_adds(out, "\n"), 0);
		}
	}
}

/* The transcript is the same however the bytes are split into reads. */
static void
assert_transcript(const char *bytes, size_t n, const char *wanted, size_t len)
{
	struct rpc_frame f;
	struct buf out;
	size_t chunk;

	buf_init(&out, 1000);
	for (chunk = 1; chunk <= n; chunk++) {
		rpc_frame_init(&f, MAX_LINE);
		buf_clear(&out);
		transcribe(&f, bytes, n, chunk, &out);
		assert_int_equal(out.len, len);
		assert_memory_equal(buf_str(&out), wanted, len);
		rpc_frame_release(&f);
	}
	buf_release(&out);
}

static void
lines_come_whole_and_in_order(void **state)
{
	(void)state;
	assert_transcript(
	    LITERAL("one\ntwo\n\nthree\n"), LITERAL("one\ntwo\n\nthree\n"));
}

static void
the_last_line_waits_for_its_newline(void **state)
{
	(void)state;
	assert_transcript(LITERAL("one\ntw"), LITERAL("one\n"));
	assert_transcript(LITERAL("one"), LITERAL(""));
}

static void
nul_and_carriage_return_are_bytes_like_others(void **state)
{
	(void)state;
	assert_transcript(
	    LITERAL("a\0b\n\0\n\r\n\xff\n"), LITERAL("a\0b\n\0\n\r\n\xff\n"));
}

static void
a_line_of_just_the_maximum_passes(void **state)
{
	(void)state;
	assert_transcript(
	    LITERAL("0123456789abcdef\nx\n"), LITERAL("0123456789abcdef\nx\n"));
}

static void
one_byte_more_is_too_long_and_the_next_line_is_not(void **state)
{
	(void)state;
	assert_transcript(LITERAL("0123456789abcdefX\nx\n"), LITERAL("!x\n"));
	assert_transcript(
	    LITERAL("a\n0123456789abcdefX\nx\n"), LITERAL("a\n!x\n"));
}

static void
each_long_line_is_told_of_once(void **state)
{
	(void)state;
	assert_transcript(
	    LITERAL("0123456789abcdef0123456789abcdef0123456789abcdef\n"
		    "0123456789abcdef0123456789abcdef0\n"
		    "ok\n"
		    "0123456789abcdef0123456789abcdef0123456789abcdef\n"
		    "ok too\n"),
	    LITERAL("!!ok\n!ok too\n"));
}

/* Every single cut through a stream with short, exact and long lines. */
static void
two_reads_cut_at_every_byte(void **state)
{
	static const char bytes[] = "a\n\n0123456789abcdef\n"
				    "0123456789abcdefg\nbc\0d\n"
				    "0123456789abcdef0123456789abcdef\ne\n";
	static const char wanted[] = "a\n\n0123456789abcdef\n!bc\0d\n!e\n";
	size_t n = sizeof(bytes) - 1, cut;
	struct rpc_frame f;
	struct buf out;

	(void)state;
	buf_init(&out, 1000);
	for (cut = 0; cut <= n; cut++) {
		rpc_frame_init(&f, MAX_LINE);
		buf_clear(&out);
		transcribe(&f, bytes, cut, n, &out);
		transcribe(&f, bytes + cut, n - cut, n, &out);
		assert_int_equal(out.len, sizeof(wanted) - 1);
		assert_memory_equal(buf_str(&out), wanted, sizeof(wanted) - 1);
		rpc_frame_release(&f);
	}
	buf_release(&out);
}

/* Too long is known with the first byte over it, not with the newline. */
static void
too_long_is_told_before_the_line_ends(void **state)
{
	struct rpc_frame f;
	struct buf out;

	(void)state;
	buf_init(&out, 100);
	rpc_frame_init(&f, MAX_LINE);
	transcribe(&f, LITERAL("0123456789abcdef"), 100, &out);
	assert_int_equal(out.len, 0);
	transcribe(&f, "X", 1, 100, &out);
	assert_buf_equal(&out, "!");
	rpc_frame_release(&f);
	buf_release(&out);
}

static void
a_line_stays_valid_until_the_next_call(void **state)
{
	struct rpc_frame f;
	const char *line;
	char *space;
	size_t len;

	(void)state;
	rpc_frame_init(&f, MAX_LINE);
	assert_int_equal(rpc_frame_reserve(&f, 12, &space, &len), 0);
	assert_int_equal(len, 12);
	memcpy(space, "first\nsecond", 12);
	rpc_frame_commit(&f, 12);
	assert_int_equal(rpc_frame_next(&f, &line, &len), RPC_FRAME_LINE);
	assert_int_equal(len, 5);
	assert_memory_equal(line, "first\nsecond", 12);
	assert_int_equal(rpc_frame_next(&f, &line, &len), RPC_FRAME_MORE);
	rpc_frame_release(&f);
}

/* 64 MiB without a newline cost no more than one read of them. */
static void
a_line_without_end_takes_no_memory(void **state)
{
	const size_t max = 1 << 20, read_size = 32 * 1024;
	bool told = false;
	struct rpc_frame f;
	const char *line;
	size_t i, room, len;
	char *space;

	(void)state;
	rpc_frame_init(&f, max);
	for (i = 0; i < 2048; i++) {
		assert_int_equal(
		    rpc_frame_reserve(&f, read_size, &space, &room), 0);
		memset(space, 'x', room);
		rpc_frame_commit(&f, room);
		if (rpc_frame_next(&f, &line, &len) == RPC_FRAME_TOO_LONG) {
			assert_false(told);
			told = true;
		}
		assert_int_equal(
		    rpc_frame_next(&f, &line, &len), RPC_FRAME_MORE);
		assert_true(f.in.alloc <= 2 * max + 3);
		if (told)
			assert_true(f.in.alloc <= 2 * read_size);
	}
	assert_true(told);
	rpc_frame_release(&f);
}

/* A client that sent one long line must not hold its memory for ever. */
static void
memory_of_a_long_line_is_given_back(void **state)
{
	const size_t max = 1 << 20;
	struct rpc_frame f;
	const char *line;
	size_t room, len;
	char *space;

	(void)state;
	rpc_frame_init(&f, max);
	assert_int_equal(rpc_frame_reserve(&f, max + 1, &space, &room), 0);
	assert_int_equal(room, max + 1);
	memset(space, 'x', max);
	space[max] = '\n';
	rpc_frame_commit(&f, max + 1);
	assert_int_equal(rpc_frame_next(&f, &line, &len), RPC_FRAME_LINE);
	assert_int_equal(len, max);
	assert_int_equal(rpc_frame_next(&f, &line, &len), RPC_FRAME_MORE);
	assert_true(f.in.alloc <= 64 * 1024);
	rpc_frame_release(&f);
}

/* Room is there for a byte more, whatever waits for its newline. */
static void
there_is_always_room_to_read(void **state)
{
	struct rpc_frame f;
	const char *line;
	size_t room, len, i;
	char *space;

	(void)state;
	rpc_frame_init(&f, MAX_LINE);
	for (i = 0; i < MAX_LINE; i++) {
		assert_int_equal(
		    rpc_frame_reserve(&f, SIZE_MAX, &space, &room), 0);
		assert_true(room >= MAX_LINE + 2);
		*space = 'x';
		rpc_frame_commit(&f, 1);
		assert_int_equal(
		    rpc_frame_next(&f, &line, &len), RPC_FRAME_MORE);
	}
	assert_int_equal(rpc_frame_reserve(&f, 1, &space, &room), 0);
	*space = '\n';
	rpc_frame_commit(&f, 1);
	assert_int_equal(rpc_frame_next(&f, &line, &len), RPC_FRAME_LINE);
	assert_int_equal(len, MAX_LINE);
	rpc_frame_release(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_come_whole_and_in_order),
		cmocka_unit_test(the_last_line_waits_for_its_newline),
		cmocka_unit_test(nul_and_carriage_return_are_bytes_like_others),
		cmocka_unit_test(a_line_of_just_the_maximum_passes),
		cmocka_unit_test(
		    one_byte_more_is_too_long_and_the_next_line_is_not),
		cmocka_unit_test(each_long_line_is_told_of_once),
		cmocka_unit_test(two_reads_cut_at_every_byte),
		cmocka_unit_test(too_long_is_told_before_the_line_ends),
		cmocka_unit_test(a_line_stays_valid_until_the_next_call),
		cmocka_unit_test(a_line_without_end_takes_no_memory),
		cmocka_unit_test(memory_of_a_long_line_is_given_back),
		cmocka_unit_test(there_is_always_room_to_read),
	};

	return cmocka_run_group_tests_name("rpc_frame", tests, NULL, NULL);
}
