#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#include "daemon/settings.h"
#include "proto/limits.h"

#include "proto/banned.h"

static char dir[] = "/tmp/test-settings-XXXXXX";
static char file[64];

static int
enter(void **state)
{
	static const char *const vars[] = { "WRENN_BASE_URL",
		"WRENN_PROXY_DOMAIN", "WRENND_SOCKET", "STATE_DIRECTORY",
		"XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR" };
	size_t i;

	(void)state;
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(file, sizeof(file), "%s/wrennd.conf", dir);
	for (i = 0; i < COUNT(vars); i++)
		unsetenv(vars[i]);
	return setenv("HOME", dir, 1);
}

static int
leave(void **state)
{
	(void)state;
	unlink(file);
	return rmdir(dir);
}

static void
write_file(const char *text)
{
	FILE *f = fopen(file, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* The settings of a file with that text; NULL when it was refused. */
static struct settings *
load(const char *text)
{
	const struct settings_args args = { .file = file };

	write_file(text);
	return settings_load(&args);
}

/* Loads a text that is wrong; what it says holds `expected`. */
static void
refuse(const char *text, const char *expected)
{
	char said[600];
	FILE *out = tmpfile();
	int saved = dup(STDERR_FILENO);
	struct settings *s;
	size_t n;

	assert_non_null(out);
	dup2(fileno(out), STDERR_FILENO);
	s = load(text);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(out);
	n = fread(said, 1, sizeof(said) - 1, out);
	said[n] = '\0';
	fclose(out);
	assert_null(s);
	if (strstr(said, expected) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", said, expected);
}

static void
defaults_stand_without_a_file(void **state)
{
	const struct settings_args args = { 0 };
	struct settings *s = settings_load(&args);
	char path[100];

	(void)state;
	assert_non_null(s);
	assert_null(s->file);
	assert_string_equal(s->base_url, "https://app.wrenn.dev/api");
	assert_int_equal(s->socket_mode, 0600);
	assert_int_equal(s->log_level, LOG_INFO);
	assert_int_equal(s->default_timeout_s, 300);
	assert_true(s->auto_resume);
	assert_false(s->allow_plain_http);
	assert_int_equal(s->calls_per_client, LIMIT_CALLS_PER_PEER);
	snprintf(path, sizeof(path), "%s/.local/state/wrennd", dir);
	assert_string_equal(s->state_dir, path);
	snprintf(path, sizeof(path), "%s/.local/state/wrennd/wrennd.sock", dir);
	assert_string_equal(s->socket, path);
	settings_free(s);
}

static void
every_key_is_taken(void **state)
{
	struct settings *s = load("[daemon]\n"
				  "socket = /run/a.sock\n"
				  "socket_mode = 0660\n"
				  "socket_group = wheel\n"
				  "state_dir = /var/s\n"
				  "log_level = debug\n"
				  "drain_timeout = 2m\n"
				  "idle_timeout = 7m\n"
				  "; a comment\n"
				  "[profile default]\n"
				  "base_url = https://a.test/api/\n"
				  "api_key_file = /k\n"
				  "token_file = /t\n"
				  "api_key_command = pass show \"wrenn\"\n"
				  "ca_file = /ca\n"
				  "client_cert = /cc\n"
				  "client_key = /ck\n"
				  "proxy = http://p.test:3128\n"
				  "allow_plain_http = yes\n"
				  "connect_timeout = 250ms\n"
				  "max_connections = 64\n"
				  "ping_after = 7s\n"
				  "ping_timeout = 900ms\n"
				  "[ownership]\n"
				  "default_timeout = 1h\n"
				  "auto_resume = no\n"
				  "[limits]\n"
				  "calls_per_client = 1\n"
				  "clients_per_user = 7\n");

	(void)state;
	assert_non_null(s);
	assert_string_equal(s->file, file);
	assert_string_equal(s->socket, "/run/a.sock");
	assert_int_equal(s->socket_mode, 0660);
	assert_string_equal(s->socket_group, "wheel");
	assert_string_equal(s->state_dir, "/var/s");
	assert_int_equal(s->log_level, LOG_DEBUG);
	assert_int_equal(s->drain_timeout_ms, 120000);
	assert_int_equal(s->idle_timeout_ms, 420000);
	assert_string_equal(s->base_url, "https://a.test/api");
	assert_string_equal(s->api_key_file, "/k");
	assert_string_equal(s->token_file, "/t");
	assert_string_equal(s->api_key_command, "pass show \"wrenn\"");
	assert_string_equal(s->ca_file, "/ca");
	assert_string_equal(s->client_cert, "/cc");
	assert_string_equal(s->client_key, "/ck");
	assert_string_equal(s->proxy, "http://p.test:3128");
	assert_true(s->allow_plain_http);
	assert_int_equal(s->connect_timeout_ms, 250);
	assert_int_equal(s->max_connections, 64);
	assert_int_equal(s->ping_after_ms, 7000);
	assert_int_equal(s->ping_timeout_ms, 900);
	assert_int_equal(s->default_timeout_s, 3600);
	assert_false(s->auto_resume);
	assert_int_equal(s->calls_per_client, 1);
	assert_int_equal(s->clients_per_uid, 7);
	settings_free(s);
}

/* The test above leaves none out. */
static void
the_printed_keys_are_those(void **state)
{
	char text[2000];
	FILE *out = fmemopen(text, sizeof(text), "w");
	size_t i, lines = 0;

	(void)state;
	assert_non_null(out);
	settings_print_keys(out);
	assert_int_equal(fclose(out), 0);
	for (i = 0; text[i] != '\0'; i++)
		lines += text[i] == '\n';
	assert_int_equal(lines, 24);
	assert_int_equal(strncmp(text, "daemon.socket\n", 14), 0);
	assert_non_null(strstr(text, "\nprofile.base_url\n"));
	assert_non_null(strstr(text, "\nlimits.clients_per_user\n"));
}

static void
durations_have_units(void **state)
{
	static const struct {
		const char *text;
		int64_t s;
	} good[] = { { "1", 1 }, { "30s", 30 }, { "5m", 300 }, { "2h", 7200 },
		{ "365d", 31536000 }, { "2000ms", 2 } };
	static const char *const bad[] = { "s", "5 m", "-5s", "5M", "1.5h",
		"5m30s", "99999999999999999999s", "2147483648" };
	char line[100];
	struct settings *s;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(good); i++) {
		snprintf(line, sizeof(line),
		    "[ownership]\ndefault_timeout = %s\n", good[i].text);
		s = load(line);
		assert_non_null(s);
		assert_int_equal(s->default_timeout_s, good[i].s);
		settings_free(s);
	}
	for (i = 0; i < COUNT(bad); i++) {
		snprintf(line, sizeof(line),
		    "[ownership]\ndefault_timeout = %s\n", bad[i]);
		refuse(line, "it must be a duration");
	}
	refuse("[ownership]\ndefault_timeout = 0\n", "out of range");
	refuse("[ownership]\ndefault_timeout = 500ms\n", "out of range");
	refuse("[ownership]\ndefault_timeout = 366d\n", "out of range");
}

static void
wrong_values_are_named_with_their_line(void **state)
{
	(void)state;
	refuse("[daemon]\n\nsocket = a.sock\n",
	    "wrennd.conf:3: socket: it must be an absolute path");
	refuse("[daemon]\nsocket_mode = 0800\n",
	    ":2: socket_mode: it must be an octal mode");
	refuse("[daemon]\nsocket_mode = 01777\n", "out of range");
	refuse("[daemon]\nlog_level = loud\n",
	    ":2: log_level: it must be error, warn, info or debug");
	refuse("[profile default]\nallow_plain_http = true\n",
	    ":2: allow_plain_http: it must be yes or no");
	refuse("[profile default]\nbase_url = wrenn.dev\n",
	    ":2: base_url: it must start with https://");
	refuse("[profile default]\nmax_connections = 0\n", "out of range");
	refuse("[profile default]\nping_after = 99ms\n", "out of range");
	refuse("[profile default]\nping_timeout = 11m\n", "out of range");
	refuse("[profile default]\nmax_connections = many\n", "whole number");
	refuse("[limits]\ncalls_per_client = 5x\n", "whole number");
	refuse("[limits]\ncalls_per_client = 99999999999999999999\n",
	    "whole number");
}

static void
unknown_repeated_and_broken_lines_are_refused(void **state)
{
	char text[5000];

	(void)state;
	refuse("[daemon]\nbase_url = https://a.test\n",
	    ":2: base_url: no such key in this section");
	refuse("socket = /a\n", ":1: socket: no such key in this section");
	refuse("[profile]\nbase_url = https://a.test\n", "no such key");
	refuse("[profile other]\nbase_url = https://a.test\n", "no such key");
	refuse("[daemon]\nsocket = /a\nsocket = /b\n",
	    ":3: socket: it is set twice");
	refuse("[daemon]\nnonsense\n", ":2: syntax: it is neither");
	refuse("[daemon\n", ":1: syntax: it is neither");
	memset(text, 'x', sizeof(text));
	memcpy(text, "[daemon]\nsocket = /", 19);
	text[sizeof(text) - 1] = '\0';
	refuse(text, ":2: syntax: the line is too long");
}

static void
a_file_that_was_named_must_be_there(void **state)
{
	const struct settings_args args = { .file = "/tmp/there/is/none" };

	(void)state;
	assert_null(settings_load(&args));
}

static void
the_file_names_the_server_and_arguments_beat_the_rest(void **state)
{
	struct settings_args args = { .file = file };
	struct settings *s;

	(void)state;
	write_file("[daemon]\nsocket = /file\nstate_dir = /file\n"
		   "log_level = warn\n[profile default]\n"
		   "base_url = https://file.test\n");
	s = settings_load(&args);
	assert_string_equal(s->socket, "/file");
	assert_string_equal(s->base_url, "https://file.test");
	settings_free(s);

	setenv("WRENND_SOCKET", "/env", 1);
	setenv("STATE_DIRECTORY", "/env", 1);
	setenv("WRENN_BASE_URL", "https://env.test/api/", 1);
	s = settings_load(&args);
	assert_string_equal(s->socket, "/env");
	/* The file's key must not go to a server that a variable names. */
	assert_string_equal(s->base_url, "https://file.test");
	/* systemd's variable says where state goes if nobody else does. */
	assert_string_equal(s->state_dir, "/file");
	settings_free(s);

	write_file("[daemon]\nsocket = /file\n");
	s = settings_load(&args);
	assert_string_equal(s->base_url, "https://env.test/api");
	settings_free(s);

	setenv("WRENN_BASE_URL", "", 1);
	setenv("WRENND_SOCKET", "", 1);
	s = settings_load(&args);
	assert_string_equal(s->socket, "/file");
	assert_string_equal(s->base_url, "https://app.wrenn.dev/api");
	settings_free(s);

	args.socket = "/arg";
	args.state_dir = "/arg";
	args.log_level = "error";
	s = settings_load(&args);
	assert_string_equal(s->socket, "/arg");
	assert_string_equal(s->state_dir, "/arg");
	assert_int_equal(s->log_level, LOG_ERROR);
	settings_free(s);

	args.log_level = "loud";
	assert_null(settings_load(&args));
}

static void
plain_http_needs_loopback_or_permission(void **state)
{
	struct settings *s;

	(void)state;
	refuse("[profile default]\nbase_url = http://a.test\n",
	    "plain http would send the key readable");
	s = load("[profile default]\nbase_url = http://a.test\n"
		 "allow_plain_http = yes\n");
	assert_non_null(s);
	settings_free(s);
	s = load("[profile default]\nbase_url = http://127.0.0.1:8000\n");
	assert_non_null(s);
	settings_free(s);
	setenv("WRENN_BASE_URL", "http://a.test", 1);
	refuse("", "plain http would send the key readable");
	setenv("WRENN_BASE_URL", "nonsense", 1);
	refuse("", "base URL nonsense: it must start with");
}

static void
paths_follow_the_way_of_starting(void **state)
{
	struct settings_args args = { .system_wide = true };
	struct settings *s;

	(void)state;
	s = settings_load(&args);
	assert_string_equal(s->state_dir, "/var/lib/wrennd");
	assert_string_equal(s->socket, "/run/wrennd/wrennd.sock");
	settings_free(s);

	args.system_wide = false;
	setenv("XDG_STATE_HOME", "/state", 1);
	setenv("XDG_RUNTIME_DIR", "/run/user/1", 1);
	s = settings_load(&args);
	assert_string_equal(s->state_dir, "/state/wrennd");
	assert_string_equal(s->socket, "/run/user/1/wrennd/wrennd.sock");
	settings_free(s);

	unsetenv("XDG_STATE_HOME");
	unsetenv("HOME");
	assert_null(settings_load(&args));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(defaults_stand_without_a_file),
		TEST(every_key_is_taken),
		TEST(the_printed_keys_are_those),
		TEST(durations_have_units),
		TEST(wrong_values_are_named_with_their_line),
		TEST(unknown_repeated_and_broken_lines_are_refused),
		TEST(a_file_that_was_named_must_be_there),
		TEST(the_file_names_the_server_and_arguments_beat_the_rest),
		TEST(plain_http_needs_loopback_or_permission),
		TEST(paths_follow_the_way_of_starting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
