#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#include "daemon/dispatch.h"
#include "daemon/listener.h"
#include "proto/xalloc.h"
#include "tests/unit/fakes/foreign.h"
#include "tests/unit/fakes/rig.h"

#include "proto/banned.h"

#define EXEC(id)                                                       \
	"{\"jsonrpc\":\"2.0\",\"id\":" #id ",\"method\":\"exec.run\"," \
	"\"params\":{\"capsule\":\"" ID_A "\",\"cmd\":\"true\"}}"
#define CREATE(id)                                                           \
	"{\"jsonrpc\":\"2.0\",\"id\":" #id ",\"method\":\"capsule.create\"," \
	"\"params\":{\"timeout_sec\":9}}"
#define CANCEL(id, call)                                                  \
	"{\"jsonrpc\":\"2.0\",\"id\":" #id ",\"method\":\"call.cancel\"," \
	"\"params\":{\"call\":" #call "}}"
#define STATUS(id) \
	"{\"jsonrpc\":\"2.0\",\"id\":" #id ",\"method\":\"auth.status\"}"
#define DONE "{\"stdout\":\"hi\",\"stderr\":\"\",\"exit_code\":0}"
#define DONE_ANSWER(id)                                                      \
	"{\"jsonrpc\":\"2.0\",\"id\":" #id ",\"result\":{\"stdout\":\"hi\"," \
	"\"stderr\":\"\",\"exit_code\":0,\"encoding\":\"utf-8\"}}\n"

/* The daemon from its socket down, and one client. */
struct fixture {
	struct rig *rig;
	char path[64];
	struct services svc;
	struct dispatch *dispatch;
	int client;
	char said[8192]; /* what the client has read last */
	int stops;
};

static void
on_shutdown(void *daemon)
{
	struct fixture *f = daemon;

	f->stops++;
}

static void
connect_client(struct fixture *f)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", f->path);
	f->client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(
	    connect(f->client, (struct sockaddr *)&a, sizeof(a)), 0);
	fake_loop_settle(f->rig->loop);
}

static int
enter(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	void *rig;

	if (rig_setup(&rig) < 0)
		return -1;
	f->rig = rig;
	snprintf(f->path, sizeof(f->path), "%s/sock", f->rig->dir);
	f->rig->settings.socket = f->path;
	f->rig->settings.socket_mode = 0600;
	f->svc = (struct services){
		.loop = f->rig->loop,
		.settings = &f->rig->settings,
		.cred = f->rig->cred,
		.store = f->rig->store,
		.tracker = f->rig->tracker,
		.upstream = f->rig->upstream,
		.keepalive = f->rig->keepalive,
		.capsules = f->rig->capsules,
		.uses = f->rig->uses,
		.calls = calls_new(f->rig->loop),
		.started_ms = now_ms(),
		.shutdown = on_shutdown,
		.daemon = f,
	};
	f->dispatch = dispatch_new(&f->svc);
	f->svc.listener = listener_new(f->rig->loop, &f->rig->settings, -1,
	    &dispatch_peer_ops, f->dispatch);
	assert_non_null(f->svc.listener);
	connect_client(f);
	*state = f;
	return 0;
}

/* In the order of daemon.c; store and reaper answer their callers first. */
static int
leave(void **state)
{
	struct fixture *f = *state;
	void *rig = f->rig;

	listener_free(f->svc.listener);
	dispatch_free(f->dispatch);
	store_close(f->rig->store);
	f->rig->store = NULL;
	reaper_free(f->rig->reaper);
	f->rig->reaper = NULL;
	calls_free(f->svc.calls);
	if (f->client >= 0)
		close(f->client);
	free(f);
	return rig_teardown(&rig);
}

static struct capsule *
own_capsule(struct fixture *f)
{
	struct capsule *c = rig_capsule(f->rig, ID_A);

	c->row.uid = geteuid();
	return c;
}

/* What the client can read now. */
static const char *
hear(struct fixture *f)
{
	ssize_t n;

	fake_loop_settle(f->rig->loop);
	n = recv(f->client, f->said, sizeof(f->said) - 1, MSG_DONTWAIT);
	f->said[n > 0 ? n : 0] = '\0';
	return f->said;
}

/* Sends a line and reads what is answered at once. */
static const char *
say(struct fixture *f, const char *line)
{
	assert_int_equal(
	    send(f->client, line, strlen(line), MSG_NOSIGNAL), strlen(line));
	assert_int_equal(send(f->client, "\n", 1, MSG_NOSIGNAL), 1);
	return hear(f);
}

/* How often `what` stands in text. */
static int
occurrences(const char *text, const char *what)
{
	int n = 0;

	for (; (text = strstr(text, what)) != NULL; text++)
		n++;
	return n;
}

/* One error of that name, to that id, and nothing else. */
static void
expect_error(const char *said, const char *id, const char *name)
{
	char start[100], member[100];

	snprintf(start, sizeof(start),
	    "{\"jsonrpc\":\"2.0\",\"id\":%s,\"error\":", id);
	snprintf(member, sizeof(member), "\"name\":\"%s\"", name);
	if (strncmp(said, start, strlen(start)) != 0 ||
	    strstr(said, member) == NULL)
		fail_msg("%s is not the error %s to %s", said, name, id);
	assert_int_equal(occurrences(said, "\n"), 1);
}

static void
expect_closed(struct fixture *f)
{
	char c;

	fake_loop_settle(f->rig->loop);
	assert_int_equal(recv(f->client, &c, 1, MSG_DONTWAIT), 0);
	assert_int_equal(listener_clients(f->svc.listener), 0);
	close(f->client);
	connect_client(f);
}

static void
a_request_is_answered_with_its_id(void **state)
{
	struct fixture *f = *state;
	const char *said = say(f, STATUS("7"));
	const char *start = "{\"jsonrpc\":\"2.0\",\"id\":\"7\",\"result\":{";

	assert_ptr_equal(strstr(said, start), said);
	assert_null(strstr(said, RIG_KEY));
	assert_non_null(strstr(say(f, STATUS(-1.5)), "\"id\":-1.5,"));
	assert_int_equal(calls_in_flight(f->svc.calls), 0);
	assert_int_equal(calls_total(f->svc.calls), 2);
}

static void
answers_come_as_they_are_ready(void **state)
{
	struct fixture *f = *state;

	own_capsule(f);
	assert_string_equal(say(f, EXEC(1) "\n" EXEC(2)), "");
	assert_int_equal(calls_in_flight(f->svc.calls), 2);
	assert_int_equal(occurrences(say(f, STATUS(3)), "\"id\":3"), 1);
	fake_upstream_answer(f->rig->upstream, 1, 200, DONE);
	assert_string_equal(hear(f), DONE_ANSWER(2));
	fake_upstream_answer(f->rig->upstream, 0, 200, DONE);
	assert_string_equal(hear(f), DONE_ANSWER(1));
	assert_int_equal(calls_in_flight(f->svc.calls), 0);
}

static void
bad_requests_say_what_is_wrong(void **state)
{
	static const struct {
		const char *line, *id, *name;
	} cases[] = {
		{ "nonsense", "null", "parse_error" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1}", "1", "invalid_request" },
		{ "[]", "null", "invalid_request" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"no.such\"}", "1",
		    "method_not_found" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"exec.run\"}", "1",
		    "invalid_params" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"auth.status\","
		  "\"params\":{\"x\":1}}",
		    "1", "invalid_params" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", "1",
		    "invalid_request" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"exec.run\","
		  "\"params\":{\"capsule\":\"x\",\"cmd\":\"true\"}}",
		    "1", "not_found" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"exec.run\","
		  "\"params\":{\"capsule\":\"x\",\"cmd\":\"true\","
		  "\"envs\":{\"A=B\":\"\"}}}",
		    "1", "invalid_params" },
	};
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < COUNT(cases); i++)
		expect_error(say(f, cases[i].line), cases[i].id, cases[i].name);
	assert_int_equal(*fake_upstream_count(f->rig->upstream), 0);
}

static void
notifications_are_never_answered(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(
	    say(f, "{\"jsonrpc\":\"2.0\",\"method\":\"auth.status\"}"), "");
	assert_string_equal(
	    say(f, "{\"jsonrpc\":\"2.0\",\"method\":\"no.such\"}"), "");
	assert_string_equal(
	    say(f, "{\"jsonrpc\":\"2.0\",\"method\":\"exec.run\"}"), "");
	assert_string_equal(
	    say(f, "{\"jsonrpc\":\"2.0\",\"method\":\"daemon.shutdown\"}"), "");
	assert_int_equal(f->stops, 1);
	assert_int_equal(calls_in_flight(f->svc.calls), 0);
}

/* One line, once the last of them is ready. */
static void
a_batch_is_answered_in_one_line(void **state)
{
	struct fixture *f = *state;
	const char *said;

	own_capsule(f);
	said = say(f, "[" STATUS(1) "," EXEC(
			  2) ","
			     "{\"jsonrpc\":\"2.0\",\"method\":\"auth.status\"},"
			     "7," EXEC(3) ",{\"jsonrpc\":\"2.0\",\"id\":4,"
					  "\"method\":\"no.such\"}]");
	assert_string_equal(said, "");
	fake_upstream_answer(f->rig->upstream, 1, 200, DONE);
	assert_string_equal(hear(f), "");
	fake_upstream_answer(f->rig->upstream, 0, 404, "{}");
	said = hear(f);
	assert_int_equal(said[0], '[');
	assert_int_equal(occurrences(said, "\"jsonrpc\""), 5);
	assert_int_equal(occurrences(said, "\"id\":null,\"error\""), 1);
	assert_int_equal(occurrences(said, "\"id\":1,\"result\""), 1);
	assert_int_equal(occurrences(said, "\"id\":2,\"error\""), 1);
	assert_int_equal(occurrences(said, "\"id\":3,\"result\""), 1);
	assert_int_equal(occurrences(said, "\"id\":4,\"error\""), 1);
	said = say(
	    f, "[{\"jsonrpc\":\"2.0\",\"method\":\"no.such\"}," STATUS(5) "]");
	assert_int_equal(occurrences(said, "\"jsonrpc\""), 1);
	assert_string_equal(said + strlen(said) - 2, "]\n");
	assert_string_equal(
	    say(f, "[{\"jsonrpc\":\"2.0\",\"method\":\"auth.status\"}]"), "");
}

static void
a_call_can_be_cancelled(void **state)
{
	struct fixture *f = *state;
	struct capsule *c = own_capsule(f);
	const char *said;

	say(f, EXEC("x"));
	assert_true(fake_upstream_is_pending(f->rig->upstream, 0));
	said = say(f, CANCEL(2, "x"));
	assert_int_equal(occurrences(said, "\"name\":\"cancelled\""), 1);
	assert_int_equal(
	    occurrences(said, "\"id\":2,\"result\":{\"cancelled\":true}"), 1);
	assert_false(fake_upstream_is_pending(f->rig->upstream, 0));
	assert_int_equal(c->holds, 0);
	/* It is over, was never there, or is the cancel itself. */
	assert_non_null(strstr(say(f, CANCEL(3, "x")), "\"cancelled\":false"));
	assert_non_null(strstr(say(f, CANCEL(4, 99)), "\"cancelled\":false"));
	assert_non_null(strstr(say(f, CANCEL(5, 5)), "\"cancelled\":false"));
}

static void
what_must_finish_is_not_cancelled(void **state)
{
	struct fixture *f = *state;

	say(f, CREATE(1));
	rig_sync(f->rig);
	assert_non_null(strstr(say(f, CANCEL(2, 1)), "\"cancelled\":false"));
	assert_true(fake_upstream_is_pending(f->rig->upstream, 0));
	fake_upstream_answer(f->rig->upstream, 0, 201,
	    "{\"id\":\"" ID_A "\",\"status\":\"running\"}");
	rig_sync(f->rig);
	assert_non_null(strstr(hear(f), "\"id\":1,\"result\""));
}

/* An exec is stopped, a create goes on, and nobody is answered. */
static void
a_hang_up_follows_the_methods_policy(void **state)
{
	struct fixture *f = *state;
	struct capsule *c = own_capsule(f);

	say(f, EXEC(1));
	say(f, "[" CREATE(2) "," EXEC(3) "]");
	rig_sync(f->rig);
	assert_int_equal(*fake_upstream_count(f->rig->upstream), 3);
	close(f->client);
	f->client = -1;
	fake_loop_settle(f->rig->loop);
	assert_int_equal(listener_clients(f->svc.listener), 0);
	assert_false(fake_upstream_is_pending(f->rig->upstream, 0));
	assert_false(fake_upstream_is_pending(f->rig->upstream, 1));
	assert_true(fake_upstream_is_pending(f->rig->upstream, 2));
	assert_int_equal(c->holds, 0);
	assert_int_equal(calls_in_flight(f->svc.calls), 1);
	fake_upstream_answer(f->rig->upstream, 2, 201,
	    "{\"id\":\"" ID_B "\",\"status\":\"running\"}");
	rig_sync(f->rig);
	assert_int_equal(
	    tracker_by_id(f->rig->tracker, ID_B)->row.state, CAPSULE_LIVE);
	assert_int_equal(calls_in_flight(f->svc.calls), 0);
}

static void
calls_in_flight_are_limited(void **state)
{
	struct fixture *f = *state;
	int i;

	own_capsule(f);
	for (i = 0; i < f->rig->settings.calls_per_client; i++)
		assert_string_equal(say(f, EXEC(1)), "");
	expect_error(say(f, EXEC(2)), "2", "busy");
	expect_error(say(f, STATUS(3)), "3", "busy");
	/* The way out stays open. */
	assert_int_equal(occurrences(say(f, CANCEL(4, 1)), "\n"), 2);
	assert_string_equal(say(f, EXEC(5)), "");
}

static void
while_it_drains_only_looks_are_taken(void **state)
{
	struct fixture *f = *state;

	own_capsule(f);
	say(f, EXEC(1));
	dispatch_drain(f->dispatch);
	expect_error(say(f, EXEC(2)), "2", "shutting_down");
	assert_non_null(strstr(say(f, STATUS(3)), "\"result\""));
	fake_upstream_answer(f->rig->upstream, 0, 200, DONE);
	assert_string_equal(hear(f), DONE_ANSWER(1));
}

/* A data socket of another process, with a line. */
static const char *
say_with_fd(struct fixture *f, const char *line)
{
	struct foreign other;

	foreign_start(&other);
	foreign_send_fds(f->client, line, &other.fd, 1);
	hear(f);
	foreign_stop(&other);
	return f->said;
}

#define READ(fds)                                                 \
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"file.read\"," \
	"\"params\":{\"capsule\":\"" ID_A "\",\"path\":\"/x\"}" fds "}"

static void
a_data_socket_must_be_fit_and_wanted(void **state)
{
	struct fixture *f = *state;
	int pair[2];

	own_capsule(f);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	foreign_send_fds(f->client, READ(",\"fds\":[\"data\"]") "\n", pair, 1);
	expect_error(hear(f), "1", "data_socket");
	close(pair[0]);
	close(pair[1]);
	expect_error(say_with_fd(f, READ(",\"fds\":[\"stdin\"]") "\n"), "1",
	    "invalid_params");
	expect_error(say_with_fd(f, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
				    "\"auth.status\",\"fds\":[\"data\"]}\n"),
	    "1", "invalid_params");
	assert_int_equal(*fake_upstream_count(f->rig->upstream), 0);
	assert_string_equal(
	    say_with_fd(f, READ(",\"fds\":[\"data\"]") "\n"), "");
	assert_int_equal(*fake_upstream_count(f->rig->upstream), 1);
}

#define STREAM(fds)                                                        \
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"exec.stream\","        \
	"\"params\":{\"capsule\":\"" ID_A "\",\"cmd\":\"x\"},\"fds\":" fds \
	"}\n"

static void
no_two_descriptors_have_one_name(void **state)
{
	static const char *const bad[] = {
		STREAM("[\"stdout\",\"stdout\",\"stderr\"]"),
		STREAM("[\"stdout\",\"stderr\",\"stdout\"]"),
		STREAM("[\"stdout\",\"stderr\",\"stderr\"]"),
		STREAM("[\"stdout\",\"stderr\",\"stdoutstdout\"]"),
		STREAM("[\"stdout\",\"stderr\",\"data\"]"),
	};
	struct fixture *f = *state;
	struct foreign other;
	int fds[3];
	size_t i;

	own_capsule(f);
	for (i = 0; i < COUNT(bad); i++) {
		foreign_start(&other);
		fds[0] = fds[1] = fds[2] = other.fd;
		foreign_send_fds(f->client, bad[i], fds, 3);
		expect_error(hear(f), "1", "invalid_params");
		foreign_stop(&other);
	}
	assert_int_equal(*fake_upstream_count(f->rig->upstream), 0);
}

static void
a_breach_of_the_rule_of_descriptors_closes(void **state)
{
	static const char *const with_one[] = {
		READ("") "\n",
		"[" READ(",\"fds\":[\"data\"]") "]\n",
		"nonsense\n",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"no.such\","
		"\"fds\":[\"data\"]}\n",
		READ(",\"fds\":[\"data\",\"stdin\"]") "\n",
	};
	struct fixture *f = *state;
	size_t i;

	own_capsule(f);
	for (i = 0; i < COUNT(with_one); i++) {
		say_with_fd(f, with_one[i]);
		expect_closed(f);
	}
	assert_string_equal(say(f, READ(",\"fds\":[\"data\"]")), "");
	expect_closed(f);
	assert_int_equal(*fake_upstream_count(f->rig->upstream), 0);
}

static void
a_long_line_is_refused_and_the_client_stays(void **state)
{
	struct fixture *f = *state;
	char part[64 * 1024];
	int i;

	memset(part, ' ', sizeof(part));
	for (i = 0; i < LIMIT_REQUEST_LINE / (64 * 1024) + 1; i++) {
		assert_int_equal(
		    send(f->client, part, sizeof(part), 0), sizeof(part));
		fake_loop_settle(f->rig->loop);
	}
	expect_error(hear(f), "null", "invalid_request");
	assert_string_equal(say(f, ""), "");
	assert_non_null(strstr(say(f, STATUS(2)), "\"id\":2,\"result\""));
}

static void
an_answer_that_is_too_large_is_said_to_be(void **state)
{
	struct fixture *f = *state;
	size_t n = LIMIT_ANSWER_LINE;
	char *body = xmalloc(n + 64);

	own_capsule(f);
	say(f, EXEC(1));
	memset(body, 'a', n + 64);
	memcpy(body, "{\"stdout\":\"", 11);
	snprintf(body + n, 64, "\",\"stderr\":\"\",\"exit_code\":0}");
	fake_upstream_answer(f->rig->upstream, 0, 200, body);
	expect_error(hear(f), "1", "too_large");
	free(body);
}

static void
the_end_of_input_is_for_calls_that_take_any(void **state)
{
	struct fixture *f = *state;

	own_capsule(f);
	say(f, EXEC(1));
	assert_string_equal(
	    say(f, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"call.end\","
		   "\"params\":{\"call\":1}}"),
	    "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}\n");
	fake_upstream_answer(f->rig->upstream, 0, 200, DONE);
	assert_string_equal(hear(f), DONE_ANSWER(1));
}

/* Whatever is under way when the daemon stops is let go of. */
static void
a_stop_in_the_middle_leaks_nothing(void **state)
{
	struct fixture *f = *state;

	own_capsule(f);
	say(f, EXEC(1));
	say(f, "[" EXEC(2) "," CREATE(3) "]");
	say(f, CREATE(4));
	rig_sync(f->rig);
	assert_int_equal(calls_in_flight(f->svc.calls), 4);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_is_answered_with_its_id),
		TEST(answers_come_as_they_are_ready),
		TEST(bad_requests_say_what_is_wrong),
		TEST(notifications_are_never_answered),
		TEST(a_batch_is_answered_in_one_line),
		TEST(a_call_can_be_cancelled),
		TEST(what_must_finish_is_not_cancelled),
		TEST(a_hang_up_follows_the_methods_policy),
		TEST(calls_in_flight_are_limited),
		TEST(while_it_drains_only_looks_are_taken),
		TEST(a_data_socket_must_be_fit_and_wanted),
		TEST(no_two_descriptors_have_one_name),
		TEST(a_breach_of_the_rule_of_descriptors_closes),
		TEST(a_long_line_is_refused_and_the_client_stays),
		TEST(an_answer_that_is_too_large_is_said_to_be),
		TEST(the_end_of_input_is_for_calls_that_take_any),
		TEST(a_stop_in_the_middle_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
