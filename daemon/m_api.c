#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "daemon/api.h"
#include "daemon/dispatch.h"
#include "daemon/upstream.h"
#include "daemon/url.h"
#include "proto/base64.h"
#include "proto/buf.h"
#include "proto/json_check.h"
#include "proto/json_out.h"
#include "proto/jx.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define URL_MAX 16384

/*
 * Endpoints with methods of their own, which keep the record of capsules and
 * the secrets and check what they are given: through here all of it would
 * slip past them.
 */
static const char *const own[] = { "/v1/capsules", "/v1/snapshots", "/v1/hosts",
	"/v1/api-keys", "/v1/auth/login", "/v1/auth/switch-team" };

/* One request; freed with the answer or the cancel. */
struct api_call {
	struct call *call;
	struct upstream_request *request;
	struct upstream_call *upstream;
};

static void
api_call_free(struct api_call *a)
{
	upstream_request_free(a->request);
	free(a);
}

static void
cancel(void *arg)
{
	struct api_call *a = arg;

	upstream_cancel(a->upstream);
	api_call_free(a);
}

/* ---- the path ---- */

/*
 * Plain segments only: no empty ones, no dots, nothing escaped. What the
 * server would make of anything else is not for us to guess.
 */
static bool
is_plain_path(const char *path)
{
	const char *p = path;
	size_t n;

	if (*p != '/')
		return false;
	while (*p == '/') {
		p++;
		n = strcspn(p, "/");
		if (n == 0 || strncmp(p, ".", n) == 0 ||
		    strncmp(p, "..", n) == 0)
			return false;
		for (; n > 0; n--, p++)
			if (!isalnum((unsigned char)*p) &&
			    strchr("._~-:@", *p) == NULL)
				return false;
	}
	return true;
}

static const char *
own_endpoint(const char *path)
{
	size_t i, n;

	for (i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		n = strlen(own[i]);
		if (strncasecmp(path, own[i], n) == 0 &&
		    (path[n] == '\0' || path[n] == '/'))
			return own[i];
	}
	return NULL;
}

static int
check_path(const char *path, struct rpc_error *why)
{
	if (!is_plain_path(path)) {
		rpc_error_set_param(why, "path",
		    "parameter path must be plain segments behind slashes, "
		    "such as /v1/teams; give what follows ? as query");
		return -1;
	}
	if (own_endpoint(path) != NULL) {
		rpc_error_set_param(why, "path",
		    "%s is not for api.request: what is there has methods "
		    "of its own, or hands out a secret",
		    own_endpoint(path));
		return -1;
	}
	return 0;
}

/* Servers differ in what a body means there, so none is sent. */
static int
check_body(struct json_object *params, struct rpc_error *why)
{
	if (jx_obj(params, "body") == NULL ||
	    strcmp(jx_str(params, "method"), "GET") != 0)
		return 0;
	rpc_error_set_param(
	    why, "body", "parameter body: a GET has none; give it a query");
	return -1;
}

/* The path with its query; NULL when it is too long. */
static char *
make_url(struct json_object *params)
{
	struct json_object *query = jx_obj(params, "query");
	char sep = '?', *url = NULL;
	struct buf b;

	int r;

	buf_init(&b, URL_MAX);
	r = buf_adds(&b, jx_str(params, "path"));
	if (query != NULL) {
		json_object_object_foreach(query, key, value) {
			if (r < 0 || (r = buf_add(&b, &sep, 1)) < 0 ||
			    (r = url_add_encoded(&b, key)) < 0 ||
			    (r = buf_add(&b, "=", 1)) < 0 ||
			    (r = url_add_encoded(&b, jx_text_of(value, NULL))) <
				0)
				break;
			sep = '&';
		}
	}
	if (r == 0)
		url = buf_steal(&b, NULL);
	buf_release(&b);
	return url;
}

/* ---- the answer ---- */

/* A tree has cut off the names with U+0000, which clients would refuse. */
static void
add_anew(struct json_out *o, const struct upstream_answer *a)
{
	struct json_object *body;
	struct buf b;

	buf_init(&b, LIMIT_ANSWER_LINE);
	o->error = jx_read(a->body, a->len, &body);
	if (o->error == 0)
		o->error = jx_print(&b, body);
	json_out_text(o, "body", buf_head(&b), b.len);
	json_object_put(body);
	buf_release(&b);
}

static void
add_body(struct json_out *o, const struct upstream_answer *a)
{
	struct json_check_fault fault;
	struct buf b;

	if (json_check(a->body, a->len, &fault) == 0) {
		if (fault.nul_name)
			add_anew(o, a);
		else
			json_out_text(o, "body", a->body, a->len);
	} else if (utf8_valid_prefix(a->body, a->len) == a->len) {
		json_out_strn(o, "text", a->body, a->len);
	} else {
		buf_init(&b, LIMIT_ANSWER_LINE);
		o->error = base64_encode(&b, a->body, a->len);
		json_out_strn(o, "data", buf_head(&b), b.len);
		buf_release(&b);
	}
}

static void
reply(struct call *c, const struct upstream_answer *a)
{
	struct json_out o;
	struct buf b;
	char *space;

	buf_init(&b, LIMIT_ANSWER_LINE);
	/* It fits at once, but where escapes make it longer. */
	buf_reserve(&b, a->len + 200, &space);
	json_out_init(&o, &b);
	json_out_object(&o, NULL);
	json_out_int(&o, "status", a->status);
	json_out_str(&o, "content_type", a->content_type);
	if (a->len > 0)
		add_body(&o, a);
	json_out_end_object(&o);
	call_reply_out(c, &o);
	buf_release(&b);
}

static void
answered(void *arg, const struct upstream_answer *a)
{
	struct api_call *x = arg;
	struct rpc_error e;

	if (api_check(a, x->request->idempotent, &e) != RPC_OK) {
		call_fail(x->call, &e);
		rpc_error_release(&e);
	} else {
		reply(x->call, a);
	}
	api_call_free(x);
}

static struct upstream_request *
make_request(struct json_object *params, char *url)
{
	static const char *const methods[] = { "GET", "POST", "PUT", "PATCH",
		"DELETE" };
	struct json_object *body = jx_obj(params, "body");
	const char *wanted = jx_str(params, "method");
	struct upstream_request *r;
	size_t i = 0;

	while (strcmp(methods[i], wanted) != 0)
		i++;
	r = upstream_request_new(methods[i], url);
	r->auth = AUTH_TOKEN_OR_KEY;
	r->max_answer = LIMIT_ANSWER_LINE / 2;
	if (body == NULL && i != 0 && i != 4)
		body = json_object_new_object();
	else
		body = json_object_get(body);
	if (body != NULL) {
		r->content_type = "application/json";
		if (jx_print(&r->body, body) < 0)
			abort(); /* a request line is far below the maximum */
		json_object_put(body);
	}
	return r;
}

void
m_api_request(struct call *c)
{
	struct rpc_error why;
	struct api_call *a;
	char *url;

	if (check_path(jx_str(c->params, "path"), &why) < 0 ||
	    check_body(c->params, &why) < 0) {
		call_fail(c, &why);
		return;
	}
	url = make_url(c->params);
	if (url == NULL) {
		call_failf(c, RPC_INVALID_PARAMS,
		    "the URL would be longer than %d bytes", URL_MAX);
		return;
	}
	a = xcalloc(1, sizeof(*a));
	a->call = c;
	a->request = make_request(c->params, url);
	a->upstream = upstream_send(c->svc->upstream, a->request, answered, a);
	call_on_cancel(c, cancel, a);
}
