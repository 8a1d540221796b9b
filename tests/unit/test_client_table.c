#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#include "client/out.h"
#include "client/table.h"

#include "proto/banned.h"

static const struct column columns[] = {
	{ "ID", false },
	{ "SIZE", true },
	{ "LABELS", false },
};

/* The table as it is printed on a terminal of that width. */
static void
assert_printed(const struct table *t, size_t max_width, const char *wanted)
{
	struct out out = { .json = false };
	char text[2000];
	int saved = dup(STDOUT_FILENO);
	FILE *f = tmpfile();
	size_t n;

	assert_non_null(f);
	fflush(stdout);
	dup2(fileno(f), STDOUT_FILENO);
	table_print(t, &out, max_width);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	rewind(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	assert_int_equal(out.write_errno, 0);
	assert_string_equal(text, wanted);
}

static void
fill(struct table *t)
{
	static const char *const cells[] = { "cl-1", "9", "a=b", "cl-22",
		"1024", "-" };
	size_t i;

	table_init(t, columns, COUNT(columns));
	for (i = 0; i < COUNT(cells); i++)
		table_add(t, cells[i]);
}

static void
test_columns_are_aligned(void **state)
{
	struct table t;

	(void)state;
	fill(&t);
	assert_printed(&t, 0,
	    "ID     SIZE  LABELS\n"
	    "cl-1      9  a=b\n"
	    "cl-22  1024  -\n");
	table_release(&t);
}

static void
test_header_without_rows(void **state)
{
	struct table t;

	(void)state;
	table_init(&t, columns, COUNT(columns));
	assert_printed(&t, 0, "ID  SIZE  LABELS\n");
	table_release(&t);
}

static void
test_narrow_terminals_drop_columns(void **state)
{
	struct table t;

	(void)state;
	fill(&t);
	assert_printed(&t, 19,
	    "ID     SIZE  LABELS\n"
	    "cl-1      9  a=b\n"
	    "cl-22  1024  -\n");
	assert_printed(&t, 18,
	    "ID     SIZE\n"
	    "cl-1      9\n"
	    "cl-22  1024\n");
	assert_printed(&t, 10,
	    "ID\n"
	    "cl-1\n"
	    "cl-22\n");
	/* An ID is never cut. */
	assert_printed(&t, 2,
	    "ID\n"
	    "cl-1\n"
	    "cl-22\n");
	table_release(&t);
}

static void
test_cells_are_escaped(void **state)
{
	struct table t;

	(void)state;
	table_init(&t, columns, COUNT(columns));
	table_add(&t, "a\033[2J\nb");
	table_add(&t, "");
	table_add(&t, "x");
	assert_printed(&t, 0,
	    "ID           SIZE  LABELS\n"
	    "a\\x1b[2J\\nb        x\n");
	table_release(&t);
}

static void
test_width_of_other_scripts(void **state)
{
	(void)state;
	assert_int_equal(table_text_width(""), 0);
	assert_int_equal(table_text_width("plain"), 5);
	assert_int_equal(table_text_width("h\xc3\xb6\xc3\x9f"), 3);
	/* Wide characters, and a combining one. */
	assert_int_equal(table_text_width("\xe4\xb8\xad\xe6\x96\x87"), 4);
	assert_int_equal(table_text_width("e\xcc\x81"), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_columns_are_aligned),
		cmocka_unit_test(test_header_without_rows),
		cmocka_unit_test(test_narrow_terminals_drop_columns),
		cmocka_unit_test(test_cells_are_escaped),
		cmocka_unit_test(test_width_of_other_scripts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
