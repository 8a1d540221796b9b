#include <stdlib.h>

#include <json-c/json.h>

#include "daemon/api.h"
#include "daemon/capsules.h"
#include "daemon/cred.h"
#include "daemon/dispatch.h"
#include "daemon/events.h"
#include "daemon/query.h"
#include "daemon/tracker.h"
#include "daemon/upstream.h"
#include "proto/jx.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

static struct json_object *
auth_json(const struct services *svc)
{
	struct json_object *o = json_object_new_object();

	jx_add_str(o, "base_url", upstream_base_url(svc->upstream));
	jx_add(o, "api_key", cred_describe(svc->cred, CRED_API_KEY));
	jx_add(o, "token", cred_describe(svc->cred, CRED_TOKEN));
	return o;
}

void
m_auth_status(struct call *c)
{
	call_reply(c, auth_json(c->svc));
}

/* No connection made for the old credential carries the new one. */
static void
credential_changed(const struct services *svc)
{
	events_emit(svc->events, "credential.changed", EVENTS_FOR_ALL, NULL);
	upstream_renew(svc->upstream);
	capsules_credential_changed(svc->capsules);
}

/* A login under way; freed with the answer or the cancel. */
struct login {
	struct call *call;
	struct query *query;
};

static void
logged_in(void *arg, struct json_object *answer, struct rpc_error *e)
{
	struct login *l = arg;
	struct call *c = l->call;
	const char *token = jx_str(answer, "token");
	bool persist = jx_bool(c->params, "persist", true);
	struct rpc_error why;

	free(l);
	if (e != NULL && e->kind == RPC_UNAUTHORIZED) {
		call_failf(c, RPC_UNAUTHORIZED,
		    "the e-mail address or the password is not right");
	} else if (e != NULL) {
		call_fail(c, e);
	} else if (token == NULL) {
		call_failf(c, RPC_BAD_ANSWER,
		    "upstream's answer to the login holds no token");
	} else if (cred_set(c->svc->cred, CRED_TOKEN, token, persist, &why) <
		   0) {
		credential_changed(c->svc);
		call_fail(c, &why);
	} else {
		credential_changed(c->svc);
		call_reply(c, auth_json(c->svc));
	}
}

static void
cancel_login(void *arg)
{
	struct login *l = arg;

	query_cancel(l->query);
	free(l);
}

void
m_auth_login(struct call *c)
{
	struct login *l = xcalloc(1, sizeof(*l));

	l->call = c;
	l->query = query_start(c->svc->upstream,
	    api_login(
		jx_str(c->params, "email"), jx_str(c->params, "password")),
	    logged_in, l);
	call_on_cancel(c, cancel_login, l);
}

void
m_auth_set(struct call *c)
{
	const char *key = jx_str(c->params, "api_key");
	const char *token = jx_str(c->params, "token");
	bool persist = jx_bool(c->params, "persist", true);
	struct rpc_error why;
	int r;

	if ((key == NULL) == (token == NULL)) {
		call_failf(c, RPC_INVALID_PARAMS,
		    "auth.set takes one of api_key and token");
		return;
	}
	r = cred_set(c->svc->cred, key ? CRED_API_KEY : CRED_TOKEN,
	    key ? key : token, persist, &why);
	if (r == 0 || why.kind == RPC_STORE)
		credential_changed(c->svc);
	if (r < 0)
		call_fail(c, &why);
	else
		call_reply(c, auth_json(c->svc));
}

void
m_auth_logout(struct call *c)
{
	int live = tracker_count(c->svc->tracker, CAPSULE_CREATING) +
		   tracker_count(c->svc->tracker, CAPSULE_LIVE) +
		   tracker_count(c->svc->tracker, CAPSULE_ENDING);
	struct rpc_error why;

	if (live > 0 && !jx_bool(c->params, "force", false)) {
		call_failf(c, RPC_CONFLICT,
		    "capsules are recorded (%d) that could not be destroyed "
		    "without the credential; destroy them first, or force it",
		    live);
		return;
	}
	if (cred_logout(c->svc->cred, c->svc->settings, &why) < 0) {
		credential_changed(c->svc);
		call_fail(c, &why);
		return;
	}
	credential_changed(c->svc);
	call_reply(c, auth_json(c->svc));
}
