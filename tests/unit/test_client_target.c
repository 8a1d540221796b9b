#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#include "client/target.h"
#include "client/wrenn.h"

#include "proto/banned.h"

static char dir[] = "/tmp/test-target-XXXXXX";

/* An empty folder to work in, for each test. */
static int
enter(void **state)
{
	(void)state;
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	return mkdtemp(dir) == NULL || chdir(dir) < 0 ? -1 : 0;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int
leave(void **state)
{
	(void)state;
	return chdir("/") < 0 ? -1
			      : nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void
write_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void
assert_file(const char *path, const char *wanted, mode_t mode)
{
	char text[100];
	struct stat st;
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	assert_string_equal(text, wanted);
	assert_int_equal(fstat(fileno(f), &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
	fclose(f);
}

static int files_seen;

static int
count_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)path;
	(void)st;
	(void)ftw;
	files_seen += type != FTW_D;
	return 0;
}

/* How many files there are, temporary ones included. */
static void
assert_files(int wanted)
{
	files_seen = 0;
	assert_int_equal(nftw(".", count_one, 8, FTW_PHYS), 0);
	assert_int_equal(files_seen, wanted);
}

static void
download(const char *path, const char *text)
{
	struct wrenn_error err;
	struct target t;

	assert_int_equal(target_open(&t, path, &err), 0);
	assert_int_equal(write(t.fd, text, strlen(text)), strlen(text));
	assert_int_equal(target_commit(&t, &err), 0);
	target_release(&t);
}

static void
test_a_new_file(void **state)
{
	mode_t mask = umask(027);

	(void)state;
	download("new", "text");
	umask(mask);
	assert_file("new", "text", 0640);
	assert_files(1);
}

static void
test_an_old_file_keeps_its_mode(void **state)
{
	(void)state;
	write_file("old", "before", 04754);
	download("old", "after");
	/* Without the set-uid bit: what runs now is another program. */
	assert_file("old", "after", 0754);
	assert_files(1);
}

static void
test_nothing_is_left_without_commit(void **state)
{
	struct wrenn_error err;
	struct target t;

	(void)state;
	write_file("old", "before", 0600);
	assert_int_equal(target_open(&t, "old", &err), 0);
	assert_int_equal(write(t.fd, "half", 4), 4);
	assert_file("old", "before", 0600);
	target_release(&t);
	assert_file("old", "before", 0600);
	assert_files(1);
}

static void
test_a_symbolic_link_stays(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(mkdir("sub", 0700), 0);
	write_file("sub/file", "before", 0600);
	assert_int_equal(symlink("sub/file", "link"), 0);
	download("link", "after");
	assert_int_equal(lstat("link", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_file("sub/file", "after", 0600);
	assert_files(2);
}

/* A root shell must be able to copy to /dev/null and still have one. */
static void
test_a_device_is_written_to(void **state)
{
	struct stat st;

	(void)state;
	download("/dev/null", "text");
	assert_int_equal(stat("/dev/null", &st), 0);
	assert_true(S_ISCHR(st.st_mode));
}

static void
test_faults(void **state)
{
	struct wrenn_error err;
	struct target t;

	(void)state;
	assert_true(target_open(&t, "nodir/file", &err) < 0);
	assert_string_equal(err.name, "local");
	assert_string_equal(
	    err.message, "nodir/file: No such file or directory");
	wrenn_error_release(&err);
	target_release(&t);
	assert_true(target_open(&t, ".", &err) < 0);
	assert_string_equal(err.message, ".: Is a directory");
	wrenn_error_release(&err);
	target_release(&t);
	assert_files(0);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, enter, leave)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_a_new_file),
		IN_DIR(test_an_old_file_keeps_its_mode),
		IN_DIR(test_nothing_is_left_without_commit),
		IN_DIR(test_a_symbolic_link_stays),
		IN_DIR(test_a_device_is_written_to),
		IN_DIR(test_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
