#include "daemon/relay.h"

#include <stdlib.h>

#include <json-c/json.h>

#include "daemon/call.h"
#include "daemon/capsules.h"
#include "daemon/query.h"
#include "daemon/tracker.h"
#include "daemon/upstream.h"
#include "proto/jx.h"
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

/* The result, or NULL with *e filled: upstream answered something else. */
static struct json_object *
result_of(const struct relay_spec *spec, struct json_object *answer,
    struct rpc_error *e)
{
	bool list = spec->answer == RELAY_LIST;
	struct json_object *o;

	if (spec->answer == RELAY_NOTHING)
		return json_object_new_object();
	if (!json_object_is_type(
		answer, list ? json_type_array : json_type_object)) {
		rpc_error_set(e, RPC_BAD_ANSWER,
		    "upstream's answer is not %s, as it should be",
		    list ? "an array" : "an object");
		return NULL;
	}
	if (!list)
		return json_object_get(answer);
	o = json_object_new_object();
	jx_add(o, spec->list, json_object_get(answer));
	return o;
}

static void
answered(void *arg, struct json_object *answer, struct rpc_error *e)
{
	struct relay *y = arg;
	struct json_object *result = NULL;
	struct rpc_error odd;

	if (e == NULL) {
		result = result_of(&y->spec, answer, &odd);
		if (result == NULL)
			e = &odd;
	}
	if (e != NULL)
		capsules_explain(y->call->svc->capsules, y->spec.capsule, e);
	call_done(y->call, result, e);
	relay_free(y);
}

void
relay(struct call *c, struct upstream_request *r, const struct relay_spec *spec)
{
	struct relay *y = xcalloc(1, sizeof(*y));

	*y = (struct relay){ .call = c, .spec = *spec };
	if (y->spec.capsule != NULL)
		capsule_ref(y->spec.capsule);
	y->query = query_start(c->svc->upstream, r, answered, y);
	call_on_cancel(c, cancel, y);
}
