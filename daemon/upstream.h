/*
 * The Wrenn server as everything above sees it: a request in, exactly one
 * answer out unless it is cancelled. Here live the policies that hold for
 * every transport: which credential, deadlines, what may be sent again and
 * how often, one request for identical concurrent GETs.
 */
#ifndef DAEMON_UPSTREAM_H
#define DAEMON_UPSTREAM_H

#include "daemon/http.h"

struct cred;
struct loop;
struct settings;
struct upstream;
struct upstream_call;
struct ws;
struct ws_ops;

enum upstream_auth {
	AUTH_KEY_OR_TOKEN, /* capsules, files, snapshots */
	AUTH_TOKEN,        /* keys, hosts, teams */
	AUTH_TOKEN_OR_KEY, /* any endpoint: most of the rest want a token */
	AUTH_NONE,         /* login, health */
};

/*
 * What to send. Made with upstream_request_new(), kept by its owner until
 * the answer came or the call was cancelled.
 */
struct upstream_request {
	const char *method;
	char *path; /* behind the base URL, from "/" on, encoded; with query */
	enum upstream_auth auth;
	bool idempotent;          /* may be sent again when in doubt */
	const char *content_type; /* of the body */
	struct buf body;
	const struct http_source *source;
	const struct http_sink *sink;
	bool bulk;
	bool whole; /* the body's end does not show in the body itself */
	bool slow;  /* may take long: leaves room for the others */
	uint64_t timeout_ms; /* in all, retries included; 0 for none */
	uint64_t stall_ms;
	size_t max_answer;
};

/* Lent for the time of the callback. */
struct upstream_answer {
	enum http_outcome outcome;
	int status;
	const char *content_type;
	const char *body; /* NUL-terminated */
	size_t len;
	enum rpc_errno error; /* when not answered */
	const char *why;      /* likewise */
};

typedef void upstream_fn(void *arg, const struct upstream_answer *answer);

/* Takes path over. GET and DELETE are idempotent from the start. */
struct upstream_request *upstream_request_new(const char *method, char *path);
void upstream_request_free(struct upstream_request *r);

struct upstream *upstream_new(
    struct loop *l, const struct settings *s, const struct cred *c);
void upstream_free(struct upstream *u);

/* fn is never called before this returns. */
struct upstream_call *upstream_send(struct upstream *u,
    const struct upstream_request *r, upstream_fn *fn, void *arg);
/* fn is not called any more. The request upstream is dropped with it. */
void upstream_cancel(struct upstream_call *call);
/* A source or sink that said -EAGAIN has more, or room. */
void upstream_resume(struct upstream_call *call);

/*
 * A WebSocket at a path behind the base URL, with the credential. NULL, with
 * *why filled, when there is none to be had.
 */
struct ws *upstream_stream(struct upstream *u, const char *path,
    const struct ws_ops *ops, void *arg, struct rpc_error *why);

/* After a change of credentials, a sleep, an outage: new connections. */
void upstream_renew(struct upstream *u);

/* Called when upstream comes to be reached ("up") or no longer ("down"). */
void upstream_on_change(struct upstream *u,
    void (*fn)(void *arg, const char *state, const char *why), void *arg);

const char *upstream_base_url(const struct upstream *u);

struct upstream_stats {
	const char *state;      /* "unknown", "up" or "down" */
	struct http_stats http; /* of all transports */
	int http_version;       /* of the last answer: 11, 20, or 0 */
	uint64_t requests, retries, shared, errors;
	double latency_ms;      /* moving average of answered calls */
	const char *last_error; /* "" when there was none */
};
void upstream_stats(const struct upstream *u, struct upstream_stats *ret);

#endif
