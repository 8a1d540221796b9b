#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "daemon/snapshot.h"
#include "proto/jx.h"
#include "tests/unit/fakes/rig.h"

#include "proto/banned.h"

#define CREATE \
	"POST /v1/snapshots {\"sandbox_id\":\"" ID_A "\",\"name\":\"s1\"}"
#define REPLACE                                                     \
	"POST /v1/snapshots?overwrite=true {\"sandbox_id\":\"" ID_A \
	"\",\"name\":\"s1\"}"
#define LOOK   "GET /v1/capsules/" ID_A
#define DELETE "DELETE /v1/snapshots/s1"
#define DONE   "{\"name\":\"s1\"}"
#define TAKEN \
	"{\"error\":{\"code\":\"template_name_taken\",\"message\":\"exists\"}}"
#define STATUS(s)   "{\"id\":\"" ID_A "\",\"status\":\"" s "\"}"
#define ERROR(code) "{\"error\":{\"code\":\"" code "\",\"message\":\"no\"}}"

/* What a caller was told. */
struct told {
	int calls;
	enum rpc_errno kind;
	char text[LIMIT_ERROR_MESSAGE]; /* the result or the message */
	bool deleted;                   /* as the error says beside it */
};

static void
tell(void *arg, const char *text, size_t len, struct rpc_error *e)
{
	struct told *t = arg;

	t->calls++;
	t->kind = e ? e->kind : RPC_OK;
	t->deleted = e && jx_bool(e->extra, "deleted", false);
	snprintf(t->text, sizeof(t->text), "%.*s", e ? -1 : (int)len,
	    e ? e->message : text);
}

/* Begins one of capsule A, up to its first request. */
static struct snapshot *
begin(struct rig *r, struct told *t, bool overwrite)
{
	const struct snapshot_parts parts = { r->capsules, r->tracker,
		r->upstream };
	const struct snapshot_spec spec = { RIG_UID, ID_A, "s1", overwrite,
		tell, t };
	struct rpc_error why;
	struct snapshot *s = snapshot_start(&parts, &spec, &why);

	assert_non_null(s);
	rig_sync(r);
	rig_expect_sent(r, 0, overwrite ? REPLACE : CREATE);
	return s;
}

/* The name is taken, and the capsule a fit one: the older one's delete. */
static void
meet_an_older_one(struct rig *r)
{
	fake_upstream_answer(r->upstream, 0, 409, TAKEN);
	rig_expect_sent(r, 1, LOOK);
	fake_upstream_answer(r->upstream, 1, 200, STATUS("running"));
	rig_expect_sent(r, 2, DELETE);
}

static void
what_sleeps_then_was_put_to_sleep_by_hand(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told t = { 0 };

	begin(r, &t, false);
	/* A run that begins now must know. */
	assert_true(c->row.paused_by_hand);
	fake_upstream_answer(r->upstream, 0, 201, DONE);
	assert_int_equal(t.calls, 1);
	assert_string_equal(t.text, DONE);
	assert_true(c->row.paused_by_hand);
	rig_sync(r);
	rig_restart(r);
	assert_true(tracker_by_id(r->tracker, ID_A)->row.paused_by_hand);
}

/* It takes minutes, and a list meanwhile shows what still runs. */
static void
a_look_meanwhile_changes_nothing(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told t = { 0 };

	begin(r, &t, false);
	c->row.paused_by_hand = false;
	fake_upstream_answer(r->upstream, 0, 201, DONE);
	assert_true(c->row.paused_by_hand);
	rig_sync(r);
}

static void
a_failure_leaves_it_as_it_was(void **state)
{
	static const struct {
		int status;
		const char *body;
		enum rpc_errno kind;
		bool by_hand;
	} rows[] = {
		{ 409, ERROR("invalid_state"), RPC_CONFLICT, false },
		{ 502, ERROR("agent_error"), RPC_AGENT, false },
		{ 409, TAKEN, RPC_CONFLICT, false },
		/* A gateway does not know what happened. */
		{ 504, "<html>", RPC_OUTCOME_UNKNOWN, true },
		/* It was done, and cannot be read. */
		{ 201, "<html>", RPC_BAD_ANSWER, true },
	};
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	const struct snapshot_parts parts = { r->capsules, r->tracker,
		r->upstream };
	struct told t = { 0 };
	const struct snapshot_spec spec = { RIG_UID, ID_A, "s1", false, tell,
		&t };
	struct rpc_error why;
	size_t i;

	for (i = 0; i < COUNT(rows); i++) {
		c->row.paused_by_hand = false;
		assert_non_null(snapshot_start(&parts, &spec, &why));
		rig_sync(r);
		fake_upstream_answer(
		    r->upstream, (int)i, rows[i].status, rows[i].body);
		assert_int_equal(t.kind, rows[i].kind);
		assert_true(c->row.paused_by_hand == rows[i].by_hand);
		assert_false(t.deleted);
	}
	assert_int_equal(t.calls, COUNT(rows));
	assert_int_equal(*fake_upstream_count(r->upstream), COUNT(rows));
	rig_sync(r);
}

static void
a_lost_answer_may_have_paused(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told t = { 0 };

	begin(r, &t, true);
	fake_upstream_lose(
	    r->upstream, 0, HTTP_UNKNOWN, RPC_UNREACHABLE, "reset");
	assert_int_equal(t.kind, RPC_OUTCOME_UNKNOWN);
	assert_true(c->row.paused_by_hand);
	assert_int_equal(*fake_upstream_count(r->upstream), 1);
}

static void
one_paused_by_hand_before_stays_so(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told t = { 0 };

	c->row.paused_by_hand = true;
	begin(r, &t, false);
	fake_upstream_answer(r->upstream, 0, 409, TAKEN);
	assert_true(c->row.paused_by_hand);
}

static void
a_server_that_replaces_is_asked_once(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	rig_capsule(r, ID_A);
	begin(r, &t, true);
	fake_upstream_answer(r->upstream, 0, 201, DONE);
	assert_int_equal(t.kind, RPC_OK);
	assert_int_equal(*fake_upstream_count(r->upstream), 1);
	rig_sync(r);
}

static void
another_has_the_old_one_deleted_first(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	rig_capsule(r, ID_A);
	begin(r, &t, true);
	meet_an_older_one(r);
	fake_upstream_answer(r->upstream, 2, 204, "");
	rig_expect_sent(r, 3, REPLACE);
	assert_int_equal(t.calls, 0);
	fake_upstream_answer(r->upstream, 3, 201, DONE);
	assert_int_equal(t.kind, RPC_OK);
	assert_string_equal(t.text, DONE);
	rig_sync(r);
}

/* Somebody else deleted it, or the server's 404 was none: once is enough. */
static void
it_is_deleted_once(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told t = { 0 };

	begin(r, &t, true);
	meet_an_older_one(r);
	fake_upstream_answer(r->upstream, 2, 404, ERROR("not_found"));
	fake_upstream_answer(r->upstream, 3, 409, TAKEN);
	assert_int_equal(*fake_upstream_count(r->upstream), 4);
	assert_int_equal(t.kind, RPC_CONFLICT);
	assert_string_equal(t.text, "exists");
	assert_false(t.deleted);
	assert_false(c->row.paused_by_hand);
	rig_sync(r);
}

/* The error tells that the old one is gone, whatever became of the new. */
static void
a_failure_behind_the_delete_says_so(void **state)
{
	static const char said[] = "the older snapshot s1 was deleted, but "
				   "taking the new one failed: ";
	struct rig *r = *state;
	struct told t = { 0 };

	rig_capsule(r, ID_A);
	begin(r, &t, true);
	meet_an_older_one(r);
	fake_upstream_answer(r->upstream, 2, 204, "");
	fake_upstream_answer(r->upstream, 3, 502, ERROR("agent_error"));
	assert_int_equal(t.kind, RPC_AGENT);
	assert_int_equal(strncmp(t.text, said, strlen(said)), 0);
	assert_true(t.deleted);
	rig_sync(r);
}

static void
a_delete_that_fails_ends_it(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told t = { 0 };

	begin(r, &t, true);
	meet_an_older_one(r);
	fake_upstream_answer(r->upstream, 2, 403, ERROR("forbidden"));
	assert_int_equal(t.kind, RPC_FORBIDDEN);
	assert_string_equal(t.text, "the older snapshot s1 is still there: no");
	assert_false(c->row.paused_by_hand);
	assert_int_equal(*fake_upstream_count(r->upstream), 3);
	rig_sync(r);
}

static void
a_delete_that_is_lost_may_have_happened(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	rig_capsule(r, ID_A);
	begin(r, &t, true);
	meet_an_older_one(r);
	fake_upstream_lose(
	    r->upstream, 2, HTTP_UNKNOWN, RPC_OUTCOME_UNKNOWN, "reset");
	assert_int_equal(t.kind, RPC_UNREACHABLE);
	assert_non_null(strstr(t.text, "the older snapshot s1 may be gone: "));
	rig_sync(r);
}

/* The delete may have been sent twice, and found nothing the second time. */
static void
what_became_of_both_is_told_as_far_as_it_is_known(void **state)
{
	static const struct {
		int deleted, made;
		const char *body, *said;
		bool sure;
	} rows[] = {
		{ 404, 502, ERROR("agent_error"),
		    "the older snapshot s1 may be gone, but taking the new one "
		    "failed: ",
		    false },
		{ 404, 502, "",
		    "the older snapshot s1 may be gone, and whether the new "
		    "one was taken is not known: ",
		    false },
		{ 204, 502, "",
		    "the older snapshot s1 was deleted, and whether the new "
		    "one was taken is not known: ",
		    true },
	};
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	const struct snapshot_parts parts = { r->capsules, r->tracker,
		r->upstream };
	struct told t = { 0 };
	const struct snapshot_spec spec = { RIG_UID, ID_A, "s1", true, tell,
		&t };
	struct rpc_error why;
	int i;

	for (i = 0; i < (int)COUNT(rows); i++) {
		c->row.paused_by_hand = false;
		assert_non_null(snapshot_start(&parts, &spec, &why));
		rig_sync(r);
		fake_upstream_answer(r->upstream, 4 * i, 409, TAKEN);
		fake_upstream_answer(
		    r->upstream, 4 * i + 1, 200, STATUS("paused"));
		fake_upstream_answer(r->upstream, 4 * i + 2, rows[i].deleted,
		    rows[i].deleted == 404 ? ERROR("not_found") : "");
		fake_upstream_answer(
		    r->upstream, 4 * i + 3, rows[i].made, rows[i].body);
		assert_int_equal(t.calls, i + 1);
		assert_int_equal(
		    strncmp(t.text, rows[i].said, strlen(rows[i].said)), 0);
		assert_true(t.deleted == rows[i].sure);
		assert_true(
		    c->row.paused_by_hand == (t.kind == RPC_OUTCOME_UNKNOWN));
	}
	rig_sync(r);
}

/* Nothing is deleted for a snapshot that cannot be taken. */
static void
the_capsule_is_looked_at_before_the_delete(void **state)
{
	static const struct {
		int status;
		const char *body;
		enum rpc_errno kind;
		const char *said;
	} rows[] = {
		{ 200, STATUS("missing"), RPC_CONFLICT, "(status: missing)" },
		{ 200, STATUS("stopped"), RPC_CONFLICT, "(status: stopped)" },
		{ 200, "{}", RPC_CONFLICT, "(status: none)" },
		{ 200, "<html>", RPC_BAD_ANSWER, "not JSON" },
		{ 204, "", RPC_CONFLICT, "(status: none)" },
		{ 404, ERROR("not_found"), RPC_NOT_FOUND, "no" },
		{ 503, ERROR("host_unavailable"), RPC_HOST_UNAVAILABLE, "no" },
	};
	static const char still[] = "the older snapshot s1 is still there: ";
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	const struct snapshot_parts parts = { r->capsules, r->tracker,
		r->upstream };
	struct told t = { 0 };
	const struct snapshot_spec spec = { RIG_UID, ID_A, "s1", true, tell,
		&t };
	struct rpc_error why;
	int i;

	for (i = 0; i < (int)COUNT(rows); i++) {
		c->row.paused_by_hand = false;
		assert_non_null(snapshot_start(&parts, &spec, &why));
		rig_sync(r);
		fake_upstream_answer(r->upstream, 2 * i, 409, TAKEN);
		fake_upstream_answer(
		    r->upstream, 2 * i + 1, rows[i].status, rows[i].body);
		assert_int_equal(t.calls, i + 1);
		assert_int_equal(t.kind, rows[i].kind);
		assert_int_equal(strncmp(t.text, still, strlen(still)), 0);
		assert_non_null(strstr(t.text, rows[i].said));
		assert_false(t.deleted);
		assert_false(c->row.paused_by_hand);
	}
	assert_int_equal(*fake_upstream_count(r->upstream), 2 * COUNT(rows));
	rig_sync(r);
}

/* A portal's page is no answer to the delete, and nothing was taken. */
static void
an_odd_answer_to_the_delete_leaves_the_capsule_as_it_was(void **state)
{
	struct rig *r = *state;
	struct capsule *c = rig_capsule(r, ID_A);
	struct told t = { 0 };

	begin(r, &t, true);
	meet_an_older_one(r);
	fake_upstream_answer(r->upstream, 2, 200, "<html>");
	assert_int_equal(t.kind, RPC_BAD_ANSWER);
	assert_non_null(strstr(t.text, "the older snapshot s1 may be gone: "));
	assert_false(c->row.paused_by_hand);
	rig_sync(r);
}

/* Another conflict is none of the name's: nothing is deleted. */
static void
only_a_taken_name_is_made_free(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };

	rig_capsule(r, ID_A);
	begin(r, &t, true);
	fake_upstream_answer(r->upstream, 0, 409, ERROR("name_reserved"));
	assert_int_equal(t.kind, RPC_CONFLICT);
	assert_int_equal(*fake_upstream_count(r->upstream), 1);
	rig_sync(r);
}

static void
another_users_capsule_is_none(void **state)
{
	struct rig *r = *state;
	const struct snapshot_parts parts = { r->capsules, r->tracker,
		r->upstream };
	struct told t = { 0 };
	const struct snapshot_spec spec = { RIG_UID + 1, ID_A, "s1", false,
		tell, &t };
	struct rpc_error why = { 0 };

	r->settings.system_wide = true;
	capsules_settings_changed(r->capsules, &r->settings);
	rig_capsule(r, ID_A);
	assert_null(snapshot_start(&parts, &spec, &why));
	assert_int_equal(why.kind, RPC_NOT_FOUND);
	assert_int_equal(t.calls, 0);
	assert_int_equal(*fake_upstream_count(r->upstream), 0);
}

/* One that was not made here has no record to write. */
static void
an_untracked_one_is_asked_for_at_once(void **state)
{
	struct rig *r = *state;
	const struct snapshot_parts parts = { r->capsules, r->tracker,
		r->upstream };
	struct told t = { 0 };
	const struct snapshot_spec spec = { RIG_UID, ID_A, "s1", false, tell,
		&t };
	struct rpc_error why;

	assert_non_null(snapshot_start(&parts, &spec, &why));
	rig_expect_sent(r, 0, CREATE);
	fake_upstream_answer(r->upstream, 0, 201, DONE);
	assert_int_equal(t.kind, RPC_OK);
}

static void
a_cancelled_one_tells_nothing(void **state)
{
	struct rig *r = *state;
	struct told t = { 0 };
	struct snapshot *s;

	rig_capsule(r, ID_A);
	s = begin(r, &t, false);
	snapshot_cancel(s);
	assert_false(fake_upstream_is_pending(r->upstream, 0));
	assert_int_equal(t.calls, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_sleeps_then_was_put_to_sleep_by_hand),
		TEST(a_look_meanwhile_changes_nothing),
		TEST(a_failure_leaves_it_as_it_was),
		TEST(a_lost_answer_may_have_paused),
		TEST(one_paused_by_hand_before_stays_so),
		TEST(a_server_that_replaces_is_asked_once),
		TEST(another_has_the_old_one_deleted_first),
		TEST(it_is_deleted_once),
		TEST(a_failure_behind_the_delete_says_so),
		TEST(a_delete_that_fails_ends_it),
		TEST(a_delete_that_is_lost_may_have_happened),
		TEST(what_became_of_both_is_told_as_far_as_it_is_known),
		TEST(the_capsule_is_looked_at_before_the_delete),
		TEST(an_odd_answer_to_the_delete_leaves_the_capsule_as_it_was),
		TEST(only_a_taken_name_is_made_free),
		TEST(another_users_capsule_is_none),
		TEST(an_untracked_one_is_asked_for_at_once),
		TEST(a_cancelled_one_tells_nothing),
	};

	return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
