#include "daemon/http_curl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/dialer.h"
#include "daemon/loop.h"
#include "daemon/multi.h"
#include "proto/limits.h"
#include "proto/queue.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define MAX_LIFETIME_S 3600L /* of a connection: certificates change */
#define IDLE_S         300L  /* upstream closes at 620 s */
#define BULK_BUFFER    (256 * 1024L)
/*
 * One for each call in flight: more than one client may have, so that its
 * slow commands hold up nobody else's calls.
 */
#define MAX_CONNECTIONS (2L * LIMIT_CALLS_PER_PEER)

struct pool;

/*
 * One request. Lives from start() until its result was told or it was
 * cancelled. While one of its callbacks runs inside libcurl nothing touches
 * the handle; results are collected first and told from settled() only.
 */
struct http_exchange {
	struct pool *pool;
	CURL *easy;
	struct curl_slist *headers;
	struct http_request req; /* lent */
	size_t body_sent;        /* bytes handed to libcurl */
	bool body_asked;         /* libcurl began to send the body */
	bool answered;           /* a status line came */
	bool chunked;            /* its body shows where it ends */
	bool paused_read, paused_write;
	int abort_error; /* errno of the source or sink, positive */
	bool too_large;
	bool crowded;  /* too large because of the others' */
	bool finished; /* on the list of the finished */
	struct timer *stall;
	uint64_t progress, progress_seen; /* callbacks with bytes */
	struct http_result result;
	char detail[CURL_ERROR_SIZE];
	CURLcode code;
	http_done_fn *done;
	void *arg;
	TAILQ_ENTRY(http_exchange) entry;
};
TAILQ_HEAD(exchange_list, http_exchange);

/*
 * One multi handle with the connections it caches. A retired pool takes no
 * new requests and is freed when its last one is done.
 */
struct pool {
	struct http_curl *owner;
	struct multi *multi;
	struct exchange_list active, finished;
	bool retired;
	LIST_ENTRY(pool) entry;
};

struct http_curl {
	struct http http; /* first: what callers hold */
	struct loop *loop;
	struct dialer *dialer;
	struct pool *calls, *bulk; /* in use; also on the list */
	LIST_HEAD(, pool) pools;
	size_t bodies; /* bytes of all answers in memory */
	struct http_stats stats;
};

/* struct http is the first member, so the pointers are the same. */
static struct http_curl *
owner_of(const struct http *h)
{
	return (struct http_curl *)(uintptr_t)h;
}

/* ---- libcurl's callbacks: note and arm, nothing more ---- */

static size_t
read_cb(char *data, size_t size, size_t count, void *arg)
{
	struct http_exchange *x = arg;
	size_t room = size * count, n;
	ssize_t r;

	x->body_asked = true;
	if (x->req.source == NULL) {
		n = x->req.body_len - x->body_sent;
		n = n < room ? n : room;
		memcpy(data, x->req.body + x->body_sent, n);
		x->body_sent += n;
		return n;
	}
	r = x->req.source->read(x->req.source->arg, data, room);
	if (r == -EAGAIN) {
		x->paused_read = true;
		return CURL_READFUNC_PAUSE;
	}
	if (r < 0) {
		x->abort_error = (int)-r;
		return CURL_READFUNC_ABORT;
	}
	x->body_sent += (size_t)r;
	x->progress++;
	return (size_t)r;
}

/* Takes a piece of an answer into memory, as far as the limits go. */
static bool
keep_body(struct http_exchange *x, const char *data, size_t n)
{
	struct http_curl *h = x->pool->owner;

	x->crowded = x->result.body.len + n > LIMIT_BODY_SMALL &&
		     h->bodies + n > LIMIT_BODIES;
	x->too_large = x->crowded || buf_add(&x->result.body, data, n) < 0;
	if (!x->too_large)
		h->bodies += n;
	return !x->too_large;
}

static size_t
write_cb(char *data, size_t size, size_t count, void *arg)
{
	struct http_exchange *x = arg;
	size_t n = size * count;
	long status = 0;
	int r;

	x->progress++;
	curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
	if (x->req.sink != NULL && status >= 200 && status < 300) {
		r = x->req.sink->write(x->req.sink->arg, data, n);
		if (r == -EAGAIN) {
			x->paused_write = true;
			return CURL_WRITEFUNC_PAUSE;
		}
		x->abort_error = -r;
		return r == 0 ? n : 0;
	}
	return keep_body(x, data, n) ? n : 0;
}

static size_t
header_cb(char *data, size_t size, size_t count, void *arg)
{
	static const char name[] = "transfer-encoding:";
	struct http_exchange *x = arg;
	size_t n = size * count;

	x->answered = true;
	if (n >= sizeof(name) && strncasecmp(data, name, sizeof(name) - 1) == 0)
		x->chunked = true;
	x->progress++;
	return n;
}

/* ---- the end of an exchange ---- */

static void
exchange_free(struct http_exchange *x)
{
	timer_free(x->stall);
	curl_easy_cleanup(x->easy);
	curl_slist_free_all(x->headers);
	x->pool->owner->bodies -= x->result.body.len;
	buf_release(&x->result.body);
	free(x);
}

static void
pool_free(struct pool *p)
{
	struct http_exchange *x;

	while ((x = TAILQ_FIRST(&p->finished)) != NULL) {
		TAILQ_REMOVE(&p->finished, x, entry);
		exchange_free(x);
	}
	while ((x = TAILQ_FIRST(&p->active)) != NULL) {
		TAILQ_REMOVE(&p->active, x, entry);
		multi_remove(p->multi, x->easy);
		exchange_free(x);
	}
	LIST_REMOVE(p, entry);
	multi_free(p->multi);
	free(p);
}

/* ---- results ---- */

static bool
has_body(const struct http_exchange *x)
{
	return x->req.body_len > 0 || x->req.source != NULL;
}

/* The outcome of an exchange that got no whole answer. */
static enum http_outcome
outcome_of(const struct http_exchange *x)
{
	/*
	 * A request is complete, and can be carried out, only once its body
	 * is: of those with a body libcurl tells us exactly. The others are
	 * judged by the bytes that went out.
	 */
	long sent = 0;

	if (x->answered)
		return HTTP_UNKNOWN;
	if (has_body(x))
		return x->body_asked ? HTTP_UNKNOWN : HTTP_NOT_SENT;
	curl_easy_getinfo(x->easy, CURLINFO_REQUEST_SIZE, &sent);
	return sent > 0 ? HTTP_UNKNOWN : HTTP_NOT_SENT;
}

static enum rpc_errno
error_of(const struct http_exchange *x, enum http_outcome outcome)
{
	if (dialer_is_tls_fault(x->code))
		return RPC_TLS;
	if (x->code == CURLE_OPERATION_TIMEDOUT)
		return outcome == HTTP_NOT_SENT ? RPC_UNREACHABLE : RPC_TIMEOUT;
	if (x->too_large)
		return RPC_TOO_LARGE;
	if (x->abort_error != 0)
		return RPC_DATA_SOCKET;
	if (x->answered)
		return RPC_TRUNCATED;
	return outcome == HTTP_NOT_SENT ? RPC_UNREACHABLE : RPC_OUTCOME_UNKNOWN;
}

static void
explain(struct http_exchange *x)
{
	struct http_result *r = &x->result;

	if (x->crowded)
		snprintf(r->why, sizeof(r->why),
		    "the large answers under way are more than %d bytes "
		    "together",
		    LIMIT_BODIES);
	else if (x->too_large)
		snprintf(r->why, sizeof(r->why),
		    "the answer is larger than %zu bytes", x->req.max_body);
	else if (x->abort_error != 0)
		snprintf(r->why, sizeof(r->why), "the data socket failed: %s",
		    strerror(x->abort_error));
	else
		snprintf(r->why, sizeof(r->why), "%s",
		    dialer_explain(x->pool->owner->dialer, x->code, x->detail));
}

/*
 * Whether a body came to its end only because the connection did, over
 * HTTP/1 without a length: it may as well have been cut off.
 */
static bool
is_unbounded(const struct http_exchange *x)
{
	curl_off_t length = -1;
	long status = 0;

	curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(x->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	return status >= 200 && status < 300 && length < 0 && !x->chunked;
}

static void
fill_result(struct http_exchange *x)
{
	struct http_result *r = &x->result;
	long status = 0, opened = 0;
	char *type = NULL;

	curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(x->easy, CURLINFO_NUM_CONNECTS, &opened);
	curl_easy_getinfo(x->easy, CURLINFO_CONTENT_TYPE, &type);
	x->pool->owner->stats.connections += (uint64_t)opened;
	r->status = (int)status;
	snprintf(
	    r->content_type, sizeof(r->content_type), "%s", type ? type : "");
	if (x->code == CURLE_OK && x->req.whole && is_unbounded(x)) {
		x->code = CURLE_PARTIAL_FILE;
		snprintf(x->detail, sizeof(x->detail),
		    "the answer does not tell its length, so it may be "
		    "incomplete");
	}
	if (x->code == CURLE_OK) {
		r->outcome = HTTP_ANSWERED;
		return;
	}
	r->outcome = outcome_of(x);
	r->error = error_of(x, r->outcome);
	explain(x);
}

/* Takes the handle out; the caller is told in the next settled(). */
static void
finish(struct http_exchange *x, CURLcode code)
{
	struct pool *p = x->pool;

	x->code = code;
	x->finished = true;
	multi_remove(p->multi, x->easy);
	fill_result(x);
	TAILQ_REMOVE(&p->active, x, entry);
	TAILQ_INSERT_TAIL(&p->finished, x, entry);
}

static void
transfer_done(void *arg, CURL *easy, CURLcode code)
{
	struct http_exchange *x;

	(void)arg;
	curl_easy_getinfo(easy, CURLINFO_PRIVATE, &x);
	finish(x, code);
}

/* Tells the callers, who may start and cancel at will. */
static void
settled(void *arg)
{
	struct pool *p = arg;
	struct http_exchange *x;

	while ((x = TAILQ_FIRST(&p->finished)) != NULL) {
		TAILQ_REMOVE(&p->finished, x, entry);
		p->owner->stats.in_flight--;
		x->done(x->arg, &x->result);
		exchange_free(x);
	}
	if (p->retired && TAILQ_EMPTY(&p->active))
		pool_free(p);
}

static const struct multi_ops pool_ops = { .done = transfer_done,
	.settled = settled };

/* Nothing moved since the last look, and it is not the local end's doing. */
static void
stall_due(void *arg)
{
	struct http_exchange *x = arg;

	if (x->finished)
		return;
	if (x->progress == x->progress_seen && !x->paused_read &&
	    !x->paused_write) {
		snprintf(x->detail, sizeof(x->detail),
		    "nothing moved for %llu s",
		    (unsigned long long)x->req.stall_ms / 1000);
		finish(x, CURLE_OPERATION_TIMEDOUT);
		multi_settle(x->pool->multi);
		return;
	}
	x->progress_seen = x->progress;
	timer_set(x->stall, (int64_t)x->req.stall_ms);
}

/* ---- starting ---- */

static void
set_connection(CURL *e, const struct http_curl *h, bool bulk)
{
	dialer_set(h->dialer, e, NULL);
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_MAXLIFETIME_CONN, MAX_LIFETIME_S);
	curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, IDLE_S);
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	if (bulk) {
		curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
		curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
		curl_easy_setopt(e, CURLOPT_BUFFERSIZE, BULK_BUFFER);
		curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, BULK_BUFFER);
	}
}

/*
 * libcurl re-sends a POST by itself when a reused connection dies before the
 * first byte of the answer (curl/curl#18417). A body from a read callback
 * with no seek callback makes that impossible: it fails with
 * CURLE_SEND_FAIL_REWIND instead. Requests without a body may be sent
 * again; those are safe to repeat.
 */
static void
set_body(struct http_exchange *x)
{
	const struct http_request *q = &x->req;
	curl_off_t n = (curl_off_t)q->body_len;

	if (q->source != NULL)
		n = q->source->length;
	if (q->body == NULL && q->source == NULL) {
		if (strcmp(q->method, "GET") == 0)
			return;
		curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, q->method);
		if (strcmp(q->method, "DELETE") == 0)
			return;
		n = 0;
	}
	curl_easy_setopt(x->easy, CURLOPT_POST, 1L);
	curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, q->method);
	curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, n);
	curl_easy_setopt(x->easy, CURLOPT_READFUNCTION, read_cb);
	curl_easy_setopt(x->easy, CURLOPT_READDATA, x);
	if (n < 0)
		x->headers =
		    curl_slist_append(x->headers, "Transfer-Encoding: chunked");
}

static void
set_request(struct http_exchange *x)
{
	const struct http_request *q = &x->req;
	size_t i;

	for (i = 0; i < q->header_count; i++)
		x->headers = curl_slist_append(x->headers, q->headers[i]);
	if (q->credential != NULL)
		x->headers = curl_slist_append(x->headers, q->credential);
	x->headers = curl_slist_append(x->headers, "Expect:");
	set_body(x);
	curl_easy_setopt(x->easy, CURLOPT_URL, q->url);
	curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, x->headers);
	curl_easy_setopt(x->easy, CURLOPT_USERAGENT, PACKAGE "/" VERSION);
	curl_easy_setopt(x->easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(x->easy, CURLOPT_TIMEOUT_MS, (long)q->timeout_ms);
	curl_easy_setopt(x->easy, CURLOPT_WRITEFUNCTION, write_cb);
	curl_easy_setopt(x->easy, CURLOPT_WRITEDATA, x);
	curl_easy_setopt(x->easy, CURLOPT_HEADERFUNCTION, header_cb);
	curl_easy_setopt(x->easy, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(x->easy, CURLOPT_ERRORBUFFER, x->detail);
	curl_easy_setopt(x->easy, CURLOPT_PRIVATE, x);
}

static struct http_exchange *
curl_start(struct http *http, const struct http_request *req,
    http_done_fn *done, void *arg)
{
	struct http_curl *h = owner_of(http);
	struct http_exchange *x = xcalloc(1, sizeof(*x));
	struct pool *p = req->bulk ? h->bulk : h->calls;

	x->pool = p;
	x->req = *req;
	x->done = done;
	x->arg = arg;
	buf_init(&x->result.body, req->max_body);
	x->easy = curl_easy_init();
	if (x->easy == NULL)
		abort();
	set_connection(x->easy, h, req->bulk);
	set_request(x);
	if (req->stall_ms > 0) {
		x->stall = timer_new(h->loop, stall_due, x);
		timer_set(x->stall, (int64_t)req->stall_ms);
	}
	h->stats.exchanges++;
	h->stats.in_flight++;
	TAILQ_INSERT_TAIL(&p->active, x, entry);
	multi_add(p->multi, x->easy);
	return x;
}

static void
curl_resume(struct http_exchange *x)
{
	if (x->finished || (!x->paused_read && !x->paused_write))
		return;
	x->paused_read = false;
	x->paused_write = false;
	/* May run the callbacks before it returns. */
	curl_easy_pause(x->easy, CURLPAUSE_CONT);
	multi_settle(x->pool->multi);
}

/* ---- the transport ---- */

static struct pool *
pool_new(struct http_curl *h)
{
	struct pool *p = xcalloc(1, sizeof(*p));

	p->owner = h;
	TAILQ_INIT(&p->active);
	TAILQ_INIT(&p->finished);
	p->multi = multi_new(h->loop, &pool_ops, p);
	LIST_INSERT_HEAD(&h->pools, p, entry);
	return p;
}

static void
new_pools(struct http_curl *h)
{
	h->calls = pool_new(h);
	multi_set(
	    h->calls->multi, CURLMOPT_MAX_HOST_CONNECTIONS, MAX_CONNECTIONS);
	h->bulk = pool_new(h);
}

static void
retire(struct pool *p)
{
	p->retired = true;
	multi_settle(p->multi);
}

static void
curl_cancel(struct http_exchange *x)
{
	struct pool *p = x->pool;

	if (x->finished) {
		TAILQ_REMOVE(&p->finished, x, entry);
	} else {
		multi_remove(p->multi, x->easy);
		TAILQ_REMOVE(&p->active, x, entry);
	}
	p->owner->stats.in_flight--;
	exchange_free(x);
	if (p->retired)
		multi_settle(p->multi);
}

static void
curl_renew(struct http *http)
{
	struct http_curl *h = owner_of(http);

	retire(h->calls);
	retire(h->bulk);
	new_pools(h);
}

static void
curl_stats(const struct http *http, struct http_stats *ret)
{
	*ret = owner_of(http)->stats;
}

static void
curl_free_transport(struct http *http)
{
	struct http_curl *h = owner_of(http);
	struct pool *p;

	while ((p = LIST_FIRST(&h->pools)) != NULL)
		pool_free(p);
	free(h);
}

static const struct http_ops curl_ops = {
	.start = curl_start,
	.cancel = curl_cancel,
	.resume = curl_resume,
	.renew = curl_renew,
	.stats = curl_stats,
	.free = curl_free_transport,
};

struct http *
http_curl_new(struct loop *l, struct dialer *d)
{
	struct http_curl *h = xcalloc(1, sizeof(*h));

	h->http.ops = &curl_ops;
	h->loop = l;
	h->dialer = d;
	LIST_INIT(&h->pools);
	new_pools(h);
	return &h->http;
}
