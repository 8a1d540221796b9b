#include <string.h>

#include "tests/unit/unit.h"

#include "proto/ident.h"

#include "proto/banned.h"

#define BODY "0123456789abcdefghijklmno"

static void
ids_have_their_prefix_and_25_characters(void **state)
{
	static const char *const bad[] = { "", "host", "host-",
		"host-" BODY "p", "host-0123456789abcdefghijklmn", "host_" BODY,
		"Host-" BODY, "host-../../../../../../../../..",
		"host-0123456789abcdefghijklm%2f",
		"host-0123456789abcdefghijklm\xc3\xa4", "key-" BODY,
		"host-0123456789ABCDEFGHIJKLMNO", " host-" BODY,
		"host-0123456789abcdefghijklm/.", "host-" BODY "\n", BODY };
	size_t i;

	(void)state;
	assert_true(ident_is_id("host-" BODY, "host"));
	assert_true(ident_is_id("cl-zzzzzzzzzzzzzzzzzzzzzzzzz", "cl"));
	for (i = 0; i < COUNT(bad); i++)
		assert_false(ident_is_id(bad[i], "host"));
}

static void
names_can_stand_in_a_path(void **state)
{
	static const char *const good[] = { "a", "7", "a.b-c_D", "a..b",
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd"
		"ef" };
	static const char *const bad[] = { "", ".", "..", "-a", "_a", ".a",
		"a/b", "a b", "a%2e", "a?", "a\n", "\xc3\xa9",
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd"
		"efg" };
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(good); i++)
		assert_true(ident_is_name(good[i]));
	for (i = 0; i < COUNT(bad); i++)
		assert_false(ident_is_name(bad[i]));
}

static void
dates_are_days_that_there_are(void **state)
{
	static const char *const good[] = { "2026-11-23", "2024-02-29",
		"2000-02-29", "2026-01-31", "2026-12-31", "0001-01-01" };
	static const char *const bad[] = { "", "2026", "2026-11", "2026-1-1",
		"2026-13-01", "2026-00-01", "2026-01-00", "2026-01-32",
		"2026-04-31", "2026-02-29", "1900-02-29", "2026/11/23",
		"2026-11-23 ", " 2026-11-23", "20261-1-23", "2026-11-2x",
		"2026-11-23T00:00:00Z", "-026-11-23" };
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(good); i++)
		assert_true(ident_is_date(good[i]));
	for (i = 0; i < COUNT(bad); i++)
		assert_false(ident_is_date(bad[i]));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_have_their_prefix_and_25_characters),
		cmocka_unit_test(names_can_stand_in_a_path),
		cmocka_unit_test(dates_are_days_that_there_are),
	};

	return cmocka_run_group_tests_name("ident", tests, NULL, NULL);
}
