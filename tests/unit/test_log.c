#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#include "daemon/log.h"

#include "proto/banned.h"

#define KEY   "wrn_0123456789abcdef"
#define STARS "wrn_****************"

static void
check_redacted(const char *text, const char *expected)
{
	char copy[256];

	snprintf(copy, sizeof(copy), "%s", text);
	redact(copy);
	assert_string_equal(copy, expected);
}

static void
keys_are_hidden_wherever_they_stand(void **state)
{
	(void)state;
	check_redacted(KEY, STARS);
	check_redacted("key=" KEY " is wrong", "key=" STARS " is wrong");
	check_redacted("\"" KEY "\"", "\"" STARS "\"");
	check_redacted("X-API-Key: " KEY "\r\n", "X-API-Key: " STARS "\r\n");
	check_redacted("a" KEY, "a" STARS);
	check_redacted(KEY "," KEY, STARS "," STARS);
	check_redacted("we " KEY " were " KEY, "we " STARS " were " STARS);
}

static void
tokens_are_hidden_with_all_their_parts(void **state)
{
	(void)state;
	check_redacted("Bearer eyJhbGciOiJI.eyJzdWIiOiIx.c2ln-_s= end",
	    "Bearer eyJh****************************** end");
	check_redacted("token eyJ0eXAiOiJKV1Qi", "token eyJ0************");
}

static void
short_words_and_others_are_left_alone(void **state)
{
	static const char *const texts[] = { "", "w", "e", "wrn", "wrn_",
		"wrn_short", "eyJ", "eyJabc.def", "wrennd wrote we",
		"wrn_0123456", "wrenn_0123456789abcdef", "EYJhbGciOiJIUzI1",
		"cl-aaaaaaaaaaaaaaaaaaaaaaaaa" };
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(texts); i++)
		check_redacted(texts[i], texts[i]);
}

static void
levels_have_names(void **state)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	enum log_level level = LOG_WARN;
	int i;

	(void)state;
	for (i = LOG_ERROR; i <= LOG_DEBUG; i++) {
		assert_int_equal(log_level_by_name(names[i], &level), 0);
		assert_int_equal(level, i);
	}
	assert_int_equal(log_level_by_name("warning", &level), -EINVAL);
	assert_int_equal(log_level_by_name("", &level), -EINVAL);
	assert_int_equal(log_level_by_name("INFO", &level), -EINVAL);
	assert_int_equal(level, LOG_DEBUG);
}

/* What is written to stderr between the two. */
static int saved_stderr, capture[2];

static void
capture_begin(void)
{
	assert_int_equal(pipe2(capture, O_CLOEXEC | O_NONBLOCK), 0);
	saved_stderr = dup(STDERR_FILENO);
	assert_true(dup2(capture[1], STDERR_FILENO) >= 0);
}

static void
capture_end(char *text, size_t size)
{
	ssize_t n;

	assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
	close(saved_stderr);
	n = read(capture[0], text, size - 1);
	text[n > 0 ? n : 0] = '\0';
	close(capture[0]);
	close(capture[1]);
}

static void
a_line_is_stamped_escaped_and_redacted(void **state)
{
	char line[300];

	(void)state;
	log_set_level(LOG_INFO);
	capture_begin();
	log_info("two\nlines \x1b[31m%s %d", KEY, 7);
	capture_end(line, sizeof(line));
	assert_int_equal(strspn(line, "0123456789-T:.Z"), 24);
	assert_string_equal(
	    line + 24, " info  two\\x0alines \\x1b[31m" STARS " 7\n");
}

static void
lines_below_the_level_are_dropped(void **state)
{
	char text[300];

	(void)state;
	log_set_level(LOG_WARN);
	capture_begin();
	log_info("no");
	log_debug("no");
	log_error("one");
	log_warn("two");
	capture_end(text, sizeof(text));
	assert_null(strstr(text, "no"));
	assert_non_null(strstr(text, " error one\n"));
	assert_non_null(strstr(text, " warn  two\n"));
}

/* Longer than its buffer, and all of it needs escaping. */
static int
count(int *n)
{
	return ++*n;
}

/* What it would say is not worked out either. */
static void
a_debug_line_that_nobody_wants_costs_nothing(void **state)
{
	int n = 0;

	(void)state;
	log_set_level(LOG_INFO);
	assert_true(log_wants(LOG_INFO));
	assert_false(log_wants(LOG_DEBUG));
	log_debug("n=%d", count(&n));
	assert_int_equal(n, 0);
}

static void
a_long_line_is_cut_and_still_ends(void **state)
{
	char *text = malloc(20000), line[8000];
	size_t n;

	(void)state;
	assert_non_null(text);
	memset(text, 0x01, 19999);
	text[19999] = '\0';
	log_set_level(LOG_INFO);
	capture_begin();
	log_info("%s", text);
	capture_end(line, sizeof(line));
	n = strlen(line);
	assert_true(n > 1000 && n < 4096);
	assert_int_equal(line[n - 1], '\n');
	assert_ptr_equal(strchr(line, '\n'), line + n - 1);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_hidden_wherever_they_stand),
		cmocka_unit_test(tokens_are_hidden_with_all_their_parts),
		cmocka_unit_test(short_words_and_others_are_left_alone),
		cmocka_unit_test(levels_have_names),
		cmocka_unit_test(a_line_is_stamped_escaped_and_redacted),
		cmocka_unit_test(lines_below_the_level_are_dropped),
		cmocka_unit_test(a_debug_line_that_nobody_wants_costs_nothing),
		cmocka_unit_test(a_long_line_is_cut_and_still_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
