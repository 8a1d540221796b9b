#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#include "daemon/log.h"
#include "daemon/store.h"
#include "tests/unit/fakes/rig.h"

#include "proto/banned.h"

/* A folder with a store in it, and the answers in the order they came. */
struct fixture {
	char dir[32];
	char path[64], side[64];
	struct loop *loop;
	struct store *store;
	int answers, last_error;
	char order[16];
	int rows; /* at the last load */
	struct capsule_row row;
};

static int
enter(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	log_set_level(LOG_ERROR);
	snprintf(f->dir, sizeof(f->dir), "/tmp/test-store-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/capsules.db", f->dir);
	snprintf(f->side, sizeof(f->side), "%s/capsules.generation", f->dir);
	f->loop = loop_new();
	*state = f;
	return 0;
}

static void
close_store(struct fixture *f)
{
	store_close(f->store);
	f->store = NULL;
}

static int
leave(void **state)
{
	struct fixture *f = *state;

	close_store(f);
	loop_free(f->loop);
	capsule_row_release(&f->row);
	rig_remove_folder(f->dir);
	free(f);
	return 0;
}

static void
keep_row(void *arg, const struct capsule_row *row)
{
	struct fixture *f = arg;

	f->rows++;
	capsule_row_release(&f->row);
	capsule_row_copy(&f->row, row);
}

/* Opens it as a start of the daemon does; NULL when it is refused. */
static struct store *
open_store(struct fixture *f, bool fresh)
{
	close_store(f);
	f->rows = 0;
	f->store = store_open(f->loop, f->dir, fresh);
	if (f->store != NULL)
		assert_int_equal(store_load(f->store, keep_row, f), 0);
	return f->store;
}

static void
answered(void *arg, int error)
{
	struct fixture *f = arg;

	f->answers++;
	f->last_error = error;
}

static void
wait_for(struct fixture *f, int answers)
{
	fake_loop_until(f->loop, &f->answers, answers);
	assert_int_equal(f->answers, answers);
}

static char some_url[] = "https://a.test";
static char some_labels[] = "{\"a\":\"\xc3\xa4\"}";

/* Every member has a value of its own. */
static struct capsule_row
full_row(void)
{
	return (struct capsule_row){
		.record = "rec-0123456789abcdef",
		.id = ID_A,
		.state = CAPSULE_ENDING,
		.uid = 4000000000U,
		.base_url = some_url,
		.identity = "0123456789abcdef0123456789abcdef"
			    "0123456789abcdef0123456789abcdef",
		.name = "it's \"mine\"",
		.labels = some_labels,
		.key = "the key",
		.template = "python",
		.vcpus = 2,
		.memory_mb = 512,
		.timeout_s = 1323,
		.timeout_chosen = true,
		.keepalive = true,
		.auto_resume = -1,
		.paused_by_hand = true,
		.created_at = INT64_C(1700000000001),
		.changed_at = INT64_C(1700000000002),
	};
}

static void
put(struct fixture *f, const char *record)
{
	struct capsule_row row = full_row();
	int before = f->answers;

	snprintf(row.record, sizeof(row.record), "%s", record);
	store_put(f->store, &row, answered, f);
	wait_for(f, before + 1);
}

static void
expect_full_row(const struct capsule_row *r)
{
	struct capsule_row w = full_row();

	assert_string_equal(r->record, w.record);
	assert_string_equal(r->id, w.id);
	assert_int_equal(r->state, w.state);
	assert_int_equal(r->uid, w.uid);
	assert_string_equal(r->base_url, w.base_url);
	assert_string_equal(r->identity, w.identity);
	assert_string_equal(r->name, w.name);
	assert_string_equal(r->labels, w.labels);
	assert_string_equal(r->key, w.key);
	assert_string_equal(r->template, w.template);
	assert_int_equal(r->vcpus, w.vcpus);
	assert_int_equal(r->memory_mb, w.memory_mb);
	assert_int_equal(r->timeout_s, w.timeout_s);
	assert_int_equal(r->timeout_chosen, w.timeout_chosen);
	assert_int_equal(r->keepalive, w.keepalive);
	assert_int_equal(r->auto_resume, w.auto_resume);
	assert_int_equal(r->paused_by_hand, w.paused_by_hand);
	assert_int_equal(r->created_at, w.created_at);
	assert_int_equal(r->changed_at, w.changed_at);
}

static void
a_row_comes_back_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct capsule_row row = full_row();

	assert_non_null(open_store(f, false));
	assert_int_equal(f->rows, 0);
	assert_int_equal(store_health(f->store), STORE_OK);
	assert_string_equal(store_path(f->store), f->path);
	assert_null(store_kept_aside(f->store));
	put(f, row.record);
	assert_int_equal(f->last_error, 0);
	assert_non_null(open_store(f, false));
	assert_int_equal(f->rows, 1);
	expect_full_row(&f->row);
	assert_int_equal(store_health(f->store), STORE_OK);
}

/* They are shown as they are written, so they must be what they should. */
static void
labels_that_are_no_object_are_none(void **state)
{
	static char texts[][12] = { "", "{\"a\":", "[]", "{}{}" };
	struct fixture *f = *state;
	struct capsule_row row = full_row();
	size_t i;

	for (i = 0; i < COUNT(texts); i++) {
		assert_non_null(open_store(f, false));
		row.labels = texts[i];
		store_put(f->store, &row, answered, f);
		wait_for(f, (int)i + 1);
		assert_non_null(open_store(f, false));
		assert_int_equal(f->rows, 1);
		assert_null(f->row.labels);
	}
}

static void
a_put_replaces_and_a_remove_removes(void **state)
{
	struct fixture *f = *state;
	struct capsule_row row = full_row();

	assert_non_null(open_store(f, false));
	put(f, row.record);
	row.state = CAPSULE_GONE;
	row.labels = NULL;
	row.auto_resume = 1;
	store_put(f->store, &row, answered, f);
	store_remove(f->store, "rec-none", NULL, NULL);
	wait_for(f, 2);
	assert_non_null(open_store(f, false));
	assert_int_equal(f->rows, 1);
	assert_int_equal(f->row.state, CAPSULE_GONE);
	assert_null(f->row.labels);
	assert_int_equal(f->row.auto_resume, 1);
	store_remove(f->store, row.record, answered, f);
	wait_for(f, 3);
	assert_non_null(open_store(f, false));
	assert_int_equal(f->rows, 0);
}

/* Writes its letter. */
struct letter {
	struct fixture *f;
	char c;
};

static void
note(void *arg, int error)
{
	struct letter *l = arg;

	assert_int_equal(error, 0);
	l->f->order[l->f->answers++] = l->c;
}

static void
requests_are_answered_in_order(void **state)
{
	struct fixture *f = *state;
	struct letter l[4] = { { f, 'a' }, { f, 'b' }, { f, 'c' }, { f, 'd' } };
	struct capsule_row row = full_row();

	assert_non_null(open_store(f, false));
	store_put(f->store, &row, note, &l[0]);
	store_remove(f->store, row.record, note, &l[1]);
	store_put(f->store, &row, note, &l[2]);
	store_probe(f->store, note, &l[3]);
	wait_for(f, 4);
	assert_string_equal(f->order, "abcd");
	assert_non_null(open_store(f, false));
	assert_int_equal(f->rows, 1);
}

/* More than one group; they are on disk before the store is closed. */
static void
what_was_asked_before_closing_is_carried_out(void **state)
{
	struct fixture *f = *state;
	struct capsule_row row = full_row();
	int i;

	assert_non_null(open_store(f, false));
	for (i = 0; i < 600; i++) {
		snprintf(row.record, sizeof(row.record), "rec-%d", i);
		store_put(f->store, &row, answered, f);
	}
	close_store(f);
	assert_int_equal(f->answers, 600);
	assert_int_equal(f->last_error, -ECANCELED);
	assert_non_null(open_store(f, false));
	assert_int_equal(f->rows, 600);
}

static void
write_bytes(const char *path, const void *data, size_t n, long at)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, n, at), n);
	close(fd);
}

/* The file is there again, and the old one beside it under a new name. */
static void
expect_rebuilt(struct fixture *f)
{
	struct stat st;

	assert_non_null(open_store(f, false));
	assert_int_equal(f->rows, 0);
	assert_int_equal(store_health(f->store), STORE_REBUILT);
	assert_non_null(store_kept_aside(f->store));
	assert_int_equal(stat(store_kept_aside(f->store), &st), 0);
	assert_true(st.st_size > 0);
	put(f, "rec-new");
	assert_int_equal(f->last_error, 0);
	assert_non_null(open_store(f, false));
	assert_int_equal(f->rows, 1);
	assert_int_equal(store_health(f->store), STORE_OK);
}

static void
garbage_is_kept_aside(void **state)
{
	struct fixture *f = *state;
	char junk[8192];

	memset(junk, 'j', sizeof(junk));
	write_bytes(f->path, junk, sizeof(junk), 0);
	expect_rebuilt(f);
}

static void
a_damaged_file_is_kept_aside(void **state)
{
	struct fixture *f = *state;
	char junk[4000];

	assert_non_null(open_store(f, false));
	put(f, "rec-0");
	close_store(f);
	memset(junk, 0xff, sizeof(junk));
	write_bytes(f->path, junk, sizeof(junk), 4096);
	write_bytes(f->path, junk, sizeof(junk), 2 * 4096);
	expect_rebuilt(f);
}

static void
a_file_cut_short_is_kept_aside(void **state)
{
	struct fixture *f = *state;

	assert_non_null(open_store(f, false));
	put(f, "rec-0");
	close_store(f);
	assert_int_equal(truncate(f->path, 4096 + 100), 0);
	expect_rebuilt(f);
}

/* A file of no bytes is a valid database that has forgotten everything. */
static void
an_empty_file_is_refused_unless_asked_for(void **state)
{
	struct fixture *f = *state;

	assert_non_null(open_store(f, false));
	put(f, "rec-0");
	close_store(f);
	assert_int_equal(truncate(f->path, 0), 0);
	assert_null(open_store(f, false));
	assert_int_equal(unlink(f->path), 0);
	assert_null(open_store(f, false));
	assert_non_null(open_store(f, true));
	assert_int_equal(f->rows, 0);
	assert_int_equal(store_health(f->store), STORE_OK);
	assert_non_null(open_store(f, false));
	assert_int_equal(store_health(f->store), STORE_OK);
	/* With rows in it, the wish for a fresh one changes nothing. */
	put(f, "rec-0");
	assert_non_null(open_store(f, true));
	assert_int_equal(f->rows, 1);
}

/* The header's numbers, which sqlite keeps big-endian at fixed places. */
static void
set_header(struct fixture *f, long at, unsigned char value)
{
	const unsigned char number[4] = { 0, 0, 0, value };

	close_store(f);
	write_bytes(f->path, number, sizeof(number), at);
}

static void
another_programs_file_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_non_null(open_store(f, false));
	set_header(f, 68, 1); /* application_id */
	assert_null(open_store(f, false));
	assert_null(open_store(f, true));
}

static void
a_newer_versions_file_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_non_null(open_store(f, false));
	set_header(f, 60, 2); /* user_version */
	assert_null(open_store(f, false));
	assert_null(open_store(f, true));
	set_header(f, 60, 1);
	assert_non_null(open_store(f, false));
}

static void
copy_file(const char *from, const char *to)
{
	char data[65536];
	FILE *in = fopen(from, "r");
	size_t n;

	assert_non_null(in);
	n = fread(data, 1, sizeof(data), in);
	assert_true(n > 0 && n < sizeof(data));
	fclose(in);
	write_bytes(to, data, n, 0);
}

static void
an_older_copy_is_noticed_once(void **state)
{
	struct fixture *f = *state;
	char backup[64];
	int i;

	snprintf(backup, sizeof(backup), "%s/backup", f->dir);
	assert_non_null(open_store(f, false));
	put(f, "rec-0");
	close_store(f);
	copy_file(f->path, backup);
	for (i = 0; i < 3; i++)
		assert_non_null(open_store(f, false));
	put(f, "rec-1");
	close_store(f);
	assert_int_equal(rename(backup, f->path), 0);
	assert_non_null(open_store(f, false));
	assert_int_equal(store_health(f->store), STORE_ROLLED_BACK);
	assert_int_equal(f->rows, 1);
	assert_non_null(open_store(f, false));
	assert_int_equal(store_health(f->store), STORE_OK);
}

static void
another_machines_file_is_noticed(void **state)
{
	struct fixture *f = *state;

	assert_non_null(open_store(f, false));
	close_store(f);
	write_bytes(f->side, "0011223344556677 1\n", 19, 0);
	assert_non_null(open_store(f, false));
	assert_int_equal(store_health(f->store), STORE_ROLLED_BACK);
	assert_non_null(open_store(f, false));
	assert_int_equal(store_health(f->store), STORE_OK);
	/* Without the file beside it nothing can be said. */
	close_store(f);
	assert_int_equal(unlink(f->side), 0);
	assert_non_null(open_store(f, false));
	assert_int_equal(store_health(f->store), STORE_OK);
}

static void
a_folder_that_is_not_there_is_an_error(void **state)
{
	struct fixture *f = *state;

	f->store = store_open(f->loop, "/tmp/there/is/none", false);
	assert_null(f->store);
}

/* No file of this process may grow while it is limited. */
static void
limit_files(bool limited)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = limited ? 0 : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void
a_full_disk_is_told_and_healed(void **state)
{
	struct fixture *f = *state;
	struct capsule_row row = full_row();

	assert_non_null(open_store(f, false));
	signal(SIGXFSZ, SIG_IGN);
	limit_files(true);
	store_put(f->store, &row, answered, f);
	store_put(f->store, &row, answered, f);
	fake_loop_until(f->loop, &f->answers, 2);
	limit_files(false);
	assert_true(f->last_error == -ENOSPC || f->last_error == -EIO);
	assert_int_equal(store_health(f->store), STORE_FAILING);
	store_probe(f->store, answered, f);
	wait_for(f, 3);
	assert_int_equal(store_health(f->store), STORE_FAILING);
	put(f, row.record);
	assert_int_equal(f->last_error, 0);
	assert_int_equal(store_health(f->store), STORE_OK);
	assert_non_null(open_store(f, false));
	assert_int_equal(f->rows, 1);
	expect_full_row(&f->row);
}

static void
states_and_health_have_names(void **state)
{
	(void)state;
	assert_string_equal(capsule_state_name(CAPSULE_CREATING), "creating");
	assert_string_equal(capsule_state_name(CAPSULE_LIVE), "live");
	assert_string_equal(capsule_state_name(CAPSULE_ENDING), "ending");
	assert_string_equal(capsule_state_name(CAPSULE_GONE), "gone");
	assert_string_equal(capsule_state_name(CAPSULE_UNCERTAIN), "uncertain");
	assert_string_equal(store_health_name(STORE_OK), "ok");
	assert_string_equal(store_health_name(STORE_REBUILT), "rebuilt");
	assert_string_equal(
	    store_health_name(STORE_ROLLED_BACK), "rolled_back");
	assert_string_equal(store_health_name(STORE_FAILING), "failing");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_row_comes_back_as_it_was),
		TEST(a_put_replaces_and_a_remove_removes),
		TEST(labels_that_are_no_object_are_none),
		TEST(requests_are_answered_in_order),
		TEST(what_was_asked_before_closing_is_carried_out),
		TEST(garbage_is_kept_aside),
		TEST(a_damaged_file_is_kept_aside),
		TEST(a_file_cut_short_is_kept_aside),
		TEST(an_empty_file_is_refused_unless_asked_for),
		TEST(another_programs_file_is_refused),
		TEST(a_newer_versions_file_is_refused),
		TEST(an_older_copy_is_noticed_once),
		TEST(another_machines_file_is_noticed),
		TEST(a_folder_that_is_not_there_is_an_error),
		TEST(a_full_disk_is_told_and_healed),
		cmocka_unit_test(states_and_health_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
