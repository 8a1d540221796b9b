#include "daemon/api_team.h"
#include "daemon/dispatch.h"
#include "daemon/relay.h"
#include "proto/jx.h"

#include "proto/banned.h"

/*
 * The key goes to the client that asked for it and nowhere else: what passes
 * an answer on neither logs nor keeps it, and its buffers are wiped.
 */
void
m_key_create(struct call *c)
{
	static const struct relay_spec object = { .answer = RELAY_OBJECT };

	relay(c, api_key_create(jx_str(c->params, "name")), &object);
}

void
m_key_list(struct call *c)
{
	static const struct relay_spec keys = { .answer = RELAY_LIST,
		.list = "keys" };

	relay(c, api_key_list(), &keys);
}

void
m_key_delete(struct call *c)
{
	static const struct relay_spec nothing = { .answer = RELAY_NOTHING };

	relay(c, api_key_delete(jx_str(c->params, "key")), &nothing);
}
