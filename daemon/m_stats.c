#include <string.h>

#include "daemon/api_team.h"
#include "daemon/capsules.h"
#include "daemon/dispatch.h"
#include "daemon/relay.h"
#include "proto/jx.h"

#include "proto/banned.h"

static const struct relay_spec object = { .answer = RELAY_OBJECT };

/* Of a capsule that sleeps too: it is not woken for a look at its figures. */
void
m_capsule_metrics(struct call *c)
{
	struct relay_spec spec = object;
	struct rpc_error why;
	struct target target;

	if (capsules_target(c->svc->capsules, c->uid,
		jx_str(c->params, "capsule"), &target, &why) < 0) {
		call_fail(c, &why);
		return;
	}
	spec.capsule = target.capsule;
	relay(c, api_metrics(target.id, jx_str(c->params, "range")), &spec);
}

void
m_capsule_stats(struct call *c)
{
	relay(c, api_stats(jx_str(c->params, "range")), &object);
}

void
m_capsule_usage(struct call *c)
{
	const char *from = jx_str(c->params, "from");
	const char *to = jx_str(c->params, "to");
	struct rpc_error why;

	/* Days of this form are in the order of their letters. */
	if (from != NULL && to != NULL && strcmp(from, to) > 0) {
		rpc_error_set_param(
		    &why, "from", "parameter from must not be a day after to");
		call_fail(c, &why);
		return;
	}
	relay(c, api_usage(from, to), &object);
}
