#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#include "client/wrenn_priv.h"

#include "proto/banned.h"

/* Sets the variables that decide; NULL unsets one. */
static void
set_env(const char *runtime, const char *state_home, const char *home)
{
	static const char *const names[] = { "XDG_RUNTIME_DIR",
		"XDG_STATE_HOME", "HOME" };
	const char *values[] = { runtime, state_home, home };
	size_t i;

	for (i = 0; i < COUNT(names); i++) {
		if (values[i] != NULL)
			setenv(names[i], values[i], 1);
		else
			unsetenv(names[i]);
	}
}

static void
assert_socket(bool system_wide, const char *wanted)
{
	struct wrenn_error err;
	char *path = wrenn_path_socket(system_wide, &err);

	assert_non_null(path);
	assert_string_equal(path, wanted);
	free(path);
}

static void
test_the_default_socket(void **state)
{
	(void)state;
	set_env("/run/user/7", "/state", "/home/me");
	assert_socket(false, "/run/user/7/wrennd/wrennd.sock");
	assert_socket(true, "/run/wrennd/wrennd.sock");
	set_env(NULL, "/state", "/home/me");
	assert_socket(false, "/state/wrennd/wrennd.sock");
	set_env("", NULL, "/home/me");
	assert_socket(false, "/home/me/.local/state/wrennd/wrennd.sock");
	/* The XDG specification: relative ones are ignored. */
	set_env("run", "state", "/home/me");
	assert_socket(false, "/home/me/.local/state/wrennd/wrennd.sock");
}

static void
test_no_place_for_a_socket(void **state)
{
	struct wrenn_error err;

	(void)state;
	set_env(NULL, NULL, NULL);
	assert_null(wrenn_path_socket(false, &err));
	assert_string_equal(err.name, "daemon_unreachable");
	assert_non_null(strstr(err.message, "HOME"));
	wrenn_error_release(&err);
	assert_socket(true, "/run/wrennd/wrennd.sock");
}

static void
test_folder_of_a_path(void **state)
{
	static const char *const cases[][2] = { { "/a/b/c", "/a/b" },
		{ "/a", "/" }, { "/", "/" } };
	char *dir;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		dir = wrenn_path_dir_of(cases[i][0]);
		assert_non_null(dir);
		assert_string_equal(dir, cases[i][1]);
		free(dir);
	}
}

static void
test_folders_are_made_for_their_owner(void **state)
{
	char root[] = "/tmp/test-path-XXXXXX", dir[100];
	struct wrenn_error err;
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(root));
	snprintf(dir, sizeof(dir), "%s/a/b", root);
	assert_int_equal(wrenn_path_make_dir(dir, &err), 0);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	/* What is there is left as it is. */
	assert_int_equal(chmod(dir, 0750), 0);
	assert_int_equal(wrenn_path_make_dir(dir, &err), 0);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0750);
	assert_int_equal(rmdir(dir), 0);
	snprintf(dir, sizeof(dir), "%s/a", root);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(rmdir(root), 0);
}

static void
test_folders_that_cannot_be_used(void **state)
{
	struct wrenn_error err;

	(void)state;
	assert_true(wrenn_path_make_dir("/dev/null", &err) < 0);
	assert_non_null(strstr(err.message, "/dev/null"));
	wrenn_error_release(&err);
	assert_true(wrenn_path_make_dir("/dev/null/x", &err) < 0);
	wrenn_error_release(&err);
}

/* Its owner could put another socket or log there. */
static void
test_folders_of_others_are_refused(void **state)
{
	char made[] = "/tmp/test-path-XXXXXX";
	const char *dir = "/etc";
	struct wrenn_error err;

	(void)state;
	if (geteuid() == 0) {
		assert_non_null(mkdtemp(made));
		assert_int_equal(chown(made, 1, 1), 0);
		dir = made;
	}
	assert_true(wrenn_path_make_dir(dir, &err) < 0);
	assert_non_null(strstr(err.message, "belongs to uid"));
	wrenn_error_release(&err);
	if (dir == made)
		assert_int_equal(rmdir(made), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_default_socket),
		cmocka_unit_test(test_no_place_for_a_socket),
		cmocka_unit_test(test_folder_of_a_path),
		cmocka_unit_test(test_folders_are_made_for_their_owner),
		cmocka_unit_test(test_folders_that_cannot_be_used),
		cmocka_unit_test(test_folders_of_others_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
