#include "tests/unit/fakes/fake_upstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/settings.h"
#include "proto/limits.h"
#include "proto/xalloc.h"
#include "tests/unit/fakes/fake_ws.h"

#include "proto/banned.h"

#define MAX_REQUESTS 256

struct upstream_call {
	struct upstream *upstream;
	int index;
	upstream_fn *fn;
	void *arg;
};

struct upstream {
	char *base_url;
	int count, renewals, resumes;
	char *sent[MAX_REQUESTS];
	struct upstream_call *pending[MAX_REQUESTS]; /* NULL once ended */
};

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fake upstream: %s\n", what);
	abort();
}

struct upstream *
upstream_new(struct loop *l, const struct settings *s, const struct cred *c)
{
	struct upstream *u = xcalloc(1, sizeof(*u));

	(void)l;
	(void)c;
	u->base_url = xstrdup(s->base_url);
	return u;
}

void
upstream_free(struct upstream *u)
{
	int i;

	if (u == NULL)
		return;
	for (i = 0; i < u->count; i++) {
		free(u->pending[i]);
		free(u->sent[i]);
	}
	free(u->base_url);
	free(u);
	/* Also what has the linker take the streams from there. */
	fake_ws_reset();
}

struct upstream_request *
upstream_request_new(const char *method, char *path)
{
	struct upstream_request *r = xcalloc(1, sizeof(*r));

	r->method = method;
	r->path = path;
	r->idempotent = strcmp(method, "POST") != 0;
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

struct upstream_call *
upstream_send(struct upstream *u, const struct upstream_request *r,
    upstream_fn *fn, void *arg)
{
	struct upstream_call *call = xcalloc(1, sizeof(*call));

	must(u->count < MAX_REQUESTS, "too many requests");
	*call = (struct upstream_call){ u, u->count, fn, arg };
	u->sent[u->count] = xasprintf("%s %s%s%.*s", r->method, r->path,
	    r->body.len > 0 ? " " : "", (int)r->body.len,
	    r->body.len > 0 ? buf_head(&r->body) : "");
	u->pending[u->count++] = call;
	return call;
}

void
upstream_cancel(struct upstream_call *call)
{
	if (call == NULL)
		return;
	call->upstream->pending[call->index] = NULL;
	free(call);
}

void
upstream_resume(struct upstream_call *call)
{
	call->upstream->resumes++;
}

void
upstream_renew(struct upstream *u)
{
	u->renewals++;
}

const char *
upstream_base_url(const struct upstream *u)
{
	return u->base_url;
}

void
upstream_stats(const struct upstream *u, struct upstream_stats *ret)
{
	*ret = (struct upstream_stats){ .state = "unknown",
		.requests = (uint64_t)u->count,
		.last_error = "" };
}

/* ---- for tests ---- */

const int *
fake_upstream_count(const struct upstream *u)
{
	return &u->count;
}

const char *
fake_upstream_sent(const struct upstream *u, int i)
{
	return i < u->count ? u->sent[i] : "";
}

bool
fake_upstream_is_pending(const struct upstream *u, int i)
{
	return i < u->count && u->pending[i] != NULL;
}

static void
end(struct upstream *u, int i, const struct upstream_answer *answer)
{
	struct upstream_call *call;

	must(fake_upstream_is_pending(u, i), "no such request is pending");
	call = u->pending[i];
	u->pending[i] = NULL;
	call->fn(call->arg, answer);
	free(call);
}

void
fake_upstream_answer(struct upstream *u, int i, int status, const char *body)
{
	bool json = body[0] == '{' || body[0] == '[';
	struct upstream_answer answer = {
		.outcome = HTTP_ANSWERED,
		.status = status,
		.content_type = json ? "application/json" : "text/html",
		.body = body,
		.len = strlen(body),
		.why = "",
	};

	end(u, i, &answer);
}

void
fake_upstream_lose(struct upstream *u, int i, enum http_outcome outcome,
    enum rpc_errno error, const char *why)
{
	struct upstream_answer answer = {
		.outcome = outcome,
		.content_type = "",
		.body = "",
		.error = error,
		.why = why,
	};

	end(u, i, &answer);
}

int
fake_upstream_renewals(const struct upstream *u)
{
	return u->renewals;
}

int
fake_upstream_resumes(const struct upstream *u)
{
	return u->resumes;
}
