#include "daemon/relay.h"

#include <stdlib.h>

#include "daemon/call.h"
#include "daemon/capsules.h"
#include "daemon/query.h"
#include "daemon/tracker.h"
#include "daemon/upstream.h"
#include "proto/buf.h"
#include "proto/json_out.h"
#include "proto/json_walk.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

/* One request; freed with the answer or the cancel. */
struct relay {
	struct call *call;
	struct relay_spec spec;
	struct query *query;
};

static void
relay_free(struct relay *y)
{
	capsule_unref(y->spec.capsule);
	free(y);
}

static void
cancel(void *arg)
{
	struct relay *y = arg;

	query_cancel(y->query);
	relay_free(y);
}

/* Whether upstream answered what it should, or *e is filled. */
static bool
is_as_expected(const struct relay_spec *spec, const char *text, size_t len,
    struct rpc_error *e)
{
	bool list = spec->answer == RELAY_LIST;

	if (spec->answer == RELAY_NOTHING ||
	    (len > 0 && json_first(text, len) == (list ? '[' : '{')))
		return true;
	rpc_error_set(e, RPC_BAD_ANSWER,
	    "upstream's answer is not %s, as it should be",
	    list ? "an array" : "an object");
	return false;
}

static void
reply(
    struct call *c, const struct relay_spec *spec, const char *text, size_t len)
{
	struct json_out out;
	struct buf b;

	buf_init(&b, LIMIT_ANSWER_LINE);
	json_out_init(&out, &b);
	if (spec->answer == RELAY_OBJECT) {
		json_out_text(&out, NULL, text, len);
	} else {
		json_out_object(&out, NULL);
		if (spec->answer == RELAY_LIST)
			json_out_text(&out, spec->list, text, len);
		json_out_end_object(&out);
	}
	call_reply_out(c, &out);
	buf_release(&b);
}

void
relay_answer(struct call *c, const struct relay_spec *spec, const char *text,
    size_t len, struct rpc_error *e)
{
	struct rpc_error odd;

	if (e == NULL && !is_as_expected(spec, text, len, &odd))
		e = &odd;
	if (e != NULL)
		call_fail(c, e);
	else
		reply(c, spec, text, len);
}

static void
answered(void *arg, const char *text, size_t len, struct rpc_error *e)
{
	struct relay *y = arg;

	if (e != NULL)
		capsules_explain(y->call->svc->capsules, y->spec.capsule, e);
	relay_answer(y->call, &y->spec, text, len, e);
	relay_free(y);
}

void
relay(struct call *c, struct upstream_request *r, const struct relay_spec *spec)
{
	struct relay *y = xcalloc(1, sizeof(*y));

	*y = (struct relay){ .call = c, .spec = *spec };
	if (y->spec.capsule != NULL)
		capsule_ref(y->spec.capsule);
	y->query = query_start_text(c->svc->upstream, r, answered, y);
	call_on_cancel(c, cancel, y);
}
