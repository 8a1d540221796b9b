#include "daemon/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#include "daemon/log.h"
#include "daemon/loop.h"
#include "proto/json_check.h"
#include "proto/json_walk.h"
#include "proto/queue.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define APPLICATION_ID 0x57524e4e /* "WRNN" */
#define SCHEMA_VERSION 1
#define GROUP_MAX      256 /* requests in one commit */

static const char schema[] =
    "CREATE TABLE meta ("
    " store_id TEXT NOT NULL, generation INTEGER NOT NULL) STRICT;"
    "INSERT INTO meta VALUES (lower(hex(randomblob(8))), 0);"
    "CREATE TABLE capsule ("
    " record TEXT PRIMARY KEY, id TEXT NOT NULL, state INTEGER NOT NULL,"
    " uid INTEGER NOT NULL, base_url TEXT NOT NULL, identity TEXT NOT NULL,"
    " name TEXT NOT NULL, labels TEXT, key TEXT NOT NULL,"
    " template TEXT NOT NULL, vcpus INTEGER NOT NULL,"
    " memory_mb INTEGER NOT NULL, timeout_s INTEGER NOT NULL,"
    " timeout_chosen INTEGER NOT NULL, keepalive INTEGER NOT NULL,"
    " auto_resume INTEGER NOT NULL, paused_by_hand INTEGER NOT NULL,"
    " created_at INTEGER NOT NULL, changed_at INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;";

#define COLUMNS                                                              \
	"record, id, state, uid, base_url, identity, name, labels, key,"     \
	" template, vcpus, memory_mb, timeout_s, timeout_chosen, keepalive," \
	" auto_resume, paused_by_hand, created_at, changed_at"

enum request_kind { REQUEST_PUT, REQUEST_REMOVE, REQUEST_PROBE };

/*
 * Made on the loop, carried out on the thread, answered and freed on the
 * loop again.
 */
struct request {
	enum request_kind kind;
	struct capsule_row row; /* of a remove: record alone */
	int error;
	store_fn *fn;
	void *arg;
	STAILQ_ENTRY(request) entry;
};
STAILQ_HEAD(request_list, request);

struct store {
	char *dir, *path, *side_path, *kept_aside;
	enum store_health health;

	/* The thread's alone once it runs. */
	sqlite3 *db;
	sqlite3_stmt *put, *remove;

	pthread_t thread;
	bool running;

	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t wake;
	struct request_list todo, done;
	bool closing;
	int done_fd; /* eventfd: something is in `done` */
	struct io *io;
};

static const char *const state_names[] = { "creating", "live", "ending", "gone",
	"uncertain" };
static const char *const health_names[] = { "ok", "rebuilt", "rolled_back",
	"failing" };

const char *
capsule_state_name(enum capsule_state state)
{
	return state_names[state];
}

void
capsule_row_copy(struct capsule_row *to, const struct capsule_row *from)
{
	*to = *from;
	to->base_url = xstrdup(from->base_url);
	to->labels = xstrdup(from->labels);
}

void
capsule_row_release(struct capsule_row *row)
{
	free(row->base_url);
	free(row->labels);
	row->base_url = NULL;
	row->labels = NULL;
}

const char *
store_health_name(enum store_health health)
{
	return health_names[health];
}

enum store_health
store_health(const struct store *s)
{
	return s->health;
}

const char *
store_path(const struct store *s)
{
	return s->path;
}

const char *
store_kept_aside(const struct store *s)
{
	return s->kept_aside;
}

/* ---- opening ---- */

static int
run(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* The first column of the first row as a number, or -1. */
static int64_t
query_int(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *q;
	int64_t n = -1;

	if (sqlite3_prepare_v2(db, sql, -1, &q, NULL) != SQLITE_OK)
		return -1;
	if (sqlite3_step(q) == SQLITE_ROW)
		n = sqlite3_column_int64(q, 0);
	sqlite3_finalize(q);
	return n;
}

static bool
query_text(sqlite3 *db, const char *sql, char *text, size_t size)
{
	sqlite3_stmt *q;
	bool found = false;

	text[0] = '\0';
	if (sqlite3_prepare_v2(db, sql, -1, &q, NULL) != SQLITE_OK)
		return false;
	if (sqlite3_step(q) == SQLITE_ROW &&
	    sqlite3_column_type(q, 0) == SQLITE_TEXT) {
		snprintf(
		    text, size, "%s", (const char *)sqlite3_column_text(q, 0));
		found = true;
	}
	sqlite3_finalize(q);
	return found;
}

static bool
is_damage(int rc)
{
	return (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB;
}

/* SQLITE_OK, or why the file cannot be used as it is. */
static int
open_file(struct store *s)
{
	char verdict[64];
	int rc;

	rc = sqlite3_open_v2(s->path, &s->db,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
	    NULL);
	if (rc != SQLITE_OK)
		return rc;
	sqlite3_extended_result_codes(s->db, 1);
	if ((rc = run(s->db, "PRAGMA locking_mode = EXCLUSIVE")) != SQLITE_OK ||
	    (rc = run(s->db, "PRAGMA journal_mode = WAL")) != SQLITE_OK ||
	    (rc = run(s->db, "PRAGMA synchronous = FULL")) != SQLITE_OK ||
	    (rc = run(s->db, "PRAGMA secure_delete = ON")) != SQLITE_OK)
		return rc;
	if (!query_text(
		s->db, "PRAGMA quick_check(1)", verdict, sizeof(verdict)))
		return sqlite3_errcode(s->db) == SQLITE_OK
			   ? SQLITE_CORRUPT
			   : sqlite3_errcode(s->db);
	return strcmp(verdict, "ok") == 0 ? SQLITE_OK : SQLITE_CORRUPT;
}

static void
move_aside(const char *path, const char *suffix, const char *stamp)
{
	char *from = xasprintf("%s%s", path, suffix);
	char *to = xasprintf("%s.damaged-%s%s", path, stamp, suffix);

	if (rename(from, to) < 0 && errno != ENOENT)
		log_error("%s: %m", from);
	free(from);
	free(to);
}

/* Keeps a damaged file with its journal and starts a new one. */
static int
rebuild(struct store *s)
{
	char stamp[32];

	sqlite3_close(s->db);
	s->db = NULL;
	snprintf(stamp, sizeof(stamp), "%jd", (intmax_t)wall_ms());
	move_aside(s->path, "", stamp);
	move_aside(s->path, "-wal", stamp);
	move_aside(s->path, "-shm", stamp);
	s->kept_aside = xasprintf("%s.damaged-%s", s->path, stamp);
	s->health = STORE_REBUILT;
	unlink(s->side_path);
	log_error("the record of capsules was damaged; it is kept as %s and a "
		  "new one begins: capsules made before are now untracked "
		  "(wrennctl ls -a)",
	    s->kept_aside);
	return open_file(s);
}

/* The store id and generation of the side file; false when there is none. */
static bool
read_side(const struct store *s, char *id, size_t size, int64_t *generation)
{
	char word[32];
	FILE *in;
	int n;

	in = fopen(s->side_path, "re");
	if (in == NULL)
		return false;
	n = fscanf(in, "%31s %" SCNd64, word, generation);
	fclose(in);
	snprintf(id, size, "%s", word);
	return n == 2;
}

static int
write_side(const struct store *s, const char *id, int64_t generation)
{
	char *temp = xasprintf("%s.new", s->side_path);
	FILE *out = fopen(temp, "we");
	int r = -1;

	if (out != NULL) {
		fprintf(out, "%s %" PRId64 "\n", id, generation);
		r = fflush(out) == 0 && fsync(fileno(out)) == 0 ? 0 : -1;
		if (fclose(out) != 0)
			r = -1;
		if (r == 0)
			r = rename(temp, s->side_path);
	}
	if (r < 0)
		log_error("%s: %m", temp);
	free(temp);
	return r;
}

/* Makes the tables of a new file. */
static int
make_schema(struct store *s)
{
	char sql[sizeof(schema) + 128];
	int rc;

	snprintf(sql, sizeof(sql),
	    "BEGIN IMMEDIATE; %s PRAGMA application_id = %d;"
	    " PRAGMA user_version = %d; COMMIT",
	    schema, APPLICATION_ID, SCHEMA_VERSION);
	rc = run(s->db, sql);
	if (rc != SQLITE_OK)
		log_error("%s: %s", s->path, sqlite3_errmsg(s->db));
	return rc == SQLITE_OK ? 0 : -1;
}

/*
 * A new file is made only where none was: a file cut to nothing is a valid
 * empty database, and taking it would forget every capsule in silence.
 */
static int
check_contents(struct store *s, bool fresh)
{
	int64_t application = query_int(s->db, "PRAGMA application_id");
	int64_t version = query_int(s->db, "PRAGMA user_version");
	int64_t tables = query_int(s->db, "SELECT count(*) FROM sqlite_schema");
	int64_t generation;
	char id[32];

	if (tables == 0 && application == 0) {
		if (read_side(s, id, sizeof(id), &generation) && !fresh) {
			log_error("%s is empty, but it held the record of "
				  "capsules before: put it back from a backup, "
				  "or run wrennd --new-store once to begin "
				  "anew",
			    s->path);
			return -1;
		}
		unlink(s->side_path); /* of the one that was given up */
		return make_schema(s);
	}
	if (application != APPLICATION_ID) {
		log_error("%s belongs to another program; name another folder "
			  "with state_dir",
		    s->path);
		return -1;
	}
	if (version > SCHEMA_VERSION) {
		log_error("%s was written by a newer wrennd (schema %" PRId64
			  ", this one knows %d): install that one again",
		    s->path, version, SCHEMA_VERSION);
		return -1;
	}
	return 0;
}

/* Ahead of every copy again, so that it is not taken for one next time. */
static int64_t
catch_up(struct store *s, int64_t generation)
{
	char sql[80];

	snprintf(sql, sizeof(sql), "UPDATE meta SET generation = %" PRId64,
	    generation);
	if (run(s->db, sql) != SQLITE_OK)
		log_error("%s: %s", s->path, sqlite3_errmsg(s->db));
	return generation;
}

/* Counts this opening, in the file and beside it. */
static int
next_generation(struct store *s)
{
	char id[32], side_id[32];
	int64_t generation, side = 0;

	if (run(s->db, "UPDATE meta SET generation = generation + 1") !=
		SQLITE_OK ||
	    !query_text(s->db, "SELECT store_id FROM meta", id, sizeof(id))) {
		log_error("%s: %s", s->path, sqlite3_errmsg(s->db));
		return -1;
	}
	generation = query_int(s->db, "SELECT generation FROM meta");
	if (read_side(s, side_id, sizeof(side_id), &side) &&
	    (strcmp(id, side_id) != 0 || generation <= side)) {
		s->health = STORE_ROLLED_BACK;
		log_error("%s is an older copy or another one than was in use "
			  "last: capsules made since are untracked",
		    s->path);
		if (generation <= side)
			generation = catch_up(s, side + 1);
	}
	return write_side(s, id, generation);
}

static int
prepare(struct store *s)
{
	static const char put[] =
	    "INSERT OR REPLACE INTO capsule (" COLUMNS ") VALUES"
	    " (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
	static const char del[] = "DELETE FROM capsule WHERE record = ?";

	if (sqlite3_prepare_v2(s->db, put, -1, &s->put, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(s->db, del, -1, &s->remove, NULL) != SQLITE_OK) {
		log_error("%s: %s", s->path, sqlite3_errmsg(s->db));
		return -1;
	}
	return 0;
}

static int
open_and_check(struct store *s, bool fresh)
{
	int rc = open_file(s);

	if (is_damage(rc))
		rc = rebuild(s);
	if (rc != SQLITE_OK) {
		log_error("%s: %s", s->path, sqlite3_errstr(rc));
		return -1;
	}
	if (check_contents(s, fresh) < 0 || next_generation(s) < 0)
		return -1;
	return prepare(s);
}

/* ---- the thread ---- */

static int
errno_of(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

static void
bind_text(sqlite3_stmt *q, int *i, const char *text)
{
	sqlite3_bind_text(q, (*i)++, text, -1, SQLITE_STATIC);
}

static void
bind_int(sqlite3_stmt *q, int *i, int64_t n)
{
	sqlite3_bind_int64(q, (*i)++, n);
}

/* In the order of COLUMNS. */
static void
bind_row(sqlite3_stmt *q, const struct capsule_row *r)
{
	int i = 1;

	bind_text(q, &i, r->record);
	bind_text(q, &i, r->id);
	bind_int(q, &i, r->state);
	bind_int(q, &i, r->uid);
	bind_text(q, &i, r->base_url);
	bind_text(q, &i, r->identity);
	bind_text(q, &i, r->name);
	bind_text(q, &i, r->labels);
	bind_text(q, &i, r->key);
	bind_text(q, &i, r->template);
	bind_int(q, &i, r->vcpus);
	bind_int(q, &i, r->memory_mb);
	bind_int(q, &i, r->timeout_s);
	bind_int(q, &i, r->timeout_chosen);
	bind_int(q, &i, r->keepalive);
	bind_int(q, &i, r->auto_resume);
	bind_int(q, &i, r->paused_by_hand);
	bind_int(q, &i, r->created_at);
	bind_int(q, &i, r->changed_at);
}

static int
carry_out(struct store *s, const struct request *r)
{
	sqlite3_stmt *q;
	int rc;

	if (r->kind == REQUEST_PROBE)
		return 0;
	q = r->kind == REQUEST_PUT ? s->put : s->remove;
	if (r->kind == REQUEST_PUT)
		bind_row(q, &r->row);
	else
		sqlite3_bind_text(q, 1, r->row.record, -1, SQLITE_STATIC);
	rc = sqlite3_step(q);
	sqlite3_reset(q);
	sqlite3_clear_bindings(q);
	return errno_of(rc);
}

/* One transaction for all of them: they share one fsync, and one fate. */
static void
commit_group(struct store *s, struct request_list *group)
{
	struct request *r;
	int error;

	error = errno_of(run(s->db, "BEGIN IMMEDIATE"));
	STAILQ_FOREACH(r, group, entry)
	{
		if (error != 0)
			break;
		error = carry_out(s, r);
	}
	if (error == 0)
		error = errno_of(run(s->db, "COMMIT"));
	if (error != 0)
		run(s->db, "ROLLBACK");
	STAILQ_FOREACH(r, group, entry)
	r->error = error;
}

/* Takes up to GROUP_MAX requests; an empty list when the store closes. */
static void
wait_for_group(struct store *s, struct request_list *group)
{
	struct request *r;
	int n;

	STAILQ_INIT(group);
	pthread_mutex_lock(&s->lock);
	while (STAILQ_EMPTY(&s->todo) && !s->closing)
		pthread_cond_wait(&s->wake, &s->lock);
	for (n = 0; n < GROUP_MAX; n++) {
		r = STAILQ_FIRST(&s->todo);
		if (r == NULL)
			break;
		STAILQ_REMOVE_HEAD(&s->todo, entry);
		STAILQ_INSERT_TAIL(group, r, entry);
	}
	pthread_mutex_unlock(&s->lock);
}

static void *
thread_main(void *arg)
{
	struct store *s = arg;
	struct request_list group;
	uint64_t one = 1;

	for (;;) {
		wait_for_group(s, &group);
		if (STAILQ_EMPTY(&group))
			return NULL;
		commit_group(s, &group);
		pthread_mutex_lock(&s->lock);
		STAILQ_CONCAT(&s->done, &group);
		pthread_mutex_unlock(&s->lock);
		if (write(s->done_fd, &one, sizeof(one)) < 0)
			log_error("store: eventfd: %m");
	}
}

/* ---- the loop's side ---- */

static void
request_free(struct request *r)
{
	capsule_row_release(&r->row);
	free(r);
}

/* A remove may have had nothing to write, so its success proves nothing. */
static void
note_health(struct store *s, enum request_kind kind, int error)
{
	if (error != 0 && s->health != STORE_FAILING) {
		s->health = STORE_FAILING;
		log_error("the record of capsules cannot be written: %s; no "
			  "capsule is created until it can path=%s",
		    strerror(-error), s->path);
	} else if (error == 0 && kind == REQUEST_PUT &&
		   s->health == STORE_FAILING) {
		s->health = STORE_OK;
		log_info("the record of capsules is written again");
	}
}

static void
done_cb(void *arg, int events)
{
	struct store *s = arg;
	struct request_list done = STAILQ_HEAD_INITIALIZER(done);
	struct request *r;
	uint64_t count;

	(void)events;
	if (read(s->done_fd, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&s->lock);
	STAILQ_CONCAT(&done, &s->done);
	pthread_mutex_unlock(&s->lock);
	while ((r = STAILQ_FIRST(&done)) != NULL) {
		STAILQ_REMOVE_HEAD(&done, entry);
		if (r->kind != REQUEST_PROBE)
			note_health(s, r->kind, r->error);
		if (r->fn != NULL)
			r->fn(r->arg, r->error);
		request_free(r);
	}
}

static void
submit(struct store *s, enum request_kind kind, const struct capsule_row *row,
    store_fn *fn, void *arg)
{
	struct request *r = xcalloc(1, sizeof(*r));

	*r = (struct request){ .kind = kind, .fn = fn, .arg = arg };
	if (row != NULL)
		capsule_row_copy(&r->row, row);
	pthread_mutex_lock(&s->lock);
	STAILQ_INSERT_TAIL(&s->todo, r, entry);
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

void
store_put(
    struct store *s, const struct capsule_row *row, store_fn *fn, void *arg)
{
	submit(s, REQUEST_PUT, row, fn, arg);
}

void
store_remove(struct store *s, const char *record, store_fn *fn, void *arg)
{
	struct capsule_row row = { 0 };

	snprintf(row.record, sizeof(row.record), "%s", record);
	submit(s, REQUEST_REMOVE, &row, fn, arg);
}

void
store_probe(struct store *s, store_fn *fn, void *arg)
{
	submit(s, REQUEST_PROBE, NULL, fn, arg);
}

/* The signals are the loop's: the thread blocks them all. */
static int
start_thread(struct store *s)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&s->thread, NULL, thread_main, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	s->running = r == 0;
	return -r;
}

struct store *
store_open(struct loop *l, const char *dir, bool fresh)
{
	struct store *s = xcalloc(1, sizeof(*s));

	s->dir = xstrdup(dir);
	s->path = xasprintf("%s/capsules.db", dir);
	s->side_path = xasprintf("%s/capsules.generation", dir);
	s->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	STAILQ_INIT(&s->todo);
	STAILQ_INIT(&s->done);
	if (s->done_fd < 0 || open_and_check(s, fresh) < 0) {
		store_close(s);
		return NULL;
	}
	s->io = io_new(l, s->done_fd, done_cb, s);
	io_want(s->io, IO_READ);
	return s;
}

/* Answers what is left, so that its owners can let go of it. */
static void
answer_cancelled(struct request_list *list)
{
	struct request *r;

	while ((r = STAILQ_FIRST(list)) != NULL) {
		STAILQ_REMOVE_HEAD(list, entry);
		if (r->fn != NULL)
			r->fn(r->arg, -ECANCELED);
		request_free(r);
	}
}

void
store_close(struct store *s)
{
	if (s == NULL)
		return;
	if (s->running) {
		pthread_mutex_lock(&s->lock);
		s->closing = true;
		pthread_cond_signal(&s->wake);
		pthread_mutex_unlock(&s->lock);
		pthread_join(s->thread, NULL);
	}
	answer_cancelled(&s->done);
	answer_cancelled(&s->todo);
	io_free(s->io);
	if (s->done_fd >= 0)
		close(s->done_fd);
	sqlite3_finalize(s->put);
	sqlite3_finalize(s->remove);
	sqlite3_close(s->db);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s->dir);
	free(s->path);
	free(s->side_path);
	free(s->kept_aside);
	free(s);
}

static void
column_text(sqlite3_stmt *q, int *i, char *text, size_t size)
{
	const unsigned char *t = sqlite3_column_text(q, (*i)++);

	snprintf(text, size, "%s", t ? (const char *)t : "");
}

static char *
column_copy(sqlite3_stmt *q, int *i)
{
	return xstrdup((const char *)sqlite3_column_text(q, (*i)++));
}

/* What is not the text of an object is as if there were none. */
static char *
column_object(sqlite3_stmt *q, int *i)
{
	struct json_check_fault fault;
	char *text = column_copy(q, i);
	size_t n = text ? strlen(text) : 0;

	if (text != NULL &&
	    (json_check(text, n, &fault) < 0 || json_first(text, n) != '{')) {
		log_error("store: labels of a row cannot be read");
		free(text);
		return NULL;
	}
	return text;
}

static int64_t
column_int(sqlite3_stmt *q, int *i)
{
	return sqlite3_column_int64(q, (*i)++);
}

/* In the order of COLUMNS. */
static void
read_row(sqlite3_stmt *q, struct capsule_row *r)
{
	int i = 0;

	column_text(q, &i, r->record, sizeof(r->record));
	column_text(q, &i, r->id, sizeof(r->id));
	r->state = (enum capsule_state)column_int(q, &i);
	r->uid = (uid_t)column_int(q, &i);
	r->base_url = column_copy(q, &i);
	column_text(q, &i, r->identity, sizeof(r->identity));
	column_text(q, &i, r->name, sizeof(r->name));
	r->labels = column_object(q, &i);
	column_text(q, &i, r->key, sizeof(r->key));
	column_text(q, &i, r->template, sizeof(r->template));
	r->vcpus = column_int(q, &i);
	r->memory_mb = column_int(q, &i);
	r->timeout_s = column_int(q, &i);
	r->timeout_chosen = column_int(q, &i) != 0;
	r->keepalive = column_int(q, &i) != 0;
	r->auto_resume = (int)column_int(q, &i);
	r->paused_by_hand = column_int(q, &i) != 0;
	r->created_at = column_int(q, &i);
	r->changed_at = column_int(q, &i);
}

int
store_load(struct store *s, void (*fn)(void *arg, const struct capsule_row *),
    void *arg)
{
	struct capsule_row row;
	sqlite3_stmt *q;
	int rc;

	if (sqlite3_prepare_v2(s->db, "SELECT " COLUMNS " FROM capsule", -1, &q,
		NULL) != SQLITE_OK) {
		log_error("%s: %s", s->path, sqlite3_errmsg(s->db));
		return -1;
	}
	while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
		row = (struct capsule_row){ 0 };
		read_row(q, &row);
		if (row.state >= CAPSULE_CREATING &&
		    row.state <= CAPSULE_UNCERTAIN)
			fn(arg, &row);
		else
			log_error("store: a row has an unknown state record=%s",
			    row.record);
		capsule_row_release(&row);
	}
	sqlite3_finalize(q);
	if (rc != SQLITE_DONE) {
		log_error("%s: %s", s->path, sqlite3_errstr(rc));
		return -1;
	}
	return start_thread(s);
}
