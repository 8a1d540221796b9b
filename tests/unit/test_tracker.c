#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/unit/unit.h"

#include "tests/unit/fakes/rig.h"

#include "proto/banned.h"

#define DAY_MS (24 * 3600 * 1000ULL)

/* A capsule of a user, in a state, with that ID and name ("" for none). */
static struct capsule *
add(struct rig *r, uid_t uid, enum capsule_state state, const char *id,
    const char *name)
{
	struct capsule_row row = { .uid = uid,
		.state = state,
		.base_url = r->settings.base_url,
		.template = "minimal" };
	struct capsule *c;

	snprintf(row.name, sizeof(row.name), "%s", name);
	c = tracker_add(r->tracker, &row);
	if (id[0] != '\0')
		tracker_set_id(r->tracker, c, id);
	tracker_save(r->tracker, c, NULL, NULL);
	return c;
}

static struct capsule *
resolve(struct rig *r, uid_t uid, const char *ref)
{
	struct rpc_error e;

	return tracker_resolve(r->tracker, uid, ref, &e);
}

/* It is not found, for that reason. */
static void
refuse(struct rig *r, uid_t uid, const char *ref, enum rpc_errno kind)
{
	struct rpc_error e = { .kind = RPC_OK };

	assert_null(tracker_resolve(r->tracker, uid, ref, &e));
	assert_int_equal(e.kind, kind);
}

static void
a_capsule_is_found_by_all_it_is_called(void **state)
{
	struct rig *r = *state;
	struct capsule *a = add(r, RIG_UID, CAPSULE_LIVE, ID_A, "build");
	struct capsule *b = add(r, RIG_UID, CAPSULE_LIVE, ID_B, "");
	char prefix[RECORD_ID_MAX];

	assert_ptr_equal(resolve(r, RIG_UID, "build"), a);
	assert_ptr_equal(resolve(r, RIG_UID, ID_A), a);
	assert_ptr_equal(resolve(r, RIG_UID, ID_B), b);
	assert_ptr_equal(resolve(r, RIG_UID, "cl-a"), a);
	assert_ptr_equal(resolve(r, RIG_UID, "cl-bbbb"), b);
	/* All but the last letter is still the beginning of one. */
	assert_ptr_equal(resolve(r, RIG_UID, "cl-aaaaaaaaaaaaaaaaaaaaaaaa"), a);
	assert_ptr_equal(resolve(r, RIG_UID, a->row.record), a);
	snprintf(prefix, sizeof(prefix), "%.12s", b->row.record);
	assert_ptr_equal(resolve(r, RIG_UID, prefix), b);
	assert_ptr_equal(tracker_by_id(r->tracker, ID_A), a);
	assert_ptr_equal(tracker_by_name(r->tracker, RIG_UID, "build"), a);
	assert_int_equal(strlen(a->row.record), 20);
	assert_string_not_equal(a->row.record, b->row.record);
}

static void
what_fits_none_or_many_is_refused(void **state)
{
	struct rig *r = *state;

	add(r, RIG_UID, CAPSULE_LIVE, "cl-aaa1aaaaaaaaaaaaaaaaaaaaa", "");
	add(r, RIG_UID, CAPSULE_LIVE, "cl-aaa2aaaaaaaaaaaaaaaaaaaaa", "");
	refuse(r, RIG_UID, "cl-aaa", RPC_AMBIGUOUS);
	refuse(r, RIG_UID, "rec-", RPC_AMBIGUOUS);
	assert_non_null(resolve(r, RIG_UID, "cl-aaa2"));
	refuse(r, RIG_UID, "cl-aaa3", RPC_NOT_FOUND);
	refuse(r, RIG_UID, "cl-", RPC_NOT_FOUND); /* too short to mean one */
	refuse(r, RIG_UID, "", RPC_NOT_FOUND);
	refuse(r, RIG_UID, "nobody", RPC_NOT_FOUND);
	refuse(r, RIG_UID, "cl-aaa2aaaaaaaaaaaaaaaaaaaaaa", RPC_NOT_FOUND);
}

static void
other_users_capsules_are_not_found(void **state)
{
	struct rig *r = *state;
	struct capsule *theirs = add(r, 2, CAPSULE_LIVE, ID_A, "build");
	struct capsule *mine;

	refuse(r, RIG_UID, "build", RPC_NOT_FOUND);
	refuse(r, RIG_UID, ID_A, RPC_NOT_FOUND);
	refuse(r, RIG_UID, "cl-aaaa", RPC_NOT_FOUND);
	refuse(r, RIG_UID, theirs->row.record, RPC_NOT_FOUND);
	mine = add(r, RIG_UID, CAPSULE_LIVE, ID_B, "build");
	assert_ptr_equal(resolve(r, RIG_UID, "build"), mine);
	assert_ptr_equal(resolve(r, 2, "build"), theirs);
}

/* A name is free again at once, the ID still says what became of it. */
static void
a_gone_capsule_frees_its_name(void **state)
{
	struct rig *r = *state;
	struct capsule *a = add(r, RIG_UID, CAPSULE_LIVE, ID_A, "build");
	struct capsule *b;

	tracker_set_state(a, CAPSULE_GONE);
	tracker_save(r->tracker, a, NULL, NULL);
	refuse(r, RIG_UID, "build", RPC_NOT_FOUND);
	refuse(r, RIG_UID, "cl-aaa", RPC_NOT_FOUND);
	assert_ptr_equal(resolve(r, RIG_UID, ID_A), a);
	b = add(r, RIG_UID, CAPSULE_LIVE, ID_B, "build");
	assert_ptr_equal(resolve(r, RIG_UID, "build"), b);
	tracker_forget(r->tracker, a);
	assert_ptr_equal(resolve(r, RIG_UID, "build"), b);
	refuse(r, RIG_UID, ID_A, RPC_NOT_FOUND);
}

static void
a_key_is_found_until_a_day_after_the_end(void **state)
{
	struct rig *r = *state;
	struct capsule *c = add(r, RIG_UID, CAPSULE_LIVE, ID_A, "");

	snprintf(c->row.key, sizeof(c->row.key), "job-1");
	assert_ptr_equal(tracker_by_key(r->tracker, RIG_UID, "job-1"), c);
	assert_null(tracker_by_key(r->tracker, RIG_UID, "job-2"));
	assert_null(tracker_by_key(r->tracker, 2, "job-1"));
	fake_loop_advance(r->loop, 3 * DAY_MS);
	assert_ptr_equal(tracker_by_key(r->tracker, RIG_UID, "job-1"), c);
	tracker_set_state(c, CAPSULE_GONE);
	tracker_save(r->tracker, c, NULL, NULL);
	fake_loop_advance(r->loop, DAY_MS);
	assert_ptr_equal(tracker_by_key(r->tracker, RIG_UID, "job-1"), c);
	fake_loop_advance(r->loop, 1);
	assert_null(tracker_by_key(r->tracker, RIG_UID, "job-1"));
	rig_restart(r);
	assert_null(tracker_first(r->tracker));
}

static void
rows_outlive_a_restart(void **state)
{
	struct rig *r = *state;
	struct capsule *c;

	add(r, RIG_UID, CAPSULE_LIVE, ID_A, "build");
	add(r, RIG_UID, CAPSULE_ENDING, ID_B, "");
	c = add(r, RIG_UID, CAPSULE_GONE, "", "");
	snprintf(c->row.key, sizeof(c->row.key), "job-1");
	tracker_save(r->tracker, c, NULL, NULL);
	add(r, RIG_UID, CAPSULE_GONE, "", "without a key");
	rig_restart(r);
	assert_string_equal(resolve(r, RIG_UID, "build")->row.id, ID_A);
	assert_int_equal(resolve(r, RIG_UID, ID_B)->row.state, CAPSULE_ENDING);
	assert_non_null(tracker_by_key(r->tracker, RIG_UID, "job-1"));
	assert_int_equal(tracker_count(r->tracker, CAPSULE_GONE), 1);
	assert_int_equal(tracker_count(r->tracker, CAPSULE_LIVE), 1);
	assert_int_equal(tracker_count(r->tracker, CAPSULE_CREATING), 0);
}

/* Whether it was sent is not known, after a crash in between. */
static void
an_interrupted_create_becomes_uncertain(void **state)
{
	struct rig *r = *state;

	add(r, RIG_UID, CAPSULE_CREATING, "", "build");
	rig_restart(r);
	assert_int_equal(
	    resolve(r, RIG_UID, "build")->row.state, CAPSULE_UNCERTAIN);
	rig_sync(r);
	rig_restart(r);
	assert_int_equal(
	    resolve(r, RIG_UID, "build")->row.state, CAPSULE_UNCERTAIN);
}

static void
a_forgotten_capsule_lives_while_somebody_holds_it(void **state)
{
	struct rig *r = *state;
	struct capsule *c = add(r, RIG_UID, CAPSULE_LIVE, ID_A, "");

	capsule_ref(c);
	tracker_forget(r->tracker, c);
	tracker_forget(r->tracker, c);
	assert_true(c->forgotten);
	refuse(r, RIG_UID, ID_A, RPC_NOT_FOUND);
	rig_sync(r);
	assert_string_equal(c->row.id, ID_A);
	capsule_unref(c);
	capsule_unref(NULL);
	rig_restart(r);
	assert_null(tracker_first(r->tracker));
}

static void
saved(void *arg, int error)
{
	*(int *)arg = error;
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
a_save_that_failed_is_made_again(void **state)
{
	struct rig *r = *state;
	struct capsule *c = add(r, RIG_UID, CAPSULE_LIVE, ID_A, "");
	int error = 0;

	rig_sync(r);
	signal(SIGXFSZ, SIG_IGN);
	limit_files(true);
	tracker_set_state(c, CAPSULE_ENDING);
	tracker_save(r->tracker, c, saved, &error);
	rig_sync(r);
	limit_files(false);
	assert_true(error < 0);
	assert_int_equal(store_health(r->store), STORE_FAILING);
	fake_loop_advance(r->loop, 2000);
	rig_sync(r);
	assert_int_equal(store_health(r->store), STORE_OK);
	rig_restart(r);
	assert_int_equal(resolve(r, RIG_UID, ID_A)->row.state, CAPSULE_ENDING);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_capsule_is_found_by_all_it_is_called),
		TEST(what_fits_none_or_many_is_refused),
		TEST(other_users_capsules_are_not_found),
		TEST(a_gone_capsule_frees_its_name),
		TEST(a_key_is_found_until_a_day_after_the_end),
		TEST(rows_outlive_a_restart),
		TEST(an_interrupted_create_becomes_uncertain),
		TEST(a_forgotten_capsule_lives_while_somebody_holds_it),
		TEST(a_save_that_failed_is_made_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
