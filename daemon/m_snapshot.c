#include <stdlib.h>

#include "daemon/api_team.h"
#include "daemon/dispatch.h"
#include "daemon/relay.h"
#include "daemon/snapshot.h"
#include "proto/jx.h"

#include "proto/banned.h"

static void
taken(void *arg, const char *text, size_t len, struct rpc_error *e)
{
	static const struct relay_spec object = { .answer = RELAY_OBJECT };

	relay_answer(arg, &object, text, len, e);
}

static void
cancel(void *arg)
{
	snapshot_cancel(arg);
}

/* Nothing tells whose a snapshot is: to replace one may be to destroy another
 * user's. */
static int
check_overwrite(const struct call *c, struct rpc_error *why)
{
	if (c->access != ACCESS_ADMIN) {
		rpc_error_set(why, RPC_ACCESS_DENIED,
		    "overwrite may replace another user's snapshot, so it is "
		    "for root and the user that wrennd runs as");
		return -1;
	}
	if (jx_str(c->params, "name") == NULL) {
		rpc_error_set_param(why, "overwrite",
		    "parameter overwrite needs the parameter name");
		return -1;
	}
	return 0;
}

void
m_snapshot_create(struct call *c)
{
	const struct snapshot_parts parts = {
		.capsules = c->svc->capsules,
		.tracker = c->svc->tracker,
		.upstream = c->svc->upstream,
	};
	const struct snapshot_spec spec = {
		.uid = c->uid,
		.ref = jx_str(c->params, "capsule"),
		.name = jx_str(c->params, "name"),
		.overwrite = jx_bool(c->params, "overwrite", false),
		.fn = taken,
		.arg = c,
	};
	struct rpc_error why;
	struct snapshot *s = NULL;

	if (!spec.overwrite || check_overwrite(c, &why) == 0)
		s = snapshot_start(&parts, &spec, &why);
	if (s == NULL)
		call_fail(c, &why);
	else
		call_on_cancel(c, cancel, s);
}

void
m_snapshot_list(struct call *c)
{
	static const struct relay_spec snapshots = { .answer = RELAY_LIST,
		.list = "snapshots" };

	relay(c, api_snapshot_list(jx_str(c->params, "type")), &snapshots);
}

void
m_snapshot_delete(struct call *c)
{
	static const struct relay_spec nothing = { .answer = RELAY_NOTHING };

	relay(c, api_snapshot_delete(jx_str(c->params, "name")), &nothing);
}
