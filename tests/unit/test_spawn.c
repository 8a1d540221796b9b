#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#include "daemon/spawn.h"
#include "tests/unit/fakes/fake_loop.h"

#include "proto/banned.h"

#define TIMEOUT 10000

/* How a command ended. */
struct result {
	int calls;
	size_t len;
	char output[4096];
	char why[64];
};

static void
done(void *arg, const char *output, size_t len, const char *why)
{
	struct result *r = arg;

	r->calls++;
	r->len = len;
	assert_int_equal(output == NULL, why != NULL);
	assert_true(len < sizeof(r->output));
	if (output != NULL)
		memcpy(r->output, output, len + 1);
	snprintf(r->why, sizeof(r->why), "%s", why ? why : "");
}

static void
run(const char *command, size_t max, struct result *r)
{
	struct loop *l = loop_new();

	*r = (struct result){ 0 };
	assert_non_null(spawn_start(l, command, max, TIMEOUT, done, r));
	assert_int_equal(r->calls, 0);
	fake_loop_until(l, &r->calls, 1);
	fake_loop_settle(l);
	assert_int_equal(r->calls, 1);
	loop_free(l);
}

static void
the_output_is_handed_over_whole(void **state)
{
	struct result r;

	(void)state;
	run("printf 'one\\n'; printf two", 100, &r);
	assert_string_equal(r.output, "one\ntwo");
	assert_int_equal(r.len, 7);
	run("true", 100, &r);
	assert_int_equal(r.len, 0);
	assert_string_equal(r.why, "");
	run("head -c 3000 /dev/zero", 3000, &r);
	assert_int_equal(r.len, 3000);
}

/* The shell sees no input, no descriptors of ours and no signal blocked. */
static void
the_command_starts_clean(void **state)
{
	int fd = dup(STDOUT_FILENO);
	struct result r;

	(void)state;
	run("cat; ls /proc/self/fd | tr '\\n' ' '", 100, &r);
	assert_string_equal(r.output, "0 1 2 3 ");
	run("grep -c 'SigBlk:.0000000000000000' /proc/self/status", 100, &r);
	assert_string_equal(r.output, "1\n");
	close(fd);
}

static void
failure_is_told_with_the_status(void **state)
{
	struct result r;

	(void)state;
	run("echo secret; exit 3", 100, &r);
	assert_string_equal(r.why, "it exited with status 3");
	assert_int_equal(r.len, 0);
	run("/no/such/program 2>/dev/null", 100, &r);
	assert_string_equal(r.why, "it exited with status 127");
	run("kill -TERM $$", 100, &r);
	assert_string_equal(r.why, "it exited with status 143");
}

static void
too_much_output_is_refused(void **state)
{
	struct result r;

	(void)state;
	run("printf 12345", 5, &r);
	assert_string_equal(r.output, "12345");
	run("printf 123456", 5, &r);
	assert_string_equal(r.why, "its output is too long");
	run("cat /dev/zero", 1000, &r);
	assert_string_equal(r.why, "its output is too long");
}

/* Neither end of the output nor exit alone ends it. */
static void
output_that_outlives_the_shell_is_waited_for(void **state)
{
	struct result r;

	(void)state;
	run("{ sleep 0.1; echo late; } & echo early", 100, &r);
	assert_string_equal(r.output, "early\nlate\n");
	run("exec >&-; sleep 0.1; exit 4", 100, &r);
	assert_string_equal(r.why, "it exited with status 4");
}

static void
a_command_that_hangs_is_killed(void **state)
{
	struct loop *l = loop_new();
	struct result r = { 0 };

	(void)state;
	assert_non_null(
	    spawn_start(l, "echo x; sleep 1000", 100, TIMEOUT, done, &r));
	fake_loop_advance(l, TIMEOUT - 1);
	assert_int_equal(r.calls, 0);
	fake_loop_advance(l, 1);
	assert_int_equal(r.calls, 1);
	assert_string_equal(r.why, "it ran too long");
	loop_free(l);
}

static void
a_cancelled_one_tells_nothing(void **state)
{
	struct loop *l = loop_new();
	struct result r = { 0 };
	struct spawn *s = spawn_start(l, "sleep 1000", 100, TIMEOUT, done, &r);

	(void)state;
	assert_non_null(s);
	spawn_cancel(s);
	spawn_cancel(NULL);
	fake_loop_advance(l, 2 * TIMEOUT);
	assert_int_equal(r.calls, 0);
	loop_free(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_output_is_handed_over_whole),
		cmocka_unit_test(the_command_starts_clean),
		cmocka_unit_test(failure_is_told_with_the_status),
		cmocka_unit_test(too_much_output_is_refused),
		cmocka_unit_test(output_that_outlives_the_shell_is_waited_for),
		cmocka_unit_test(a_command_that_hangs_is_killed),
		cmocka_unit_test(a_cancelled_one_tells_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
