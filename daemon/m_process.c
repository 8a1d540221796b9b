#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <json-c/json.h>

#include "daemon/api.h"
#include "daemon/command.h"
#include "daemon/dispatch.h"
#include "daemon/upstream.h"
#include "daemon/use.h"
#include "proto/jx.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

/*
 * One call about processes: one request, or for a kill by tag two. Freed with
 * the answer or the cancel.
 */
struct process_call {
	struct call *call;
	struct use *use;
	char tag[LIMIT_NAME + 1]; /* of a start */
	int64_t pid;              /* of a kill */
	struct upstream_request *(*request)(
	    struct process_call *p, const char *id);
	void (*answered)(struct process_call *p,
	    const struct upstream_answer *a, bool resumed);
};

/* ---- the frame that all share ---- */

static struct upstream_request *request_start(
    struct process_call *p, const char *id);
static void explain_start(const struct process_call *p, struct rpc_error *e);

static struct process_call *
process_call_new(struct call *c)
{
	struct process_call *p = xcalloc(1, sizeof(*p));

	p->call = c;
	return p;
}

static void
end_call(
    struct process_call *p, struct json_object *result, struct rpc_error *e)
{
	call_done(p->call, result, e);
	free(p);
}

static void
cancel(void *arg)
{
	struct process_call *p = arg;

	use_cancel(p->use);
	free(p);
}

static struct upstream_request *
make_request(void *arg, const char *id)
{
	struct process_call *p = arg;

	return p->request(p, id);
}

static void
use_done(void *arg, const struct upstream_answer *a, bool resumed,
    struct rpc_error *e)
{
	struct process_call *p = arg;

	p->use = NULL;
	p->call->cancel = NULL;
	if (e == NULL) {
		p->answered(p, a, resumed);
		return;
	}
	if (p->request == request_start)
		explain_start(p, e);
	end_call(p, NULL, e);
}

static void
start_use(struct process_call *p)
{
	struct call *c = p->call;
	struct rpc_error why;
	struct use_spec spec = {
		.uid = c->uid,
		.ref = jx_str(c->params, "capsule"),
		.auto_resume = use_auto_resume(c->params),
		.passive = p->request != request_start,
		.request = make_request,
		.done = use_done,
		.arg = p,
	};

	p->use = use_start(c->svc->uses, &spec, &why);
	if (p->use == NULL)
		end_call(p, NULL, &why);
	else
		call_on_cancel(c, cancel, p);
}

/* ---- start ---- */

static struct upstream_request *
request_start(struct process_call *p, const char *id)
{
	struct api_command c = command_of(p->call->params);

	return api_process_start(id, &c, p->tag);
}

/* Upstream was asked, so that the process may run: by its tag it is found. */
static void
name_tag(const struct process_call *p, struct rpc_error *e)
{
	size_t n = strlen(e->message);

	snprintf(e->message + n, sizeof(e->message) - n,
	    "; if the process runs, its tag is %s", p->tag);
	e->extra = json_object_new_object();
	jx_add_str(e->extra, "tag", p->tag);
}

static void
explain_start(const struct process_call *p, struct rpc_error *e)
{
	if (e->kind == RPC_OUTCOME_UNKNOWN)
		name_tag(p, e);
	else
		command_explain(e);
}

static void
answered_start(
    struct process_call *p, const struct upstream_answer *a, bool resumed)
{
	struct rpc_error e;
	struct json_object *answer = api_json(a, false, &e), *o = NULL;
	const char *tag = jx_str(answer, "tag");
	int64_t pid;

	if (answer != NULL && jx_int(answer, "pid", 1, INT32_MAX, &pid) == 0) {
		o = json_object_new_object();
		jx_add_int(o, "pid", pid);
		jx_add_str(o, "tag", tag ? tag : p->tag);
		if (resumed)
			jx_add_bool(o, "resumed", true);
	} else {
		if (answer != NULL)
			rpc_error_set(&e, RPC_BAD_ANSWER,
			    "upstream's answer to the start lacks the pid");
		name_tag(p, &e);
	}
	json_object_put(answer);
	end_call(p, o, o ? NULL : &e);
	if (o == NULL)
		rpc_error_release(&e);
}

/* Fit for a path of upstream's, where digits alone would be a pid. */
static bool
is_tag(const char *s)
{
	const char *p;

	if (!isalnum((unsigned char)s[0]))
		return false;
	for (p = s; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && strchr("._-", *p) == NULL)
			return false;
	return s[strspn(s, "0123456789")] != '\0';
}

/*
 * Takes the tag, or makes one up: upstream would do so too, but tell it only
 * in an answer that may be lost.
 */
static int
take_tag(struct process_call *p, struct rpc_error *why)
{
	const char *tag = jx_str(p->call->params, "tag");
	uint32_t n;

	if (tag == NULL) {
		if (getrandom(&n, sizeof(n), 0) != sizeof(n))
			abort();
		snprintf(p->tag, sizeof(p->tag), "proc-%08x", n);
		return 0;
	}
	if (is_tag(tag)) {
		snprintf(p->tag, sizeof(p->tag), "%s", tag);
		return 0;
	}
	rpc_error_set_param(why, "tag",
	    "parameter tag must be letters, digits, dots, dashes and "
	    "underscores, start with a letter or digit, and not be a number");
	return -1;
}

void
m_process_start(struct call *c)
{
	struct process_call *p = process_call_new(c);
	struct rpc_error why;

	if (command_check(c->params, &why) < 0 || take_tag(p, &why) < 0) {
		end_call(p, NULL, &why);
		return;
	}
	p->request = request_start;
	p->answered = answered_start;
	start_use(p);
}

/* ---- list ---- */

static struct upstream_request *
request_list(struct process_call *p, const char *id)
{
	(void)p;
	return api_process_list(id);
}

/* The array of them, lent by *ret_answer; NULL with *e filled. */
static struct json_object *
processes_of(const struct upstream_answer *a, struct json_object **ret_answer,
    struct rpc_error *e)
{
	struct json_object *processes;

	*ret_answer = api_json(a, true, e);
	if (*ret_answer == NULL)
		return NULL;
	processes = jx_arr(*ret_answer, "processes");
	if (processes == NULL)
		rpc_error_set(e, RPC_BAD_ANSWER,
		    "upstream's answer holds no list of processes");
	return processes;
}

static void
answered_list(
    struct process_call *p, const struct upstream_answer *a, bool resumed)
{
	struct json_object *answer, *processes, *o = NULL;
	struct rpc_error e;

	(void)resumed;
	processes = processes_of(a, &answer, &e);
	if (processes != NULL) {
		o = json_object_new_object();
		jx_add(o, "processes", json_object_get(processes));
	}
	json_object_put(answer);
	end_call(p, o, o ? NULL : &e);
}

void
m_process_list(struct call *c)
{
	struct process_call *p = process_call_new(c);

	p->request = request_list;
	p->answered = answered_list;
	start_use(p);
}

/* ---- kill ---- */

static struct upstream_request *
request_kill(struct process_call *p, const char *id)
{
	const char *signal = jx_str(p->call->params, "signal");

	return api_process_kill(id, p->pid, signal ? signal : "SIGKILL");
}

static void
answered_kill(
    struct process_call *p, const struct upstream_answer *a, bool resumed)
{
	struct json_object *o = NULL;
	struct rpc_error e;
	struct api_text t;

	(void)resumed;
	/* A 204; or a portal's page, by which no signal was sent. */
	if (api_text_init(&t, a, false, &e)) {
		api_text_release(&t);
		o = json_object_new_object();
		jx_add_int(o, "pid", p->pid);
	}
	end_call(p, o, o ? NULL : &e);
}

static void
start_kill(struct process_call *p)
{
	p->request = request_kill;
	p->answered = answered_kill;
	start_use(p);
}

/* The pid of the one process with the tag. */
static int
find_tag(struct json_object *processes, const char *tag, int64_t *ret_pid,
    struct rpc_error *why)
{
	struct json_object *row;
	const char *have;
	size_t i, found = 0;

	for (i = 0; i < json_object_array_length(processes); i++) {
		row = json_object_array_get_idx(processes, i);
		have = jx_str(row, "tag");
		if (have != NULL && strcmp(have, tag) == 0 &&
		    jx_int(row, "pid", 1, INT32_MAX, ret_pid) == 0)
			found++;
	}
	if (found == 1)
		return 0;
	if (found == 0)
		rpc_error_set(why, RPC_NOT_FOUND,
		    "no process in the capsule has the tag \"%s\"", tag);
	else
		rpc_error_set(why, RPC_AMBIGUOUS,
		    "%zu processes in the capsule have the tag \"%s\": name "
		    "one by its pid",
		    found, tag);
	return -1;
}

static void
answered_look(
    struct process_call *p, const struct upstream_answer *a, bool resumed)
{
	const char *tag = jx_str(p->call->params, "tag");
	struct json_object *answer, *processes;
	struct rpc_error e;
	int r = -1;

	(void)resumed;
	processes = processes_of(a, &answer, &e);
	if (processes != NULL)
		r = find_tag(processes, tag, &p->pid, &e);
	json_object_put(answer);
	if (r == 0)
		start_kill(p);
	else
		end_call(p, NULL, &e);
}

/*
 * A tag is looked up first: upstream gives several processes the same one, and
 * would signal any of them.
 */
void
m_process_kill(struct call *c)
{
	struct process_call *p;
	struct json_object *v;

	if (jx_get(c->params, "pid", &v) == jx_get(c->params, "tag", &v)) {
		call_failf(c, RPC_INVALID_PARAMS,
		    "process.kill takes one of pid and tag");
		return;
	}
	p = process_call_new(c);
	if (jx_int(c->params, "pid", 1, INT32_MAX, &p->pid) == 0) {
		start_kill(p);
		return;
	}
	p->request = request_list;
	p->answered = answered_look;
	start_use(p);
}
