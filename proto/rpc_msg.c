#include "proto/rpc_msg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "proto/buf.h"
#include "proto/json_check.h"
#include "proto/json_walk.h"
#include "proto/jx.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

/* The members of a message, as they were written; value NULL when absent. */
struct parts {
	struct json_member jsonrpc, id, method, params, fds, result, error;
	bool unknown; /* there are others, which only an answer may have */
};

static void
bad(struct rpc_msg *m, const char *why)
{
	m->kind = RPC_KIND_BAD;
	rpc_error_set(&m->fault, RPC_INVALID_REQUEST, "%s", why);
}

/* Where the member of that name is kept; NULL where it is unknown. */
static struct json_member *
part_of(struct parts *parts, const struct json_member *m)
{
	if (json_member_is(m, "jsonrpc"))
		return &parts->jsonrpc;
	if (json_member_is(m, "id"))
		return &parts->id;
	if (json_member_is(m, "method"))
		return &parts->method;
	if (json_member_is(m, "params"))
		return &parts->params;
	if (json_member_is(m, "fds"))
		return &parts->fds;
	parts->unknown = true;
	if (json_member_is(m, "result"))
		return &parts->result;
	if (json_member_is(m, "error"))
		return &parts->error;
	return NULL;
}

static void
split(struct parts *parts, const char *text, size_t len)
{
	struct json_member m, *at;
	size_t pos = 0;

	memset(parts, 0, sizeof(*parts));
	while (json_next_member(text, len, &pos, &m)) {
		at = part_of(parts, &m);
		if (at != NULL)
			*at = m;
	}
}

/* The value as a tree. */
static bool
read_tree(
    struct rpc_msg *m, const struct json_member *part, struct json_object **ret)
{
	if (jx_read(part->value, part->len, ret) == 0)
		return true;
	bad(m, "there is no memory for it");
	return false;
}

/* The id as it was written: a string, a number or null. */
static bool
take_id(struct rpc_msg *m, const struct json_member *id)
{
	if (id->value == NULL)
		return true;
	if (strchr("\"-0123456789n", id->value[0]) == NULL) {
		bad(m, "the id must be a string, a number or null");
		return false;
	}
	if (id->len > LIMIT_ID) {
		bad(m, "the id is longer than 128 bytes");
		return false;
	}
	memcpy(m->id, id->value, id->len);
	m->id[id->len] = '\0';
	return true;
}

/* A string without NUL; what is longer than any of our methods is cut. */
static bool
take_method(struct rpc_msg *m, const struct json_member *method)
{
	size_t n = 0;

	if (method->value[0] == '"')
		n = json_decode(m->name, RPC_METHOD_MAX, method->value + 1,
		    method->value + method->len - 1);
	m->name[n] = '\0';
	if (method->value[0] != '"' || strlen(m->name) != n) {
		bad(m, "the method must be a string");
		return false;
	}
	m->method = m->name;
	return true;
}

static bool
take_fds(struct rpc_msg *m, const struct json_member *fds)
{
	size_t i, n;

	if (fds->value == NULL)
		return true;
	if (!read_tree(m, fds, &m->fd_names))
		return false;
	n = json_object_is_type(m->fd_names, json_type_array)
		? json_object_array_length(m->fd_names)
		: 0;
	if (n < 1 || n > LIMIT_FDS) {
		bad(m, "fds must be an array of 1 to 3 names");
		return false;
	}
	for (i = 0; i < n; i++) {
		m->fds[i] =
		    jx_text_of(json_object_array_get_idx(m->fd_names, i), NULL);
		if (m->fds[i] == NULL) {
			bad(m, "fds must be an array of 1 to 3 names");
			return false;
		}
	}
	m->fd_count = (int)n;
	return true;
}

static void
take_request(struct rpc_msg *m, const struct parts *parts)
{
	const char *params = parts->params.value;

	if (!take_method(m, &parts->method))
		return;
	if (params != NULL && *params != '{' && *params != '[') {
		bad(m, "params must be an object");
		return;
	}
	if (params != NULL && !read_tree(m, &parts->params, &m->params))
		return;
	if (parts->unknown) {
		bad(m, "the request has an unknown member");
		return;
	}
	if (!take_fds(m, &parts->fds))
		return;
	m->kind =
	    parts->id.value != NULL ? RPC_KIND_REQUEST : RPC_KIND_NOTIFICATION;
}

static void
take_answer(struct rpc_msg *m, const struct parts *parts)
{
	if (parts->error.value != NULL && parts->error.value[0] == '{') {
		if (read_tree(m, &parts->error, &m->error))
			m->kind = RPC_KIND_ERROR;
	} else if (parts->result.value != NULL) {
		if (read_tree(m, &parts->result, &m->result))
			m->kind = RPC_KIND_RESULT;
	} else {
		bad(m, "neither a request nor an answer");
	}
}

/* By member: the fault's text is not filled before there is one. */
static void
msg_init(struct rpc_msg *m)
{
	m->kind = RPC_KIND_BAD;
	m->id[0] = '\0';
	m->name[0] = '\0';
	m->method = NULL;
	m->params = m->result = m->error = m->fd_names = NULL;
	m->fd_count = 0;
	m->fault.kind = RPC_OK;
}

static void
msg_release(struct rpc_msg *m)
{
	json_object_put(m->params);
	json_object_put(m->result);
	json_object_put(m->error);
	json_object_put(m->fd_names);
}

/* One message, whose text is a part of the line. */
static void
msg_parse(struct rpc_msg *m, const char *text, size_t len)
{
	struct parts parts;

	msg_init(m);
	if (json_first(text, len) != '{') {
		bad(m, "a request must be an object");
		return;
	}
	split(&parts, text, len);
	if (!take_id(m, &parts.id))
		return;
	if (parts.jsonrpc.value == NULL ||
	    !json_member_equals(&parts.jsonrpc, "2.0")) {
		bad(m, "the member jsonrpc must be \"2.0\"");
		return;
	}
	if (parts.method.value != NULL)
		take_request(m, &parts);
	else
		take_answer(m, &parts);
}

static void
batch_parse(struct rpc_line *line, const char *text, size_t len)
{
	size_t n = 0, pos = 0, part_len;
	const char *part;

	while (json_next_element(text, len, &pos, &part, &part_len))
		n++;
	if (n == 0 || n > LIMIT_BATCH) {
		rpc_error_set(&line->fault, RPC_INVALID_REQUEST,
		    "a batch holds 1 to %d requests, this one %zu", LIMIT_BATCH,
		    n);
		return;
	}
	line->batch = true;
	line->msgs = xcalloc(n, sizeof(*line->msgs));
	for (pos = 0; json_next_element(text, len, &pos, &part, &part_len);)
		msg_parse(&line->msgs[line->count++], part, part_len);
}

void
rpc_line_parse(struct rpc_line *line, const char *text, size_t len)
{
	struct json_check_fault fault;

	line->batch = false;
	line->count = 0;
	line->msgs = NULL;
	line->fault.kind = RPC_OK;
	if (json_check(text, len, &fault) < 0) {
		rpc_error_set(&line->fault, RPC_PARSE,
		    "not JSON: %s at byte %zu", fault.reason, fault.offset);
		return;
	}
	if (fault.nul_name) {
		rpc_error_set(
		    &line->fault, RPC_INVALID_REQUEST, "a name holds U+0000");
		return;
	}
	if (json_first(text, len) == '[') {
		batch_parse(line, text, len);
		return;
	}
	line->count = 1;
	line->msgs = &line->one;
	msg_parse(line->msgs, text, len);
}

void
rpc_line_release(struct rpc_line *line)
{
	size_t i;

	for (i = 0; i < line->count; i++)
		msg_release(&line->msgs[i]);
	if (line->msgs != &line->one)
		free(line->msgs);
	line->msgs = NULL;
	line->count = 0;
}

/* Takes back what a message added before it failed to fit. */
static int
all_or_nothing(struct buf *out, size_t len_before, int r)
{
	if (r < 0)
		out->len = len_before;
	return r;
}

static int
print_fds(struct buf *out, const char *const *fds, int fd_count)
{
	int i, r;

	for (i = 0; i < fd_count; i++)
		if ((r = buf_adds(out, i == 0 ? ",\"fds\":[" : ",")) < 0 ||
		    (r = jx_print_string(out, fds[i], strlen(fds[i]))) < 0)
			return r;
	return fd_count > 0 ? buf_adds(out, "]") : 0;
}

int
rpc_print_request(struct buf *out, const char *id, const char *method,
    struct json_object *params, const char *const *fds, int fd_count)
{
	size_t before = out->len;
	int r;

	r = buf_adds(out, "{\"jsonrpc\":\"2.0\"");
	if (r == 0 && id != NULL)
		r = buf_addf(out, ",\"id\":%s", id);
	if (r == 0 && (r = buf_adds(out, ",\"method\":")) == 0)
		r = jx_print_string(out, method, strlen(method));
	if (r == 0 && params != NULL &&
	    (r = buf_adds(out, ",\"params\":")) == 0)
		r = jx_print(out, params);
	if (r == 0 && (r = print_fds(out, fds, fd_count)) == 0)
		r = buf_adds(out, "}");
	return all_or_nothing(out, before, r);
}

#define FRAME_MAX 64 /* more than all that stands around a result */
#define RESULT    ",\"result\":"
#define FAULT     ",\"error\":"

static int
print_head(struct buf *out, const char *id, const char *member)
{
	int r;

	if ((r = buf_adds(out, "{\"jsonrpc\":\"2.0\",\"id\":")) < 0 ||
	    (r = buf_adds(out, id)) < 0)
		return r;
	return buf_adds(out, member);
}

int
rpc_print_result_text(
    struct buf *out, const char *id, const char *json, size_t len)
{
	size_t before = out->len;
	char *space;
	int r;

	/* At once, so that it need not grow in steps. */
	r = buf_reserve(out, len + strlen(id) + FRAME_MAX, &space);
	if (r == -ENOSPC)
		r = 0; /* it may fit just so */
	if (r == 0 && (r = print_head(out, id, RESULT)) == 0 &&
	    (r = buf_add(out, json, len)) == 0)
		r = buf_adds(out, "}");
	return all_or_nothing(out, before, r);
}

/* A head, a value and the end; the value is printed by json-c. */
static int
print_answer(
    struct buf *out, const char *id, const char *member, struct json_object *v)
{
	size_t before = out->len;
	int r;

	if ((r = print_head(out, id, member)) == 0 &&
	    (r = jx_print(out, v)) == 0)
		r = buf_adds(out, "}");
	return all_or_nothing(out, before, r);
}

int
rpc_print_result(struct buf *out, const char *id, struct json_object *v)
{
	return print_answer(out, id, RESULT, v);
}

int
rpc_print_error(struct buf *out, const char *id, const struct rpc_error *e,
    const char *request)
{
	struct json_object *o = rpc_error_to_json(e, request);
	int r = print_answer(out, id, FAULT, o);

	json_object_put(o);
	return r;
}

int
rpc_print_event(struct buf *out, const char *call_id, const char *type,
    struct json_object *fields)
{
	size_t before = out->len, at;
	int r;

	/* Printed around the fields, so that the id stays as it was written. */
	if ((r = buf_adds(out,
		 "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":")) ==
		0 &&
	    (r = buf_addf(
		 out, "{\"call\":%s,\"type\":\"%s\"", call_id, type)) == 0) {
		at = out->len;
		r = jx_print(out, fields);
		/* The fields' own opening brace becomes the comma. */
		if (r == 0)
			buf_head(out)[at] = ',';
	}
	if (r == 0)
		r = buf_adds(out, "}");
	return all_or_nothing(out, before, r);
}
