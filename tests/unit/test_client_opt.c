#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "client/opt.h"
#include "client/wrenn.h"

#include "proto/banned.h"

struct values {
	bool flag;
	const char *text;
	struct opt_list list;
	struct opt_int count, time, memory;
};

struct globals {
	const char *output;
};

/* clang-format off */
static const struct opt table[] = {
	{ "flag",   'f', OPT_FLAG,     NULL,   "", offsetof(struct values, flag) },
	{ "text",   't', OPT_TEXT,     "TEXT", "", offsetof(struct values, text) },
	{ "list",   'l', OPT_LIST,     "ITEM", "", offsetof(struct values, list) },
	{ "count",  0,   OPT_COUNT,    "N",    "", offsetof(struct values, count) },
	{ "time",   0,   OPT_DURATION, "TIME", "", offsetof(struct values, time) },
	{ "memory", 0,   OPT_MEMORY,   "SIZE", "", offsetof(struct values, memory) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};

static const struct opt globals_table[] = {
	{ "output", 'o', OPT_TEXT, "FORMAT", "", offsetof(struct globals, output) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};
/* clang-format on */

struct parsed {
	struct values v;
	struct globals g;
	struct wrenn_error err;
	char *argv[16];
	int argc;
	int first;
};

/* Parses the words up to NULL, behind a name of the program. */
static void
parse(struct parsed *p, bool strict, const char *const *words)
{
	const struct opt_target targets[2] = { { table, &p->v },
		{ globals_table, &p->g } };

	*p = (struct parsed){ .argc = 1 };
	p->argv[0] = strdup("test");
	for (; *words != NULL; words++)
		p->argv[p->argc++] = strdup(*words);
	p->first = opt_parse(targets, strict, p->argc, p->argv, &p->err);
}

static void
release(struct parsed *p)
{
	int i;

	opt_release(table, &p->v);
	assert_null(p->v.list.items);
	wrenn_error_release(&p->err);
	for (i = 0; i < p->argc; i++)
		free(p->argv[i]);
}

#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void
test_durations(void **state)
{
	static const struct {
		const char *text;
		int64_t wanted;
	} good[] = { { "0", 0 }, { "45", 45 }, { "30s", 30 }, { "5m", 300 },
		{ "1h30m", 5400 }, { "2d", 172800 }, { "1d1s", 86401 } };
	static const char *const bad[] = { "", "s", "5x", "-5s", "+5", "5 m",
		"5m5", "5m5m", "30s1m", "1.5h", "99999999999999999s",
		"9999999999d", "0x10" };
	int64_t n;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(good); i++) {
		assert_int_equal(opt_duration(good[i].text, &n), 0);
		assert_int_equal(n, good[i].wanted);
	}
	for (i = 0; i < COUNT(bad); i++)
		assert_int_equal(opt_duration(bad[i], &n), -EINVAL);
}

static void
test_sizes(void **state)
{
	static const struct {
		const char *text;
		int64_t wanted;
	} good[] = { { "512M", 512 }, { "512m", 512 }, { "2G", 2048 },
		{ "2GB", 2048 }, { "2GiB", 2048 }, { "1T", 1048576 } };
	static const char *const bad[] = { "", "512", "G", "0M", "-1G", "1.5G",
		"1K", "1GX", "99999999999M" };
	int64_t n;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(good); i++) {
		assert_int_equal(opt_memory(good[i].text, &n), 0);
		assert_int_equal(n, good[i].wanted);
	}
	for (i = 0; i < COUNT(bad); i++)
		assert_int_equal(opt_memory(bad[i], &n), -EINVAL);
}

static void
test_counts(void **state)
{
	int64_t n;

	(void)state;
	assert_int_equal(opt_count("4", &n), 0);
	assert_int_equal(n, 4);
	assert_int_equal(opt_count("0", &n), -EINVAL);
	assert_int_equal(opt_count("4x", &n), -EINVAL);
	assert_int_equal(opt_count("", &n), -EINVAL);
}

static void
test_values_of_every_type(void **state)
{
	struct parsed p;

	(void)state;
	parse(&p, false,
	    WORDS("-f", "-tabc", "--list", "one", "-l", "two", "--count=3",
		"--time", "1m", "--memory", "1G", "-o", "json", "word"));
	assert_int_equal(p.first, p.argc - 1);
	assert_string_equal(p.argv[p.first], "word");
	assert_true(p.v.flag);
	assert_string_equal(p.v.text, "abc");
	assert_int_equal(p.v.list.count, 2);
	assert_string_equal(p.v.list.items[0], "one");
	assert_string_equal(p.v.list.items[1], "two");
	assert_true(p.v.count.set && p.v.time.set && p.v.memory.set);
	assert_int_equal(p.v.count.n, 3);
	assert_int_equal(p.v.time.n, 60);
	assert_int_equal(p.v.memory.n, 1024);
	assert_string_equal(p.g.output, "json");
	release(&p);
}

static void
test_options_behind_operands(void **state)
{
	struct parsed p;

	(void)state;
	parse(&p, false, WORDS("word", "-f"));
	assert_int_equal(p.first, 2);
	assert_true(p.v.flag);
	assert_string_equal(p.argv[p.first], "word");
	release(&p);
	/* What a command gets is left alone. */
	parse(&p, true, WORDS("-t", "x", "word", "-f", "--", "-o"));
	assert_int_equal(p.first, 3);
	assert_false(p.v.flag);
	assert_null(p.g.output);
	assert_string_equal(p.argv[p.first + 2], "--");
	release(&p);
	parse(&p, true, WORDS("--", "-f"));
	assert_string_equal(p.argv[p.first], "-f");
	assert_false(p.v.flag);
	release(&p);
}

static void
test_what_is_wrong_is_said(void **state)
{
	static const struct {
		const char *const words[3];
		const char *message;
	} cases[] = {
		{ { "--no-such" }, "there is no option --no-such" },
		{ { "-x" }, "there is no option -x" },
		{ { "-fx" }, "there is no option -x" },
		{ { "--text" }, "--text wants a value" },
		{ { "-t" }, "-t wants a value" },
		{ { "--flag=1" }, "--flag=1 takes no value" },
		{ { "--count", "no" },
		    "--count wants a whole number from 1 on, not \"no\"" },
		{ { "--time", "5x" },
		    "--time wants a time such as 30s, 5m or 1h30m, not "
		    "\"5x\"" },
		{ { "--memory", "1" },
		    "--memory wants a size such as 512M or 2G, not \"1\"" },
	};
	struct parsed p;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		parse(&p, false, cases[i].words);
		assert_int_equal(p.first, -1);
		assert_string_equal(p.err.name, "usage");
		assert_string_equal(p.err.message, cases[i].message);
		release(&p);
	}
}

/* Otherwise an error could not be printed in the format asked for. */
static void
test_the_rest_is_read_after_a_fault(void **state)
{
	struct parsed p;

	(void)state;
	parse(&p, false, WORDS("--bad", "--worse", "-o", "json"));
	assert_int_equal(p.first, -1);
	assert_string_equal(p.err.message, "there is no option --bad");
	assert_string_equal(p.g.output, "json");
	release(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_values_of_every_type),
		cmocka_unit_test(test_options_behind_operands),
		cmocka_unit_test(test_what_is_wrong_is_said),
		cmocka_unit_test(test_the_rest_is_read_after_a_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
