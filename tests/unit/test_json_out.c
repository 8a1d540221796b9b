#include <errno.h>
#include <math.h>
#include <stdbool.h>

#include "tests/unit/unit.h"

#include "proto/json_check.h"
#include "proto/json_out.h"
#include "proto/json_walk.h"

#include "proto/banned.h"

#define INNER " {\"x\" : 1,\n\t\"\\u0079\":[ ] } "

/* Some of everything. */
static void
write_all(struct json_out *o)
{
	struct json_member m;
	size_t pos = 0;

	json_out_object(o, NULL);
	json_out_str(o, "s", "a\"b\n");
	json_out_strn(o, "n", "a\0b", 3);
	json_out_int(o, "i", -5);
	json_out_array(o, "a");
	json_out_bool(o, NULL, true);
	json_out_object(o, NULL);
	json_out_end_object(o);
	json_out_array(o, NULL);
	json_out_null(o, NULL);
	json_out_end_array(o);
	json_out_double(o, NULL, 0.5);
	json_out_double(o, NULL, (double)INFINITY);
	json_out_end_array(o);
	json_out_text(o, "t", "[\n]", 3);
	json_out_members(o, LITERAL(INNER));
	json_out_members(o, LITERAL(" { } "));
	while (json_next_member(LITERAL(INNER), &pos, &m))
		json_out_member(o, &m);
	json_out_object(o, "o");
	json_out_bool(o, "f", false);
	json_out_end_object(o);
	json_out_end_object(o);
}

static const char all[] =
    "{\"s\":\"a\\\"b\\n\",\"n\":\"a\\u0000b\",\"i\":-5,"
    "\"a\":[true,{},[null],0.5,null],\"t\":[ ],"
    "\"x\" : 1, \t\"\\u0079\":[ ] ,\"x\":1,\"\\u0079\":[ ],"
    "\"o\":{\"f\":false}}";

static void
members_come_with_names_and_commas(void **state)
{
	struct json_out o;
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	json_out_init(&o, &b);
	write_all(&o);
	assert_int_equal(o.error, 0);
	assert_string_equal(buf_str(&b), all);
	buf_release(&b);
}

static void
a_value_may_stand_alone(void **state)
{
	struct json_out o;
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	json_out_init(&o, &b);
	json_out_str(&o, NULL, "");
	assert_buf_equal(&b, "\"\"");
	buf_release(&b);
}

/* In every room too small for all: the failure is told, whatever it met. */
static void
the_first_failure_sticks(void **state)
{
	struct json_out o;
	struct buf b;
	size_t room;

	(void)state;
	for (room = 0; room < sizeof(all) - 1; room++) {
		buf_init(&b, room);
		json_out_init(&o, &b);
		write_all(&o);
		assert_int_equal(o.error, -ENOSPC);
		assert_true(b.len <= room);
		if (b.len > 0)
			assert_memory_equal(buf_head(&b), all, b.len);
		buf_release(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_come_with_names_and_commas),
		cmocka_unit_test(a_value_may_stand_alone),
		cmocka_unit_test(the_first_failure_sticks),
	};

	return cmocka_run_group_tests_name("json_out", tests, NULL, NULL);
}
