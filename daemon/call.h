/*
 * A request in flight. It is answered exactly once, by one of call_reply(),
 * call_reply_text() and call_fail(); after that its handler does not touch it.
 */
#ifndef DAEMON_CALL_H
#define DAEMON_CALL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/limits.h"
#include "proto/methods.h"
#include "proto/queue.h"
#include "proto/rpc_error.h"

#define REQUEST_NAME_MAX 16

struct buf;
struct json_object;
struct json_out;
struct peer;

/* What handlers work with. One for the whole daemon, made at start. */
struct services {
	struct loop *loop;
	const struct settings *settings;
	struct cred *cred;
	struct store *store;
	struct tracker *tracker;
	struct upstream *upstream;
	struct keepalive *keepalive;
	struct capsules *capsules;
	struct uses *uses;
	struct follows *follows;
	struct listener *listener;
	struct events *events;
	struct calls *calls;
	uint64_t started_ms;
	/* Asks of the daemon itself; `done` as for capsules_fn. */
	void (*reload)(void *daemon,
	    void (*done)(void *arg, struct rpc_error *), void *arg);
	void (*shutdown)(void *daemon);
	void *daemon;
};

/*
 * From dispatch to the answer. Belongs to the list of its peer, or of the
 * orphans once that has gone; freed at the end of the turn of its answer.
 */
struct call {
	const struct services *svc;
	struct calls *all;
	struct peer *peer; /* NULL once it has gone */
	struct batch *batch;
	const struct method *method;
	char id[LIMIT_ID + 1];          /* JSON text; "" for a notification */
	char request[REQUEST_NAME_MAX]; /* names it in the log and in errors */
	struct json_object *params;
	int fds[LIMIT_FDS]; /* -1 once taken */
	char fd_names[LIMIT_FDS][8];
	uid_t uid;          /* whose capsules it is about */
	enum access access; /* of its client */
	pid_t pid;
	uint64_t started_ms;
	void (*cancel)(void *arg); /* stops the work; see call_on_cancel */
	void (*end)(void *arg);
	void *arg;
	bool answered;
	TAILQ_ENTRY(call) entry;
};

void call_reply(struct call *c, struct json_object *result); /* takes it */
/* A result that is JSON text already; lent. */
void call_reply_text(struct call *c, const struct buf *json);
/* The same, unless it could not be written, which is said then. */
void call_reply_out(struct call *c, const struct json_out *result);
void call_fail(struct call *c, const struct rpc_error *e); /* lent */
void call_failf(struct call *c, enum rpc_errno kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Sends {"call":ID,"type":type,…fields} as the notification "event", before
 * the answer. fields is taken over. false when the client reads too slowly to
 * be sent more; nothing was sent then.
 */
bool call_event(struct call *c, const char *type, struct json_object *fields);

/* One or the other: a result, taken over, or with e an error. */
void call_done(struct call *c, struct json_object *result, struct rpc_error *e);
/* The same as a capsules_fn with the call as argument. */
void call_done_text(void *call, const struct buf *json, struct rpc_error *e);

/*
 * `cancel` is called at most once, when the client goes or cancels, and only
 * before the answer; the work must then call nothing back.
 */
void call_on_cancel(struct call *c, void (*cancel)(void *), void *arg);
/* What call.end does; with the argument of call_on_cancel. */
void call_on_end(struct call *c, void (*end)(void *));

/* The first passed descriptor, or that of a name, now the caller's; or -1. */
int call_take_fd(struct call *c);
int call_take_fd_named(struct call *c, const char *name);

/* ---- for dispatch ---- */

/* All calls of the daemon. */
struct calls *calls_new(struct loop *l);
void calls_free(struct calls *all); /* cancels what is left */
int calls_in_flight(const struct calls *all);
/* Of those, the ones that change something: worth waiting for at the end. */
int calls_at_work(const struct calls *all);
uint64_t calls_total(const struct calls *all);

/* The calls of one client; NULL for a client without any yet. */
struct client_calls;
struct client_calls *client_calls_new(void);
int client_calls_count(const struct client_calls *cc);
/* The client has gone: each call follows its hang-up policy. Frees cc. */
void client_calls_hang_up(struct client_calls *cc);
/* Those with that id (JSON text of any spelling); NULL when there is none. */
struct call *client_calls_find(struct client_calls *cc, struct json_object *id);

/* A new call, which takes params' reference and the descriptors over. */
struct call *call_new(struct calls *all, const struct services *svc,
    struct peer *p, struct client_calls *cc);
/* What it calls; once. */
void call_set_method(struct call *c, const struct method *m);
/* Whether it was; then the client has had its answer. */
bool call_cancel(struct call *c);

/* Answers to several requests of one line go out as one. */
struct batch *batch_new(struct peer *p, int count);
/* Appends an answer, or NULL for a notification. */
void batch_add(struct batch *b, const struct buf *answer);

#endif
