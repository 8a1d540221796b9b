#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "daemon/hash.h"

#include "proto/banned.h"

#define MANY 1000

struct thing {
	int number;
	struct hash_entry entry;
};

static struct thing *
find(const struct hash *h, uint64_t value, int number)
{
	struct hash_entry *e;
	struct thing *t;

	for (e = hash_first(h, value); e != NULL; e = hash_next(e)) {
		assert_int_equal(e->value, value);
		t = hash_owner(e, struct thing, entry);
		if (t->number == number)
			return t;
	}
	return NULL;
}

static uint64_t
value_of(int number)
{
	char text[20];

	snprintf(text, sizeof(text), "thing %d", number);
	return hash_text(text, strlen(text), 0);
}

static void
each_is_found_until_it_is_removed(void **state)
{
	static struct thing things[MANY];
	struct hash h = { 0 };
	int i;

	(void)state;
	assert_null(hash_first(&h, 0));
	for (i = 0; i < MANY; i++) {
		things[i].number = i;
		assert_null(find(&h, value_of(i), i));
		hash_add(&h, &things[i].entry, value_of(i));
	}
	for (i = 0; i < MANY; i++)
		assert_ptr_equal(find(&h, value_of(i), i), &things[i]);
	for (i = 0; i < MANY; i += 2) {
		hash_remove(&h, &things[i].entry);
		hash_remove(&h, &things[i].entry);
	}
	for (i = 0; i < MANY; i++)
		assert_ptr_equal(
		    find(&h, value_of(i), i), i % 2 ? &things[i] : NULL);
	hash_release(&h);
	assert_null(hash_first(&h, value_of(1)));
}

static void
those_with_one_value_are_all_found(void **state)
{
	struct thing things[40] = { 0 };
	struct hash h = { 0 };
	int i;

	(void)state;
	for (i = 0; i < (int)COUNT(things); i++) {
		things[i].number = i;
		hash_add(&h, &things[i].entry, (uint64_t)i % 2 * 16);
	}
	hash_remove(&h, &things[7].entry);
	for (i = 0; i < (int)COUNT(things); i++)
		assert_ptr_equal(find(&h, (uint64_t)i % 2 * 16, i),
		    i == 7 ? NULL : &things[i]);
	hash_release(&h);
}

static void
each_byte_counts_and_so_does_the_seed(void **state)
{
	char text[24] = "aaaaaaaaaaaaaaaaaaaaaaa";
	uint64_t value;
	size_t n, i;

	(void)state;
	assert_true(hash_text("\0", 1, 0) != hash_text("", 0, 0));
	for (n = 0; n < sizeof(text); n++) {
		value = hash_text(text, n, 0);
		assert_true(hash_text(text, n, 1) != value);
		assert_true(hash_text(text, n + 1, 0) != value);
		assert_true(hash_text(text, n, 0) == value);
		for (i = 0; i < n; i++) {
			text[i] = 'b';
			assert_true(hash_text(text, n, 0) != value);
			text[i] = 'a';
		}
	}
}

/* Texts as ours are: what differs at their end fills the table evenly. */
static void
values_are_spread(void **state)
{
	int slots[256] = { 0 }, i, most = 0;
	char id[40];

	(void)state;
	for (i = 0; i < 4096; i++) {
		snprintf(id, sizeof(id), "cl-%025d", i);
		slots[hash_text(id, strlen(id), 0) % COUNT(slots)]++;
	}
	for (i = 0; i < (int)COUNT(slots); i++)
		most = slots[i] > most ? slots[i] : most;
	assert_in_range(most, 16, 48);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_found_until_it_is_removed),
		cmocka_unit_test(those_with_one_value_are_all_found),
		cmocka_unit_test(each_byte_counts_and_so_does_the_seed),
		cmocka_unit_test(values_are_spread),
	};

	return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
