#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "client/input.h"
#include "client/wrenn.h"
#include "proto/jx.h"
#include "proto/limits.h"
#include "proto/rpc_error.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

static int real_stdin;

/* From now on standard input is this; from a file, since a pipe may fill. */
static void
give_stdin(const char *data, size_t n)
{
	FILE *f = tmpfile();

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, n, f), n);
	assert_int_equal(fflush(f), 0);
	assert_int_equal(lseek(fileno(f), 0, SEEK_SET), 0);
	assert_true(dup2(fileno(f), STDIN_FILENO) >= 0);
	fclose(f);
}

static int
restore(void **state)
{
	(void)state;
	return dup2(real_stdin, STDIN_FILENO) < 0;
}

/* The kind of the error with these words in it; wiped. */
static void
assert_error(struct wrenn_error *err, enum rpc_errno kind, const char *words)
{
	assert_int_equal(err->code, rpc_error_row(kind)->code);
	assert_non_null(strstr(err->message, words));
	wrenn_error_release(err);
}

static void
no_word_is_no_parameters(void **state)
{
	struct json_object *params = (struct json_object *)&params;
	struct wrenn_error err;

	(void)state;
	assert_int_equal(input_params(NULL, &params, &err), 0);
	assert_null(params);
}

static void
a_word_is_an_object(void **state)
{
	struct json_object *params;
	struct wrenn_error err;

	(void)state;
	assert_int_equal(input_params("{\"a\":\"b\"}", &params, &err), 0);
	assert_string_equal(jx_str(params, "a"), "b");
	json_object_put(params);
	assert_int_equal(input_params(" {} ", &params, &err), 0);
	assert_int_equal(json_object_object_length(params), 0);
	json_object_put(params);
}

static void
other_words_are_refused(void **state)
{
	static const char *const objects[] = { "[1]", "null", "\"x\"", "1" };
	static const char *const broken[] = { "", "{", "{'a':1}", "{}x",
		"{\"a\":1,\"a\":2}" };
	struct json_object *params;
	struct wrenn_error err;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(objects); i++) {
		assert_int_equal(input_params(objects[i], &params, &err), -1);
		assert_error(&err, RPC_USAGE, "must be a JSON object");
	}
	for (i = 0; i < COUNT(broken); i++) {
		assert_int_equal(input_params(broken[i], &params, &err), -1);
		assert_error(&err, RPC_USAGE, "not JSON");
	}
}

static void
a_dash_is_standard_input(void **state)
{
	struct json_object *params;
	struct wrenn_error err;

	(void)state;
	give_stdin(LITERAL("{\"api_key\":\n\"wrn_1\"}\n"));
	assert_int_equal(input_params("-", &params, &err), 0);
	assert_string_equal(jx_str(params, "api_key"), "wrn_1");
	json_object_put(params);
	give_stdin(LITERAL(""));
	assert_int_equal(input_params("-", &params, &err), -1);
	assert_error(&err, RPC_USAGE, "not JSON");
	give_stdin(LITERAL("{}\0"));
	assert_int_equal(input_params("-", &params, &err), -1);
	assert_error(&err, RPC_USAGE, "not JSON");
}

static void
standard_input_is_read_whole(void **state)
{
	size_t n = LIMIT_REQUEST_LINE;
	char *data = xcalloc(1, n);
	struct wrenn_error err;
	struct buf b;

	(void)state;
	memset(data, 'x', n);
	buf_init(&b, n);
	give_stdin(data, n / 2);
	assert_int_equal(input_stdin(&b, &err), 0);
	assert_int_equal(b.len, n / 2);
	assert_memory_equal(buf_head(&b), data, n / 2);
	buf_clear(&b);
	give_stdin(data, n);
	assert_int_equal(input_stdin(&b, &err), -1);
	assert_error(&err, RPC_TOO_LARGE, "longer than");
	buf_release(&b);
	free(data);
}

static void
a_closed_standard_input_is_an_error(void **state)
{
	struct wrenn_error err;
	struct buf b;

	(void)state;
	buf_init(&b, LIMIT_REQUEST_LINE);
	close(STDIN_FILENO);
	assert_int_equal(input_stdin(&b, &err), -1);
	assert_true(dup2(real_stdin, STDIN_FILENO) >= 0);
	assert_error(&err, RPC_LOCAL, "cannot read standard input");
	buf_release(&b);
}

/* In a session without one: 0 when it is refused as it should be. */
static int
ask_without_terminal(void)
{
	struct wrenn_error err;
	struct buf b;

	if (setsid() < 0)
		return 1;
	buf_init(&b, 100);
	if (input_ask("Password: ", true, &b, &err) == 0)
		return 2;
	return err.code == rpc_error_row(RPC_USAGE)->code && b.len == 0 &&
		       strstr(err.message, "no terminal") != NULL
		   ? 0
		   : 3;
}

static void
without_a_terminal_nothing_is_asked(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(ask_without_terminal());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_word_is_no_parameters),
		cmocka_unit_test(a_word_is_an_object),
		cmocka_unit_test(other_words_are_refused),
		cmocka_unit_test_teardown(a_dash_is_standard_input, restore),
		cmocka_unit_test_teardown(
		    standard_input_is_read_whole, restore),
		cmocka_unit_test_teardown(
		    a_closed_standard_input_is_an_error, restore),
		cmocka_unit_test(without_a_terminal_nothing_is_asked),
	};

	real_stdin = dup(STDIN_FILENO);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
