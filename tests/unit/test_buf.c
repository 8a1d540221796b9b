#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "proto/buf.h"

#include "proto/banned.h"

static void
starts_empty_and_allocates_nothing(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	assert_null(b.data);
	assert_int_equal(b.len, 0);
	assert_int_equal(b.alloc, 0);
	assert_null(buf_head(&b));
	buf_release(&b);
}

static void
keeps_what_is_added_in_order(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	assert_int_equal(buf_adds(&b, "one"), 0);
	assert_int_equal(buf_add(&b, "\0two\0", 5), 0);
	assert_int_equal(buf_addf(&b, "%d-%s", 3, "three"), 0);
	assert_buf_equal(&b, "one\0two\0003-three");
	buf_release(&b);
}

static void
takes_exactly_its_maximum(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 4);
	assert_int_equal(buf_adds(&b, "abcd"), 0);
	assert_int_equal(buf_add(&b, "e", 1), -ENOSPC);
	assert_int_equal(buf_addf(&b, "%c", 'e'), -ENOSPC);
	assert_int_equal(buf_add(&b, "", 0), 0);
	assert_buf_equal(&b, "abcd");
	buf_release(&b);
}

static void
refused_addition_changes_nothing(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 4);
	assert_int_equal(buf_adds(&b, "abcde"), -ENOSPC);
	assert_int_equal(b.len, 0);
	assert_int_equal(buf_adds(&b, "abc"), 0);
	assert_int_equal(buf_adds(&b, "de"), -ENOSPC);
	assert_int_equal(buf_addf(&b, "%d", 10), -ENOSPC);
	assert_buf_equal(&b, "abc");
	assert_int_equal(buf_adds(&b, "d"), 0);
	assert_buf_equal(&b, "abcd");
	buf_release(&b);
}

static void
with_maximum_zero_takes_only_nothing(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	assert_int_equal(buf_add(&b, "a", 1), -ENOSPC);
	assert_int_equal(buf_add(&b, "", 0), 0);
	assert_int_equal(buf_addf(&b, "%s", ""), 0);
	assert_string_equal(buf_str(&b), "");
	buf_release(&b);
}

/* The maximum counts bytes in use; what was consumed makes room again. */
static void
consumed_bytes_make_room(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 4);
	assert_int_equal(buf_adds(&b, "abcd"), 0);
	buf_consume(&b, 3);
	assert_buf_equal(&b, "d");
	assert_int_equal(buf_adds(&b, "efgh"), -ENOSPC);
	assert_int_equal(buf_adds(&b, "efg"), 0);
	assert_buf_equal(&b, "defg");
	buf_consume(&b, 4);
	assert_int_equal(b.len, 0);
	assert_int_equal(b.off, 0);
	buf_release(&b);
}

static void
memory_stays_near_the_maximum(void **state)
{
	const size_t max = 1000;
	struct buf b;
	size_t i;

	(void)state;
	buf_init(&b, max);
	for (i = 0; i < max; i++)
		assert_int_equal(buf_add(&b, "x", 1), 0);
	assert_int_equal(buf_add(&b, "x", 1), -ENOSPC);
	assert_int_equal(b.len, max);
	assert_true(b.alloc <= max + 1);
	for (i = 0; i < 100 * max; i++) {
		buf_consume(&b, 1);
		assert_int_equal(buf_add(&b, "y", 1), 0);
	}
	assert_true(b.alloc <= max + 1);
	for (i = 0; i < max; i++)
		assert_int_equal(buf_head(&b)[i], 'y');
	buf_release(&b);
}

/* A few bytes more each time must not mean a copy of all each time. */
static void
growth_is_geometric(void **state)
{
	size_t grown = 0, last = 0, i;
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	for (i = 0; i < 1 << 20; i++) {
		assert_int_equal(buf_add(&b, "z", 1), 0);
		grown += b.alloc != last;
		last = b.alloc;
	}
	assert_true(grown <= 14);
	buf_release(&b);
}

static void
reserved_room_becomes_bytes_by_commit(void **state)
{
	struct buf b;
	char *space;

	(void)state;
	buf_init(&b, 600);
	assert_int_equal(buf_adds(&b, "<"), 0);
	assert_int_equal(buf_reserve(&b, 599, &space), 0);
	memset(space, '-', 599);
	assert_buf_equal(&b, "<");
	buf_commit(&b, 2);
	assert_buf_equal(&b, "<--");
	assert_int_equal(buf_reserve(&b, 598, &space), -ENOSPC);
	assert_int_equal(buf_reserve(&b, 597, &space), 0);
	assert_ptr_equal(space, buf_head(&b) + 3);
	buf_release(&b);
}

/*
 * Release wipes `dirty` bytes: all that ever held something, though it was
 * consumed since, and not the room that was reserved and never used.
 */
static void
what_is_wiped_is_what_was_in_use(void **state)
{
	struct buf b;
	char *space;

	(void)state;
	buf_init(&b, 100000);
	assert_int_equal(b.dirty, 0);
	assert_int_equal(buf_add(&b, "a key, say", 10), 0);
	buf_consume(&b, 9);
	assert_int_equal(b.dirty, 10);
	assert_int_equal(buf_add(&b, "more", 4), 0);
	assert_int_equal(b.dirty, 14);
	buf_clear(&b);
	assert_int_equal(buf_reserve(&b, 50000, &space), 0);
	assert_int_equal(b.dirty, 14);
	space[0] = 'x';
	buf_commit(&b, 1);
	assert_int_equal(b.dirty, 14);
	buf_release(&b);
	assert_int_equal(b.dirty, 0);
}

static void
absurd_sizes_are_refused(void **state)
{
	const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2,
		SIZE_MAX / 2 + 1 };
	struct buf b;
	char *space;
	size_t i;

	(void)state;
	buf_init(&b, SIZE_MAX);
	assert_int_equal(buf_adds(&b, "a"), 0);
	for (i = 0; i < COUNT(sizes); i++)
		assert_true(buf_reserve(&b, sizes[i], &space) < 0);
	assert_buf_equal(&b, "a");
	buf_release(&b);
}

static void
text_ends_with_a_nul_outside_the_length(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 3);
	assert_string_equal(buf_str(&b), "");
	assert_int_equal(buf_adds(&b, "abc"), 0);
	assert_string_equal(buf_str(&b), "abc");
	assert_int_equal(b.len, 3);
	buf_consume(&b, 1);
	assert_string_equal(buf_str(&b), "bc");
	assert_buf_equal(&b, "bc");
	buf_release(&b);
}

static void
clear_keeps_the_memory(void **state)
{
	struct buf b;
	char *data;

	(void)state;
	buf_init(&b, 10);
	assert_int_equal(buf_adds(&b, "abc"), 0);
	buf_consume(&b, 1);
	data = b.data;
	buf_clear(&b);
	assert_int_equal(b.len, 0);
	assert_int_equal(buf_adds(&b, "0123456789"), 0);
	assert_ptr_equal(b.data, data);
	assert_buf_equal(&b, "0123456789");
	buf_release(&b);
}

static void
released_buffer_is_usable_again(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 3);
	assert_int_equal(buf_adds(&b, "abc"), 0);
	buf_release(&b);
	assert_null(b.data);
	assert_int_equal(b.len, 0);
	assert_int_equal(buf_adds(&b, "abcd"), -ENOSPC);
	assert_int_equal(buf_adds(&b, "def"), 0);
	assert_buf_equal(&b, "def");
	buf_release(&b);
	buf_release(&b);
}

static void
steal_hands_over_the_bytes_and_empties(void **state)
{
	struct buf b;
	size_t len;
	char *s;

	(void)state;
	buf_init(&b, 8);
	assert_int_equal(buf_add(&b, "xab\0c", 5), 0);
	buf_consume(&b, 1);
	s = buf_steal(&b, &len);
	assert_non_null(s);
	assert_int_equal(len, 4);
	assert_memory_equal(s, "ab\0c", 5);
	free(s);
	assert_null(b.data);
	assert_int_equal(b.len, 0);
	assert_int_equal(buf_adds(&b, "12345678"), 0);
	s = buf_steal(&b, NULL);
	assert_string_equal(s, "12345678");
	free(s);
	buf_release(&b);
}

static void
steal_of_nothing_is_an_empty_string(void **state)
{
	size_t len = 1;
	struct buf b;
	char *s;

	(void)state;
	buf_init(&b, 8);
	s = buf_steal(&b, &len);
	assert_string_equal(s, "");
	assert_int_equal(len, 0);
	free(s);
}

static void
numbers_are_added_in_decimal(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	assert_int_equal(buf_addu(&b, 0), 0);
	assert_int_equal(buf_addi(&b, -1), 0);
	assert_int_equal(buf_addu(&b, UINT64_MAX), 0);
	assert_int_equal(buf_addi(&b, INT64_MIN), 0);
	assert_int_equal(buf_addi(&b, 10), 0);
	assert_buf_equal(&b, "0-118446744073709551615-922337203685477580810");
	buf_release(&b);
	buf_init(&b, 2);
	assert_int_equal(buf_addi(&b, -12), -ENOSPC);
	assert_int_equal(b.len, 0);
	buf_release(&b);
}

static void
wiped_buffer_holds_nothing_and_keeps_its_memory(void **state)
{
	struct buf b;
	char *data;
	size_t i;

	(void)state;
	buf_init(&b, 100);
	buf_wipe(&b);
	assert_null(b.data);
	assert_int_equal(buf_adds(&b, "a secret"), 0);
	buf_consume(&b, 3);
	data = b.data;
	buf_wipe(&b);
	assert_int_equal(b.len, 0);
	assert_ptr_equal(b.data, data);
	for (i = 0; i < 8; i++)
		assert_int_equal(data[i], 0);
	assert_int_equal(buf_adds(&b, "more"), 0);
	assert_buf_equal(&b, "more");
	buf_release(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_empty_and_allocates_nothing),
		cmocka_unit_test(keeps_what_is_added_in_order),
		cmocka_unit_test(takes_exactly_its_maximum),
		cmocka_unit_test(refused_addition_changes_nothing),
		cmocka_unit_test(with_maximum_zero_takes_only_nothing),
		cmocka_unit_test(consumed_bytes_make_room),
		cmocka_unit_test(memory_stays_near_the_maximum),
		cmocka_unit_test(growth_is_geometric),
		cmocka_unit_test(reserved_room_becomes_bytes_by_commit),
		cmocka_unit_test(what_is_wiped_is_what_was_in_use),
		cmocka_unit_test(absurd_sizes_are_refused),
		cmocka_unit_test(text_ends_with_a_nul_outside_the_length),
		cmocka_unit_test(clear_keeps_the_memory),
		cmocka_unit_test(
		    wiped_buffer_holds_nothing_and_keeps_its_memory),
		cmocka_unit_test(released_buffer_is_usable_again),
		cmocka_unit_test(steal_hands_over_the_bytes_and_empties),
		cmocka_unit_test(steal_of_nothing_is_an_empty_string),
		cmocka_unit_test(numbers_are_added_in_decimal),
	};

	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
