#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "tests/unit/fakes/rig.h"

#include "proto/banned.h"

#define GET          "GET /v1/capsules/" ID_A
#define RESUME       "POST /v1/capsules/" ID_A "/resume {}"
#define READ         "POST /v1/capsules/" ID_A "/files/read {\"path\":\"/x\"}"
#define SHOW(status) "{\"id\":\"" ID_A "\",\"status\":\"" status "\"}"
#define NOT_RUNNING \
	"{\"error\":{\"code\":\"invalid_state\",\"message\":\"it sleeps\"}}"
#define CONFLICT "{\"error\":{\"code\":\"conflict\",\"message\":\"no\"}}"

/* How a use ended. */
struct told {
	int calls, requests;
	bool resumed, answered;
	enum rpc_errno kind;
	char message[LIMIT_ERROR_MESSAGE];
};

static struct upstream_request *
make_request(void *arg, const char *id)
{
	struct told *t = arg;

	t->requests++;
	return api_file(id, "read", "/x", 0);
}

static void
done(void *arg, const struct upstream_answer *answer, bool resumed,
    struct rpc_error *e)
{
	struct told *t = arg;

	t->calls++;
	t->answered = answer != NULL;
	t->resumed = resumed;
	t->kind = e ? e->kind : RPC_OK;
	snprintf(t->message, sizeof(t->message), "%s", e ? e->message : "");
}

static struct use *
start(struct rig *r, const char *ref, int auto_resume, bool look_first,
    struct told *t)
{
	const struct use_spec spec = {
		.uid = RIG_UID,
		.ref = ref,
		.auto_resume = auto_resume,
		.look_first = look_first,
		.request = make_request,
		.done = done,
		.arg = t,
	};
	struct rpc_error why = { .kind = RPC_OK };
	struct use *u = use_start(r->uses, &spec, &why);

	assert_int_equal(t->calls, 0);
	if (u == NULL)
		t->kind = why.kind;
	return u;
}

static void
a_running_capsule_is_asked_at_once(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told t = { 0 };

	assert_non_null(start(r, ID_A, -1, false, &t));
	rig_expect_sent(r, 0, READ);
	assert_int_equal(c->holds, 1);
	fake_upstream_answer(r->upstream, 0, 200, "{}");
	assert_int_equal(t.calls, 1);
	assert_int_equal(t.kind, RPC_OK);
	assert_true(t.answered);
	assert_false(t.resumed);
	assert_int_equal(c->holds, 0);
}

static void
a_sleeping_one_is_resumed_and_asked_again(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	rig_capsule(r, ID_A);
	start(r, ID_A, -1, false, &t);
	fake_upstream_answer(r->upstream, 0, 409, NOT_RUNNING);
	rig_expect_sent(r, 1, GET);
	fake_upstream_answer(r->upstream, 1, 200, SHOW("paused"));
	rig_expect_sent(r, 2, RESUME);
	fake_upstream_answer(r->upstream, 2, 200, SHOW("running"));
	rig_expect_sent(r, 3, READ);
	fake_upstream_answer(r->upstream, 3, 200, "{}");
	assert_int_equal(t.kind, RPC_OK);
	assert_true(t.resumed);
	assert_int_equal(t.requests, 2);
}

static void
it_is_sent_three_times_at_most(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told t = { 0 };
	int n = 0;

	start(r, ID_A, -1, false, &t);
	while (t.calls == 0) {
		rig_expect_sent(r, n, READ);
		fake_upstream_answer(r->upstream, n++, 409, NOT_RUNNING);
		if (t.calls == 0)
			fake_upstream_answer(
			    r->upstream, n++, 200, SHOW("running"));
	}
	assert_int_equal(t.requests, 3);
	assert_int_equal(n, 5);
	assert_int_equal(t.kind, RPC_CONFLICT);
	assert_string_equal(t.message, "it sleeps");
	assert_int_equal(c->holds, 0);
}

static void
other_conflicts_and_lost_answers_are_not_repeated(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	rig_capsule(r, ID_A);
	start(r, ID_A, 1, false, &t);
	fake_upstream_answer(r->upstream, 0, 409, CONFLICT);
	assert_int_equal(t.kind, RPC_CONFLICT);
	t = (struct told){ 0 };
	start(r, ID_A, 1, false, &t);
	fake_upstream_lose(r->upstream, 1, HTTP_UNKNOWN, RPC_UNREACHABLE, "x");
	assert_int_equal(t.calls, 1);
	assert_int_equal(t.requests, 1);
	assert_int_equal(*fake_upstream_count(r->upstream), 2);
}

/* The call's wish, then the capsule's, then the settings'. */
static void
auto_resume_is_decided_by_the_nearest(void **state)
{
	static const struct {
		int call, capsule;
		bool settings, resumes;
	} cases[] = {
		{ 1, 0, false, true },
		{ 0, 1, true, false },
		{ -1, 1, false, true },
		{ -1, 0, true, false },
		{ -1, -1, true, true },
		{ -1, -1, false, false },
	};
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told t;
	int n = 0;
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		t = (struct told){ 0 };
		c->row.auto_resume = cases[i].capsule;
		r->settings.auto_resume = cases[i].settings;
		capsules_settings_changed(r->capsules, &r->settings);
		start(r, ID_A, cases[i].call, false, &t);
		fake_upstream_answer(r->upstream, n++, 409, NOT_RUNNING);
		fake_upstream_answer(r->upstream, n++, 200, SHOW("paused"));
		if (!cases[i].resumes) {
			assert_int_equal(t.kind, RPC_CAPSULE_PAUSED);
			assert_false(t.answered);
			continue;
		}
		fake_upstream_answer(r->upstream, n++, 200, SHOW("running"));
		fake_upstream_answer(r->upstream, n++, 200, "{}");
		assert_int_equal(t.kind, RPC_OK);
	}
}

/* A request that cannot be made twice is made only once it runs. */
static void
what_cannot_be_repeated_looks_first(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	rig_capsule(r, ID_A);
	start(r, ID_A, -1, true, &t);
	rig_expect_sent(r, 0, GET);
	assert_int_equal(t.requests, 0);
	fake_upstream_answer(r->upstream, 0, 200, SHOW("running"));
	rig_expect_sent(r, 1, READ);
	fake_upstream_answer(r->upstream, 1, 409, NOT_RUNNING);
	assert_int_equal(t.kind, RPC_CONFLICT);
	assert_int_equal(t.requests, 1);
}

static void
a_capsule_made_elsewhere_is_asked_but_not_woken(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	assert_non_null(start(r, ID_A, 1, true, &t));
	rig_expect_sent(r, 0, READ);
	fake_upstream_answer(r->upstream, 0, 409, NOT_RUNNING);
	assert_int_equal(t.kind, RPC_CONFLICT);
	assert_int_equal(*fake_upstream_count(r->upstream), 1);
}

static void
what_is_no_live_capsule_is_refused(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told t = { 0 };

	assert_null(start(r, "nobody", -1, false, &t));
	assert_int_equal(t.kind, RPC_NOT_FOUND);
	assert_null(start(r, "../../v1/keys", -1, false, &t));
	assert_int_equal(t.kind, RPC_NOT_FOUND);
	c->row.uid = RIG_UID + 1;
	assert_null(start(r, ID_A, -1, false, &t));
	assert_int_equal(t.kind, RPC_NOT_FOUND);
	c->row.uid = RIG_UID;
	tracker_set_state(c, CAPSULE_ENDING);
	assert_null(start(r, ID_A, -1, false, &t));
	assert_int_equal(t.kind, RPC_NOT_FOUND);
	tracker_set_state(c, CAPSULE_UNCERTAIN);
	assert_null(start(r, ID_A, -1, false, &t));
	assert_int_equal(t.kind, RPC_CONFLICT);
	assert_int_equal(*fake_upstream_count(r->upstream), 0);
}

static void
a_cancelled_use_tells_nothing_and_lets_go(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told t = { 0 };
	struct use *u;

	u = start(r, ID_A, -1, false, &t);
	use_cancel(u);
	assert_false(fake_upstream_is_pending(r->upstream, 0));
	u = start(r, ID_A, -1, true, &t);
	use_resume(u); /* nothing is under way that could go on */
	use_cancel(u);
	fake_upstream_answer(r->upstream, 1, 200, SHOW("running"));
	u = start(r, ID_A, -1, false, &t);
	use_resume(u);
	assert_int_equal(fake_upstream_resumes(r->upstream), 1);
	use_cancel(u);
	assert_int_equal(t.calls, 0);
	assert_int_equal(c->holds, 0);
	assert_int_equal(c->refs, 1);
}

static void
a_long_use_keeps_the_capsule_awake(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	rig_capsule(r, ID_A);
	start(r, ID_A, -1, false, &t);
	fake_loop_advance(r->loop, 100000);
	rig_expect_sent(r, 1, "POST /v1/capsules/" ID_A "/ping");
	fake_upstream_answer(r->upstream, 1, 204, "");
	fake_upstream_answer(r->upstream, 0, 200, "{}");
	fake_loop_advance(r->loop, 1000000);
	assert_int_equal(*fake_upstream_count(r->upstream), 2);
}

/* Upstream may not count it as activity, so that a ping is due as before. */
static void
a_passive_use_leaves_the_pings_alone(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told busy = { 0 }, look = { 0 };
	const struct use_spec spec = { .uid = RIG_UID,
		.ref = ID_A,
		.auto_resume = -1,
		.passive = true,
		.request = make_request,
		.done = done,
		.arg = &look };
	struct rpc_error why;

	assert_non_null(use_start(r->uses, &spec, &why));
	assert_int_equal(c->holds, 0);
	start(r, ID_A, -1, false, &busy);
	fake_loop_advance(r->loop, 80000);
	use_start(r->uses, &spec, &why);
	fake_upstream_answer(r->upstream, 0, 200, "{}");
	fake_upstream_answer(r->upstream, 2, 200, "{}");
	assert_int_equal(look.calls, 2);
	assert_int_equal(c->holds, 1);
	fake_loop_advance(r->loop, 20000);
	rig_expect_sent(r, 3, "POST /v1/capsules/" ID_A "/ping");
	fake_upstream_answer(r->upstream, 1, 200, "{}");
	assert_int_equal(c->holds, 0);
}

static void
a_404_under_another_credential_is_explained(void **state)
{
	struct rig *r = *state;
	struct rpc_error e;
	struct told t = { 0 };

	rig_capsule(r, ID_A);
	cred_set(r->cred, CRED_API_KEY, "wrn_of_another_team", false, &e);
	start(r, ID_A, -1, false, &t);
	fake_upstream_answer(r->upstream, 0, 404,
	    "{\"error\":{\"code\":\"not_found\",\"message\":\"none\"}}");
	assert_int_equal(t.kind, RPC_NOT_FOUND);
	assert_non_null(strstr(t.message, "made with another credential"));
}

static void
the_calls_wish_is_read_from_its_parameters(void **state)
{
	struct json_object *yes = json_tokener_parse("{\"auto_resume\":true}");
	struct json_object *no = json_tokener_parse("{\"auto_resume\":false}");
	struct json_object *none = json_tokener_parse("{}");

	(void)state;
	assert_int_equal(use_auto_resume(yes), 1);
	assert_int_equal(use_auto_resume(no), 0);
	assert_int_equal(use_auto_resume(none), -1);
	assert_int_equal(use_auto_resume(NULL), -1);
	json_object_put(yes);
	json_object_put(no);
	json_object_put(none);
}

/* ---- uses without a request ---- */

struct prepared {
	struct told told; /* first, for done() */
	int readies;
	bool resumed, cancel;
	char id[64];
	struct use *use;
};

static void
ready(void *arg, const char *id, bool resumed)
{
	struct prepared *p = arg;

	p->readies++;
	p->resumed = resumed;
	snprintf(p->id, sizeof(p->id), "%s", id);
	if (p->cancel)
		use_cancel(p->use);
}

static void
prepare(struct rig *r, const char *ref, int auto_resume, struct prepared *p)
{
	const struct use_spec spec = {
		.uid = RIG_UID,
		.ref = ref,
		.auto_resume = auto_resume,
		.look_first = true,
		.ready = ready,
		.done = done,
		.arg = p,
	};
	struct rpc_error why;

	p->use = use_start(r->uses, &spec, &why);
	assert_non_null(p->use);
	assert_int_equal(p->readies, 0);
}

static void
without_a_request_it_says_when_the_capsule_runs(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct prepared p = { .readies = 0 };

	prepare(r, ID_A, -1, &p);
	fake_upstream_answer(r->upstream, 0, 200, SHOW("paused"));
	rig_expect_sent(r, 1, RESUME);
	fake_upstream_answer(r->upstream, 1, 200, SHOW("running"));
	fake_loop_settle(r->loop);
	assert_int_equal(p.readies, 1);
	assert_true(p.resumed);
	assert_string_equal(p.id, ID_A);
	assert_int_equal(p.told.calls, 0);
	/* It is kept awake until it is told to end. */
	assert_int_equal(c->holds, 1);
	use_cancel(p.use);
	assert_int_equal(c->holds, 0);
}

static void
it_may_be_ended_when_it_is_ready_or_before(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct prepared p = { .cancel = true };

	prepare(r, ID_A, -1, &p);
	fake_upstream_answer(r->upstream, 0, 200, SHOW("running"));
	fake_loop_settle(r->loop);
	assert_int_equal(p.readies, 1);
	assert_int_equal(c->holds, 0);
	p = (struct prepared){ .readies = 0 };
	prepare(r, ID_A, -1, &p);
	fake_upstream_answer(r->upstream, 1, 200, SHOW("running"));
	use_cancel(p.use);
	fake_loop_settle(r->loop);
	assert_int_equal(p.readies, 0);
	assert_int_equal(c->holds, 0);
}

static void
without_a_request_it_fails_as_any_other(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct prepared p = { .readies = 0 };

	prepare(r, ID_A, 0, &p);
	fake_upstream_answer(r->upstream, 0, 200, SHOW("paused"));
	assert_int_equal(p.told.calls, 1);
	assert_int_equal(p.told.kind, RPC_CAPSULE_PAUSED);
	assert_int_equal(p.readies, 0);
	assert_int_equal(c->holds, 0);
	p = (struct prepared){ .readies = 0 };
	/* One of nobody here is not looked at: what it is used for will tell.
	 */
	prepare(r, ID_B, -1, &p);
	fake_loop_settle(r->loop);
	assert_int_equal(p.readies, 1);
	assert_string_equal(p.id, ID_B);
	use_cancel(p.use);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_running_capsule_is_asked_at_once),
		TEST(a_sleeping_one_is_resumed_and_asked_again),
		TEST(it_is_sent_three_times_at_most),
		TEST(other_conflicts_and_lost_answers_are_not_repeated),
		TEST(auto_resume_is_decided_by_the_nearest),
		TEST(what_cannot_be_repeated_looks_first),
		TEST(a_capsule_made_elsewhere_is_asked_but_not_woken),
		TEST(what_is_no_live_capsule_is_refused),
		TEST(a_cancelled_use_tells_nothing_and_lets_go),
		TEST(a_long_use_keeps_the_capsule_awake),
		TEST(a_passive_use_leaves_the_pings_alone),
		TEST(a_404_under_another_credential_is_explained),
		TEST(without_a_request_it_says_when_the_capsule_runs),
		TEST(it_may_be_ended_when_it_is_ready_or_before),
		TEST(without_a_request_it_fails_as_any_other),
		cmocka_unit_test(the_calls_wish_is_read_from_its_parameters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
