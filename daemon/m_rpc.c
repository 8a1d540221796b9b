#include <json-c/json.h>

#include "daemon/dispatch.h"
#include "daemon/peer.h"
#include "proto/jx.h"

#include "proto/banned.h"

void
m_rpc_discover(struct call *c)
{
	call_reply(c, methods_openrpc(PACKAGE_VERSION));
}

/* The call that the parameters name; itself does not count. */
static struct call *
named_call(struct call *c)
{
	struct call *other;
	struct json_object *id;

	jx_get(c->params, "call", &id);
	other = client_calls_find(peer_calls(c->peer), id);
	return other == c ? NULL : other;
}

void
m_call_cancel(struct call *c)
{
	struct call *other = named_call(c);
	struct json_object *o = json_object_new_object();

	jx_add_bool(o, "cancelled", other != NULL && call_cancel(other));
	call_reply(c, o);
}

void
m_call_end(struct call *c)
{
	struct call *other = named_call(c);

	if (other != NULL && other->end != NULL && !other->answered)
		other->end(other->arg);
	call_reply(c, json_object_new_object());
}
