#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "proto/base64.h"
#include "proto/buf.h"

#include "proto/banned.h"

static const struct {
	const char *bytes;
	size_t n;
	const char *text;
} pairs[] = {
	/* RFC 4648, section 10. */
	{ LITERAL(""), "" },
	{ LITERAL("f"), "Zg==" },
	{ LITERAL("fo"), "Zm8=" },
	{ LITERAL("foo"), "Zm9v" },
	{ LITERAL("foob"), "Zm9vYg==" },
	{ LITERAL("fooba"), "Zm9vYmE=" },
	{ LITERAL("foobar"), "Zm9vYmFy" },
	/* Bytes with the high bit, NUL, and the two last digits. */
	{ LITERAL("\0"), "AA==" },
	{ LITERAL("\0\0\0"), "AAAA" },
	{ LITERAL("\xff"), "/w==" },
	{ LITERAL("\xff\xff\xff"), "////" },
	{ LITERAL("\xfb\xef\xbe"), "++++" },
	{ LITERAL("\x80\x81\x82\x83"), "gIGCgw==" },
};

static void
known_pairs_both_ways(void **state)
{
	struct buf b;
	size_t i;

	(void)state;
	buf_init(&b, 100);
	for (i = 0; i < COUNT(pairs); i++) {
		buf_clear(&b);
		assert_int_equal(
		    base64_encode(&b, pairs[i].bytes, pairs[i].n), 0);
		assert_string_equal(buf_str(&b), pairs[i].text);
		assert_int_equal(b.len, base64_size(pairs[i].n));
		buf_clear(&b);
		assert_int_equal(
		    base64_decode(&b, pairs[i].text, strlen(pairs[i].text)), 0);
		assert_int_equal(b.len, pairs[i].n);
		assert_memory_equal(buf_str(&b), pairs[i].bytes, pairs[i].n);
	}
	buf_release(&b);
}

/* Every length up to 200 and every byte value. */
static void
what_was_encoded_decodes_to_itself(void **state)
{
	unsigned char bytes[456];
	struct buf text, back;
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 167 + i / 256);
	buf_init(&text, 1000);
	buf_init(&back, 1000);
	for (n = 0; n <= 200; n++) {
		buf_clear(&text);
		buf_clear(&back);
		assert_int_equal(base64_encode(&text, bytes + n, n), 0);
		assert_int_equal(text.len % 4, 0);
		assert_int_equal(
		    base64_decode(&back, buf_head(&text), text.len), 0);
		assert_int_equal(back.len, n);
		assert_memory_equal(buf_str(&back), bytes + n, n);
	}
	buf_release(&text);
	buf_release(&back);
}

static void
adds_behind_what_is_there(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	assert_int_equal(buf_adds(&b, "data:"), 0);
	assert_int_equal(base64_encode(&b, "foo", 3), 0);
	assert_int_equal(base64_decode(&b, "YmFy", 4), 0);
	assert_buf_equal(&b, "data:Zm9vbar");
	buf_release(&b);
}

/* Nothing but the one canonical form, and out is left as it was. */
static void
everything_else_is_refused(void **state)
{
	static const struct {
		const char *text;
		size_t n;
	} bad[] = {
		{ LITERAL("Z") }, { LITERAL("Zg") }, { LITERAL("Zg=") },
		{ LITERAL("Zm9vY") }, { LITERAL("Zm9vYg=") }, { LITERAL("=") },
		{ LITERAL("====") }, { LITERAL("Z===") },
		{ LITERAL("Zg=g") }, /* a digit behind the padding */
		{ LITERAL("Z=g=") }, /* padding too early */
		{ LITERAL("=Zg=") },
		{ LITERAL("Zg==Zg==") }, /* two texts in a row */
		{ LITERAL("Zg==\n") }, { LITERAL("Zg=\n") },
		{ LITERAL("Zm9\n") }, { LITERAL("Zm 9") }, { LITERAL(" Zm9") },
		{ LITERAL("Zm9v\r\n\r\n") },
		{ LITERAL("Zm9-") }, /* the digits of the URL alphabet */
		{ LITERAL("Zm9_") }, { LITERAL("Zm9\0") },
		{ LITERAL("\0\0\0\0") }, { LITERAL("Zm9\xc3") },
		{ LITERAL("\xff\xff\xff\xff") },
		{ LITERAL("Zh==") }, /* dropped bits that are not zero */
		{ LITERAL("Zv==") }, { LITERAL("Zm9=") },
		{ LITERAL("Zm//Zm9=") },
		{ LITERAL("Zm9v*m9v") }, /* a fault before the end */
	};
	struct buf b;
	size_t i;

	(void)state;
	buf_init(&b, 100);
	assert_int_equal(buf_adds(&b, "kept"), 0);
	for (i = 0; i < COUNT(bad); i++) {
		assert_int_equal(
		    base64_decode(&b, bad[i].text, bad[i].n), -EINVAL);
		assert_buf_equal(&b, "kept");
	}
	buf_release(&b);
}

/* Each of the 256 characters in each of the 4 places. */
static void
the_alphabet_has_64_digits(void **state)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";
	struct buf b;
	char text[4];
	int c, place;
	bool digit;

	(void)state;
	buf_init(&b, 100);
	for (c = 0; c < 256; c++) {
		digit = c != 0 && strchr(digits, c) != NULL;
		for (place = 0; place < 4; place++) {
			memset(text, 'A', sizeof(text));
			text[place] = (char)c;
			buf_clear(&b);
			if (digit || (c == '=' && place == 3))
				assert_int_equal(base64_decode(&b, text, 4), 0);
			else
				assert_int_equal(
				    base64_decode(&b, text, 4), -EINVAL);
		}
	}
	buf_release(&b);
}

static void
fills_a_buffer_of_just_its_size(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 8);
	assert_int_equal(base64_encode(&b, "foobarx", 7), -ENOSPC);
	assert_int_equal(b.len, 0);
	assert_int_equal(base64_encode(&b, "fooba", 5), 0);
	assert_buf_equal(&b, "Zm9vYmE=");
	buf_release(&b);

	buf_init(&b, 4);
	assert_int_equal(base64_decode(&b, "Zm9vYmE=", 8), -ENOSPC);
	assert_int_equal(b.len, 0);
	assert_int_equal(base64_decode(&b, "Zm9vYg==", 8), 0);
	assert_buf_equal(&b, "foob");
	buf_release(&b);

	buf_init(&b, 5);
	assert_int_equal(base64_decode(&b, "Zm9vYmFy", 8), -ENOSPC);
	assert_int_equal(base64_decode(&b, "Zm9vYmE=", 8), 0);
	assert_buf_equal(&b, "fooba");
	buf_release(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_pairs_both_ways),
		cmocka_unit_test(what_was_encoded_decodes_to_itself),
		cmocka_unit_test(adds_behind_what_is_there),
		cmocka_unit_test(everything_else_is_refused),
		cmocka_unit_test(the_alphabet_has_64_digits),
		cmocka_unit_test(fills_a_buffer_of_just_its_size),
	};

	return cmocka_run_group_tests_name("base64", tests, NULL, NULL);
}
