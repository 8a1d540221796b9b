#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "proto/buf.h"
#include "proto/json_check.h"
#include "proto/jx.h"

#include "proto/banned.h"

/* The caller's; the text must be good. */
static struct json_object *
parse(const char *text)
{
	struct json_check_fault fault;
	struct json_object *o = jx_parse(text, strlen(text), &fault);

	assert_null(fault.reason);
	return o;
}

/* jx_int of {"n": text}. */
static int
int_of(const char *text, int64_t min, int64_t max, int64_t *ret)
{
	struct json_object *o;
	char line[200];
	int r;

	snprintf(line, sizeof(line), "{\"n\":%s}", text);
	o = parse(line);
	r = jx_int(o, "n", min, max, ret);
	json_object_put(o);
	return r;
}

static void
parse_tells_what_is_wrong_and_where(void **state)
{
	struct json_check_fault fault;

	(void)state;
	assert_null(jx_parse(LITERAL("{\"a\":01}"), &fault));
	assert_string_equal(fault.reason, "number with a leading zero");
	assert_int_equal(fault.offset, 6);
	assert_null(jx_parse(LITERAL("{\"a\":1,}"), &fault));
	assert_string_equal(fault.reason, "name in double quotes expected");
	assert_int_equal(fault.offset, 7);
}

/* NULL is the value of null; only the fault tells it from a failure. */
static void
null_parses_without_a_fault(void **state)
{
	struct json_check_fault fault = { .reason = "left over" };

	(void)state;
	assert_null(jx_parse(LITERAL(" null "), &fault));
	assert_null(fault.reason);
}

/* json-c sees the end of a bare number only by what comes behind it. */
static void
bare_numbers_and_words_parse(void **state)
{
	struct json_object *o;
	int64_t n;

	(void)state;
	o = parse("-12345");
	assert_int_equal(jx_int_of(o, -20000, 0, &n), 0);
	assert_int_equal(n, -12345);
	json_object_put(o);
	o = parse("12 ");
	assert_int_equal(jx_int_of(o, 0, 12, &n), 0);
	assert_int_equal(n, 12);
	json_object_put(o);
	o = parse("true");
	assert_true(json_object_is_type(o, json_type_boolean));
	json_object_put(o);
}

/* The length counts, not a NUL behind the text. */
static void
parse_reads_no_further_than_the_length(void **state)
{
	struct json_check_fault fault;
	struct json_object *o;
	int64_t n;

	(void)state;
	o = jx_parse("1234567", 3, &fault);
	assert_int_equal(jx_int_of(o, 0, INT64_MAX, &n), 0);
	assert_int_equal(n, 123);
	json_object_put(o);
}

static void
a_missing_member_is_not_a_null_one(void **state)
{
	struct json_object *o = parse("{\"a\":null,\"b\":1}"), *v;

	(void)state;
	v = o;
	assert_true(jx_get(o, "a", &v));
	assert_null(v);
	assert_true(jx_get(o, "b", &v));
	assert_non_null(v);
	assert_false(jx_get(o, "c", &v));
	assert_false(jx_get(o, "A", &v));
	json_object_put(o);
}

static void
what_is_no_object_has_no_members(void **state)
{
	static const char *const texts[] = { "[\"a\"]", "\"a\"", "1", "true" };
	struct json_object *o, *v;
	int64_t n;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(texts); i++) {
		o = parse(texts[i]);
		assert_false(jx_get(o, "a", &v));
		json_object_put(o);
	}
	assert_false(jx_get(NULL, "a", &v));
	assert_null(jx_str(NULL, "a"));
	assert_null(jx_obj(NULL, "a"));
	assert_null(jx_arr(NULL, "a"));
	assert_int_equal(jx_int(NULL, "a", 0, 9, &n), -ENOENT);
	assert_true(jx_bool(NULL, "a", true));
	assert_false(jx_bool(NULL, "a", false));
	assert_true(jx_double(NULL, "a", 0.5) == 0.5);
}

/* Each accessor takes its own type and no other. */
static void
nothing_is_coerced(void **state)
{
	static const char types[] = "{\"str\":\"1\",\"int\":1,\"num\":1.0,"
				    "\"bool\":true,\"null\":null,\"arr\":[1],"
				    "\"obj\":{\"a\":1},\"empty\":\"\"}";
	struct json_object *o = parse(types);
	int64_t n = 77;

	(void)state;
	json_object_object_foreach(o, key, value) {
		(void)value;
		assert_true(
		    (jx_str(o, key) != NULL) ==
		    (strcmp(key, "str") == 0 || strcmp(key, "empty") == 0));
		assert_true(
		    (jx_obj(o, key) != NULL) == (strcmp(key, "obj") == 0));
		assert_true(
		    (jx_arr(o, key) != NULL) == (strcmp(key, "arr") == 0));
		assert_true(
		    jx_bool(o, key, false) == (strcmp(key, "bool") == 0));
		assert_true(jx_bool(o, key, true));
		assert_int_equal(jx_int(o, key, 0, 9, &n),
		    strcmp(key, "int") == 0 ? 0 : -EINVAL);
		assert_true(
		    jx_double(o, key, -2) ==
		    (strcmp(key, "int") == 0 || strcmp(key, "num") == 0 ? 1
									: -2));
	}
	assert_int_equal(n, 1);
	assert_string_equal(jx_str(o, "str"), "1");
	assert_string_equal(jx_str(o, "empty"), "");
	json_object_put(o);
}

static void
booleans_are_what_they_say(void **state)
{
	struct json_object *o = parse("{\"t\":true,\"f\":false}");

	(void)state;
	assert_true(jx_bool(o, "t", false));
	assert_false(jx_bool(o, "f", true));
	json_object_put(o);
}

static void
a_string_with_nul_is_not_lent(void **state)
{
	struct json_object *o = parse("{\"a\":\"x\\u0000y\",\"b\":\"xy\"}");
	struct json_object *v;
	size_t n = 77;

	(void)state;
	assert_null(jx_str(o, "a"));
	assert_true(jx_get(o, "a", &v));
	assert_null(jx_text_of(v, &n));
	assert_int_equal(n, 77);
	assert_true(jx_get(o, "b", &v));
	assert_string_equal(jx_text_of(v, &n), "xy");
	assert_int_equal(n, 2);
	assert_string_equal(jx_text_of(v, NULL), "xy");
	json_object_put(o);
}

static void
bytes_may_hold_nul(void **state)
{
	struct json_object *v = parse("\"x\\u0000y\"");
	size_t n = 77;

	(void)state;
	assert_memory_equal(jx_bytes_of(v, &n), "x\0y", 4);
	assert_int_equal(n, 3);
	json_object_put(v);
	v = parse("[\"x\"]");
	assert_null(jx_bytes_of(v, &n));
	assert_null(jx_bytes_of(NULL, &n));
	assert_int_equal(n, 3);
	json_object_put(v);
}

/* The length is bytes, not characters. */
static void
lengths_are_bytes(void **state)
{
	struct json_object *v = parse("\"\\u20ac\\ud83d\\ude80\"");
	size_t n;

	(void)state;
	assert_string_equal(jx_text_of(v, &n), "\xe2\x82\xac\xf0\x9f\x9a\x80");
	assert_int_equal(n, 7);
	json_object_put(v);
}

static void
integers_are_within_their_range_or_refused(void **state)
{
	int64_t n = 77;

	(void)state;
	assert_int_equal(int_of("9", 0, 10, &n), 0);
	assert_int_equal(n, 9);
	assert_int_equal(int_of("0", 0, 10, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(int_of("10", 0, 10, &n), 0);
	assert_int_equal(n, 10);
	assert_int_equal(int_of("11", 0, 10, &n), -ERANGE);
	assert_int_equal(int_of("-1", 0, 10, &n), -ERANGE);
	assert_int_equal(int_of("4294967296", 0, 10, &n), -ERANGE);
	assert_int_equal(int_of("4294967297", 0, 10, &n), -ERANGE);
	assert_int_equal(n, 10);
	assert_int_equal(int_of("-0", 0, 10, &n), 0);
	assert_int_equal(n, 0);
}

/* json-c clamps: 2^63 reads as 2^63-1, and 2^64+5 as 2^64-1. */
static void
integers_beyond_64_bits_are_refused(void **state)
{
	static const char *const beyond[] = { "9223372036854775808",
		"9223372036854775809", "18446744073709551615",
		"18446744073709551616", "18446744073709551621",
		"100000000000000000000", "-9223372036854775808",
		"-9223372036854775809", "-18446744073709551616",
		"-100000000000000000000" };
	int64_t n = 77;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(beyond); i++)
		assert_int_equal(
		    int_of(beyond[i], INT64_MIN, INT64_MAX, &n), -ERANGE);
	assert_int_equal(n, 77);
	assert_int_equal(
	    int_of("9223372036854775807", INT64_MIN, INT64_MAX, &n), 0);
	assert_true(n == INT64_MAX);
	assert_int_equal(
	    int_of("-9223372036854775807", INT64_MIN, INT64_MAX, &n), 0);
	assert_true(n == -INT64_MAX);
}

static void
fractions_and_exponents_are_no_integers(void **state)
{
	static const char *const texts[] = { "1.0", "1e0", "1E2", "0.5", "-0.0",
		"1e400" };
	int64_t n = 77;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(texts); i++)
		assert_int_equal(
		    int_of(texts[i], INT64_MIN, INT64_MAX, &n), -EINVAL);
	assert_int_equal(n, 77);
}

static void
doubles_are_finite(void **state)
{
	struct json_object *o = parse("{\"a\":2.5,\"b\":-3,\"c\":1e400,"
				      "\"d\":-1e400,\"e\":1e-400}");

	(void)state;
	assert_true(jx_double(o, "a", 9) == 2.5);
	assert_true(jx_double(o, "b", 9) == -3);
	assert_true(jx_double(o, "c", 9) == 9);
	assert_true(jx_double(o, "d", 9) == 9);
	assert_true(jx_double(o, "e", 9) == 0);
	json_object_put(o);
}

static void
built_objects_print_compactly(void **state)
{
	struct json_object *o = json_object_new_object();
	struct buf b;

	(void)state;
	jx_add_str(o, "s", "a/b\"\n");
	jx_add_strn(o, "n", "x\0y", 3);
	jx_add_int(o, "i", INT64_MIN);
	jx_add_int(o, "j", INT64_MAX);
	jx_add_double(o, "d", 0.5);
	jx_add_double(o, "nan", (double)NAN);
	jx_add_double(o, "inf", -(double)INFINITY);
	jx_add_bool(o, "t", true);
	jx_add_bool(o, "f", false);
	jx_add_null(o, "z");
	jx_add(o, "o", json_object_new_object());
	buf_init(&b, 1000);
	assert_int_equal(jx_print(&b, o), 0);
	assert_string_equal(buf_str(&b),
	    "{\"s\":\"a/b\\\"\\n\",\"n\":\"x\\u0000y\","
	    "\"i\":-9223372036854775808,\"j\":9223372036854775807,"
	    "\"d\":0.5,\"nan\":null,\"inf\":null,\"t\":true,\"f\":false,"
	    "\"z\":null,\"o\":{}}");
	json_object_put(o);
	buf_release(&b);
}

static void
print_appends_and_respects_the_maximum(void **state)
{
	struct json_object *o = parse("{\"a\":[1,null]}");
	struct buf b;

	(void)state;
	buf_init(&b, 15);
	buf_adds(&b, ">");
	assert_int_equal(jx_print(&b, o), 0);
	assert_buf_equal(&b, ">{\"a\":[1,null]}");
	buf_clear(&b);
	buf_adds(&b, ">>");
	assert_int_equal(jx_print(&b, o), -ENOSPC);
	assert_buf_equal(&b, ">>");
	assert_int_equal(jx_print(&b, NULL), 0);
	assert_buf_equal(&b, ">>null");
	json_object_put(o);
	buf_release(&b);
}

/* Our own printing of a string is json-c's, byte for byte. */
static void
every_character_prints_as_json_c_prints_it(void **state)
{
	struct json_object *v;
	struct buf ours, theirs;
	char s[3] = "<.>";
	int c;

	(void)state;
	buf_init(&ours, 100);
	buf_init(&theirs, 100);
	for (c = 0; c < 0x80; c++) {
		s[1] = (char)c;
		v = json_object_new_string_len(s, 3);
		buf_clear(&ours);
		buf_clear(&theirs);
		assert_int_equal(jx_print(&theirs, v), 0);
		assert_int_equal(jx_print_string(&ours, s, 3), 0);
		assert_string_equal(buf_str(&ours), buf_str(&theirs));
		json_object_put(v);
	}
	buf_release(&ours);
	buf_release(&theirs);
}

static void
printed_strings_parse_to_themselves(void **state)
{
	static const char text[] = "\0\x01\b\t\n\v\f\r\x1b\x1f \"\\/\x7f"
				   "\xc3\xa9\xf0\x9f\x9a\x80\"";
	struct json_check_fault fault;
	struct json_object *v;
	struct buf b;

	(void)state;
	buf_init(&b, 200);
	assert_int_equal(jx_print_string(&b, LITERAL(text)), 0);
	v = jx_parse(buf_head(&b), b.len, &fault);
	assert_non_null(v);
	assert_int_equal(json_object_get_string_len(v), (int)sizeof(text) - 1);
	assert_memory_equal(json_object_get_string(v), text, sizeof(text) - 1);
	json_object_put(v);
	buf_release(&b);
}

static void
print_string_of_nothing_and_without_room(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 4);
	assert_int_equal(jx_print_string(&b, "", 0), 0);
	assert_buf_equal(&b, "\"\"");
	buf_clear(&b);
	assert_int_equal(jx_print_string(&b, "\n", 1), 0);
	assert_buf_equal(&b, "\"\\n\"");
	buf_clear(&b);
	assert_int_equal(jx_print_string(&b, "abc", 3), -ENOSPC);
	buf_release(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_tells_what_is_wrong_and_where),
		cmocka_unit_test(null_parses_without_a_fault),
		cmocka_unit_test(bare_numbers_and_words_parse),
		cmocka_unit_test(parse_reads_no_further_than_the_length),
		cmocka_unit_test(a_missing_member_is_not_a_null_one),
		cmocka_unit_test(what_is_no_object_has_no_members),
		cmocka_unit_test(nothing_is_coerced),
		cmocka_unit_test(booleans_are_what_they_say),
		cmocka_unit_test(a_string_with_nul_is_not_lent),
		cmocka_unit_test(bytes_may_hold_nul),
		cmocka_unit_test(lengths_are_bytes),
		cmocka_unit_test(integers_are_within_their_range_or_refused),
		cmocka_unit_test(integers_beyond_64_bits_are_refused),
		cmocka_unit_test(fractions_and_exponents_are_no_integers),
		cmocka_unit_test(doubles_are_finite),
		cmocka_unit_test(built_objects_print_compactly),
		cmocka_unit_test(print_appends_and_respects_the_maximum),
		cmocka_unit_test(every_character_prints_as_json_c_prints_it),
		cmocka_unit_test(printed_strings_parse_to_themselves),
		cmocka_unit_test(print_string_of_nothing_and_without_room),
	};

	return cmocka_run_group_tests_name("jx", tests, NULL, NULL);
}
