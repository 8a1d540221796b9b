#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "daemon/api.h"
#include "daemon/store.h"
#include "daemon/upstream.h"
#include "proto/jx.h"

#include "proto/banned.h"

#define ID "cl-0123456789abcdefghijklmno"

/* ---- requests ---- */

/* Checks a request and frees it; body "" means none. */
static void
expect(struct upstream_request *r, const char *method, const char *path,
    const char *body)
{
	assert_string_equal(r->method, method);
	assert_string_equal(r->path, path);
	assert_string_equal(r->body.len > 0 ? buf_str(&r->body) : "", body);
	if (body[0] != '\0')
		assert_string_equal(r->content_type, "application/json");
	assert_true(r->timeout_ms > 0);
	upstream_request_free(r);
}

static void
capsule_requests_are_as_documented(void **state)
{
	(void)state;
	expect(api_capsule_list(), "GET", "/v1/capsules", "");
	expect(api_capsule_get(ID), "GET", "/v1/capsules/" ID, "");
	expect(api_capsule_destroy(ID), "DELETE", "/v1/capsules/" ID, "");
	expect(api_capsule_action(ID, "ping"), "POST",
	    "/v1/capsules/" ID "/ping", "");
	expect(api_capsule_action(ID, "pause"), "POST",
	    "/v1/capsules/" ID "/pause", "{}");
	expect(api_capsule_action(ID, "resume"), "POST",
	    "/v1/capsules/" ID "/resume", "{}");
}

static void
a_create_sends_only_what_was_asked_for(void **state)
{
	struct capsule_row row = { .template = "minimal", .timeout_s = 317 };

	(void)state;
	expect(api_capsule_create(&row), "POST", "/v1/capsules",
	    "{\"template\":\"minimal\",\"timeout_sec\":317}");
	row.vcpus = 4;
	row.memory_mb = 2048;
	row.timeout_s = 0;
	expect(api_capsule_create(&row), "POST", "/v1/capsules",
	    "{\"template\":\"minimal\",\"vcpus\":4,\"memory_mb\":2048,"
	    "\"timeout_sec\":0}");
}

static bool
is_idempotent(struct upstream_request *r)
{
	bool idempotent = r->idempotent;

	upstream_request_free(r);
	return idempotent;
}

static void
only_what_harms_nobody_may_be_sent_twice(void **state)
{
	struct capsule_row row = { .template = "minimal" };
	struct api_command c = { .cmd = "true", .timeout_s = 1 };

	(void)state;
	assert_true(is_idempotent(api_capsule_list()));
	assert_true(is_idempotent(api_capsule_get(ID)));
	assert_true(is_idempotent(api_capsule_destroy(ID)));
	assert_true(is_idempotent(api_capsule_action(ID, "ping")));
	assert_true(is_idempotent(api_file(ID, "read", "/a", 0)));
	assert_true(is_idempotent(api_file(ID, "list", "/a", 0)));
	assert_false(is_idempotent(api_file(ID, "mkdir", "/a", 0)));
	assert_false(is_idempotent(api_file(ID, "remove", "/a", 0)));
	assert_false(is_idempotent(api_capsule_create(&row)));
	assert_false(is_idempotent(api_capsule_action(ID, "pause")));
	assert_false(is_idempotent(api_capsule_action(ID, "resume")));
	assert_false(is_idempotent(api_exec(ID, &c)));
	assert_false(is_idempotent(api_process_start(ID, &c, "t")));
	assert_true(is_idempotent(api_process_list(ID)));
	assert_true(is_idempotent(api_process_kill(ID, 1, "SIGKILL")));
	assert_false(is_idempotent(api_process_kill(ID, 1, "SIGTERM")));
}

static void
file_requests_carry_the_path(void **state)
{
	(void)state;
	expect(api_file(ID, "read", "/a \"b\"", 0), "POST",
	    "/v1/capsules/" ID "/files/read", "{\"path\":\"/a \\\"b\\\"\"}");
	expect(api_file(ID, "list", "/", 3), "POST",
	    "/v1/capsules/" ID "/files/list", "{\"path\":\"/\",\"depth\":3}");
}

/* The boundary differs each time, and frames path and file. */
static void
an_upload_is_framed(void **state)
{
	struct api_upload u, v;
	struct upstream_request *r;
	const char *boundary;
	char head[512], tail[64];

	(void)state;
	api_upload_init(&u, "/tmp/x y");
	api_upload_init(&v, "/tmp/x y");
	boundary = strstr(u.content_type, "boundary=");
	assert_non_null(boundary);
	boundary += strlen("boundary=");
	assert_int_equal(strlen(boundary), 24);
	assert_null(strstr(v.content_type, boundary));
	snprintf(head, sizeof(head),
	    "--%s\r\nContent-Disposition: form-data; name=\"path\"\r\n\r\n"
	    "/tmp/x y\r\n--%s\r\n",
	    boundary, boundary);
	assert_int_equal(strncmp(u.head, head, strlen(head)), 0);
	assert_non_null(strstr(u.head, "name=\"file\""));
	assert_string_equal(u.head + strlen(u.head) - 4, "\r\n\r\n");
	snprintf(tail, sizeof(tail), "\r\n--%s--\r\n", boundary);
	assert_string_equal(u.tail, tail);
	r = api_file_write(ID, &u);
	assert_string_equal(r->path, "/v1/capsules/" ID "/files/stream/write");
	assert_string_equal(r->content_type, u.content_type);
	assert_false(r->idempotent);
	upstream_request_free(r);
	api_upload_release(&u);
	api_upload_release(&v);
	assert_null(u.head);
}

/* ---- commands ---- */

static struct json_object *
json(const char *text)
{
	struct json_object *o = json_tokener_parse(text);

	assert_non_null(o);
	return o;
}

static void
a_plain_command_is_passed_as_it_is(void **state)
{
	struct api_command c = { .cmd = "echo", .timeout_s = 30 };
	struct upstream_request *r;

	(void)state;
	expect(api_exec(ID, &c), "POST", "/v1/capsules/" ID "/exec",
	    "{\"cmd\":\"echo\",\"args\":[],\"timeout_sec\":30}");
	c.args = json("[\"$HOME\",\"\",\"a b\"]");
	r = api_exec(ID, &c);
	assert_int_equal(r->timeout_ms, 60000);
	expect(r, "POST", "/v1/capsules/" ID "/exec",
	    "{\"cmd\":\"echo\",\"args\":[\"$HOME\",\"\",\"a b\"],"
	    "\"timeout_sec\":30}");
	json_object_put(c.args);
}

/* There upstream honours folder and variables itself. */
static void
a_command_in_the_background_is_not_wrapped(void **state)
{
	struct api_command c = { .cmd = "make" };

	(void)state;
	expect(api_process_start(ID, &c, "t"), "POST",
	    "/v1/capsules/" ID "/exec",
	    "{\"cmd\":\"make\",\"background\":true,\"tag\":\"t\"}");
	c.args = json("[\"a b\",\"\"]");
	c.cwd = "/srv";
	c.envs = json("{\"A\":\"$B\"}");
	expect(api_process_start(ID, &c, "t"), "POST",
	    "/v1/capsules/" ID "/exec",
	    "{\"cmd\":\"make\",\"args\":[\"a b\",\"\"],\"cwd\":\"/srv\","
	    "\"envs\":{\"A\":\"$B\"},\"background\":true,\"tag\":\"t\"}");
	json_object_put(c.args);
	json_object_put(c.envs);
}

static void
processes_are_listed_and_signalled(void **state)
{
	(void)state;
	expect(
	    api_process_list(ID), "GET", "/v1/capsules/" ID "/processes", "");
	expect(api_process_kill(ID, 4711, "SIGKILL"), "DELETE",
	    "/v1/capsules/" ID "/processes/4711?signal=SIGKILL", "");
	expect(api_process_kill(ID, 1, "SIGTERM"), "DELETE",
	    "/v1/capsules/" ID "/processes/1?signal=SIGTERM", "");
}

/* Runs what upstream would run, here; its output. */
static void
run_here(const struct api_command *c, char *output, size_t size)
{
	struct upstream_request *r = api_exec(ID, c);
	struct json_object *o = json(buf_str(&r->body)), *args;
	char *argv[32] = { NULL };
	posix_spawn_file_actions_t actions;
	size_t i, n;
	int fds[2];
	ssize_t got;
	pid_t pid;

	args = jx_arr(o, "args");
	n = json_object_array_length(args);
	assert_true(n < COUNT(argv) - 1);
	argv[0] = strdup(jx_str(o, "cmd"));
	for (i = 0; i < n; i++)
		argv[i + 1] = strdup(
		    jx_text_of(json_object_array_get_idx(args, i), NULL));
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
	posix_spawn_file_actions_addopen(
	    &actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	assert_int_equal(
	    posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ), 0);
	close(fds[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	got = read(fds[0], output, size - 1);
	assert_true(got >= 0);
	output[got] = '\0';
	close(fds[0]);
	posix_spawn_file_actions_destroy(&actions);
	for (i = 0; argv[i] != NULL; i++)
		free(argv[i]);
	json_object_put(o);
	upstream_request_free(r);
}

/* Values that a script would trip over arrive as they are. */
static void
folder_and_variables_reach_a_wrapped_command(void **state)
{
	struct api_command c = { .cmd = "sh", .timeout_s = 1 };
	char output[300];

	(void)state;
	c.args =
	    json("[\"-c\",\"printf '%s|%s|%s|%s|%s' \\\"$PWD\\\" \\\"$A\\\""
		 " \\\"$B\\\" \\\"$#\\\" \\\"$1\\\"\",\"sh\",\"x  y\"]");
	c.cwd = "/usr";
	c.envs =
	    json("{\"A\":\"it's $(id) \\\"q\\\"; exit\",\"B\":\"a\\nb=c\"}");
	run_here(&c, output, sizeof(output));
	assert_string_equal(
	    output, "/usr|it's $(id) \"q\"; exit|a\nb=c|1|x  y");
	json_object_put(c.envs);
	c.envs = NULL;
	c.cwd = "/";
	run_here(&c, output, sizeof(output));
	assert_string_equal(output, "/|||1|x  y");
	json_object_put(c.args);
}

static void
a_wrapped_command_without_its_folder_does_not_run(void **state)
{
	struct api_command c = { .cmd = "echo", .timeout_s = 1 };
	char output[100];

	(void)state;
	c.args = json("[\"ran\"]");
	c.cwd = "/no/such/folder";
	run_here(&c, output, sizeof(output));
	assert_string_equal(output, "");
	c.cwd = "-";
	run_here(&c, output, sizeof(output));
	assert_string_equal(output, "");
	c.cwd = NULL;
	c.envs = json("{}");
	run_here(&c, output, sizeof(output));
	assert_string_equal(output, "ran\n");
	json_object_put(c.envs);
	json_object_put(c.args);
}

/* ---- answers ---- */

static struct upstream_answer
answer(int status, const char *type, const char *body)
{
	return (struct upstream_answer){ .outcome = HTTP_ANSWERED,
		.status = status,
		.content_type = type,
		.body = body,
		.len = strlen(body),
		.why = "" };
}

#define JSON "application/json"
#define ERR(code, message) \
	"{\"error\":{\"code\":\"" code "\",\"message\":\"" message "\"}}"

static void
each_status_has_its_kind(void **state)
{
	static const struct {
		int status;
		const char *body;
		enum rpc_errno kind;
	} cases[] = {
		{ 200, "{}", RPC_OK },
		{ 201, "{}", RPC_OK },
		{ 202, "", RPC_OK },
		{ 204, "", RPC_OK },
		{ 301, "", RPC_BAD_ANSWER },
		{ 302, "", RPC_BAD_ANSWER },
		{ 304, "", RPC_BAD_ANSWER },
		{ 400, ERR("invalid_request", "m"), RPC_VALIDATION },
		{ 401, ERR("unauthorized", "m"), RPC_UNAUTHORIZED },
		{ 403, ERR("forbidden", "m"), RPC_FORBIDDEN },
		{ 404, ERR("not_found", "m"), RPC_NOT_FOUND },
		{ 409, ERR("invalid_state", "m"), RPC_CONFLICT },
		{ 409, ERR("host_has_sandboxes", "m"), RPC_HOST_HAS_CAPSULES },
		{ 413, ERR("too_large", "m"), RPC_TOO_LARGE },
		{ 418, ERR("teapot", "m"), RPC_UPSTREAM },
		{ 500, ERR("internal_error", "m"), RPC_UPSTREAM_INTERNAL },
		{ 502, ERR("agent_error", "m"), RPC_AGENT },
		{ 503, ERR("host_unavailable", "m"), RPC_HOST_UNAVAILABLE },
		{ 404, "<html>", RPC_NOT_FOUND },
		/* The code says more than the status. */
		{ 400, ERR("not_found", "m"), RPC_NOT_FOUND },
	};
	struct upstream_answer a;
	struct rpc_error e;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		e = (struct rpc_error){ .kind = RPC_OK };
		a = answer(cases[i].status, JSON, cases[i].body);
		assert_int_equal(api_check(&a, false, &e), cases[i].kind);
		assert_int_equal(e.kind, cases[i].kind);
		assert_int_equal(e.http_status,
		    cases[i].kind == RPC_OK ? 0 : cases[i].status);
		rpc_error_release(&e);
	}
}

static void
upstreams_own_words_are_kept(void **state)
{
	struct upstream_answer a;
	struct rpc_error e;

	(void)state;
	a = answer(409, JSON, ERR("invalid_state", "it sleeps"));
	api_check(&a, false, &e);
	assert_string_equal(e.message, "it sleeps");
	assert_string_equal(e.upstream_code, "invalid_state");
	assert_true(api_is_not_running(&e));
	a = answer(409, JSON, ERR("conflict", "no"));
	api_check(&a, false, &e);
	assert_false(api_is_not_running(&e));
	a = answer(400, "text/html", "<html>oops</html>");
	api_check(&a, false, &e);
	assert_string_equal(e.message,
	    "upstream answered HTTP 400 with text/html and no explanation");
	a = answer(401, JSON, ERR("unauthorized", "bad key"));
	api_check(&a, false, &e);
	assert_int_equal(strncmp(e.message, "bad key: the credential", 23), 0);
}

static void
keys_in_messages_are_hidden(void **state)
{
	struct upstream_answer a = answer(401, JSON,
	    ERR("unauthorized", "no such key wrn_0123456789abcdef here"));
	struct rpc_error e;

	(void)state;
	api_check(&a, false, &e);
	assert_null(strstr(e.message, "0123"));
	assert_non_null(strstr(e.message, "wrn_**************** here"));
}

static void
capsules_of_a_host_are_named(void **state)
{
	static const char *const bodies[] = {
		"{\"error\":{\"code\":\"host_has_sandboxes\",\"message\":\"m\","
		"\"sandbox_ids\":[\"a\",\"b\"]}}",
		"{\"error\":{\"code\":\"host_has_capsules\",\"message\":\"m\","
		"\"capsule_ids\":[\"a\",\"b\"]}}",
		"{\"error\":{\"code\":\"host_has_sandboxes\",\"message\":\"m\""
		"},\"sandbox_ids\":[\"a\",\"b\"]}",
	};
	struct upstream_answer a;
	struct rpc_error e;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(bodies); i++) {
		a = answer(409, JSON, bodies[i]);
		api_check(&a, false, &e);
		assert_int_equal(
		    json_object_array_length(jx_arr(e.extra, "capsule_ids")),
		    2);
		rpc_error_release(&e);
	}
	a = answer(409, JSON, ERR("host_has_sandboxes", "m"));
	api_check(&a, false, &e);
	assert_null(e.extra);
}

/* Behind a gateway that answers by itself anything may have happened. */
static void
a_gateways_word_leaves_the_outcome_open(void **state)
{
	static const int statuses[] = { 500, 502, 503, 504, 524 };
	struct upstream_answer a;
	struct rpc_error e;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(statuses); i++) {
		a = answer(
		    statuses[i], "text/html", "<html>Bad Gateway</html>");
		assert_int_equal(api_check(&a, false, &e), RPC_OUTCOME_UNKNOWN);
		assert_int_equal(e.http_status, statuses[i]);
		assert_int_equal(api_check(&a, true, &e),
		    statuses[i] == 503 ? RPC_HOST_UNAVAILABLE
				       : RPC_UPSTREAM_INTERNAL);
		a = answer(statuses[i], JSON, ERR("agent_error", "m"));
		assert_int_equal(api_check(&a, false, &e), RPC_AGENT);
	}
}

static enum rpc_errno
unanswered(enum http_outcome outcome, enum rpc_errno error, bool idempotent,
    struct rpc_error *e)
{
	struct upstream_answer a = { .outcome = outcome,
		.content_type = "",
		.body = "",
		.error = error,
		.why = "the wire broke" };

	return api_check(&a, idempotent, e);
}

static void
what_was_not_answered_is_told_truly(void **state)
{
	struct rpc_error e;

	(void)state;
	assert_int_equal(unanswered(HTTP_NOT_SENT, RPC_UNREACHABLE, false, &e),
	    RPC_UNREACHABLE);
	assert_non_null(strstr(e.message, "the wire broke; nothing was sent"));
	assert_int_equal(
	    unanswered(HTTP_NOT_SENT, RPC_TLS, false, &e), RPC_TLS);
	assert_non_null(strstr(e.message, "ca_file"));
	assert_int_equal(
	    unanswered(HTTP_NOT_SENT, RPC_NO_CREDENTIAL, false, &e),
	    RPC_NO_CREDENTIAL);
	assert_string_equal(e.message, "the wire broke");
	assert_int_equal(unanswered(HTTP_UNKNOWN, RPC_TIMEOUT, false, &e),
	    RPC_OUTCOME_UNKNOWN);
	assert_non_null(strstr(e.message, "the wire broke"));
	assert_int_equal(
	    unanswered(HTTP_UNKNOWN, RPC_TIMEOUT, true, &e), RPC_TIMEOUT);
	assert_int_equal(
	    unanswered(HTTP_UNKNOWN, RPC_TOO_LARGE, false, &e), RPC_TOO_LARGE);
	assert_int_equal(unanswered(HTTP_UNKNOWN, RPC_DATA_SOCKET, false, &e),
	    RPC_DATA_SOCKET);
	assert_int_equal(e.http_status, 0);
}

static void
only_json_is_an_answer(void **state)
{
	struct upstream_answer a = answer(200, JSON, "{\"id\":\"x\"}");
	struct json_object *o;
	struct rpc_error e;

	(void)state;
	o = api_json(&a, true, &e);
	assert_string_equal(jx_str(o, "id"), "x");
	json_object_put(o);
	a = answer(200, "text/html", "<html>Log in</html>");
	assert_null(api_json(&a, true, &e));
	assert_int_equal(e.kind, RPC_BAD_ANSWER);
	assert_int_equal(e.http_status, 200);
	assert_non_null(strstr(e.message, "text/html that is not JSON"));
	a = answer(200, "", "");
	assert_null(api_json(&a, true, &e));
	assert_int_equal(e.kind, RPC_BAD_ANSWER);
	a = answer(200, JSON, "{\"a\":1,\"a\":2}");
	assert_null(api_json(&a, true, &e));
	a = answer(404, JSON, "{}");
	assert_null(api_json(&a, true, &e));
	assert_int_equal(e.kind, RPC_NOT_FOUND);
}

static void
an_answers_text_is_its_own(void **state)
{
	struct upstream_answer a = answer(200, JSON, " {\"id\" :1.50}\n");
	struct rpc_error e;
	struct api_text t;

	(void)state;
	assert_true(api_text_init(&t, &a, true, &e));
	assert_ptr_equal(t.text, a.body);
	assert_int_equal(t.len, a.len);
	api_text_release(&t);
	a = answer(200, JSON, "{\"id\":1} 2");
	assert_false(api_text_init(&t, &a, true, &e));
	assert_int_equal(e.kind, RPC_BAD_ANSWER);
	assert_non_null(strstr(e.message, "not JSON"));
	a = answer(200, JSON, "");
	assert_false(api_text_init(&t, &a, true, &e));
	a = answer(204, "", "");
	assert_true(api_text_init(&t, &a, true, &e));
	assert_int_equal(t.len, 0);
	api_text_release(&t);
	a = answer(404, JSON, "{}");
	assert_false(api_text_init(&t, &a, true, &e));
	assert_int_equal(e.kind, RPC_NOT_FOUND);
}

/* Our own client would refuse the whole line. */
static void
no_name_in_an_answers_text_holds_nul(void **state)
{
	struct upstream_answer a =
	    answer(200, JSON, "{\"a\\u0000b\":{\"c\":\"\\u0000\"}}");
	struct rpc_error e;
	struct api_text t;

	(void)state;
	assert_true(api_text_init(&t, &a, true, &e));
	assert_int_equal(t.len, strlen("{\"a\":{\"c\":\"\\u0000\"}}"));
	assert_memory_equal(t.text, "{\"a\":{\"c\":\"\\u0000\"}}", t.len);
	api_text_release(&t);
}

static void
a_start_message_says_what_a_request_would(void **state)
{
	struct api_command c = { .cmd = "echo", .timeout_s = 30 };
	char *text;

	(void)state;
	c.args = json("[\"a b\",\"\"]");
	text = api_start_message(&c);
	assert_string_equal(text, "{\"cmd\":\"echo\",\"args\":[\"a b\",\"\"],"
				  "\"type\":\"start\"}");
	free(text);
	json_object_put(c.args);
	c = (struct api_command){ .cmd = "pwd", .cwd = "/tmp" };
	text = api_start_message(&c);
	assert_non_null(strstr(text, "{\"cmd\":\"/bin/sh\",\"args\":[\"-c\""));
	free(text);
}

static void
errors_of_a_stream_have_the_kinds_of_answers(void **state)
{
	static const struct {
		const char *text;
		enum rpc_errno kind;
		int status;
	} rows[] = {
		{ "sandbox not found", RPC_NOT_FOUND, 404 },
		{ "authentication failed", RPC_UNAUTHORIZED, 401 },
		{ "sandbox is not running (status: paused)", RPC_CONFLICT,
		    409 },
		{ "sandbox host is not reachable", RPC_HOST_UNAVAILABLE, 503 },
		{ "something else", RPC_AGENT, 502 },
		{ "", RPC_AGENT, 502 },
	};
	struct rpc_error e;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		api_stream_error(rows[i].text, &e);
		assert_int_equal(e.kind, rows[i].kind);
		assert_int_equal(e.http_status, rows[i].status);
		assert_true(e.message[0] != '\0');
	}
	api_stream_error("sandbox is not running (status: x)", &e);
	assert_true(api_is_not_running(&e));
	api_stream_error("key wrn_0123456789abcdef0123456789abcdef", &e);
	assert_null(strstr(e.message, "0123456789abcdef"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(capsule_requests_are_as_documented),
		cmocka_unit_test(a_create_sends_only_what_was_asked_for),
		cmocka_unit_test(only_what_harms_nobody_may_be_sent_twice),
		cmocka_unit_test(file_requests_carry_the_path),
		cmocka_unit_test(an_upload_is_framed),
		cmocka_unit_test(a_plain_command_is_passed_as_it_is),
		cmocka_unit_test(a_command_in_the_background_is_not_wrapped),
		cmocka_unit_test(processes_are_listed_and_signalled),
		cmocka_unit_test(folder_and_variables_reach_a_wrapped_command),
		cmocka_unit_test(
		    a_wrapped_command_without_its_folder_does_not_run),
		cmocka_unit_test(each_status_has_its_kind),
		cmocka_unit_test(upstreams_own_words_are_kept),
		cmocka_unit_test(keys_in_messages_are_hidden),
		cmocka_unit_test(capsules_of_a_host_are_named),
		cmocka_unit_test(a_gateways_word_leaves_the_outcome_open),
		cmocka_unit_test(what_was_not_answered_is_told_truly),
		cmocka_unit_test(only_json_is_an_answer),
		cmocka_unit_test(a_start_message_says_what_a_request_would),
		cmocka_unit_test(errors_of_a_stream_have_the_kinds_of_answers),
		cmocka_unit_test(an_answers_text_is_its_own),
		cmocka_unit_test(no_name_in_an_answers_text_holds_nul),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
