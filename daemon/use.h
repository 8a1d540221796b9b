/*
 * A request that needs its capsule to run. The capsule is kept awake while
 * the use lasts, and resumed first where that is allowed.
 */
#ifndef DAEMON_USE_H
#define DAEMON_USE_H

#include <stdbool.h>
#include <sys/types.h>

#include "proto/rpc_error.h"

struct capsules;
struct json_object;
struct keepalive;
struct loop;
struct upstream;
struct upstream_answer;
struct upstream_request;
struct use;
struct uses;
struct wakes;

/* What uses work with; all outlive it. */
struct uses *uses_new(struct loop *l, struct capsules *cs, struct upstream *u,
    struct keepalive *k, struct wakes *w);
void uses_free(struct uses *us);

struct use_spec {
	uid_t uid;
	const char *ref;
	int auto_resume; /* 1 yes, 0 no, -1 as the capsule or settings say */
	bool
	    look_first; /* the request cannot be made twice: see that it runs */
	bool passive;   /* upstream may not count it as activity */
	/*
	 * Makes the request once the capsule's ID is known; the use's own.
	 * NULL: ready() is called instead, with which the use begins that
	 * use_cancel() ends. Then look_first is to be set.
	 */
	struct upstream_request *(*request)(void *arg, const char *id);
	void (*ready)(void *arg, const char *id, bool resumed);
	/*
	 * The end of it, once: a success with error NULL, or an error (lent).
	 * answer is NULL when upstream was not asked.
	 */
	void (*done)(void *arg, const struct upstream_answer *answer,
	    bool resumed, struct rpc_error *error);
	void *arg;
};
/* NULL, with *why filled and done not called, when there is no such capsule. */
struct use *use_start(
    struct uses *us, const struct use_spec *spec, struct rpc_error *why);
void use_cancel(struct use *u); /* done is not called any more */
void use_resume(struct use *u); /* a source or sink goes on */

/* What `auto_resume` in a call's parameters says, for use_spec. */
int use_auto_resume(struct json_object *params);

#endif
