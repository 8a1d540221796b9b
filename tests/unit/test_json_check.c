#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "proto/buf.h"
#include "proto/json_check.h"
#include "proto/jx.h"
#include "proto/limits.h"
#include "proto/rpc_msg.h"

#include "proto/banned.h"

struct json_case {
	const char *name;
	const char *text;
	size_t len;
	const char *value; /* NULL: must be rejected */
	size_t fault;      /* where, when rejected */
};

#define ACCEPT(name, text, value)      { name, LITERAL(text), value, 0 },
#define REJECT(name, fault, text)      { name, LITERAL(text), NULL, fault },
#define FREE_ACCEPT(name, text, value) ACCEPT(name, text, value)
#define FREE_REJECT(name, fault, text) REJECT(name, fault, text)
static const struct json_case cases[] = {
#include "tests/unit/json_cases.def"
};

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

static bool
accepts(const char *text, size_t len)
{
	char *copy = exact_copy(text, len);
	struct json_check_fault fault;
	int r = json_check(copy, len, &fault);

	free_copy(copy, len);
	assert_true(r == 0 || r == -EINVAL);
	assert_true((r == 0) == (fault.reason == NULL));
	assert_true(fault.offset <= len);
	return r == 0;
}

static void
the_grammar_draws_the_line_where_it_should(void **state)
{
	struct json_check_fault fault;
	const struct json_case *c;
	int bad = 0;
	bool ok;

	(void)state;
	for (c = cases; c < cases + COUNT(cases); c++) {
		ok = accepts(c->text, c->len);
		if (ok != (c->value != NULL)) {
			print_error(
			    "%s: %s\n", c->name, ok ? "accepted" : "rejected");
			bad++;
		}
		json_check(c->text, c->len, &fault);
		if (!ok && fault.offset != c->fault) {
			print_error("%s: fault at %zu, not %zu\n", c->name,
			    fault.offset, c->fault);
			bad++;
		}
	}
	assert_int_equal(bad, 0);
}

static void
accepted_texts_have_their_value(void **state)
{
	struct json_check_fault fault;
	const struct json_case *c;
	struct json_object *o;
	struct buf b;
	int bad = 0;

	(void)state;
	buf_init(&b, 1000);
	for (c = cases; c < cases + COUNT(cases); c++) {
		o = jx_parse(c->text, c->len, &fault);
		buf_clear(&b);
		assert_int_equal(jx_print(&b, o), 0);
		if (c->value == NULL ? o != NULL || fault.reason == NULL
				     : strcmp(buf_str(&b), c->value) != 0) {
			print_error("%s: %s\n", c->name, buf_str(&b));
			bad++;
		}
		json_object_put(o);
	}
	buf_release(&b);
	assert_int_equal(bad, 0);
}

/* Whether the line, with the text as params, came out as it should. */
static bool
params_case_ok(const struct json_case *c, const struct rpc_line *line)
{
	struct buf b;
	bool same;

	if (c->value == NULL)
		return line->count == 0 && line->fault.kind == RPC_PARSE;
	if (line->count != 1 || line->fault.kind != RPC_OK)
		return false;
	if (c->value[0] != '{' && c->value[0] != '[')
		return line->msgs[0].kind == RPC_KIND_BAD &&
		       strcmp(line->msgs[0].id, "1") == 0;
	if (line->msgs[0].kind != RPC_KIND_REQUEST)
		return false;
	buf_init(&b, 1000);
	assert_int_equal(jx_print(&b, line->msgs[0].params), 0);
	same = strcmp(buf_str(&b), c->value) == 0;
	buf_release(&b);
	return same;
}

static void
the_same_holds_for_params_of_a_request(void **state)
{
	const struct json_case *c;
	struct rpc_line line;
	struct buf b;
	char *copy;
	int bad = 0;

	(void)state;
	buf_init(&b, 1000);
	for (c = cases; c < cases + COUNT(cases); c++) {
		buf_clear(&b);
		buf_adds(&b, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\","
			     "\"params\":");
		buf_add(&b, c->text, c->len);
		buf_adds(&b, "}");
		copy = exact_copy(buf_head(&b), b.len);
		rpc_line_parse(&line, copy, b.len);
		free_copy(copy, b.len);
		if (!params_case_ok(c, &line)) {
			print_error("%s: as params\n", c->name);
			bad++;
		}
		rpc_line_release(&line);
	}
	buf_release(&b);
	assert_int_equal(bad, 0);
}

/* What is cut short is never taken for the whole, nor read past its end. */
static void
no_prefix_of_an_object_is_accepted(void **state)
{
	static const char text[] =
	    "{\"a\":[1.5e+3,-0,true,false,null],\"\\ud83d\\ude80\":"
	    "{\"\xf0\x9f\x9a\x80!\":\"\\\"\\\\\\u00e9\xc3\xa9\"},\"b\":\"\"}";
	size_t n;

	(void)state;
	for (n = 0; n < sizeof(text) - 1; n++)
		assert_false(accepts(text, n));
	assert_true(accepts(text, sizeof(text) - 1));
}

static bool
accepts_nested(const char *open, const char *close, int levels)
{
	struct buf b;
	bool ok;
	int i;

	buf_init(&b, 10000);
	for (i = 0; i < levels; i++)
		buf_adds(&b, open);
	buf_adds(&b, "0");
	for (i = 0; i < levels; i++)
		buf_adds(&b, close);
	ok = accepts(buf_head(&b), b.len);
	buf_release(&b);
	return ok;
}

static void
nesting_ends_at_the_limit(void **state)
{
	(void)state;
	assert_true(accepts_nested("[", "]", LIMIT_JSON_DEPTH));
	assert_false(accepts_nested("[", "]", LIMIT_JSON_DEPTH + 1));
	assert_true(accepts_nested("{\"a\":", "}", LIMIT_JSON_DEPTH));
	assert_false(accepts_nested("{\"a\":", "}", LIMIT_JSON_DEPTH + 1));
	assert_true(accepts_nested("[{\"a\":", "}]", LIMIT_JSON_DEPTH / 2));
	assert_false(
	    accepts_nested("[{\"a\":", "}]", LIMIT_JSON_DEPTH / 2 + 1));
	assert_false(accepts_nested("[", "]", 4000));
}

/* Many side by side are not deep. */
static void
nesting_is_not_counted_side_by_side(void **state)
{
	struct buf b;
	int i;

	(void)state;
	buf_init(&b, 10000);
	buf_adds(&b, "[[]");
	for (i = 0; i < 1000; i++)
		buf_adds(&b, ",[{}]");
	buf_adds(&b, "]");
	assert_true(accepts(buf_head(&b), b.len));
	buf_release(&b);
}

/* json-c takes as deep a text as the check does. */
static void
the_deepest_text_parses(void **state)
{
	struct json_check_fault fault;
	struct json_object *o;
	struct buf b;
	int i;

	(void)state;
	buf_init(&b, 1000);
	for (i = 0; i < LIMIT_JSON_DEPTH; i++)
		buf_adds(&b, i % 2 ? "[" : "{\"a\":");
	buf_adds(&b, "\"in\"");
	for (i = LIMIT_JSON_DEPTH - 1; i >= 0; i--)
		buf_adds(&b, i % 2 ? "]" : "}");
	o = jx_parse(buf_head(&b), b.len, &fault);
	assert_non_null(o);
	assert_null(fault.reason);
	json_object_put(o);
	buf_release(&b);
}

/* So many values in all, the array or object around them counted. */
static bool
accepts_values(int values, bool members, size_t len)
{
	struct buf b;
	bool ok;
	int i;

	buf_init(&b, 4 << 20);
	buf_adds(&b, members ? "{" : "[");
	for (i = 1; i < values; i++) {
		buf_adds(&b, i == 1 ? "" : ",");
		if (members)
			buf_addf(&b, "\"%d\":", i);
		buf_adds(&b, "0");
	}
	while (b.len + 1 < len)
		buf_adds(&b, " ");
	buf_adds(&b, members ? "}" : "]");
	ok = accepts(buf_head(&b), b.len);
	buf_release(&b);
	return ok;
}

static void
values_end_at_the_limit(void **state)
{
	(void)state;
	assert_true(accepts_values(LIMIT_JSON_VALUES, false, 0));
	assert_false(accepts_values(LIMIT_JSON_VALUES + 1, false, 0));
	assert_true(accepts_values(LIMIT_JSON_VALUES, true, 0));
	assert_false(accepts_values(LIMIT_JSON_VALUES + 1, true, 0));
	assert_true(
	    accepts_values(LIMIT_JSON_VALUES, false, LIMIT_REQUEST_LINE));
	assert_false(
	    accepts_values(LIMIT_JSON_VALUES + 1, false, LIMIT_REQUEST_LINE));
}

/* One value in 16 bytes, where that is more: lists from upstream are long. */
static void
long_texts_may_hold_more_values(void **state)
{
	const int values = LIMIT_JSON_VALUES + 1000;

	(void)state;
	assert_true(accepts_values(values, false, 16 * (size_t)values));
	assert_true(accepts_values(values, false, 16 * (size_t)values + 15));
	assert_false(accepts_values(values + 1, false, 16 * (size_t)values));
	assert_false(
	    accepts_values(values + 1, false, 16 * (size_t)values + 15));
}

/* n names that differ, then the one of that number again unless it is n. */
static bool
accepts_names(int n, int again)
{
	struct buf b;
	bool ok;
	int i;

	buf_init(&b, 1 << 20);
	buf_adds(&b, "{");
	for (i = 0; i < n; i++)
		buf_addf(&b, "\"name %d\":{\"x\":1,\"y\":2},", i);
	buf_addf(&b, "\"n\\u0061me %d\":0}", again);
	ok = accepts(buf_head(&b), b.len);
	buf_release(&b);
	return ok;
}

static void
a_duplicate_is_found_among_many_names(void **state)
{
	(void)state;
	assert_true(accepts_names(1000, 1000));
	assert_false(accepts_names(1000, 0));
	assert_false(accepts_names(1000, 500));
	assert_false(accepts_names(1000, 999));
}

/* The later of the two is the one reported, whatever lies between. */
static void
the_fault_of_a_duplicate_is_the_second(void **state)
{
	static const char text[] = "{\"b\":1,\"a\":{\"b\":2},\"b\":3,\"c\":4}";
	struct json_check_fault fault;

	(void)state;
	assert_int_equal(json_check(LITERAL(text), &fault), -EINVAL);
	assert_string_equal(fault.reason, "duplicate name in an object");
	assert_memory_equal(text + fault.offset, "b\":3", 4);
}

/*
 * Few names are compared each with each, many are sorted: among as many as
 * there may be, names with the same beginning, in other words, are told apart
 * and found again.
 */
static void
names_with_one_beginning_are_told_apart(void **state)
{
	struct buf b;
	int n, i;

	(void)state;
	buf_init(&b, 10000);
	for (n = 1; n < 70; n++) {
		buf_clear(&b);
		buf_adds(&b, "{");
		for (i = 0; i < n; i++)
			buf_addf(&b, "\"b\u00e9ginning%d\":0,", i);
		buf_adds(&b, "\"b\\u00e9ginning\":0}");
		assert_true(accepts(buf_head(&b), b.len));
		b.len -= strlen("\":0}");
		buf_addf(&b, "%d\":0}", n / 2);
		assert_false(accepts(buf_head(&b), b.len));
	}
	buf_release(&b);
}

/* With more open names than there is room for on the stack. */
static void
names_of_open_objects_are_all_kept(void **state)
{
	struct buf b;
	int depth, i;

	(void)state;
	buf_init(&b, 10000);
	for (depth = 0; depth < 20; depth++) {
		for (i = 0; i < 9; i++)
			buf_addf(&b, "%c\"n%d\":0", i ? ',' : '{', i);
		buf_adds(&b, ",\"in\":");
	}
	buf_adds(&b, "0");
	for (depth = 0; depth < 19; depth++)
		buf_adds(&b, "}");
	i = (int)b.len;
	buf_adds(&b, ",\"n9\":0}");
	assert_true(accepts(buf_head(&b), b.len));
	b.len = (size_t)i;
	buf_adds(&b, ",\"n8\":0}");
	assert_false(accepts(buf_head(&b), b.len));
	buf_release(&b);
}

/* Each byte at each place among plain ones, also in whole words of them. */
static void
strings_are_looked_at_byte_by_byte(void **state)
{
	char text[32];
	size_t at;
	int c;

	(void)state;
	for (at = 1; at < sizeof(text) - 1; at++) {
		for (c = 0; c < 256; c++) {
			memset(text, 'a', sizeof(text));
			text[0] = text[sizeof(text) - 1] = '"';
			text[at] = (char)c;
			assert_int_equal(accepts(text, sizeof(text)),
			    c >= 0x20 && c < 0x80 && c != '"' && c != '\\');
		}
	}
}

static void
a_name_with_nul_is_told_of(void **state)
{
	struct json_check_fault fault;

	(void)state;
	assert_int_equal(json_check(LITERAL("[{\"a\\u0000b\":1}]"), &fault), 0);
	assert_true(fault.nul_name);
	assert_int_equal(
	    json_check(LITERAL("{\"a\":\"\\u0000\",\"b\\\\u0000\":1}"), &fault),
	    0);
	assert_false(fault.nul_name);
	assert_int_equal(
	    json_check(LITERAL("{\"a\\u0000b\":1,\"a\\u0000c\":1}"), &fault),
	    0);
	assert_true(fault.nul_name);
}

/* The bytes that the form of UTF-8 with `len` bytes gives a number. */
static void
utf8_form(unsigned char *out, uint32_t v, int len)
{
	static const unsigned char lead[] = { 0, 0x00, 0xC0, 0xE0, 0xF0 };
	int i;

	for (i = len - 1; i > 0; i--, v >>= 6)
		out[i] = (unsigned char)(0x80 | (v & 0x3F));
	out[0] = (unsigned char)(lead[len] | v);
}

/*
 * All numbers of up to 21 bits in all forms that can hold them: valid is the
 * shortest form of what is a character, alone.
 */
static void
utf8_is_exactly_that_of_rfc_3629(void **state)
{
	static const uint32_t limits[] = { 0, 0x80, 0x800, 0x10000, 0x200000 };
	unsigned char s[4];
	size_t prefix;
	uint32_t v;
	bool valid;
	int len;

	(void)state;
	for (len = 1; len <= 4; len++) {
		for (v = 0; v < limits[len]; v++) {
			valid = v >= limits[len - 1] && v <= 0x10FFFF &&
				(v < 0xD800 || v > 0xDFFF);
			utf8_form(s, v, len);
			prefix = utf8_valid_prefix((char *)s, (size_t)len);
			if (prefix != (valid ? (size_t)len : 0))
				fail_msg("U+%04X in %d bytes", v, len);
		}
	}
}

static void
utf8_prefix_ends_at_the_first_fault(void **state)
{
	(void)state;
	assert_int_equal(utf8_valid_prefix("", 0), 0);
	assert_int_equal(utf8_valid_prefix(LITERAL("a\0b")), 3);
	assert_int_equal(utf8_valid_prefix(LITERAL("ab\x80"
						   "cd")),
	    2);
	assert_int_equal(utf8_valid_prefix(LITERAL("\xc3\xa9\xc3")), 2);
	assert_int_equal(utf8_valid_prefix(LITERAL("x\xe2\x82")), 1);
	assert_int_equal(utf8_valid_prefix(LITERAL("x\xe2\x82\xac")), 4);
	assert_int_equal(utf8_valid_prefix(LITERAL("\xf0\x9f\x9a")), 0);
	assert_int_equal(utf8_valid_prefix(LITERAL("\xf0\x9f\x9a\x80")), 4);
	assert_int_equal(utf8_valid_prefix(LITERAL("\xe2(\xac")), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_grammar_draws_the_line_where_it_should),
		cmocka_unit_test(accepted_texts_have_their_value),
		cmocka_unit_test(the_same_holds_for_params_of_a_request),
		cmocka_unit_test(no_prefix_of_an_object_is_accepted),
		cmocka_unit_test(nesting_ends_at_the_limit),
		cmocka_unit_test(nesting_is_not_counted_side_by_side),
		cmocka_unit_test(the_deepest_text_parses),
		cmocka_unit_test(values_end_at_the_limit),
		cmocka_unit_test(long_texts_may_hold_more_values),
		cmocka_unit_test(a_duplicate_is_found_among_many_names),
		cmocka_unit_test(the_fault_of_a_duplicate_is_the_second),
		cmocka_unit_test(names_with_one_beginning_are_told_apart),
		cmocka_unit_test(names_of_open_objects_are_all_kept),
		cmocka_unit_test(strings_are_looked_at_byte_by_byte),
		cmocka_unit_test(a_name_with_nul_is_told_of),
		cmocka_unit_test(utf8_is_exactly_that_of_rfc_3629),
		cmocka_unit_test(utf8_prefix_ends_at_the_first_fault),
	};

	return cmocka_run_group_tests_name("json_check", tests, NULL, NULL);
}
