#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "client/place.h"

#include "proto/banned.h"

static void
test_kinds(void **state)
{
	static const struct {
		const char *word;
		enum place_kind kind;
		const char *capsule, *path;
	} cases[] = {
		{ "-", PLACE_STDIO, NULL, "-" },
		{ "file", PLACE_LOCAL, NULL, "file" },
		{ "/a:b", PLACE_LOCAL, NULL, "/a:b" },
		{ "./a:b", PLACE_LOCAL, NULL, "./a:b" },
		{ ".a:b", PLACE_LOCAL, NULL, ".a:b" },
		{ "dir/a:b", PLACE_LOCAL, NULL, "dir/a:b" },
		{ ":b", PLACE_LOCAL, NULL, ":b" },
		{ "cl-1:/etc/a:b", PLACE_REMOTE, "cl-1", "/etc/a:b" },
		{ "build:", PLACE_REMOTE, "build", "" },
		{ "build:-", PLACE_REMOTE, "build", "-" },
	};
	struct place p;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		place_init(&p, cases[i].word);
		assert_int_equal(p.kind, cases[i].kind);
		assert_string_equal(p.path, cases[i].path);
		if (cases[i].capsule == NULL)
			assert_null(p.capsule);
		else
			assert_string_equal(p.capsule, cases[i].capsule);
		place_release(&p);
	}
}

static void
test_base_names(void **state)
{
	static const char *const cases[][2] = { { "a", "a" }, { "/a/b", "b" },
		{ "/a/b//", "b" }, { "/", NULL }, { "c:/", NULL },
		{ "..", NULL }, { "/a/.", NULL }, { "c:/x/..", NULL },
		{ "c:/x/...", "..." }, { "c:x", "x" } };
	struct place p;
	char *name;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		place_init(&p, cases[i][0]);
		name = place_base_name(&p);
		if (cases[i][1] == NULL)
			assert_null(name);
		else
			assert_string_equal(name, cases[i][1]);
		free(name);
		place_release(&p);
	}
}

static void
test_append(void **state)
{
	struct place p;

	(void)state;
	place_init(&p, "c:/dir");
	assert_false(place_ends_in_slash(&p));
	place_append(&p, "file");
	assert_string_equal(p.path, "/dir/file");
	place_release(&p);
	place_init(&p, "c:/dir/");
	assert_true(place_ends_in_slash(&p));
	place_append(&p, "file");
	assert_string_equal(p.path, "/dir/file");
	place_release(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_base_names),
		cmocka_unit_test(test_append),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
