#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "proto/buf.h"
#include "proto/json_check.h"
#include "proto/json_plain.h"
#include "proto/json_walk.h"

#include "proto/banned.h"

/*
 * A copy of just these bytes on the heap, so that the address sanitizer sees
 * a read behind them.
 */
static char *
exact_copy(const char *text, size_t len)
{
	char *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, text, len);
	return len > 0 ? copy : copy + 1;
}

static void
free_copy(char *copy, size_t len)
{
	free(len > 0 ? copy : copy - 1);
}

/* The text of the member with that name, or NULL for none. */
static void
assert_member(const char *text, const char *name, const char *wanted)
{
	struct json_check_fault fault;
	size_t len = strlen(text), pos = 0;
	char *copy = exact_copy(text, len);
	struct json_member m = { 0 };
	bool found = false;

	assert_int_equal(json_check(copy, len, &fault), 0);
	while (!found && json_next_member(copy, len, &pos, &m))
		found = json_member_is(&m, name);
	assert_int_equal(found, wanted != NULL);
	if (found) {
		assert_int_equal(m.len, strlen(wanted));
		assert_memory_equal(m.value, wanted, m.len);
	}
	free_copy(copy, len);
}

static void
member_text_is_just_as_written(void **state)
{
	static const char *const values[] = { "1", "-0", "1.50", "1E+2", "null",
		"true", "\"\"", "\"a\"", "\"\\u0061\"", "\"\\\"\\\\\"", "[]",
		"[ 1 , [2]]", "{}", "{\"id\":{\"x\":\"}\"}}", "\"],}\"",
		"12345678901234567890123" };
	static const char *const around[][2] = {
		{ "{\"id\":", "}" },
		{ "{\"id\":", ",\"a\":0}" },
		{ "{\"a\":[\"id\",{\"id\":7}],\"id\":", "}" },
		{ " { \"x\" : \"\\\"\" ,\t\"id\" : ", "\n} " },
		{ "{\"a\":\"\\\\\",\"id\":", " ,\"b\":{}}" },
		{ "{\"i\\u0064\":", "}" },
		{ "{\"id2\":1,\"i\":2,\"\":3,\"id\":\t", "\t}" },
	};
	char text[200];
	size_t i, j;

	(void)state;
	for (i = 0; i < COUNT(around); i++) {
		for (j = 0; j < COUNT(values); j++) {
			snprintf(text, sizeof(text), "%s%s%s", around[i][0],
			    values[j], around[i][1]);
			assert_member(text, "id", values[j]);
		}
	}
}

static void
member_text_is_of_the_top_level_only(void **state)
{
	(void)state;
	assert_member("{}", "id", NULL);
	assert_member("{ }", "id", NULL);
	assert_member("{\"a\":{\"id\":1},\"b\":[{\"id\":2}]}", "id", NULL);
	assert_member("{\"a\":\"id\"}", "id", NULL);
	assert_member("{\"ID\":1,\"id \":2,\"i\":3,\"idd\":4}", "id", NULL);
	assert_member("[{\"id\":1}]", "id", NULL);
	assert_member("\"id\"", "id", NULL);
	assert_member("17", "id", NULL);
}

static void
elements_come_in_order_as_written(void **state)
{
	static const char text[] = " [ 1,\"],\\\"[\" ,[2,[3]] ,{\"a\":[4,5]},"
				   "-1.5e3\n,null,\"\" ,[ ],true ] ";
	static const char *const wanted[] = { "1", "\"],\\\"[\"", "[2,[3]]",
		"{\"a\":[4,5]}", "-1.5e3", "null", "\"\"", "[ ]", "true" };
	size_t len = sizeof(text) - 1, pos = 0, i, n;
	char *copy = exact_copy(text, len);
	const char *value;

	(void)state;
	for (i = 0; i < COUNT(wanted); i++) {
		assert_true(json_next_element(copy, len, &pos, &value, &n));
		assert_int_equal(n, strlen(wanted[i]));
		assert_memory_equal(value, wanted[i], n);
	}
	assert_false(json_next_element(copy, len, &pos, &value, &n));
	assert_false(json_next_element(copy, len, &pos, &value, &n));
	free_copy(copy, len);
}

static void
an_empty_array_has_no_elements(void **state)
{
	const char *value;
	size_t pos = 0, n;

	(void)state;
	assert_false(json_next_element(LITERAL("[]"), &pos, &value, &n));
	pos = 0;
	assert_false(json_next_element(LITERAL(" [ \n] "), &pos, &value, &n));
}

/* All members in order, as "name=value|". */
static void
assert_members(const char *text, const char *wanted)
{
	struct json_check_fault fault;
	size_t len = strlen(text), pos = 0;
	char *copy = exact_copy(text, len);
	struct json_member m;
	struct buf b;

	assert_int_equal(json_check(copy, len, &fault), 0);
	buf_init(&b, 1000);
	while (json_next_member(copy, len, &pos, &m))
		buf_addf(&b, "%.*s=%.*s|", (int)m.name_len, m.name, (int)m.len,
		    m.value);
	assert_false(json_next_member(copy, len, &pos, &m));
	assert_string_equal(buf_str(&b), wanted);
	buf_release(&b);
	free_copy(copy, len);
}

static void
members_come_in_order_as_written(void **state)
{
	(void)state;
	assert_members("{}", "");
	assert_members("{ \n }", "");
	assert_members("[1,{\"a\":2}]", "");
	assert_members("\"{\"", "");
	assert_members("{\"a\":1}", "a=1|");
	assert_members(" {\"a\" :\t1\n,\n\"\":\"\\\"}\" , \"c\\n\":[{\"d\":"
		       "{}},\"]\"],\"e\":-1e9} ",
	    "a=1|=\"\\\"}\"|c\\n=[{\"d\":{}},\"]\"]|e=-1e9|");
}

static void
names_and_contents_are_known_in_any_form(void **state)
{
	static const char text[] =
	    "{\"status\":\"running\",\"st\\u0061tus2\":\"run\\u006eing\","
	    "\"\\u00e9\":\"a\\/b\",\"n\":null,\"i\":\"\"}";
	struct json_member m;
	size_t pos = 0;

	(void)state;
	assert_true(json_next_member(LITERAL(text), &pos, &m));
	assert_true(json_member_is(&m, "status"));
	assert_false(json_member_is(&m, "statu"));
	assert_false(json_member_is(&m, "status2"));
	assert_true(json_member_equals(&m, "running"));
	assert_false(json_member_equals(&m, "runnin"));
	assert_true(json_next_member(LITERAL(text), &pos, &m));
	assert_true(json_member_is(&m, "status2"));
	assert_false(json_member_is(&m, "status"));
	assert_true(json_member_equals(&m, "running"));
	assert_false(json_member_equals(&m, "runninG"));
	assert_true(json_next_member(LITERAL(text), &pos, &m));
	assert_true(json_member_is(&m, "\xc3\xa9"));
	assert_true(json_member_equals(&m, "a/b"));
	assert_true(json_next_member(LITERAL(text), &pos, &m));
	assert_false(json_member_equals(&m, "null"));
	assert_true(json_next_member(LITERAL(text), &pos, &m));
	assert_true(json_member_equals(&m, ""));
	assert_false(json_next_member(LITERAL(text), &pos, &m));
}

static void
strings_decode_to_what_they_stand_for(void **state)
{
	static const struct {
		const char *inside, *wanted;
		size_t len;
	} cases[] = {
		{ "", LITERAL("") },
		{ "abc", LITERAL("abc") },
		{ "\\\"\\\\\\/\\b\\f\\n\\r\\t", LITERAL("\"\\/\b\f\n\r\t") },
		{ "a\\u0000b", LITERAL("a\0b") },
		{ "\\u00e9\\u20AC\xc3\xa9",
		    LITERAL("\xc3\xa9\xe2\x82\xac\xc3\xa9") },
		{ "0123456789\\uD83D\\ude80!",
		    LITERAL("0123456789\xf0\x9f\x9a\x80!") },
	};
	char out[64], *copy;
	size_t i, n;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		n = strlen(cases[i].inside);
		copy = exact_copy(cases[i].inside, n);
		assert_int_equal(json_decode(out, sizeof(out), copy, copy + n),
		    cases[i].len);
		assert_memory_equal(out, cases[i].wanted, cases[i].len);
		free_copy(copy, n);
	}
}

/* Into each room: what fits, with no character in two, and not a byte more. */
static void
a_decoded_string_is_cut_between_characters(void **state)
{
	static const char inside[] = "ab\xc3\xa9\\u20acc\\n\xf0\x9f\x9a\x80"
				     "d";
	static const size_t wanted[] = { 0, 1, 2, 2, 4, 4, 4, 7, 8, 9, 9, 9, 9,
		13, 14, 14 };
	const char *end = inside + sizeof(inside) - 1;
	char *out;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(wanted); i++) {
		out = exact_copy("                ", i);
		assert_int_equal(json_decode(out, i, inside, end), wanted[i]);
		assert_int_equal(utf8_valid_prefix(out, wanted[i]), wanted[i]);
		free_copy(out, i);
	}
}

static void
runs_end_where_they_should(void **state)
{
	char text[24];
	size_t at, n;
	int c;

	(void)state;
	for (n = 0; n <= sizeof(text); n++) {
		memset(text, 'x', sizeof(text));
		assert_int_equal(json_plain_run(text, text + n), n);
		assert_int_equal(json_bare_run(text, text + n), n);
	}
	for (at = 0; at < sizeof(text); at++) {
		for (c = 0; c < 256; c++) {
			bool escaped = c < 0x20 || c == '"' || c == '\\';

			/* What lies behind must not be taken for it. */
			memset(text, 'x', sizeof(text));
			memset(text + at, c, sizeof(text) - at);
			n = json_bare_run(text, text + sizeof(text));
			assert_int_equal(n, escaped ? at : sizeof(text));
			n = json_plain_run(text, text + sizeof(text));
			assert_int_equal(
			    n, escaped || c >= 0x80 ? at : sizeof(text));
		}
	}
}

static void
a_text_on_several_lines_comes_on_one(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 30);
	assert_int_equal(buf_adds(&b, "\n"), 0);
	assert_int_equal(
	    json_print_line(&b, LITERAL("{\n\t\"a\\n\" :\r\n[]\n}\n")), 0);
	assert_buf_equal(&b, "\n{ \t\"a\\n\" :  [] } ");
	assert_int_equal(json_print_line(&b, LITERAL("")), 0);
	assert_int_equal(
	    json_print_line(&b, LITERAL("[\"too long now\"]")), -ENOSPC);
	assert_buf_equal(&b, "\n{ \t\"a\\n\" :  [] } ");
	buf_release(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(member_text_is_just_as_written),
		cmocka_unit_test(member_text_is_of_the_top_level_only),
		cmocka_unit_test(elements_come_in_order_as_written),
		cmocka_unit_test(an_empty_array_has_no_elements),
		cmocka_unit_test(members_come_in_order_as_written),
		cmocka_unit_test(names_and_contents_are_known_in_any_form),
		cmocka_unit_test(strings_decode_to_what_they_stand_for),
		cmocka_unit_test(a_decoded_string_is_cut_between_characters),
		cmocka_unit_test(runs_end_where_they_should),
		cmocka_unit_test(a_text_on_several_lines_comes_on_one),
	};

	return cmocka_run_group_tests_name("json_walk", tests, NULL, NULL);
}
