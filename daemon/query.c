#include "daemon/query.h"

#include <stdlib.h>

#include <json-c/json.h>

#include "daemon/api.h"
#include "daemon/upstream.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

/* Lives until it told its answer or was cancelled. */
struct query {
	struct upstream_request *request;
	struct upstream_call *call;
	query_fn *fn; /* one of the two */
	query_text_fn *text_fn;
	void *arg;
};

static void
query_free(struct query *q)
{
	upstream_request_free(q->request);
	free(q);
}

static void
tell_text(struct query *q, const struct upstream_answer *a)
{
	struct rpc_error e;
	struct api_text t;

	if (api_text_init(&t, a, q->request->idempotent, &e)) {
		q->text_fn(q->arg, t.text, t.len, NULL);
		api_text_release(&t);
		return;
	}
	q->text_fn(q->arg, "", 0, &e);
	rpc_error_release(&e);
}

static void
tell_tree(struct query *q, const struct upstream_answer *a)
{
	struct rpc_error e = { .kind = RPC_OK };
	struct json_object *o = NULL;

	if (a->outcome == HTTP_ANSWERED && a->status == 204)
		api_check(a, q->request->idempotent, &e);
	else
		o = api_json(a, q->request->idempotent, &e);
	q->fn(q->arg, o, e.kind == RPC_OK ? NULL : &e);
	json_object_put(o);
	rpc_error_release(&e);
}

static void
answered(void *arg, const struct upstream_answer *a)
{
	struct query *q = arg;

	if (q->text_fn != NULL)
		tell_text(q, a);
	else
		tell_tree(q, a);
	query_free(q);
}

static struct query *
start(struct upstream *u, struct upstream_request *r, void *arg)
{
	struct query *q = xcalloc(1, sizeof(*q));

	q->request = r;
	q->arg = arg;
	q->call = upstream_send(u, r, answered, q);
	return q;
}

struct query *
query_start(
    struct upstream *u, struct upstream_request *r, query_fn *fn, void *arg)
{
	struct query *q = start(u, r, arg);

	q->fn = fn;
	return q;
}

struct query *
query_start_text(struct upstream *u, struct upstream_request *r,
    query_text_fn *fn, void *arg)
{
	struct query *q = start(u, r, arg);

	q->text_fn = fn;
	return q;
}

void
query_cancel(struct query *q)
{
	if (q == NULL)
		return;
	upstream_cancel(q->call);
	query_free(q);
}
