#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "client/wrenn_escape.h"

#include "proto/banned.h"

/* What a text becomes. */
static void
assert_escaped(const char *text, size_t n, const char *wanted)
{
	struct buf out;

	buf_init(&out, 1000);
	assert_int_equal(wrenn_escape(&out, text, n), 0);
	assert_string_equal(buf_str(&out), wanted);
	buf_release(&out);
}

static void
test_plain_text_stays(void **state)
{
	(void)state;
	assert_escaped(LITERAL("cl-1 build \\ \"x\""), "cl-1 build \\ \"x\"");
	assert_escaped(LITERAL("h\xc3\xb6\xc3\x9f \xe4\xb8\xad "
			       "\xf0\x9f\x90\xa6"),
	    "h\xc3\xb6\xc3\x9f \xe4\xb8\xad \xf0\x9f\x90\xa6");
	assert_escaped("", 0, "");
}

static void
test_control_characters(void **state)
{
	(void)state;
	assert_escaped(LITERAL("a\nb\rc\td"), "a\\nb\\rc\\td");
	assert_escaped(LITERAL("\033[31mred\007"), "\\x1b[31mred\\x07");
	assert_escaped(LITERAL("\0\177"), "\\x00\\x7f");
	/* The first and the last that need no escape, and their neighbours. */
	assert_escaped(LITERAL("\037 ~\177"), "\\x1f ~\\x7f");
	/* CSI as one C1 character. */
	assert_escaped(LITERAL("\xc2\x9b"
			       "2J"),
	    "\\u{9b}2J");
}

static void
test_reordering_and_hidden_text(void **state)
{
	(void)state;
	assert_escaped(LITERAL("a\xe2\x80\xae"
			       "b"),
	    "a\\u{202e}b");
	assert_escaped(
	    LITERAL("\xe2\x81\xa6\xe2\x81\xa9"), "\\u{2066}\\u{2069}");
	assert_escaped(
	    LITERAL("\xe2\x80\x8b\xef\xbb\xbf"), "\\u{200b}\\u{feff}");
	assert_escaped(LITERAL("\xd8\x9c\xe2\x80\xa8"), "\\u{61c}\\u{2028}");
	assert_escaped(LITERAL("\xf3\xa0\x80\x81"), "\\u{e0001}");
}

static void
test_bytes_that_are_no_utf8(void **state)
{
	(void)state;
	assert_escaped(LITERAL("a\xff"
			       "b\xc3"),
	    "a\\xffb\\xc3");
	/* An overlong slash and a surrogate. */
	assert_escaped(LITERAL("\xc0\xaf"), "\\xc0\\xaf");
	assert_escaped(LITERAL("\xed\xa0\x80"), "\\xed\\xa0\\x80");
}

static void
test_full_buffer_is_refused(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 3);
	assert_true(wrenn_escape(&out, LITERAL("\n\n")) < 0);
	buf_release(&out);
}

static void
test_characters(void **state)
{
	uint32_t c;

	(void)state;
	assert_int_equal(wrenn_utf8_char(LITERAL("A"), &c), 1);
	assert_int_equal(c, 'A');
	assert_int_equal(wrenn_utf8_char(LITERAL("\xc3\xb6x"), &c), 2);
	assert_int_equal(c, 0xf6);
	assert_int_equal(wrenn_utf8_char(LITERAL("\xe4\xb8\xad"), &c), 3);
	assert_int_equal(c, 0x4e2d);
	assert_int_equal(wrenn_utf8_char(LITERAL("\xf0\x9f\x90\xa6"), &c), 4);
	assert_int_equal(c, 0x1f426);
	assert_int_equal(wrenn_utf8_char(LITERAL("\xe4\xb8"), &c), 0);
	assert_int_equal(wrenn_utf8_char(LITERAL("\xb8"), &c), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain_text_stays),
		cmocka_unit_test(test_control_characters),
		cmocka_unit_test(test_reordering_and_hidden_text),
		cmocka_unit_test(test_bytes_that_are_no_utf8),
		cmocka_unit_test(test_full_buffer_is_refused),
		cmocka_unit_test(test_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
