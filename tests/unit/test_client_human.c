#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/unit/unit.h"

#include "client/human.h"

#include "proto/banned.h"

static void
test_bytes(void **state)
{
	struct human h;

	(void)state;
	assert_string_equal(human_bytes(&h, 0), "0 B");
	assert_string_equal(human_bytes(&h, 1023), "1023 B");
	assert_string_equal(human_bytes(&h, 1024), "1.0 KiB");
	assert_string_equal(human_bytes(&h, 1536), "1.5 KiB");
	assert_string_equal(human_bytes(&h, 1024 * 1024 - 1), "1.0 MiB");
	assert_string_equal(human_bytes(&h, 50000000), "47.7 MiB");
	assert_string_equal(human_bytes(&h, UINT64_MAX), "16.0 EiB");
}

static void
test_memory(void **state)
{
	struct human h;

	(void)state;
	assert_string_equal(human_mib(&h, 0), "0M");
	assert_string_equal(human_mib(&h, 512), "512M");
	assert_string_equal(human_mib(&h, 1536), "1536M");
	assert_string_equal(human_mib(&h, 2048), "2G");
}

static void
test_seconds(void **state)
{
	struct human h;

	(void)state;
	assert_string_equal(human_seconds(&h, 0), "0s");
	assert_string_equal(human_seconds(&h, 300), "5m");
	assert_string_equal(human_seconds(&h, 331), "5m31s");
	assert_string_equal(human_seconds(&h, 3600), "1h");
	assert_string_equal(human_seconds(&h, 86400 + 3600 + 61), "1d1h1m1s");
	assert_string_equal(
	    human_seconds(&h, INT64_MAX), "106751991167300d15h30m7s");
}

static void
test_age(void **state)
{
	struct human h;

	(void)state;
	assert_string_equal(human_age(&h, -5), "0s");
	assert_string_equal(human_age(&h, 119), "119s");
	assert_string_equal(human_age(&h, 120), "2m");
	assert_string_equal(human_age(&h, 7199), "119m");
	assert_string_equal(human_age(&h, 7200), "2h");
	assert_string_equal(human_age(&h, 12 * 86400), "12d");
}

static void
test_times_are_read(void **state)
{
	static const struct {
		const char *text;
		time_t wanted;
	} cases[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "2026-05-09T07:29:33Z", 1778311773 },
		{ "2026-05-09t07:29:33.123456z", 1778311773 },
		{ "2026-05-09T09:29:33+02:00", 1778311773 },
		{ "2026-05-09T01:59:33.5-05:30", 1778311773 },
	};
	time_t t;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		assert_int_equal(human_parse_time(cases[i].text, &t), 0);
		assert_int_equal(t, cases[i].wanted);
	}
}

static void
test_other_texts_are_no_times(void **state)
{
	static const char *const texts[] = { "", "yesterday", "2026-05-09",
		"2026-05-09T07:29:33", "2026-05-09T07:29Z",
		"2026-05-09T07:29:33+0200", "2026-05-09T07:29:33Zx",
		"2026-05-09T07:29:33+02:00x", "2026-05-09 07:29:33Z" };
	time_t t;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(texts); i++)
		assert_int_not_equal(human_parse_time(texts[i], &t), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_seconds),
		cmocka_unit_test(test_age),
		cmocka_unit_test(test_times_are_read),
		cmocka_unit_test(test_other_texts_are_no_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
