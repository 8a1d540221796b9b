/*
 * A call that is one request upstream, whose answer is passed on.
 */
#ifndef DAEMON_RELAY_H
#define DAEMON_RELAY_H

#include <stddef.h>

struct call;
struct capsule;
struct rpc_error;
struct upstream_request;

struct relay_spec {
	/* What upstream answers and the call with it. */
	enum {
		RELAY_OBJECT,  /* an object, as it is */
		RELAY_LIST,    /* an array, as the member `list` */
		RELAY_NOTHING, /* nothing: {} */
	} answer;
	const char *list;
	/* The capsule it is about, or NULL; lent. */
	struct capsule *capsule;
};

/* Takes the request over, and answers the call unless it is cancelled. */
void relay(
    struct call *c, struct upstream_request *r, const struct relay_spec *spec);

/* Answers with what was got otherwise: text as of a query, or an error. */
void relay_answer(struct call *c, const struct relay_spec *spec,
    const char *text, size_t len, struct rpc_error *e);

#endif
