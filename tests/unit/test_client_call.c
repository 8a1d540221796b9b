#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "client/wrenn.h"
#include "proto/jx.h"
#include "proto/limits.h"
#include "tests/unit/fake_wrennd.h"

#include "proto/banned.h"

#define SOON 10000 /* ms: a deadline that no test reaches */

/* Starts the server and connects to it. */
static struct wrenn *
connect_to(struct fake_wrennd *f, void (*serve)(struct fake_wrennd *),
    const char *client)
{
	struct wrenn_options o = { .client = client };
	struct wrenn_error err;
	struct wrenn *w;

	fake_start(f, serve);
	o.socket = f->path;
	assert_int_equal(wrenn_open(&o, &w, &err), 0);
	assert_string_equal(wrenn_socket(w), f->path);
	return w;
}

static void
disconnect(struct fake_wrennd *f, struct wrenn *w)
{
	wrenn_close(w);
	fake_stop(f);
}

/* The error has that name; it is released. */
static void
assert_error(struct wrenn_error *err, const char *name)
{
	assert_string_equal(err->name, name);
	assert_int_not_equal(err->code, 0);
	assert_string_not_equal(err->message, "");
	wrenn_error_release(err);
}

static void
serve_answers(struct fake_wrennd *f)
{
	fake_expect(f, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a.b\","
		       "\"params\":{\"n\":7}}");
	fake_send(f,
	    "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{}}\n"
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"m\":8}}\n");
	fake_expect(f, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"a.c\"}");
	fake_send(f, "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":null}\n");
}

static void
test_a_call_and_its_answer(void **state)
{
	struct json_object *params = json_object_new_object(), *result;
	struct fake_wrennd f;
	struct wrenn_error err;
	struct wrenn *w = connect_to(&f, serve_answers, NULL);
	int64_t n;

	(void)state;
	jx_add_int(params, "n", 7);
	assert_int_equal(wrenn_call(w, "a.b", params, SOON, &result, &err), 0);
	json_object_put(params);
	assert_int_equal(jx_int(result, "m", 0, 100, &n), 0);
	assert_int_equal(n, 8);
	json_object_put(result);
	result = (struct json_object *)w;
	assert_int_equal(wrenn_call(w, "a.c", NULL, SOON, &result, &err), 0);
	assert_null(result);
	disconnect(&f, w);
}

static void
serve_hello(struct fake_wrennd *f)
{
	/* No id: nobody waits for its answer. */
	fake_expect(f, "{\"jsonrpc\":\"2.0\",\"method\":\"daemon.hello\","
		       "\"params\":{\"client\":\"tester\"}}");
	fake_expect(f, "\"method\":\"x\"");
	fake_send(f, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n");
}

static void
test_hello_costs_no_round_trip(void **state)
{
	struct json_object *result;
	struct fake_wrennd f;
	struct wrenn_error err;
	struct wrenn *w = connect_to(&f, serve_hello, "tester");

	(void)state;
	assert_int_equal(wrenn_call(w, "x", NULL, SOON, &result, &err), 0);
	json_object_put(result);
	disconnect(&f, w);
}

/* Answers three calls in the reverse order, in one piece. */
static void
serve_reversed(struct fake_wrennd *f)
{
	fake_expect(f, "\"id\":1");
	fake_expect(f, "\"id\":2");
	fake_expect(f, "\"id\":3");
	fake_send(f, "{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{\"n\":3}}\n"
		     "[{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"n\":2}},"
		     "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"n\":1}}]\n");
}

static void
test_answers_are_matched_by_id(void **state)
{
	struct json_object *result;
	struct fake_wrennd f;
	struct wrenn_error err;
	struct wrenn *w = connect_to(&f, serve_reversed, NULL);
	int64_t i, n;

	(void)state;
	for (i = 1; i <= 3; i++)
		assert_int_equal(wrenn_send(w, "m", NULL, &err), i);
	wrenn_forget(w, 2);
	for (i = 1; i <= 3; i += 2) {
		assert_true(wrenn_is_pending(w, i));
		assert_int_equal(wrenn_wait(w, i, SOON, &result, &err), 0);
		assert_int_equal(jx_int(result, "n", 0, 9, &n), 0);
		assert_int_equal(n, i);
		json_object_put(result);
	}
	assert_int_equal(wrenn_wait(w, 2, SOON, &result, &err), -1);
	assert_error(&err, "usage");
	disconnect(&f, w);
}

static void
serve_errors(struct fake_wrennd *f)
{
	fake_expect(f, "\"id\":1");
	fake_send(f,
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32004,"
	    "\"message\":\"gone\",\"data\":{\"name\":\"not_found\",\"class\":"
	    "\"WrennNotFoundError\",\"http_status\":404,\"retryable\":false,"
	    "\"request\":\"r1\"}}}\n");
	fake_expect(f, "\"id\":2");
	fake_send(f, "{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{\"code\":-31999,"
		     "\"message\":\"new\",\"data\":{\"name\":\"of_the_future\","
		     "\"retryable\":true}}}\n");
	fake_expect(f, "\"id\":3");
	fake_send(f, "{\"jsonrpc\":\"2.0\",\"id\":3,\"error\":{}}\n");
}

static void
test_errors_are_kept_whole(void **state)
{
	struct json_object *result;
	struct fake_wrennd f;
	struct wrenn_error err;
	struct wrenn *w = connect_to(&f, serve_errors, NULL);

	(void)state;
	assert_int_equal(wrenn_call(w, "m", NULL, SOON, &result, &err), -1);
	assert_int_equal(err.code, -32004);
	assert_string_equal(err.message, "gone");
	assert_string_equal(err.sdk_class, "WrennNotFoundError");
	assert_int_equal(err.http_status, 404);
	assert_false(err.retryable);
	assert_string_equal(jx_str(err.data, "request"), "r1");
	assert_error(&err, "not_found");
	assert_int_equal(wrenn_call(w, "m", NULL, SOON, &result, &err), -1);
	assert_int_equal(err.code, -31999);
	assert_true(err.retryable);
	assert_error(&err, "of_the_future");
	assert_int_equal(wrenn_call(w, "m", NULL, SOON, &result, &err), -1);
	assert_error(&err, "protocol");
	disconnect(&f, w);
}

static void
serve_one_of_two(struct fake_wrennd *f)
{
	fake_expect(f, "\"id\":1");
	fake_expect(f, "\"id\":2");
	fake_send(f, "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}\n");
}

/* An answer that came before the end still counts; the rest is lost. */
static void
test_hang_up(void **state)
{
	struct json_object *result;
	struct fake_wrennd f;
	struct wrenn_error err;
	struct wrenn *w = connect_to(&f, serve_one_of_two, NULL);

	(void)state;
	assert_int_equal(wrenn_send(w, "m", NULL, &err), 1);
	assert_int_equal(wrenn_send(w, "m", NULL, &err), 2);
	assert_int_equal(wrenn_wait(w, 1, SOON, &result, &err), -1);
	assert_error(&err, "daemon_lost");
	assert_int_equal(wrenn_wait(w, 2, SOON, &result, &err), 0);
	json_object_put(result);
	assert_int_equal(wrenn_call(w, "m", NULL, SOON, &result, &err), -1);
	assert_error(&err, "daemon_lost");
	disconnect(&f, w);
}

/* What each of these lines makes of the connection. */
static const char *bad_line;

static void
serve_bad_line(struct fake_wrennd *f)
{
	fake_expect(f, "\"id\":1");
	fake_send(f, bad_line);
	fake_read_line(f);
}

static void
test_what_is_no_protocol(void **state)
{
	static const char *const cases[][2] = {
		{ "SSH-2.0-OpenSSH\n", "protocol" },
		{ "{\"jsonrpc\":\"1.0\",\"id\":1,\"result\":{}}\n",
		    "protocol" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1}\n", "protocol" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":"
		  "-32700,\"message\":\"no\",\"data\":{\"name\":"
		  "\"parse_error\"}}}\n",
		    "parse_error" },
	};
	struct json_object *result;
	struct fake_wrennd f;
	struct wrenn_error err;
	struct wrenn *w;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		bad_line = cases[i][0];
		w = connect_to(&f, serve_bad_line, NULL);
		assert_int_equal(
		    wrenn_call(w, "m", NULL, SOON, &result, &err), -1);
		assert_error(&err, cases[i][1]);
		disconnect(&f, w);
	}
}

/* One line without end, until the client has had enough. */
static void
serve_endless(struct fake_wrennd *f)
{
	static char chunk[64 * 1024];

	memset(chunk, 'x', sizeof(chunk));
	fake_expect(f, "\"id\":1");
	while (send(f->fd, chunk, sizeof(chunk), MSG_NOSIGNAL) > 0)
		continue;
}

static void
test_an_endless_answer_is_refused(void **state)
{
	struct json_object *result;
	struct fake_wrennd f;
	struct wrenn_error err;
	struct wrenn *w = connect_to(&f, serve_endless, NULL);

	(void)state;
	assert_int_equal(wrenn_call(w, "m", NULL, SOON, &result, &err), -1);
	assert_error(&err, "protocol");
	disconnect(&f, w);
}

static void
serve_third(struct fake_wrennd *f)
{
	fake_expect(f, "\"id\":3");
	fake_send(f, "{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{}}\n");
}

static void
test_requests_that_cannot_be_sent(void **state)
{
	struct json_object *params = json_object_new_object(), *result;
	char *text = calloc(1, LIMIT_REQUEST_LINE + 1);
	struct fake_wrennd f;
	struct wrenn_error err;
	struct wrenn *w = connect_to(&f, serve_third, NULL);

	(void)state;
	assert_non_null(text);
	memset(text, 'x', LIMIT_REQUEST_LINE);
	jx_add_str(params, "text", text);
	free(text);
	assert_true(wrenn_send(w, "m", params, &err) < 0);
	assert_error(&err, "too_large");
	jx_add_str(params, "text", "\xff");
	assert_true(wrenn_send(w, "m", params, &err) < 0);
	assert_error(&err, "invalid_params");
	json_object_put(params);
	/* Neither harmed the connection; each has used up an id. */
	assert_int_equal(wrenn_call(w, "m", NULL, SOON, &result, &err), 0);
	json_object_put(result);
	disconnect(&f, w);
}

static void
serve_cancelled(struct fake_wrennd *f)
{
	fake_expect(f, "\"id\":1");
	fake_expect(f, "{\"jsonrpc\":\"2.0\",\"method\":\"call.cancel\","
		       "\"params\":{\"call\":1}}");
	/* An answer to what was given up, and one to what was not. */
	fake_send(f, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n");
	fake_expect(f, "\"id\":2");
	fake_send(f, "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}\n");
}

static void
test_a_deadline_cancels_the_call(void **state)
{
	struct json_object *result;
	struct fake_wrennd f;
	struct wrenn_error err;
	struct wrenn *w = connect_to(&f, serve_cancelled, NULL);

	(void)state;
	assert_int_equal(wrenn_call(w, "m", NULL, 20, &result, &err), -1);
	assert_error(&err, "timeout");
	assert_false(wrenn_is_pending(w, 1));
	assert_int_equal(wrenn_call(w, "m", NULL, SOON, &result, &err), 0);
	json_object_put(result);
	disconnect(&f, w);
}

static void
test_an_interrupt_cancels_the_call(void **state)
{
	volatile sig_atomic_t flag = 1;
	struct json_object *result;
	struct fake_wrennd f;
	struct wrenn_error err;
	struct wrenn *w = connect_to(&f, serve_cancelled, NULL);

	(void)state;
	wrenn_set_interrupt(w, &flag);
	assert_int_equal(wrenn_call(w, "m", NULL, SOON, &result, &err), -1);
	assert_error(&err, "cancelled");
	wrenn_set_interrupt(w, NULL);
	assert_int_equal(wrenn_call(w, "m", NULL, SOON, &result, &err), 0);
	json_object_put(result);
	disconnect(&f, w);
}

static void
serve_late(struct fake_wrennd *f)
{
	fake_expect(f, "\"id\":1");
	fake_expect(f, "call.cancel");
	fake_send(f,
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32014,"
	    "\"message\":\"stopped\",\"data\":{\"name\":\"cancelled\"}}}\n");
}

/* Whoever waits by id decides himself what becomes of the call. */
static void
test_a_wait_can_be_repeated(void **state)
{
	struct json_object *result;
	struct fake_wrennd f;
	struct wrenn_error err;
	struct wrenn *w = connect_to(&f, serve_late, NULL);

	(void)state;
	assert_int_equal(wrenn_send(w, "m", NULL, &err), 1);
	assert_int_equal(wrenn_wait(w, 1, 20, &result, &err), -1);
	assert_error(&err, "timeout");
	assert_true(wrenn_is_pending(w, 1));
	assert_int_equal(wrenn_cancel(w, 1, &err), 0);
	assert_int_equal(wrenn_wait(w, 1, SOON, &result, &err), -1);
	assert_string_equal(err.message, "stopped");
	assert_error(&err, "cancelled");
	assert_false(wrenn_is_pending(w, 1));
	disconnect(&f, w);
}

static void
serve_at_once(struct fake_wrennd *f)
{
	fake_expect(f, "\"id\":1");
	fake_send(f, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n");
	fake_expect(f, "done");
}

/* A program with a loop of its own asks without waiting. */
static void
test_a_wait_without_time_takes_what_came(void **state)
{
	struct json_object *result;
	struct fake_wrennd f;
	struct wrenn_error err;
	struct wrenn *w = connect_to(&f, serve_at_once, NULL);
	int i, r = -1;

	(void)state;
	assert_int_equal(wrenn_send(w, "m", NULL, &err), 1);
	for (i = 0; r < 0 && i < SOON; i++) {
		r = wrenn_wait(w, 1, 0, &result, &err);
		if (r == 0)
			break;
		assert_error(&err, "timeout");
		assert_true(wrenn_is_pending(w, 1));
		usleep(1000);
	}
	assert_int_equal(r, 0);
	json_object_put(result);
	assert_int_equal(wrenn_notify(w, "done", NULL, &err), 0);
	disconnect(&f, w);
}

static void
serve_code_0(struct fake_wrennd *f)
{
	fake_expect(f, "\"id\":1");
	fake_send(f, "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":0,"
		     "\"message\":\"odd\"}}\n");
}

/* Nobody may take it for an answer. */
static void
test_an_error_with_code_0_is_one(void **state)
{
	struct json_object *result;
	struct fake_wrennd f;
	struct wrenn_error err;
	struct wrenn *w = connect_to(&f, serve_code_0, NULL);

	(void)state;
	assert_int_equal(wrenn_call(w, "m", NULL, SOON, &result, &err), -1);
	assert_string_equal(err.message, "odd");
	assert_error(&err, "protocol");
	disconnect(&f, w);
}

static void
serve_refusal(struct fake_wrennd *f)
{
	fake_send(f,
	    "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32016,"
	    "\"message\":\"too many\",\"data\":{\"name\":\"busy\"}}}\n");
	close(f->fd);
	f->fd = -1;
}

/* What wrennd said before it hung up is told, not that it hung up. */
static void
test_a_refusal_is_heard_when_descriptors_go(void **state)
{
	struct wrenn_fd passed = { .name = "data" };
	struct fake_wrennd f;
	struct wrenn_error err;
	struct wrenn *w = connect_to(&f, serve_refusal, NULL);

	(void)state;
	fake_stop(&f); /* when it has hung up */
	passed.fd = dup(STDERR_FILENO);
	assert_int_equal(wrenn_send_fds(w, "m", NULL, &passed, 1, &err), -1);
	assert_string_equal(err.message, "too many");
	assert_error(&err, "busy");
	close(passed.fd);
	wrenn_close(w);
}

static void
serve_the_second(struct fake_wrennd *f)
{
	fake_expect(f, "\"id\":2");
	fake_send(f, "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}\n");
}

static void
test_a_bad_descriptor_is_no_lost_daemon(void **state)
{
	struct wrenn_fd passed = { .name = "data", .fd = -1 };
	struct json_object *result;
	struct fake_wrennd f;
	struct wrenn_error err;
	struct wrenn *w = connect_to(&f, serve_the_second, NULL);

	(void)state;
	assert_int_equal(wrenn_send_fds(w, "m", NULL, &passed, 1, &err), -1);
	assert_non_null(strstr(err.message, strerror(EBADF)));
	assert_error(&err, "local");
	assert_int_equal(wrenn_call(w, "m", NULL, SOON, &result, &err), 0);
	json_object_put(result);
	disconnect(&f, w);
}

#define MANY 400

/* Reads nothing before it has answered as much as its socket holds. */
static void
serve_many(struct fake_wrennd *f)
{
	char *answer = malloc(8192);
	int i, n;

	fake_must(answer != NULL, "malloc");
	for (i = 1; i <= MANY; i++) {
		fake_expect(f, "\"method\":\"m\"");
		n = snprintf(answer, 8192,
		    "{\"jsonrpc\":\"2.0\",\"id\":%d,\"result\":{\"x\":\"", i);
		memset(answer + n, 'y', 4000);
		snprintf(answer + n + 4000, 8, "\"}}\n");
		fake_send(f, answer);
	}
	free(answer);
}

/* Both sides would wait for each other if sending did not read as well. */
static void
test_pipelining_more_than_sockets_hold(void **state)
{
	struct json_object *params = json_object_new_object(), *result;
	char *text = calloc(1, 3001);
	struct fake_wrennd f;
	struct wrenn_error err;
	struct wrenn *w = connect_to(&f, serve_many, NULL);
	int i;

	(void)state;
	assert_non_null(text);
	memset(text, 'z', 3000);
	jx_add_str(params, "text", text);
	free(text);
	for (i = 1; i <= MANY; i++)
		assert_int_equal(wrenn_send(w, "m", params, &err), i);
	json_object_put(params);
	for (i = MANY; i >= 1; i--) {
		assert_int_equal(wrenn_wait(w, i, SOON, &result, &err), 0);
		json_object_put(result);
	}
	disconnect(&f, w);
}

static void
test_nobody_at_the_socket(void **state)
{
	static const char long_path[] =
	    "/tmp/0123456789012345678901234567890123456789012345678901234567"
	    "890123456789012345678901234567890123456789012345678901234567890";
	struct wrenn_options o = { .socket = "/nonexistent/sock" };
	struct wrenn_error err;
	struct wrenn *w;

	(void)state;
	assert_int_equal(wrenn_open(&o, &w, &err), -1);
	assert_non_null(strstr(err.message, "/nonexistent/sock"));
	assert_error(&err, "daemon_unreachable");
	o.socket = long_path;
	assert_int_equal(wrenn_open(&o, &w, &err), -1);
	assert_non_null(strstr(err.message, long_path));
	assert_non_null(strstr(err.message, "at most 107"));
	assert_error(&err, "daemon_unreachable");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_call_and_its_answer),
		cmocka_unit_test(test_hello_costs_no_round_trip),
		cmocka_unit_test(test_answers_are_matched_by_id),
		cmocka_unit_test(test_errors_are_kept_whole),
		cmocka_unit_test(test_hang_up),
		cmocka_unit_test(test_what_is_no_protocol),
		cmocka_unit_test(test_an_endless_answer_is_refused),
		cmocka_unit_test(test_requests_that_cannot_be_sent),
		cmocka_unit_test(test_a_deadline_cancels_the_call),
		cmocka_unit_test(test_an_interrupt_cancels_the_call),
		cmocka_unit_test(test_a_wait_can_be_repeated),
		cmocka_unit_test(test_a_wait_without_time_takes_what_came),
		cmocka_unit_test(test_an_error_with_code_0_is_one),
		cmocka_unit_test(test_a_refusal_is_heard_when_descriptors_go),
		cmocka_unit_test(test_a_bad_descriptor_is_no_lost_daemon),
		cmocka_unit_test(test_pipelining_more_than_sockets_hold),
		cmocka_unit_test(test_nobody_at_the_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
