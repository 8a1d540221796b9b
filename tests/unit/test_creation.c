#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "proto/json_check.h"
#include "proto/jx.h"
#include "tests/unit/fakes/rig.h"

#include "proto/banned.h"

#define GET          "GET /v1/capsules/" ID_A
#define SHOW(status) "{\"id\":\"" ID_A "\",\"status\":\"" status "\"}"
#define CREATE       "POST /v1/capsules {\"template\":\"minimal\",\"timeout_sec\":9}"

/* What an asker was told. */
struct told {
	int calls;
	enum rpc_errno kind;
	struct rpc_error error;
	struct json_object *result;
};

static void
tell(void *arg, const struct buf *result, struct rpc_error *e)
{
	struct json_check_fault fault = { 0 };
	struct told *t = arg;

	t->calls++;
	t->kind = e ? e->kind : RPC_OK;
	json_object_put(t->result);
	t->result =
	    result ? jx_parse(buf_head(result), result->len, &fault) : NULL;
	assert_null(fault.reason);
	rpc_error_release(&t->error);
	if (e != NULL) {
		t->error = *e;
		json_object_get(e->extra);
	}
}

static void
told_clear(struct told *t)
{
	json_object_put(t->result);
	rpc_error_release(&t->error);
	*t = (struct told){ 0 };
}

/* Asks with parameters given as JSON text. */
static void
create(struct rig *r, const char *params, struct told *t)
{
	struct json_object *o = json_tokener_parse(params);

	assert_non_null(o);
	told_clear(t);
	capsules_create(r->capsules, RIG_UID, o, tell, t);
	json_object_put(o);
}

/* Asks for one of 9 seconds, up to the request, which is number i. */
static void
create_plain(struct rig *r, const char *more, struct told *t, int i)
{
	char params[200];

	snprintf(params, sizeof(params), "{\"timeout_sec\":9%s}", more);
	create(r, params, t);
	rig_sync(r);
	rig_expect_sent(r, i, CREATE);
	assert_int_equal(t->calls, 0);
}

static void
the_row_is_on_disk_before_the_request(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	create(r, "{\"timeout_sec\":9,\"name\":\"build\"}", &t);
	assert_int_equal(*fake_upstream_count(r->upstream), 0);
	assert_int_equal(tracker_count(r->tracker, CAPSULE_CREATING), 1);
	rig_sync(r);
	rig_expect_sent(r, 0, CREATE);
	/* A crash now leaves a row, and an owner who can be told. */
	rig_restart(r);
	assert_non_null(tracker_by_name(r->tracker, RIG_UID, "build"));
	assert_int_equal(tracker_count(r->tracker, CAPSULE_UNCERTAIN), 1);
	told_clear(&t);
}

static void
a_running_capsule_is_answered_once_it_is_recorded(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	create_plain(r, ",\"name\":\"build\",\"labels\":{\"a\":\"1\"}", &t, 0);
	fake_upstream_answer(r->upstream, 0, 201, SHOW("running"));
	assert_int_equal(t.calls, 0);
	rig_sync(r);
	assert_int_equal(t.calls, 1);
	assert_string_equal(jx_str(t.result, "id"), ID_A);
	assert_string_equal(jx_str(t.result, "name"), "build");
	assert_string_equal(jx_str(jx_obj(t.result, "labels"), "a"), "1");
	assert_string_equal(jx_str(t.result, "record"), "live");
	assert_true(jx_bool(t.result, "tracked", false));
	rig_restart(r);
	assert_int_equal(
	    tracker_by_id(r->tracker, ID_A)->row.state, CAPSULE_LIVE);
	told_clear(&t);
}

static void
one_that_starts_is_waited_for_if_wanted(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	create_plain(r, "", &t, 0);
	fake_upstream_answer(r->upstream, 0, 201, SHOW("starting"));
	rig_sync(r);
	assert_int_equal(t.calls, 0);
	rig_expect_sent(r, 1, GET);
	fake_upstream_answer(r->upstream, 1, 200, SHOW("running"));
	assert_string_equal(jx_str(t.result, "status"), "running");

	create_plain(r, ",\"wait\":false", &t, 2);
	fake_upstream_answer(r->upstream, 2, 201,
	    "{\"id\":\"" ID_B "\",\"status\":\"starting\"}");
	rig_sync(r);
	assert_string_equal(jx_str(t.result, "status"), "starting");
	fake_loop_advance(r->loop, 1000);
	assert_int_equal(*fake_upstream_count(r->upstream), 3);
	told_clear(&t);
}

/* The capsule is there all the same, and the error names it. */
static void
one_that_never_runs_is_told_with_its_id(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	create_plain(r, "", &t, 0);
	fake_upstream_answer(r->upstream, 0, 201, SHOW("starting"));
	rig_sync(r);
	fake_upstream_answer(r->upstream, 1, 200, SHOW("error"));
	assert_int_equal(t.kind, RPC_CONFLICT);
	assert_string_equal(jx_str(t.error.extra, "id"), ID_A);
	assert_int_equal(
	    tracker_by_id(r->tracker, ID_A)->row.state, CAPSULE_LIVE);
	told_clear(&t);
}

/* Each outcome of the request, and what the row is after it. */
static void
a_refused_create_leaves_no_row(void **state)
{
	static const struct {
		int status;
		const char *body;
		enum rpc_errno kind;
	} cases[] = {
		{ 400, "{}", RPC_VALIDATION },
		{ 401, "{}", RPC_UNAUTHORIZED },
		{ 404, "<html>", RPC_NOT_FOUND },
		{ 409, "{}", RPC_CONFLICT },
		{ 413, "{}", RPC_TOO_LARGE },
		{ 302, "", RPC_BAD_ANSWER },
		{ 503,
		    "{\"error\":{\"code\":\"no_hosts_available\","
		    "\"message\":\"full\"}}",
		    RPC_HOST_UNAVAILABLE },
	};
	struct rig *r = *state;
	struct told t = { 0 };
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		create_plain(r, "", &t, (int)i);
		fake_upstream_answer(
		    r->upstream, (int)i, cases[i].status, cases[i].body);
		assert_int_equal(t.kind, cases[i].kind);
		assert_null(tracker_first(r->tracker));
	}
	create_plain(r, "", &t, (int)i);
	fake_upstream_lose(
	    r->upstream, (int)i, HTTP_NOT_SENT, RPC_UNREACHABLE, "down");
	assert_int_equal(t.kind, RPC_UNREACHABLE);
	rig_restart(r);
	assert_null(tracker_first(r->tracker));
	told_clear(&t);
}

/* The row is uncertain, and its record is named. */
static void
expect_uncertain(struct rig *r, struct told *t, int rows)
{
	struct capsule *c = tracker_first(r->tracker);

	assert_int_equal(t->calls, 0); /* not before it is on disk */
	rig_sync(r);
	assert_int_equal(t->kind, RPC_OUTCOME_UNKNOWN);
	assert_int_equal(tracker_count(r->tracker, CAPSULE_UNCERTAIN), rows);
	while (tracker_next(c) != NULL)
		c = tracker_next(c);
	assert_string_equal(jx_str(t->error.extra, "record"), c->row.record);
	assert_non_null(strstr(t->error.message, c->row.record));
}

static void
a_lost_answer_leaves_the_row_uncertain(void **state)
{
	static const struct {
		int status;
		const char *body;
	} cases[] = {
		{ 502, "<html>Bad Gateway</html>" },
		{ 504, "" },
		{ 201, "<html>Log in</html>" },
		{ 201, "{}" },
		{ 201, "{\"id\":7}" },
		{ 201, "{\"id\":\"../../keys\"}" },
		{ 204, "" },
		{ 201, "[]" },
	};
	struct rig *r = *state;
	struct told t = { 0 };
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		create_plain(r, "", &t, (int)i);
		fake_upstream_answer(
		    r->upstream, (int)i, cases[i].status, cases[i].body);
		expect_uncertain(r, &t, (int)i + 1);
	}
	create_plain(r, "", &t, (int)i);
	fake_upstream_lose(
	    r->upstream, (int)i, HTTP_UNKNOWN, RPC_TIMEOUT, "slow");
	expect_uncertain(r, &t, (int)++i);
	create_plain(r, "", &t, (int)i);
	fake_upstream_lose(
	    r->upstream, (int)i, HTTP_UNKNOWN, RPC_TOO_LARGE, "big");
	expect_uncertain(r, &t, (int)++i);
	rig_restart(r);
	assert_int_equal(tracker_count(r->tracker, CAPSULE_UNCERTAIN), i);
	told_clear(&t);
}

static void
limit_files(bool limited)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = limited ? 0 : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void
without_a_record_nothing_is_sent(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	signal(SIGXFSZ, SIG_IGN);
	limit_files(true);
	create(r, "{}", &t);
	rig_sync(r);
	limit_files(false);
	assert_int_equal(t.kind, RPC_STORE);
	assert_int_equal(*fake_upstream_count(r->upstream), 0);
	assert_null(tracker_first(r->tracker));
	rig_restart(r);
	assert_null(tracker_first(r->tracker));
	told_clear(&t);
}

/* The default carries a nonce; what the user chose does not. */
static void
only_the_default_timeout_carries_a_nonce(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };
	struct capsule *c;
	int64_t first = 0;
	bool differ = false;
	int i;

	for (i = 0; i < 50; i++) {
		create(r, "{}", &t);
		c = tracker_first(r->tracker);
		assert_false(c->row.timeout_chosen);
		assert_in_range(c->row.timeout_s, 300, 300 + 1023);
		differ |= i > 0 && c->row.timeout_s != first;
		first = c->row.timeout_s;
		rig_sync(r);
		fake_upstream_answer(r->upstream, i, 400, "{}");
	}
	assert_true(differ);
	create(r, "{\"timeout_sec\":0}", &t);
	c = tracker_first(r->tracker);
	assert_true(c->row.timeout_chosen);
	assert_int_equal(c->row.timeout_s, 0);
	rig_sync(r);
	told_clear(&t);
}

static void
the_wishes_are_recorded(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };
	struct capsule *c;

	create(r,
	    "{\"template\":\"py\",\"vcpus\":2,\"memory_mb\":512,"
	    "\"timeout_sec\":60,\"keepalive\":false,\"auto_resume\":false,"
	    "\"name\":\"n\",\"key\":\"k\",\"labels\":{\"a\":\"b\"},"
	    "\"lease\":{\"type\":\"none\"}}",
	    &t);
	c = tracker_first(r->tracker);
	assert_int_equal(c->row.uid, RIG_UID);
	assert_string_equal(c->row.base_url, "https://upstream.test");
	assert_string_equal(c->row.identity, cred_identity(r->cred));
	assert_string_equal(c->row.template, "py");
	assert_int_equal(c->row.vcpus, 2);
	assert_int_equal(c->row.memory_mb, 512);
	assert_false(c->row.keepalive);
	assert_int_equal(c->row.auto_resume, 0);
	assert_string_equal(c->row.name, "n");
	assert_string_equal(c->row.key, "k");
	assert_string_equal(c->row.labels, "{\"a\":\"b\"}");
	rig_sync(r);
	rig_expect_sent(r, 0,
	    "POST /v1/capsules {\"template\":\"py\",\"vcpus\":2,"
	    "\"memory_mb\":512,\"timeout_sec\":60}");
	told_clear(&t);
}

static void
wrong_wishes_are_refused_before_anything(void **state)
{
	static const struct {
		const char *params;
		enum rpc_errno kind;
		const char *param;
	} cases[] = {
		{ "{\"name\":\"-x\"}", RPC_INVALID_PARAMS, "name" },
		{ "{\"name\":\"a b\"}", RPC_INVALID_PARAMS, "name" },
		{ "{\"name\":\"a/b\"}", RPC_INVALID_PARAMS, "name" },
		{ "{\"name\":\"cl-abc\"}", RPC_INVALID_PARAMS, "name" },
		{ "{\"name\":\"rec-1\"}", RPC_INVALID_PARAMS, "name" },
		{ "{\"labels\":{\"\":\"x\"}}", RPC_INVALID_PARAMS, "labels" },
		{ "{\"lease\":{}}", RPC_INVALID_PARAMS, "lease" },
		{ "{\"lease\":{\"type\":\"x\"}}", RPC_INVALID_PARAMS, "lease" },
		{ "{\"lease\":{\"type\":\"ttl\"}}", RPC_UNSUPPORTED, "" },
		{ "{\"lease\":{\"type\":\"process\"}}", RPC_UNSUPPORTED, "" },
	};
	struct rig *r = *state;
	struct told t = { 0 };
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		create(r, cases[i].params, &t);
		assert_int_equal(t.kind, cases[i].kind);
		assert_string_equal(t.error.param, cases[i].param);
		assert_null(tracker_first(r->tracker));
	}
	assert_int_equal(*fake_upstream_count(r->upstream), 0);
	told_clear(&t);
}

static void
a_name_is_taken_until_the_create_failed(void **state)
{
	struct rig *r = *state;
	struct told a = { 0 }, b = { 0 };

	create_plain(r, ",\"name\":\"build\"", &a, 0);
	create(r, "{\"name\":\"build\"}", &b);
	assert_int_equal(b.kind, RPC_CONFLICT);
	fake_upstream_answer(r->upstream, 0, 400, "{}");
	create_plain(r, ",\"name\":\"build\"", &b, 1);
	told_clear(&a);
	told_clear(&b);
}

static void
the_same_key_is_the_same_create(void **state)
{
	struct rig *r = *state;
	struct told a = { 0 }, b = { 0 };

	create_plain(r, ",\"key\":\"k\"", &a, 0);
	create(r, "{\"timeout_sec\":9,\"key\":\"k\"}", &b);
	fake_upstream_answer(r->upstream, 0, 201, SHOW("running"));
	rig_sync(r);
	assert_string_equal(jx_str(a.result, "id"), ID_A);
	assert_string_equal(jx_str(b.result, "id"), ID_A);
	assert_int_equal(*fake_upstream_count(r->upstream), 1);
	/* Later, and after a restart, it is looked up. */
	rig_restart(r);
	create(r, "{\"timeout_sec\":9,\"key\":\"k\"}", &b);
	rig_expect_sent(r, 0, GET);
	fake_upstream_answer(r->upstream, 0, 200, SHOW("paused"));
	assert_string_equal(jx_str(b.result, "status"), "paused");
	create(r, "{\"timeout_sec\":8,\"key\":\"k\"}", &b);
	assert_int_equal(b.kind, RPC_CONFLICT);
	create(r, "{\"key\":\"k\"}", &b);
	assert_int_equal(b.kind, RPC_CONFLICT);
	tracker_set_state(tracker_first(r->tracker), CAPSULE_GONE);
	create(r, "{\"timeout_sec\":9,\"key\":\"k\"}", &b);
	assert_string_equal(jx_str(b.result, "status"), "stopped");
	told_clear(&a);
	told_clear(&b);
}

static void
the_key_of_a_lost_create_creates_no_second(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	create_plain(r, ",\"key\":\"k\"", &t, 0);
	fake_upstream_answer(r->upstream, 0, 502, "");
	rig_sync(r);
	assert_int_equal(t.kind, RPC_OUTCOME_UNKNOWN);
	create(r, "{\"timeout_sec\":9,\"key\":\"k\"}", &t);
	assert_int_equal(t.kind, RPC_OUTCOME_UNKNOWN);
	rig_restart(r);
	create(r, "{\"timeout_sec\":9,\"key\":\"k\"}", &t);
	assert_int_equal(t.kind, RPC_OUTCOME_UNKNOWN);
	assert_int_equal(*fake_upstream_count(r->upstream), 0);
	told_clear(&t);
}

static void
a_stop_in_between_is_told(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	create(r, "{}", &t);
	rig_restart(r);
	assert_int_equal(t.calls, 1);
	assert_int_equal(t.kind, RPC_SHUTTING_DOWN);
	told_clear(&t);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_row_is_on_disk_before_the_request),
		TEST(a_running_capsule_is_answered_once_it_is_recorded),
		TEST(one_that_starts_is_waited_for_if_wanted),
		TEST(one_that_never_runs_is_told_with_its_id),
		TEST(a_refused_create_leaves_no_row),
		TEST(a_lost_answer_leaves_the_row_uncertain),
		TEST(without_a_record_nothing_is_sent),
		TEST(only_the_default_timeout_carries_a_nonce),
		TEST(the_wishes_are_recorded),
		TEST(wrong_wishes_are_refused_before_anything),
		TEST(a_name_is_taken_until_the_create_failed),
		TEST(the_same_key_is_the_same_create),
		TEST(the_key_of_a_lost_create_creates_no_second),
		TEST(a_stop_in_between_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
