#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "proto/json_check.h"
#include "proto/jx.h"
#include "tests/unit/fakes/rig.h"

#include "proto/banned.h"

#define ID_C             "cl-ccccccccccccccccccccccccc"
#define ID_D             "cl-ddddddddddddddddddddddddd"
#define LIST             "GET /v1/capsules"
#define AT(id, rest)     "/v1/capsules/" id rest
#define SHOW(id, status) "{\"id\":\"" id "\",\"status\":\"" status "\"}"
#define NOT_FOUND        "{\"error\":{\"code\":\"not_found\",\"message\":\"none\"}}"

/* What a caller was told. */
struct told {
	int calls;
	enum rpc_errno kind;
	char message[LIMIT_ERROR_MESSAGE];
	struct json_object *result;
};

static void
tell(void *arg, const struct buf *result, struct rpc_error *e)
{
	struct json_check_fault fault = { 0 };
	struct told *t = arg;

	t->calls++;
	t->kind = e ? e->kind : RPC_OK;
	snprintf(t->message, sizeof(t->message), "%s", e ? e->message : "");
	json_object_put(t->result);
	t->result =
	    result ? jx_parse(buf_head(result), result->len, &fault) : NULL;
	assert_null(fault.reason);
}

static void
told_clear(struct told *t)
{
	json_object_put(t->result);
	*t = (struct told){ 0 };
}

/* Asks for a list, answers it, and returns the IDs shown, with spaces. */
static const char *
list(struct rig *r, const char *params, const char *body)
{
	static char ids[300];
	struct json_object *o = json_tokener_parse(params), *all;
	struct told t = { 0 };
	int n = *fake_upstream_count(r->upstream);
	size_t i;

	capsules_list(r->capsules, RIG_UID, o, tell, &t);
	assert_string_equal(fake_upstream_sent(r->upstream, n), LIST);
	fake_upstream_answer(r->upstream, n, 200, body);
	assert_int_equal(t.calls, 1);
	all = jx_arr(t.result, "capsules");
	ids[0] = '\0';
	for (i = 0; i < json_object_array_length(all); i++)
		snprintf(ids + strlen(ids), sizeof(ids) - strlen(ids), "%s ",
		    jx_str(json_object_array_get_idx(all, i), "id"));
	told_clear(&t);
	json_object_put(o);
	return ids;
}

static void
a_list_joins_what_both_sides_know(void **state)
{
	struct rig *r = *state;
	struct capsule *theirs, *uncertain;
	char expected[100];

	rig_capsule(r, ID_A);
	theirs = rig_capsule(r, ID_B);
	theirs->row.uid = RIG_UID + 1;
	uncertain = rig_capsule(r, "");
	tracker_set_state(uncertain, CAPSULE_UNCERTAIN);
	/* C was not made here; D is listed by nobody yet. */
	rig_capsule(r, ID_D);
	snprintf(expected, sizeof(expected), ID_A " %s " ID_D " ",
	    uncertain->row.record);
	assert_string_equal(list(r, "{}",
				"[" SHOW(ID_A, "running") "," SHOW(ID_B,
				    "running") "," SHOW(ID_C, "running") "]"),
	    expected);
	/* D may have been stopped elsewhere: it is looked at. */
	rig_expect_sent(r, 1, "GET " AT(ID_D, ""));
	fake_upstream_answer(r->upstream, 1, 200, SHOW(ID_D, "stopped"));
	assert_null(tracker_by_id(r->tracker, ID_D));
	assert_int_equal(strncmp(list(r, "{\"untracked\":true}",
				     "[" SHOW(ID_C, "running") "," SHOW(
					 ID_A, "running") "]"),
			     ID_C " " ID_A " ", 58),
	    0);
}

static void
a_list_can_be_narrowed_by_labels(void **state)
{
	struct rig *r = *state;
	struct capsule *a = rig_capsule(r, ID_A);
	const char *all = "[" SHOW(ID_A, "running") "," SHOW(
	    ID_B, "running") "," SHOW(ID_C, "running") "]";

	a->row.labels = strdup("{\"job\":\"1\",\"who\":\"me\"}");
	rig_capsule(r, ID_B);
	assert_string_equal(
	    list(r, "{\"labels\":{\"job\":\"1\"}}", all), ID_A " ");
	assert_string_equal(
	    list(r, "{\"labels\":{\"job\":\"1\",\"who\":\"you\"}}", all), "");
	assert_string_equal(list(r, "{\"labels\":{},\"untracked\":true}", all),
	    ID_A " " ID_B " ");
}

static void
a_broken_list_is_an_error_and_changes_nothing(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	rig_capsule(r, ID_A);
	capsules_list(r->capsules, RIG_UID, NULL, tell, &t);
	fake_upstream_answer(r->upstream, 0, 200, "{\"capsules\":[]}");
	assert_int_equal(t.kind, RPC_BAD_ANSWER);
	capsules_list(r->capsules, RIG_UID, NULL, tell, &t);
	fake_upstream_lose(r->upstream, 1, HTTP_NOT_SENT, RPC_UNREACHABLE, "x");
	assert_int_equal(t.kind, RPC_UNREACHABLE);
	assert_string_equal(list(r, "{}", "[{},null,7]"), ID_A " ");
	assert_int_equal(
	    tracker_by_id(r->tracker, ID_A)->row.state, CAPSULE_LIVE);
	told_clear(&t);
}

static void
get_adds_what_is_known_here(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told t = { 0 };

	assert_non_null(capsules_get(r->capsules, RIG_UID, "cl-aaa", tell, &t));
	rig_expect_sent(r, 0, "GET " AT(ID_A, ""));
	fake_upstream_answer(r->upstream, 0, 200,
	    "{\"id\":\"" ID_A "\",\"status\":\"paused\",\"extra\":[1]}");
	assert_string_equal(jx_str(t.result, "status"), "paused");
	assert_non_null(jx_arr(t.result, "extra"));
	assert_true(jx_bool(t.result, "tracked", false));
	assert_string_equal(jx_str(jx_obj(t.result, "lease"), "type"), "none");
	/* Without a request, what the row says. */
	tracker_set_state(c, CAPSULE_ENDING);
	assert_null(capsules_get(r->capsules, RIG_UID, ID_A, tell, &t));
	assert_string_equal(jx_str(t.result, "status"), "ending");
	assert_int_equal(t.calls, 2);
	assert_int_equal(*fake_upstream_count(r->upstream), 1);
	told_clear(&t);
}

static void
one_made_elsewhere_is_reached_by_its_full_id(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	capsules_get(r->capsules, RIG_UID, ID_C, tell, &t);
	rig_expect_sent(r, 0, "GET " AT(ID_C, ""));
	fake_upstream_answer(r->upstream, 0, 200, SHOW(ID_C, "running"));
	assert_false(jx_bool(t.result, "tracked", true));
	assert_null(capsules_get(r->capsules, RIG_UID, "cl-ccc", tell, &t));
	assert_int_equal(t.kind, RPC_NOT_FOUND);
	capsules_destroy(r->capsules, RIG_UID, ID_C, tell, &t);
	rig_expect_sent(r, 1, "DELETE " AT(ID_C, ""));
	fake_upstream_answer(r->upstream, 1, 204, "");
	assert_string_equal(jx_str(t.result, "state"), "gone");
	told_clear(&t);
}

/* What upstream says is passed on, but only where it says something of one. */
static void
an_answer_that_shows_no_capsule_is_an_error(void **state)
{
	static const char *const bodies[] = { "[]", "null", "\"running\"",
		"[" SHOW(ID_A, "stopped") "]" };
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told t = { 0 };
	int i;

	for (i = 0; i < (int)COUNT(bodies); i++) {
		capsules_get(r->capsules, RIG_UID, ID_A, tell, &t);
		fake_upstream_answer(r->upstream, i, 200, bodies[i]);
		assert_int_equal(t.kind, RPC_BAD_ANSWER);
		assert_int_equal(c->row.state, CAPSULE_LIVE);
	}
	capsules_pause(r->capsules, RIG_UID, ID_C, tell, &t);
	fake_upstream_answer(r->upstream, i, 204, "");
	assert_int_equal(t.kind, RPC_OK);
	assert_int_equal(json_object_object_length(t.result), 1);
	assert_false(jx_bool(t.result, "tracked", true));
	told_clear(&t);
}

static void
pausing_by_hand_is_remembered(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	rig_capsule(r, ID_A);
	capsules_pause(r->capsules, RIG_UID, ID_A, tell, &t);
	rig_sync(r);
	rig_expect_sent(r, 0, "POST " AT(ID_A, "/pause {}"));
	fake_upstream_answer(r->upstream, 0, 500,
	    "{\"error\":{\"code\":\"internal_error\",\"message\":\"m\"}}");
	assert_int_equal(t.kind, RPC_UPSTREAM_INTERNAL);
	assert_false(tracker_first(r->tracker)->row.paused_by_hand);
	capsules_pause(r->capsules, RIG_UID, ID_A, tell, &t);
	rig_sync(r);
	fake_upstream_answer(r->upstream, 1, 200, SHOW(ID_A, "paused"));
	assert_string_equal(jx_str(t.result, "status"), "paused");
	rig_restart(r);
	assert_true(tracker_first(r->tracker)->row.paused_by_hand);
	capsules_resume(r->capsules, RIG_UID, ID_A, tell, &t);
	rig_expect_sent(r, 0, "POST " AT(ID_A, "/resume {}"));
	fake_upstream_answer(r->upstream, 0, 200, SHOW(ID_A, "starting"));
	rig_restart(r);
	assert_false(tracker_first(r->tracker)->row.paused_by_hand);
	/* Its answer lost, it may sleep, and it was wanted to. */
	capsules_pause(r->capsules, RIG_UID, ID_A, tell, &t);
	rig_sync(r);
	fake_upstream_lose(r->upstream, 0, HTTP_UNKNOWN, RPC_TIMEOUT, "slow");
	assert_int_equal(t.kind, RPC_OUTCOME_UNKNOWN);
	assert_true(tracker_first(r->tracker)->row.paused_by_hand);
	/* Seen running, somebody resumed it elsewhere. */
	list(r, "{}", "[" SHOW(ID_A, "running") "]");
	assert_false(tracker_first(r->tracker)->row.paused_by_hand);
	told_clear(&t);
}

/* Its memory goes to disk for a minute, and so long a list shows it running. */
static void
a_look_while_it_is_paused_changes_nothing(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	rig_capsule(r, ID_A);
	capsules_pause(r->capsules, RIG_UID, ID_A, tell, &t);
	rig_sync(r);
	list(r, "{}", "[" SHOW(ID_A, "running") "]");
	fake_upstream_answer(r->upstream, 0, 200, SHOW(ID_A, "paused"));
	assert_int_equal(t.kind, RPC_OK);
	assert_true(tracker_first(r->tracker)->row.paused_by_hand);
	rig_restart(r);
	assert_true(tracker_first(r->tracker)->row.paused_by_hand);
	told_clear(&t);
}

static void
a_ping_counts_as_activity(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told t = { 0 };

	assert_non_null(capsules_ping(r->capsules, RIG_UID, ID_A, tell, &t));
	fake_loop_advance(r->loop, 1000);
	fake_upstream_answer(r->upstream, 0, 204, "");
	assert_int_equal(t.kind, RPC_OK);
	assert_int_equal(c->touched_ms, now_ms());
	assert_int_equal(json_object_object_length(t.result), 0);
	told_clear(&t);
}

static void
destroying_ends_the_row(void **state)
{
	struct rig *r = *state;
	struct told a = { 0 }, b = { 0 };

	rig_capsule(r, ID_A);
	capsules_destroy(r->capsules, RIG_UID, ID_A, tell, &a);
	capsules_destroy(r->capsules, RIG_UID, ID_A, tell, &b);
	rig_sync(r);
	rig_expect_sent(r, 0, "DELETE " AT(ID_A, ""));
	fake_upstream_answer(r->upstream, 0, 404, NOT_FOUND);
	assert_int_equal(a.kind, RPC_NOT_FOUND);
	assert_string_equal(
	    a.message, "none; wrennd goes on trying to destroy " ID_A);
	assert_string_equal(b.message, a.message);
	capsules_destroy(r->capsules, RIG_UID, ID_A, tell, &a);
	fake_upstream_answer(r->upstream, 1, 204, "");
	rig_sync(r);
	assert_string_equal(jx_str(a.result, "id"), ID_A);
	assert_string_equal(jx_str(a.result, "state"), "gone");
	capsules_destroy(r->capsules, RIG_UID, "cl-aaa", tell, &a);
	assert_int_equal(a.kind, RPC_NOT_FOUND);
	told_clear(&a);
	told_clear(&b);
}

static void
a_lost_create_is_forgotten_by_hand(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, "");
	struct told t = { 0 };
	char record[RECORD_ID_MAX];

	snprintf(record, sizeof(record), "%s", c->row.record);
	tracker_set_state(c, CAPSULE_UNCERTAIN);
	capsules_pause(r->capsules, RIG_UID, record, tell, &t);
	assert_int_equal(t.kind, RPC_CONFLICT);
	assert_non_null(strstr(t.message, record));
	capsules_destroy(r->capsules, RIG_UID, record, tell, &t);
	assert_string_equal(jx_str(t.result, "state"), "forgotten");
	assert_int_equal(*fake_upstream_count(r->upstream), 0);
	rig_restart(r);
	assert_null(tracker_first(r->tracker));
	told_clear(&t);
}

static void
a_cancelled_operation_tells_nothing(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	rig_capsule(r, ID_A);
	capsule_op_cancel(capsules_get(r->capsules, RIG_UID, ID_A, tell, &t));
	capsule_op_cancel(capsules_list(r->capsules, RIG_UID, NULL, tell, &t));
	capsule_op_cancel(NULL);
	assert_false(fake_upstream_is_pending(r->upstream, 0));
	assert_false(fake_upstream_is_pending(r->upstream, 1));
	assert_int_equal(t.calls, 0);
	assert_int_equal(tracker_first(r->tracker)->refs, 1);
}

/* A verified rotation carries rows over, another team's key does not. */
static void
rows_follow_a_credential_that_sees_them(void **state)
{
	struct rig *r = *state;
	struct capsule *a = rig_capsule(r, ID_A), *b = rig_capsule(r, ID_B);
	struct rpc_error e;

	cred_set(r->cred, CRED_API_KEY, "wrn_the_new_one", false, &e);
	capsules_credential_changed(r->capsules);
	rig_expect_sent(r, 0, LIST);
	fake_upstream_answer(
	    r->upstream, 0, 200, "[" SHOW(ID_A, "running") "]");
	assert_string_equal(a->row.identity, cred_identity(r->cred));
	assert_string_not_equal(b->row.identity, cred_identity(r->cred));
	rig_restart(r);
	assert_string_not_equal(tracker_by_id(r->tracker, ID_A)->row.identity,
	    tracker_by_id(r->tracker, ID_B)->row.identity);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_list_joins_what_both_sides_know),
		TEST(a_list_can_be_narrowed_by_labels),
		TEST(a_broken_list_is_an_error_and_changes_nothing),
		TEST(get_adds_what_is_known_here),
		TEST(one_made_elsewhere_is_reached_by_its_full_id),
		TEST(an_answer_that_shows_no_capsule_is_an_error),
		TEST(pausing_by_hand_is_remembered),
		TEST(a_look_while_it_is_paused_changes_nothing),
		TEST(a_ping_counts_as_activity),
		TEST(destroying_ends_the_row),
		TEST(a_lost_create_is_forgotten_by_hand),
		TEST(a_cancelled_operation_tells_nothing),
		TEST(rows_follow_a_credential_that_sees_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
