#include "daemon/upstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/cred.h"
#include "daemon/dialer.h"
#include "daemon/hash.h"
#include "daemon/http_curl.h"
#include "daemon/http_h2.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/settings.h"
#include "daemon/ws.h"
#include "proto/queue.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define ATTEMPTS       4
#define BACKOFF_MS     100
#define BACKOFF_MAX_MS 2000
#define BUDGET_MAX     256.0 /* retries at once: all calls of a connection */
#define BUDGET_SHARE   0.1   /* and one for so many requests */
#define TIMEOUTS_RENEW 2     /* in a row: the connections are suspect */
#define CLOCK_CHECK_MS 15000
#define SLEEP_MS       2000 /* a longer gap means that the machine slept */
#define JOIN_MS        1000 /* one that takes longer may be stuck */
#define STREAM_OPEN_MS 30000
#define HTTP1_MS       3600000 /* then HTTP/2 is tried again */
#define AUTH_MAX       (LIMIT_SECRET + 32)

struct flight;

/* One caller's interest in a flight. */
struct upstream_call {
	struct flight *flight;
	upstream_fn *fn;
	void *arg;
	TAILQ_ENTRY(upstream_call) entry;
};

/*
 * One request under way, with its retries. Identical GETs share one; every
 * other flight has a single caller. It ends by land(), which tells the
 * callers, or when the last caller cancels.
 */
struct flight {
	struct upstream *up;
	const struct upstream_request
	    *req; /* the first caller's; NULL: shared */
	const char *method;
	enum upstream_auth auth;
	bool idempotent;
	size_t max_answer;
	bool whole, slow;
	uint64_t started_ms, timeout_ms, stall_ms;
	uint64_t epoch; /* of its first attempt; see is_joinable() */
	int attempts;
	struct http *via;               /* of the last attempt */
	struct http_exchange *exchange; /* NULL between attempts */
	struct later start;             /* its first attempt */
	struct timer *backoff;          /* the next; NULL before there is one */
	TAILQ_HEAD(, upstream_call) calls;
	TAILQ_ENTRY(flight) entry;
	struct hash_entry by_url; /* of one that may be shared */
	char url[];
};

struct upstream {
	struct loop *loop;
	const struct cred *cred;
	char *base_url;
	size_t base_len;
	struct dialer *dialer;
	struct http *http1;
	struct http *http2;      /* NULL for a plain base URL */
	uint64_t http1_until_ms; /* the server speaks no HTTP/2 */
	uint64_t ping_after_ms, ping_timeout_ms; /* of streams */
	TAILQ_HEAD(, flight) flights;
	struct hash by_url;
	double budget;
	uint64_t changes; /* flights that may have changed something, landed */
	int timeouts_in_row;
	bool known, up;
	uint64_t sleep_offset_ms;
	struct timer *clock_timer;
	struct upstream_stats stats;
	char last_error[256];
	void (*changed)(void *arg, const char *state, const char *why);
	void *changed_arg;
};

/* ---- requests ---- */

struct upstream_request *
upstream_request_new(const char *method, char *path)
{
	struct upstream_request *r = xcalloc(1, sizeof(*r));

	r->method = method;
	r->path = path;
	r->idempotent =
	    strcmp(method, "GET") == 0 || strcmp(method, "DELETE") == 0;
	r->timeout_ms = 60000;
	r->max_answer = LIMIT_ANSWER_LINE;
	buf_init(&r->body, LIMIT_ANSWER_LINE);
	return r;
}

void
upstream_request_free(struct upstream_request *r)
{
	if (r == NULL)
		return;
	buf_release(&r->body);
	free(r->path);
	free(r);
}

/* ---- health ---- */

static void
note_down(struct upstream *u, const char *why)
{
	u->stats.errors++;
	snprintf(u->last_error, sizeof(u->last_error), "%s", why);
	if (u->known && !u->up)
		return;
	u->known = true;
	u->up = false;
	if (u->changed != NULL)
		u->changed(u->changed_arg, "down", why);
	log_warn(
	    "upstream cannot be reached: %s base_url=%s", why, u->base_url);
}

static void
note_up(struct upstream *u, uint64_t took_ms)
{
	double ms = (double)took_ms;

	u->timeouts_in_row = 0;
	u->stats.latency_ms +=
	    u->stats.latency_ms > 0 ? (ms - u->stats.latency_ms) / 16 : ms;
	if (u->known && !u->up) {
		log_info("upstream answers again base_url=%s", u->base_url);
		if (u->changed != NULL)
			u->changed(u->changed_arg, "up", "");
	}
	u->known = true;
	u->up = true;
}

static void
note_result(struct flight *f, const struct http_result *r)
{
	struct upstream *u = f->up;

	if (r->outcome == HTTP_ANSWERED) {
		note_up(u, now_ms() - f->started_ms);
		u->stats.http_version = f->via == u->http2 ? 20 : 11;
		return;
	}
	/* Limits of ours, and local data sockets, say nothing of upstream. */
	if (r->error == RPC_TOO_LARGE || r->error == RPC_DATA_SOCKET ||
	    r->error == RPC_BUSY)
		return;
	/* Servers close connections now and then; another one will serve. */
	if (r->turned_away && f->attempts < ATTEMPTS)
		return;
	note_down(u, r->why);
	if (r->error != RPC_TIMEOUT)
		u->timeouts_in_row = 0;
	else if (++u->timeouts_in_row >= TIMEOUTS_RENEW)
		upstream_renew(u);
}

/* ---- flights ---- */

static void flight_launch(struct flight *f);
static void launch_due(void *arg);

static void
flight_free(struct flight *f)
{
	TAILQ_REMOVE(&f->up->flights, f, entry);
	hash_remove(&f->up->by_url, &f->by_url);
	later_cancel(f->up->loop, &f->start);
	timer_free(f->backoff);
	free(f);
}

/* Tells all callers and ends the flight. A caller may cancel another one. */
static void
land(struct flight *f, const struct upstream_answer *answer)
{
	struct upstream_call *call;

	f->exchange = NULL;
	if (f->req != NULL)
		f->up->changes++;
	while ((call = TAILQ_FIRST(&f->calls)) != NULL) {
		TAILQ_REMOVE(&f->calls, call, entry);
		call->flight = NULL;
		call->fn(call->arg, answer);
		free(call);
	}
	flight_free(f);
}

static void
land_error(struct flight *f, enum rpc_errno error, const char *why)
{
	struct upstream_answer answer = { .outcome = HTTP_NOT_SENT,
		.content_type = "",
		.body = "",
		.error = error,
		.why = why };

	land(f, &answer);
}

static bool
is_gateway_error(int status)
{
	return status == 502 || status == 503 || status == 504;
}

/* Whether sending it again can do no harm and may help. */
static bool
may_retry(const struct flight *f, const struct http_result *r)
{
	bool streamed = f->req != NULL && (f->req->sink || f->req->source);

	if (f->attempts >= ATTEMPTS || f->up->budget < 1.0)
		return false;
	switch (r->outcome) {
	case HTTP_NOT_SENT:
		return r->error == RPC_UNREACHABLE;
	case HTTP_UNKNOWN:
		return f->idempotent && !streamed &&
		       r->error != RPC_TOO_LARGE && r->error != RPC_TIMEOUT;
	case HTTP_ANSWERED:
		return f->idempotent && !streamed &&
		       is_gateway_error(r->status);
	}
	return false;
}

/*
 * Full jitter: anything from nothing to the doubled delay. A server that goes
 * away in good order has another ready.
 */
static int64_t
backoff_ms(int attempts, bool turned_away)
{
	int64_t most = BACKOFF_MS << attempts;

	if (turned_away && attempts == 1)
		return 0;
	if (most > BACKOFF_MAX_MS)
		most = BACKOFF_MAX_MS;
	return random() % (most + 1);
}

static bool
retry(struct flight *f, const struct http_result *r)
{
	int64_t delay = backoff_ms(f->attempts, r->turned_away);

	if (!may_retry(f, r))
		return false;
	if (f->timeout_ms != 0 &&
	    now_ms() + (uint64_t)delay - f->started_ms >= f->timeout_ms)
		return false;
	f->up->budget -= 1.0;
	f->up->stats.retries++;
	f->exchange = NULL;
	log_debug("upstream: again method=%s url=%s after_ms=%jd", f->method,
	    f->url, (intmax_t)delay);
	if (f->backoff == NULL)
		f->backoff = timer_new(f->up->loop, launch_due, f);
	timer_set(f->backoff, delay);
	return true;
}

/* Nothing was sent: that was no attempt. */
static void
launch_again(struct flight *f)
{
	f->exchange = NULL;
	f->attempts--;
	flight_launch(f);
}

static void
exchange_done(void *arg, struct http_result *r)
{
	struct flight *f = arg;
	struct upstream_answer answer = {
		.outcome = r->outcome,
		.status = r->status,
		.content_type = r->content_type,
		.error = r->error,
		.why = r->why,
	};

	if (r->want_http1)
		f->up->http1_until_ms = now_ms() + HTTP1_MS;
	if (r->want_http1 || r->renewed) {
		launch_again(f);
		return;
	}
	note_result(f, r);
	log_debug("upstream: method=%s url=%s outcome=%d status=%d ms=%ju%s%s",
	    f->method, f->url, (int)r->outcome, r->status,
	    (uintmax_t)(now_ms() - f->started_ms), r->why[0] ? " why=" : "",
	    r->why);
	if (retry(f, r))
		return;
	answer.body = buf_str(&r->body);
	answer.len = r->body.len;
	if (answer.body == NULL)
		answer.body = "";
	land(f, &answer);
}

/*
 * Writes "Name: secret" and returns its length, or 0 when there is no secret.
 * The caller has it on the stack and wipes it.
 */
static size_t
auth_header(
    const struct cred *c, enum upstream_auth auth, char header[AUTH_MAX])
{
	const char *key = cred_secret(c, CRED_API_KEY);
	const char *token = cred_secret(c, CRED_TOKEN);
	const char *name = "Authorization: Bearer ", *secret = token;
	size_t n, len;

	if (key != NULL && (auth == AUTH_KEY_OR_TOKEN ||
			       (auth == AUTH_TOKEN_OR_KEY && token == NULL))) {
		name = "X-API-Key: ";
		secret = key;
	}
	if (secret == NULL)
		return 0;
	n = strlen(name);
	len = strnlen(secret, LIMIT_SECRET);
	memcpy(header, name, n);
	memcpy(header + n, secret, len);
	header[n + len] = '\0';
	return n + len;
}

static const char token_expired[] =
    "the token (JWT) has expired: log in again with wrennctl login";

static const char *
missing_credential(enum upstream_auth auth)
{
	if (auth == AUTH_TOKEN)
		return "this needs a token (JWT), and wrennd holds none: log "
		       "in with wrennctl login";
	return "wrennd holds no credential: give it one with wrennctl login, "
	       "api_key_file in wrennd.conf, or WRENN_API_KEY in wrennd's "
	       "environment";
}

/*
 * A token that has ended gets no answer but 401: it is explained before the
 * request is sent.
 */
static bool
is_expired(const struct cred *c, enum upstream_auth auth)
{
	int64_t end = cred_token_expiry(c);

	if (end == 0 || wall_ms() / 1000 < end)
		return false;
	return auth == AUTH_TOKEN || auth == AUTH_TOKEN_OR_KEY ||
	       cred_secret(c, CRED_API_KEY) == NULL;
}

static struct http *
transport_for(const struct flight *f)
{
	const struct upstream *u = f->up;
	bool bulk = f->req != NULL && f->req->bulk;

	if (bulk || u->http2 == NULL || now_ms() < u->http1_until_ms)
		return u->http1;
	return u->http2;
}

/* One attempt. */
static void
flight_launch(struct flight *f)
{
	/* The first is made in the turn in which it was asked for. */
	uint64_t spent = f->via != NULL ? now_ms() - f->started_ms : 0;
	const struct upstream_request *req = f->req;
	const char *headers[1];
	char auth[AUTH_MAX], *type = NULL;
	size_t auth_len = 0;
	struct http_request h = {
		.method = f->method,
		.url = f->url,
		.headers = headers,
		.whole = f->whole,
		.slow = f->slow,
		.stall_ms = f->stall_ms,
		.max_body = f->max_answer,
	};

	if (f->auth != AUTH_NONE && is_expired(f->up->cred, f->auth)) {
		land_error(f, RPC_UNAUTHORIZED, token_expired);
		return;
	}
	if (f->auth != AUTH_NONE) {
		auth_len = auth_header(f->up->cred, f->auth, auth);
		if (auth_len == 0) {
			land_error(
			    f, RPC_NO_CREDENTIAL, missing_credential(f->auth));
			return;
		}
		h.credential = auth;
	}
	if (f->timeout_ms != 0)
		h.timeout_ms =
		    f->timeout_ms > spent ? f->timeout_ms - spent : 1;
	if (req != NULL) {
		h.body = req->content_type ? buf_head(&req->body) : NULL;
		h.body_len = req->body.len;
		h.source = req->source;
		h.sink = req->sink;
		h.bulk = req->bulk;
		if (req->content_type != NULL) {
			type = xasprintf("Content-Type: %s", req->content_type);
			headers[h.header_count++] = type;
		}
	}
	f->attempts++;
	f->via = transport_for(f);
	f->exchange = f->via->ops->start(f->via, &h, exchange_done, f);
	explicit_bzero(auth, auth_len);
	free(type);
}

static void
launch_due(void *arg)
{
	flight_launch(arg);
}

static bool
is_shareable(const struct upstream_request *r)
{
	return strcmp(r->method, "GET") == 0 && r->sink == NULL;
}

/*
 * When a GET that is sent now may be answered by those under way: what was
 * changed before it, or another credential, makes it another question.
 */
static uint64_t
epoch_now(const struct upstream *u)
{
	return u->changes + cred_generation(u->cred);
}

/* Between attempts, or before the first. */
static bool
is_waiting(const struct flight *f)
{
	return f->start.queued ||
	       (f->backoff != NULL && timer_armed(f->backoff));
}

/*
 * Whether it is under way and neither stuck nor telling its callers just now.
 */
static bool
is_joinable(const struct flight *f)
{
	return f->req == NULL && f->epoch == epoch_now(f->up) &&
	       now_ms() - f->started_ms < JOIN_MS &&
	       (f->exchange != NULL || is_waiting(f));
}

/* A flight of the same GET that this one may join. */
static struct flight *
flight_find(
    struct upstream *u, const struct upstream_request *r, uint64_t value)
{
	struct hash_entry *e;
	struct flight *f;

	for (e = hash_first(&u->by_url, value); e != NULL; e = hash_next(e)) {
		f = hash_owner(e, struct flight, by_url);
		if (f->auth == r->auth &&
		    strcmp(f->url + u->base_len, r->path) == 0 &&
		    is_joinable(f))
			return f;
	}
	return NULL;
}

/* The first attempt is made at the end of the turn. */
static struct flight *
flight_new(
    struct upstream *u, const struct upstream_request *r, size_t path_len)
{
	struct flight *f = xcalloc(1, sizeof(*f) + u->base_len + path_len + 1);

	f->up = u;
	f->req = r;
	f->method = r->method;
	memcpy(f->url, u->base_url, u->base_len);
	memcpy(f->url + u->base_len, r->path, path_len);
	f->auth = r->auth;
	f->idempotent = r->idempotent;
	f->max_answer = r->max_answer;
	f->whole = r->whole;
	f->slow = r->slow;
	f->timeout_ms = r->timeout_ms;
	f->stall_ms = r->stall_ms;
	f->started_ms = now_ms();
	f->epoch = epoch_now(u);
	later_init(&f->start, launch_due, f);
	TAILQ_INIT(&f->calls);
	TAILQ_INSERT_TAIL(&u->flights, f, entry);
	loop_last(u->loop, &f->start);
	return f;
}

/* The flight of an equal GET, or a new one. */
static struct flight *
flight_for(struct upstream *u, const struct upstream_request *r)
{
	size_t n = strlen(r->path);
	uint64_t value = hash_text(r->path, n, r->auth);
	bool shareable = is_shareable(r);
	struct flight *f = shareable ? flight_find(u, r, value) : NULL;

	if (f != NULL) {
		u->stats.shared++;
		return f;
	}
	u->stats.requests++;
	if (u->budget < BUDGET_MAX)
		u->budget += BUDGET_SHARE;
	f = flight_new(u, r, n);
	if (shareable) {
		f->req = NULL;
		hash_add(&u->by_url, &f->by_url, value);
	}
	return f;
}

struct upstream_call *
upstream_send(struct upstream *u, const struct upstream_request *r,
    upstream_fn *fn, void *arg)
{
	struct upstream_call *call = xcalloc(1, sizeof(*call));

	call->flight = flight_for(u, r);
	call->fn = fn;
	call->arg = arg;
	TAILQ_INSERT_TAIL(&call->flight->calls, call, entry);
	return call;
}

void
upstream_cancel(struct upstream_call *call)
{
	struct flight *f;

	if (call == NULL)
		return;
	f = call->flight;
	TAILQ_REMOVE(&f->calls, call, entry);
	free(call);
	if (!TAILQ_EMPTY(&f->calls))
		return;
	/*
	 * While land() tells the callers, its flight has no exchange and
	 * waits for none, and land() itself frees it.
	 */
	if (f->exchange == NULL && !is_waiting(f))
		return;
	if (f->exchange != NULL)
		f->via->ops->cancel(f->exchange);
	flight_free(f);
}

void
upstream_resume(struct upstream_call *call)
{
	struct flight *f = call->flight;

	if (f->exchange != NULL)
		f->via->ops->resume(f->exchange);
}

/* ---- the whole ---- */

void
upstream_renew(struct upstream *u)
{
	log_debug("upstream: new connections from now on");
	u->timeouts_in_row = 0;
	u->http1_until_ms = 0;
	u->http1->ops->renew(u->http1);
	if (u->http2 != NULL)
		u->http2->ops->renew(u->http2);
}

/* How far the clock that counts sleep is ahead of the one that does not. */
static uint64_t
sleep_offset_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return now_ms() -
	       ((uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000);
}

static void
check_clock(void *arg)
{
	struct upstream *u = arg;
	uint64_t offset = sleep_offset_ms();

	if (offset - u->sleep_offset_ms > SLEEP_MS &&
	    offset > u->sleep_offset_ms) {
		log_info("the machine slept s=%ju",
		    (uintmax_t)(offset - u->sleep_offset_ms) / 1000);
		upstream_renew(u);
	}
	u->sleep_offset_ms = offset;
	if (dialer_trust_changed(u->dialer)) {
		log_info("the trusted certificates have changed");
		upstream_renew(u);
	}
	timer_set(u->clock_timer, CLOCK_CHECK_MS);
}

static void
make_transports(struct upstream *u, const struct settings *s)
{
	struct dialer_options dial = {
		.base_url = s->base_url,
		.ca_file = s->ca_file,
		.client_cert = s->client_cert,
		.client_key = s->client_key,
		.proxy = s->proxy,
		.connect_timeout_ms = (long)s->connect_timeout_ms,
	};
	struct http_h2_options h2 = {
		.base_url = s->base_url,
		.max_connections = (int)s->max_connections,
		.ping_after_ms = (uint64_t)s->ping_after_ms,
		.ping_timeout_ms = (uint64_t)s->ping_timeout_ms,
	};

	u->ping_after_ms = h2.ping_after_ms;
	u->ping_timeout_ms = h2.ping_timeout_ms;
	u->dialer = dialer_new(&dial);
	u->http1 = http_curl_new(u->loop, u->dialer);
	if (strncmp(s->base_url, "https:", 6) == 0)
		u->http2 = http_h2_new(u->loop, u->dialer, &h2);
}

struct upstream *
upstream_new(struct loop *l, const struct settings *s, const struct cred *c)
{
	struct upstream *u = xcalloc(1, sizeof(*u));

	u->loop = l;
	u->cred = c;
	u->base_url = xstrdup(s->base_url);
	u->base_len = strlen(u->base_url);
	u->budget = BUDGET_MAX;
	make_transports(u, s);
	TAILQ_INIT(&u->flights);
	u->sleep_offset_ms = sleep_offset_ms();
	u->clock_timer = timer_new(l, check_clock, u);
	timer_set(u->clock_timer, CLOCK_CHECK_MS);
	return u;
}

void
upstream_free(struct upstream *u)
{
	struct upstream_call *call;
	struct flight *f;

	if (u == NULL)
		return;
	while ((f = TAILQ_FIRST(&u->flights)) != NULL) {
		while ((call = TAILQ_FIRST(&f->calls)) != NULL) {
			TAILQ_REMOVE(&f->calls, call, entry);
			free(call);
		}
		flight_free(f);
	}
	u->http1->ops->free(u->http1);
	if (u->http2 != NULL)
		u->http2->ops->free(u->http2);
	hash_release(&u->by_url);
	dialer_free(u->dialer);
	timer_free(u->clock_timer);
	free(u->base_url);
	free(u);
}

/* ---- streams ---- */

/* What opening one would be answered, as far as that is known here. */
static enum rpc_errno
check_credential(const struct upstream *u, struct rpc_error *why)
{
	if (is_expired(u->cred, AUTH_KEY_OR_TOKEN))
		rpc_error_set(why, RPC_UNAUTHORIZED, token_expired);
	else if (cred_secret(u->cred, CRED_API_KEY) == NULL &&
		 cred_secret(u->cred, CRED_TOKEN) == NULL)
		rpc_error_set(why, RPC_NO_CREDENTIAL, "%s",
		    missing_credential(AUTH_KEY_OR_TOKEN));
	else
		return RPC_OK;
	return why->kind;
}

struct ws *
upstream_stream(struct upstream *u, const char *path, const struct ws_ops *ops,
    void *arg, struct rpc_error *why)
{
	char auth[AUTH_MAX], *url;
	const char *headers[] = { auth };
	struct ws_spec spec = {
		.headers = headers,
		.header_count = 1,
		.max_message = LIMIT_STREAM_MESSAGE,
		.open_timeout_ms = STREAM_OPEN_MS,
		.ping_after_ms = u->ping_after_ms,
		.ping_timeout_ms = u->ping_timeout_ms,
	};
	struct ws *w;
	size_t n;

	if (check_credential(u, why) != RPC_OK)
		return NULL;
	n = auth_header(u->cred, AUTH_KEY_OR_TOKEN, auth);
	url = xasprintf("%s%s", u->base_url, path);
	spec.url = url;
	w = ws_open(u->loop, u->dialer, &spec, ops, arg);
	explicit_bzero(auth, n);
	free(url);
	return w;
}

/* ---- what is known of it ---- */

void
upstream_on_change(struct upstream *u,
    void (*fn)(void *arg, const char *state, const char *why), void *arg)
{
	u->changed = fn;
	u->changed_arg = arg;
}

const char *
upstream_base_url(const struct upstream *u)
{
	return u->base_url;
}

void
upstream_stats(const struct upstream *u, struct upstream_stats *ret)
{
	struct http_stats h2;

	*ret = u->stats;
	ret->state = !u->known ? "unknown" : u->up ? "up" : "down";
	ret->last_error = u->last_error;
	u->http1->ops->stats(u->http1, &ret->http);
	if (u->http2 == NULL)
		return;
	u->http2->ops->stats(u->http2, &h2);
	ret->http.exchanges += h2.exchanges;
	ret->http.connections += h2.connections;
	ret->http.open += h2.open;
	ret->http.in_flight += h2.in_flight;
	ret->http.waiting += h2.waiting;
}
