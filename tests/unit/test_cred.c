#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "daemon/cred.h"
#include "daemon/settings.h"
#include "proto/jx.h"
#include "proto/rpc_error.h"
#include "tests/unit/fakes/rig.h"

#include "proto/banned.h"

/* {"alg":"HS256"} . {"sub":"1","exp":1767225600} */
#define JWT "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIiwiZXhwIjoxNzY3MjI1NjAwfQ.c2ln"

/* A state folder, files in it, and what cred works with. */
struct fixture {
	char dir[32];
	char key_file[64], saved[64];
	struct settings settings;
	struct loop *loop;
	struct cred *cred;
	int reloads;
	bool changed;
};

static int
enter(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/test-cred-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->key_file, sizeof(f->key_file), "%s/key", f->dir);
	snprintf(f->saved, sizeof(f->saved), "%s/api_key", f->dir);
	f->settings.state_dir = f->dir;
	f->loop = loop_new();
	unsetenv("CREDENTIALS_DIRECTORY");
	unsetenv("WRENN_API_KEY");
	unsetenv("WRENN_TOKEN");
	*state = f;
	return 0;
}

static int
leave(void **state)
{
	struct fixture *f = *state;

	cred_free(f->cred);
	loop_free(f->loop);
	rig_remove_folder(f->dir);
	free(f);
	return 0;
}

static void
write_file(const char *path, const char *text, mode_t mode)
{
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	assert_true(fputs(text, out) >= 0);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static void
read_file(const char *path, char *text, size_t size)
{
	FILE *in = fopen(path, "r");
	size_t n;

	assert_non_null(in);
	n = fread(text, 1, size - 1, in);
	text[n] = '\0';
	fclose(in);
}

/* As at a start of the daemon. */
static struct cred *
open_cred(struct fixture *f)
{
	cred_free(f->cred);
	f->cred = cred_new(f->loop, &f->settings);
	return f->cred;
}

static void
expect_key(struct fixture *f, const char *key)
{
	const char *found = cred_secret(f->cred, CRED_API_KEY);

	if (key == NULL)
		assert_null(found);
	else
		assert_string_equal(found, key);
}

static void
expect_source(struct fixture *f, const char *source)
{
	struct json_object *o = cred_describe(f->cred, CRED_API_KEY);

	assert_string_equal(jx_str(o, "source"), source);
	json_object_put(o);
}

static void
reloaded(void *arg, bool changed)
{
	struct fixture *f = arg;

	f->reloads++;
	f->changed = changed;
}

static void
reload(struct fixture *f)
{
	int before = f->reloads;

	assert_int_equal(cred_reload(f->cred, &f->settings, reloaded, f), 0);
	fake_loop_until(f->loop, &f->reloads, before + 1);
	assert_int_equal(f->reloads, before + 1);
}

static void
without_any_source_there_is_none(void **state)
{
	struct fixture *f = *state;

	assert_non_null(open_cred(f));
	expect_key(f, NULL);
	assert_null(cred_secret(f->cred, CRED_TOKEN));
	assert_string_equal(cred_identity(f->cred), "");
	assert_null(cred_describe(f->cred, CRED_API_KEY));
	cred_free(NULL);
}

static void
a_file_is_read_and_trimmed(void **state)
{
	struct fixture *f = *state;

	f->settings.api_key_file = f->key_file;
	write_file(f->key_file, " \t\nwrn_file \r\n\n", 0600);
	assert_non_null(open_cred(f));
	expect_key(f, "wrn_file");
	expect_source(f, "file");
	write_file(f->key_file, "wrn_file", 0400);
	assert_non_null(open_cred(f));
	expect_key(f, "wrn_file");
}

static void
unfit_files_are_refused(void **state)
{
	static const char *const texts[] = { "", "\n \n", "wrn_a b", "wrn_a\nb",
		"wrn_\x01", "wrn_\x7f", "wrn_\xc3\xa4" };
	struct fixture *f = *state;
	char *text;
	size_t i;

	f->settings.api_key_file = f->key_file;
	assert_null(open_cred(f)); /* missing */
	for (i = 0; i < COUNT(texts); i++) {
		write_file(f->key_file, texts[i], 0600);
		assert_null(open_cred(f));
	}
	text = malloc(LIMIT_SECRET + 2);
	assert_non_null(text);
	memset(text, 'k', LIMIT_SECRET + 1);
	text[LIMIT_SECRET + 1] = '\0';
	write_file(f->key_file, text, 0600);
	assert_null(open_cred(f));
	text[LIMIT_SECRET] = '\0';
	write_file(f->key_file, text, 0600);
	assert_non_null(open_cred(f));
	expect_key(f, text);
	free(text);
}

static void
files_that_others_can_read_are_refused(void **state)
{
	static const mode_t modes[] = { 0640, 0604, 0644, 0620, 0601, 0666 };
	struct fixture *f = *state;
	size_t i;

	f->settings.api_key_file = f->key_file;
	for (i = 0; i < COUNT(modes); i++) {
		write_file(f->key_file, "wrn_file", modes[i]);
		assert_null(open_cred(f));
	}
	f->settings.api_key_file = f->dir; /* no file at all */
	assert_null(open_cred(f));
	assert_int_equal(unlink(f->key_file), 0);
	assert_int_equal(mkfifo(f->key_file, 0600), 0);
	f->settings.api_key_file = f->key_file;
	assert_null(open_cred(f));
}

static void
the_environment_is_taken_and_wiped(void **state)
{
	struct fixture *f = *state;
	char variable[] = "WRENN_API_KEY=wrn_env";

	assert_int_equal(putenv(variable), 0);
	assert_non_null(open_cred(f));
	expect_key(f, "wrn_env");
	expect_source(f, "environment");
	assert_null(getenv("WRENN_API_KEY"));
	assert_memory_equal(variable, "WRENN_API_KEY=\0\0\0\0\0\0\0", 22);
}

/* The last source first, and each one before it wins over it. */
static void
sources_have_an_order(void **state)
{
	struct fixture *f = *state;
	struct rpc_error e;
	char path[64];

	setenv("WRENN_API_KEY", "wrn_env", 1);
	assert_non_null(open_cred(f));
	expect_key(f, "wrn_env");
	f->settings.api_key_command = (char[]){ "echo wrn_command" };
	reload(f);
	expect_key(f, "wrn_command");
	assert_true(f->changed);
	f->settings.api_key_file = f->key_file;
	write_file(f->key_file, "wrn_file", 0600);
	reload(f);
	expect_key(f, "wrn_file");
	snprintf(path, sizeof(path), "%s/cd", f->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	setenv("CREDENTIALS_DIRECTORY", path, 1);
	reload(f);
	expect_key(f, "wrn_file");
	assert_false(f->changed);
	snprintf(path, sizeof(path), "%s/cd/api_key", f->dir);
	write_file(path, "wrn_systemd", 0400);
	reload(f);
	expect_key(f, "wrn_systemd");
	expect_source(f, "systemd");
	assert_int_equal(
	    cred_set(f->cred, CRED_API_KEY, "wrn_set", false, &e), 0);
	expect_key(f, "wrn_set");
	expect_source(f, "set");
	assert_int_equal(cred_logout(f->cred, &f->settings, &e), 0);
	expect_key(f, "wrn_systemd");
}

static void
a_set_key_is_checked_and_kept(void **state)
{
	struct fixture *f = *state;
	struct rpc_error e;
	struct stat st;
	char text[100];
	uint64_t generation;

	assert_non_null(open_cred(f));
	generation = cred_generation(f->cred);
	assert_int_equal(
	    cred_set(f->cred, CRED_API_KEY, "key", true, &e), -EINVAL);
	assert_int_equal(e.kind, RPC_INVALID_PARAMS);
	assert_string_equal(e.param, "api_key");
	assert_int_equal(
	    cred_set(f->cred, CRED_API_KEY, "wrn_a\r\nX: y", true, &e),
	    -EINVAL);
	assert_int_equal(
	    cred_set(f->cred, CRED_TOKEN, "wrn_a", true, &e), -EINVAL);
	assert_string_equal(e.param, "token");
	expect_key(f, NULL);
	assert_int_equal(cred_generation(f->cred), generation);

	assert_int_equal(
	    cred_set(f->cred, CRED_API_KEY, "wrn_one", true, &e), 0);
	assert_int_equal(cred_generation(f->cred), generation + 1);
	assert_int_equal(stat(f->saved, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	read_file(f->saved, text, sizeof(text));
	assert_string_equal(text, "wrn_one");
	/* The same again is no change. */
	assert_int_equal(
	    cred_set(f->cred, CRED_API_KEY, "wrn_one", true, &e), 0);
	assert_int_equal(cred_generation(f->cred), generation + 1);
	assert_int_equal(
	    cred_set(f->cred, CRED_API_KEY, "wrn_two", false, &e), 0);
	expect_key(f, "wrn_two");
	assert_non_null(open_cred(f));
	expect_key(f, "wrn_one");
	chmod(f->saved, 0644);
	assert_null(open_cred(f));
}

static void
a_key_that_cannot_be_kept_is_used_all_the_same(void **state)
{
	struct fixture *f = *state;
	struct rpc_error e;
	char path[80];

	assert_non_null(open_cred(f));
	snprintf(path, sizeof(path), "%s.new", f->saved);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(
	    cred_set(f->cred, CRED_API_KEY, "wrn_one", true, &e), -EIO);
	assert_int_equal(e.kind, RPC_STORE);
	expect_key(f, "wrn_one");
	assert_int_equal(access(f->saved, F_OK), -1);
}

static void
logout_forgets_what_was_set(void **state)
{
	struct fixture *f = *state;
	struct rpc_error e;
	uint64_t generation;

	setenv("WRENN_API_KEY", "wrn_env", 1);
	assert_non_null(open_cred(f));
	assert_int_equal(
	    cred_set(f->cred, CRED_API_KEY, "wrn_one", true, &e), 0);
	assert_int_equal(cred_set(f->cred, CRED_TOKEN, JWT, true, &e), 0);
	generation = cred_generation(f->cred);
	assert_int_equal(cred_logout(f->cred, &f->settings, &e), 0);
	assert_int_equal(cred_generation(f->cred), generation + 1);
	expect_key(f, NULL);
	assert_null(cred_secret(f->cred, CRED_TOKEN));
	assert_int_equal(access(f->saved, F_OK), -1);
	assert_non_null(open_cred(f));
	expect_key(f, NULL);
}

static void
reload_runs_the_command_each_time(void **state)
{
	struct fixture *f = *state;

	f->settings.api_key_command = (char[]){ "echo wrn_one" };
	assert_non_null(open_cred(f));
	expect_key(f, NULL);
	reload(f);
	expect_key(f, "wrn_one");
	expect_source(f, "command");
	reload(f);
	assert_false(f->changed);
	f->settings.api_key_command = (char[]){ "echo wrn_two" };
	assert_int_equal(cred_reload(f->cred, &f->settings, reloaded, f), 0);
	assert_int_equal(
	    cred_reload(f->cred, &f->settings, reloaded, f), -EBUSY);
	fake_loop_until(f->loop, &f->reloads, 3);
	expect_key(f, "wrn_two");
	f->settings.api_key_command = NULL;
	reload(f);
	expect_key(f, NULL);
}

/* What was in use is better than nothing. */
static void
a_failed_reload_takes_no_key_away(void **state)
{
	struct fixture *f = *state;

	f->settings.api_key_command = (char[]){ "echo wrn_one" };
	assert_non_null(open_cred(f));
	reload(f);
	f->settings.api_key_command = (char[]){ "exit 1" };
	reload(f);
	expect_key(f, "wrn_one");
	f->settings.api_key_command = (char[]){ "echo" };
	reload(f);
	expect_key(f, "wrn_one");
	assert_false(f->changed);

	f->settings.api_key_file = f->key_file;
	write_file(f->key_file, "wrn_file", 0600);
	reload(f);
	expect_key(f, "wrn_file");
	chmod(f->key_file, 0644);
	assert_int_equal(cred_reload(f->cred, &f->settings, reloaded, f), -EIO);
	expect_key(f, "wrn_file");
}

static void
free_while_the_command_runs_is_silent(void **state)
{
	struct fixture *f = *state;

	f->settings.api_key_command = (char[]){ "sleep 1000" };
	assert_non_null(open_cred(f));
	assert_int_equal(cred_reload(f->cred, &f->settings, reloaded, f), 0);
	cred_free(f->cred);
	f->cred = NULL;
	fake_loop_advance(f->loop, 60000);
	assert_int_equal(f->reloads, 0);
}

/* The values are those of sha256sum(1). */
static void
the_identity_is_the_digest_of_key_or_token(void **state)
{
	static const char key_sha[] = "eee7ff27cf3dea58015fad8ee88ea8b6";
	struct fixture *f = *state;
	struct json_object *o;
	struct rpc_error e;

	assert_non_null(open_cred(f));
	assert_int_equal(cred_set(f->cred, CRED_TOKEN, JWT, false, &e), 0);
	assert_int_equal(strlen(cred_identity(f->cred)), CRED_IDENTITY);
	assert_int_equal(
	    cred_set(f->cred, CRED_API_KEY, "wrn_known", false, &e), 0);
	assert_int_equal(strlen(cred_identity(f->cred)), CRED_IDENTITY);
	assert_int_equal(strncmp(cred_identity(f->cred), key_sha, 32), 0);
	o = cred_describe(f->cred, CRED_API_KEY);
	assert_int_equal(strlen(jx_str(o, "fingerprint")), CRED_FINGERPRINT);
	assert_int_equal(
	    strncmp(jx_str(o, "fingerprint"), key_sha, CRED_FINGERPRINT), 0);
	assert_int_equal(json_object_object_length(o), 2);
	json_object_put(o);
}

/* The token, and when it ends; -1 when that is not told. */
static void
expect_expiry(struct fixture *f, const char *token, int64_t expires)
{
	struct json_object *o;
	struct rpc_error e;
	int64_t n;

	assert_int_equal(cred_set(f->cred, CRED_TOKEN, token, false, &e), 0);
	o = cred_describe(f->cred, CRED_TOKEN);
	if (expires < 0) {
		assert_int_equal(
		    jx_int(o, "expires_at", 0, INT64_MAX, &n), -ENOENT);
	} else {
		assert_int_equal(jx_int(o, "expires_at", 0, INT64_MAX, &n), 0);
		assert_int_equal(n, expires);
	}
	json_object_put(o);
}

static void
a_token_tells_when_it_ends(void **state)
{
	struct fixture *f = *state;

	assert_non_null(open_cred(f));
	expect_expiry(f, JWT, 1767225600);
	expect_expiry(f, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", -1);
	expect_expiry(f, "eyJhbGciOiJIUzI1NiJ9", -1);
	expect_expiry(f, "eyJhbGciOiJIUzI1NiJ9.", -1);
	expect_expiry(f, "eyJhbGciOiJIUzI1NiJ9.!!!.x", -1);
	expect_expiry(f, "eyJhbGciOiJIUzI1NiJ9.bm8ganNvbg.x", -1);
	/* The two letters of base64url: {"a":"??>>","exp":5} */
	expect_expiry(f, "eyJh.eyJhIjoiPz8-PiIsImV4cCI6NX0.x", 5);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_any_source_there_is_none),
		TEST(a_file_is_read_and_trimmed),
		TEST(unfit_files_are_refused),
		TEST(files_that_others_can_read_are_refused),
		TEST(the_environment_is_taken_and_wiped),
		TEST(sources_have_an_order),
		TEST(a_set_key_is_checked_and_kept),
		TEST(a_key_that_cannot_be_kept_is_used_all_the_same),
		TEST(logout_forgets_what_was_set),
		TEST(reload_runs_the_command_each_time),
		TEST(a_failed_reload_takes_no_key_away),
		TEST(free_while_the_command_runs_is_silent),
		TEST(the_identity_is_the_digest_of_key_or_token),
		TEST(a_token_tells_when_it_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
