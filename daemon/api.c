#include "daemon/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>
#include <openssl/rand.h>

#include "daemon/log.h"
#include "daemon/store.h"
#include "daemon/upstream.h"
#include "proto/json_check.h"
#include "proto/jx.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define CREATE_MS     (15 * 60 * 1000) /* a create is never hung up on early */
#define SNAPSHOT_MS   (5 * 60 * 1000) /* pause and resume move memory to disk */
#define EXEC_SLACK_MS 30000           /* on top of the command's own deadline */
#define EXEC_MAX      (12 * 1024 * 1024) /* leaves room for JSON's escapes */

/* ---- requests ---- */

struct upstream_request *
api_post(char *path, struct json_object *body)
{
	struct upstream_request *r = upstream_request_new("POST", path);

	r->content_type = "application/json";
	if (jx_print(&r->body, body) < 0)
		abort(); /* requests are far below the buffer's maximum */
	json_object_put(body);
	return r;
}

struct upstream_request *
api_login(const char *email, const char *password)
{
	struct json_object *o = json_object_new_object();
	struct upstream_request *r;

	jx_add_str(o, "email", email);
	jx_add_str(o, "password", password);
	r = api_post(xstrdup("/v1/auth/login"), o);
	r->auth = AUTH_NONE;
	/* Twice brings two tokens, of which one is used. */
	r->idempotent = true;
	return r;
}

struct upstream_request *
api_capsule_create(const struct capsule_row *row)
{
	struct json_object *o = json_object_new_object();
	struct upstream_request *r;

	jx_add_str(o, "template", row->template);
	if (row->vcpus != 0)
		jx_add_int(o, "vcpus", row->vcpus);
	if (row->memory_mb != 0)
		jx_add_int(o, "memory_mb", row->memory_mb);
	jx_add_int(o, "timeout_sec", row->timeout_s);
	r = api_post(xstrdup("/v1/capsules"), o);
	r->timeout_ms = CREATE_MS;
	r->slow = true;
	return r;
}

struct upstream_request *
api_capsule_list(void)
{
	return upstream_request_new("GET", xstrdup("/v1/capsules"));
}

struct upstream_request *
api_capsule_get(const char *id)
{
	return upstream_request_new("GET", xjoin("/v1/capsules/", id, ""));
}

struct upstream_request *
api_capsule_destroy(const char *id)
{
	return upstream_request_new("DELETE", xjoin("/v1/capsules/", id, ""));
}

struct upstream_request *
api_capsule_action(const char *id, const char *action)
{
	char *path = xasprintf("/v1/capsules/%s/%s", id, action);
	struct upstream_request *r;

	if (strcmp(action, "ping") == 0) {
		r = upstream_request_new("POST", path);
		r->idempotent = true;
		r->timeout_ms = 15000;
		return r;
	}
	/* A body, if an empty one, keeps libcurl from sending it twice. */
	r = api_post(path, json_object_new_object());
	r->timeout_ms = SNAPSHOT_MS;
	r->slow = true;
	return r;
}

/*
 * Runs in the capsule as: sh -c SCRIPT sh DIR K=V… "" cmd args…
 * DIR may be empty. Values are arguments, never part of the script, which
 * has no variables of its own that one of them could be.
 */
static const char wrapper[] =
    "[ -z \"$1\" ] || CDPATH= cd -- \"$1\" || exit 126\n"
    "shift\n"
    "while [ -n \"$1\" ]; do export \"$1\"; shift; done\n"
    "shift; exec \"$@\"";

static void
push(struct json_object *array, const char *text)
{
	json_object_array_add(array, json_object_new_string(text));
}

static void
push_env(struct json_object *array, const char *name, const char *value)
{
	char *pair = xasprintf("%s=%s", name, value);

	push(array, pair);
	free(pair);
}

/* "cd -" would mean the folder before. */
static void
push_dir(struct json_object *array, const char *dir)
{
	char *path = xasprintf("%s%s", dir[0] == '-' ? "./" : "", dir);

	push(array, path);
	free(path);
}

static struct json_object *
wrap(const struct api_command *c)
{
	struct json_object *args = json_object_new_array();

	push(args, "-c");
	push(args, wrapper);
	push(args, "sh");
	push_dir(args, c->cwd ? c->cwd : "");
	if (c->envs != NULL) {
		json_object_object_foreach(c->envs, name, value)
			push_env(args, name, jx_text_of(value, NULL));
	}
	push(args, "");
	push(args, c->cmd);
	return args;
}

/* Program and arguments, as upstream takes them. */
static struct json_object *
command_json(const struct api_command *c)
{
	bool wrapped = c->cwd != NULL || c->envs != NULL;
	struct json_object *o = json_object_new_object();
	struct json_object *args;
	size_t i;

	args = wrapped ? wrap(c) : json_object_new_array();
	for (i = 0; c->args != NULL && i < json_object_array_length(c->args);
	     i++)
		json_object_array_add(args,
		    json_object_get(json_object_array_get_idx(c->args, i)));
	jx_add_str(o, "cmd", wrapped ? "/bin/sh" : c->cmd);
	jx_add(o, "args", args);
	return o;
}

struct upstream_request *
api_exec(const char *id, const struct api_command *c)
{
	struct json_object *o = command_json(c);
	struct upstream_request *r;

	jx_add_int(o, "timeout_sec", c->timeout_s);
	r = api_post(xjoin("/v1/capsules/", id, "/exec"), o);
	r->timeout_ms = (uint64_t)c->timeout_s * 1000 + EXEC_SLACK_MS;
	r->max_answer = EXEC_MAX;
	r->slow = true;
	return r;
}

char *
api_start_message(const struct api_command *c)
{
	struct json_object *o = command_json(c);
	struct buf text;
	char *message;

	jx_add_str(o, "type", "start");
	buf_init(&text, LIMIT_ANSWER_LINE);
	if (jx_print(&text, o) < 0)
		abort(); /* requests are far below the buffer's maximum */
	json_object_put(o);
	message = buf_steal(&text, NULL);
	return message;
}

struct upstream_request *
api_process_start(const char *id, const struct api_command *c, const char *tag)
{
	struct json_object *o = json_object_new_object();

	jx_add_str(o, "cmd", c->cmd);
	if (c->args != NULL)
		jx_add(o, "args", json_object_get(c->args));
	if (c->cwd != NULL)
		jx_add_str(o, "cwd", c->cwd);
	if (c->envs != NULL)
		jx_add(o, "envs", json_object_get(c->envs));
	jx_add_bool(o, "background", true);
	jx_add_str(o, "tag", tag);
	return api_post(xasprintf("/v1/capsules/%s/exec", id), o);
}

struct upstream_request *
api_process_list(const char *id)
{
	return upstream_request_new(
	    "GET", xasprintf("/v1/capsules/%s/processes", id));
}

struct upstream_request *
api_process_kill(const char *id, int64_t pid, const char *signal)
{
	struct upstream_request *r = upstream_request_new(
	    "DELETE", xasprintf("/v1/capsules/%s/processes/%jd?signal=%s", id,
			  (intmax_t)pid, signal));

	/* Some programs take a second SIGTERM for "at once". */
	r->idempotent = strcmp(signal, "SIGKILL") == 0;
	return r;
}

struct upstream_request *
api_file(const char *id, const char *verb, const char *path, int64_t depth)
{
	struct json_object *o = json_object_new_object();
	struct upstream_request *r;

	jx_add_str(o, "path", path);
	if (depth > 0)
		jx_add_int(o, "depth", depth);
	r = api_post(xasprintf("/v1/capsules/%s/files/%s", id, verb), o);
	/* A POST in name only: reading twice harms nobody. */
	r->idempotent = strcmp(verb, "list") == 0 || strstr(verb, "read");
	r->whole = strstr(verb, "read") != NULL;
	return r;
}

void
api_upload_init(struct api_upload *u, const char *path)
{
	unsigned char random_bytes[12];
	char boundary[2 * sizeof(random_bytes) + 1];
	size_t i;

	/* Unguessable, so that no file's content can end the part. */
	if (RAND_bytes(random_bytes, sizeof(random_bytes)) != 1)
		abort();
	for (i = 0; i < sizeof(random_bytes); i++)
		snprintf(boundary + 2 * i, 3, "%02x", random_bytes[i]);
	/* The path must come first: the server streams what follows. */
	u->head = xasprintf("--%s\r\n"
			    "Content-Disposition: form-data; name=\"path\"\r\n"
			    "\r\n%s\r\n--%s\r\n"
			    "Content-Disposition: form-data; name=\"file\"; "
			    "filename=\"file\"\r\n"
			    "Content-Type: application/octet-stream\r\n\r\n",
	    boundary, path, boundary);
	u->tail = xasprintf("\r\n--%s--\r\n", boundary);
	u->content_type =
	    xasprintf("multipart/form-data; boundary=%s", boundary);
}

void
api_upload_release(struct api_upload *u)
{
	free(u->head);
	free(u->tail);
	free(u->content_type);
	*u = (struct api_upload){ 0 };
}

struct upstream_request *
api_file_write(const char *id, const struct api_upload *u)
{
	struct upstream_request *r;

	r = upstream_request_new(
	    "POST", xjoin("/v1/capsules/", id, "/files/stream/write"));
	r->content_type = u->content_type;
	return r;
}

/* ---- answers ---- */

static void
explain_unanswered(
    const struct upstream_answer *a, bool idempotent, struct rpc_error *ret)
{
	if (a->outcome == HTTP_UNKNOWN && !idempotent &&
	    a->error != RPC_DATA_SOCKET && a->error != RPC_TOO_LARGE) {
		rpc_error_set(ret, RPC_OUTCOME_UNKNOWN,
		    "the request was sent but its answer was lost (%s): it may "
		    "have been carried out",
		    a->why);
		return;
	}
	switch (a->error) {
	case RPC_OUTCOME_UNKNOWN:
		rpc_error_set(ret, RPC_UNREACHABLE,
		    "the connection broke off before the answer came: %s",
		    a->why);
		return;
	case RPC_TLS:
		rpc_error_set(ret, RPC_TLS,
		    "the server's certificate was not accepted: %s; if it is "
		    "your own server, name its CA with ca_file in wrennd.conf",
		    a->why);
		return;
	case RPC_UNREACHABLE:
		rpc_error_set(ret, RPC_UNREACHABLE,
		    "upstream cannot be reached: %s; nothing was sent", a->why);
		return;
	default:
		rpc_error_set(ret, a->error, "%s", a->why);
	}
}

/* {"error":{"code","message"}}; NULL when the body is anything else. */
static struct json_object *
error_body(const struct upstream_answer *a)
{
	struct json_check_fault fault;

	return jx_parse(a->body, a->len, &fault);
}

/* The list of capsules is inside the error object or beside it. */
static struct json_object *
capsule_ids(struct json_object *root, struct json_object *error)
{
	static const char *const keys[] = { "capsule_ids", "sandbox_ids" };
	struct json_object *ids = NULL;
	int i;

	for (i = 0; i < 2 && ids == NULL; i++) {
		ids = jx_arr(error, keys[i]);
		if (ids == NULL)
			ids = jx_arr(root, keys[i]);
	}
	return ids;
}

static void
add_hint(struct rpc_error *e)
{
	size_t n = strlen(e->message);

	if (e->kind != RPC_UNAUTHORIZED)
		return;
	snprintf(e->message + n, sizeof(e->message) - n,
	    ": the credential is wrong, revoked or expired (wrennctl whoami "
	    "tells which is in use)");
}

static void
explain_error(const struct upstream_answer *a, struct json_object *root,
    struct rpc_error *ret)
{
	struct json_object *error = jx_obj(root, "error");
	const char *code = jx_str(error, "code");
	const char *message = jx_str(error, "message");
	struct json_object *ids;

	rpc_error_set(ret, rpc_errno_from_upstream(a->status, code ? code : ""),
	    "%s", message ? message : "");
	ret->http_status = a->status;
	snprintf(ret->upstream_code, sizeof(ret->upstream_code), "%s",
	    code ? code : "");
	if (message == NULL)
		snprintf(ret->message, sizeof(ret->message),
		    "upstream answered HTTP %d%s%s and no explanation",
		    a->status, a->content_type[0] ? " with " : "",
		    a->content_type);
	ids = capsule_ids(root, error);
	if (ret->kind == RPC_HOST_HAS_CAPSULES && ids != NULL) {
		ret->extra = json_object_new_object();
		jx_add(ret->extra, "capsule_ids", json_object_get(ids));
	}
	/* A server may quote the key it was sent. */
	redact(ret->message);
	redact(ret->upstream_code);
	add_hint(ret);
}

/*
 * A gateway's own word, not Wrenn's: what happened behind it is not known.
 * Some say 500, 503 or 524 where others say 502 and 504.
 */
static bool
is_gateway_word(const struct upstream_answer *a, const struct rpc_error *e)
{
	return a->status >= 500 && e->upstream_code[0] == '\0';
}

enum rpc_errno
api_check(
    const struct upstream_answer *a, bool idempotent, struct rpc_error *ret)
{
	struct json_object *root;

	if (a->outcome != HTTP_ANSWERED) {
		explain_unanswered(a, idempotent, ret);
		return ret->kind;
	}
	if (a->status >= 200 && a->status < 300)
		return RPC_OK;
	if (a->status < 400) {
		rpc_error_set(ret, RPC_BAD_ANSWER,
		    "upstream answered HTTP %d; redirects are not followed, so "
		    "check base_url",
		    a->status);
		ret->http_status = a->status;
		return ret->kind;
	}
	root = error_body(a);
	explain_error(a, root, ret);
	json_object_put(root);
	if (is_gateway_word(a, ret)) {
		if (!idempotent) {
			rpc_error_set(ret, RPC_OUTCOME_UNKNOWN,
			    "a gateway answered HTTP %d in upstream's place: "
			    "the request may have been carried out",
			    a->status);
			ret->http_status = a->status;
		} else if (a->status != 503) {
			ret->kind = RPC_UPSTREAM_INTERNAL;
		}
	}
	return ret->kind;
}

static void
explain_no_json(const struct upstream_answer *a,
    const struct json_check_fault *fault, struct rpc_error *ret)
{
	rpc_error_set(ret, RPC_BAD_ANSWER,
	    "upstream answered HTTP %d with %s that is not JSON (%s at byte "
	    "%zu); is base_url right, or is a proxy in between?",
	    a->status, a->content_type[0] ? a->content_type : "something",
	    fault->reason ? fault->reason : "null", fault->offset);
	redact(ret->message);
	ret->http_status = a->status;
}

/* Clients refuse names with U+0000; a tree has cut them off. */
static bool
write_anew(struct api_text *t)
{
	struct json_object *o;
	int r = jx_read(t->text, t->len, &o);

	if (r == 0)
		r = jx_print(&t->anew, o);
	json_object_put(o);
	t->text = buf_head(&t->anew);
	t->len = t->anew.len;
	return r == 0;
}

bool
api_text_init(struct api_text *t, const struct upstream_answer *a,
    bool idempotent, struct rpc_error *ret)
{
	struct json_check_fault fault;

	if (api_check(a, idempotent, ret) != RPC_OK)
		return false;
	buf_init(&t->anew, LIMIT_ANSWER_LINE);
	t->text = a->status == 204 ? "" : a->body;
	t->len = a->status == 204 ? 0 : a->len;
	if (a->status == 204)
		return true;
	if (json_check(t->text, t->len, &fault) < 0) {
		explain_no_json(a, &fault, ret);
		return false;
	}
	if (!fault.nul_name || write_anew(t))
		return true;
	buf_release(&t->anew);
	rpc_error_set(ret, RPC_TOO_LARGE, "upstream's answer is too large");
	return false;
}

void
api_text_release(struct api_text *t)
{
	buf_release(&t->anew);
}

struct json_object *
api_json(
    const struct upstream_answer *a, bool idempotent, struct rpc_error *ret)
{
	struct json_check_fault fault;
	struct json_object *o;

	if (api_check(a, idempotent, ret) != RPC_OK)
		return NULL;
	o = jx_parse(a->body, a->len, &fault);
	if (o == NULL)
		explain_no_json(a, &fault, ret);
	return o;
}

void
api_stream_error(const char *text, struct rpc_error *ret)
{
	static const struct {
		const char *says;
		int status;
		const char *code;
	} rows[] = {
		{ "is not running", 409, "invalid_state" },
		{ "not found", 404, "not_found" },
		{ "authentication failed", 401, "unauthorized" },
		{ "host is not reachable", 503, "host_unavailable" },
	};
	const char *code = "agent_error";
	int status = 502;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strstr(text, rows[i].says) != NULL) {
			status = rows[i].status;
			code = rows[i].code;
			break;
		}
	rpc_error_set(ret, rpc_errno_from_upstream(status, code), "%s",
	    text[0] ? text : "the server ended the stream with an error");
	ret->http_status = status;
	snprintf(ret->upstream_code, sizeof(ret->upstream_code), "%s", code);
	redact(ret->message);
	add_hint(ret);
}

bool
api_is_not_running(const struct rpc_error *e)
{
	return e->http_status == 409 &&
	       strcmp(e->upstream_code, "invalid_state") == 0;
}
