#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "daemon/api.h"
#include "daemon/dispatch.h"
#include "daemon/upstream.h"
#include "daemon/use.h"
#include "proto/jx.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define TIMEOUT_S 30 /* upstream's own default */

/* One command; freed with the answer or the cancel. */
struct exec {
	struct call *call;
	struct use *use;
};

static struct upstream_request *
make_request(void *arg, const char *id)
{
	const struct exec *x = arg;
	struct json_object *p = x->call->params;
	struct api_command c = {
		.cmd = jx_str(p, "cmd"),
		.args = jx_arr(p, "args"),
		.cwd = jx_str(p, "cwd"),
		.envs = jx_obj(p, "envs"),
		.timeout_s = TIMEOUT_S,
	};

	jx_int(p, "timeout_sec", 1, INT32_MAX, &c.timeout_s);
	return api_exec(id, &c);
}

/* Moves one member over; false when it is not of the type. */
static bool
move(struct json_object *to, struct json_object *from, const char *key,
    json_type type)
{
	struct json_object *v;

	if (!jx_get(from, key, &v) || !json_object_is_type(v, type))
		return false;
	jx_add(to, key, json_object_get(v));
	return true;
}

/* The result, or NULL with *e filled. */
static struct json_object *
result_of(const struct upstream_answer *a, bool resumed, struct rpc_error *e)
{
	struct json_object *answer = api_json(a, false, e);
	struct json_object *o;
	bool whole;

	if (answer == NULL)
		return NULL;
	o = json_object_new_object();
	whole = move(o, answer, "stdout", json_type_string) &&
		move(o, answer, "stderr", json_type_string) &&
		move(o, answer, "exit_code", json_type_int);
	move(o, answer, "duration_ms", json_type_int);
	if (!move(o, answer, "encoding", json_type_string))
		jx_add_str(o, "encoding", "utf-8");
	if (resumed)
		jx_add_bool(o, "resumed", true);
	json_object_put(answer);
	if (whole)
		return o;
	json_object_put(o);
	rpc_error_set(e, RPC_BAD_ANSWER,
	    "upstream's answer to the command lacks its output or exit code");
	return NULL;
}

static void
done(void *arg, const struct upstream_answer *a, bool resumed,
    struct rpc_error *e)
{
	struct exec *x = arg;
	struct json_object *result = NULL;
	struct rpc_error odd;

	if (e == NULL) {
		result = result_of(a, resumed, &odd);
		if (result == NULL)
			e = &odd;
	} else {
		api_refine_start(e);
	}
	call_done(x->call, result, e);
	free(x);
}

static void
cancel(void *arg)
{
	struct exec *x = arg;

	use_cancel(x->use);
	free(x);
}

void
m_exec_run(struct call *c)
{
	struct exec *x;
	struct rpc_error why;
	struct use_spec spec = {
		.uid = c->uid,
		.ref = jx_str(c->params, "capsule"),
		.auto_resume = use_auto_resume(c->params),
		.request = make_request,
		.done = done,
	};

	if (api_check_envs(jx_obj(c->params, "envs"), &why) < 0) {
		call_fail(c, &why);
		return;
	}
	x = xcalloc(1, sizeof(*x));
	x->call = c;
	spec.arg = x;
	x->use = use_start(c->svc->uses, &spec, &why);
	if (x->use == NULL) {
		free(x);
		call_fail(c, &why);
		return;
	}
	call_on_cancel(c, cancel, x);
}
