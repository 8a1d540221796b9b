#include "proto/rpc_msg.h"

#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "proto/buf.h"
#include "proto/json_check.h"
#include "proto/jx.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

/* Of a request; an answer may have more, from a newer wrennd. */
static const char *const known_members[] = {
	"jsonrpc",
	"id",
	"method",
	"params",
	"fds",
};

static void
bad(struct rpc_msg *m, const char *why)
{
	m->kind = RPC_KIND_BAD;
	rpc_error_set(&m->fault, RPC_INVALID_REQUEST, "%s", why);
}

static bool
known_member(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(known_members) / sizeof(*known_members); i++)
		if (strcmp(name, known_members[i]) == 0)
			return true;
	return false;
}

/* The id as it was written: a string, a number or null. */
static bool
take_id(struct rpc_msg *m, struct json_object *o, const char *text, size_t len)
{
	struct json_object *id;
	const char *raw;
	size_t n;

	if (!jx_get(o, "id", &id))
		return true;
	if (id != NULL && !json_object_is_type(id, json_type_string) &&
	    !json_object_is_type(id, json_type_int) &&
	    !json_object_is_type(id, json_type_double)) {
		bad(m, "the id must be a string, a number or null");
		return false;
	}
	if (!json_member_text(text, len, "id", &raw, &n) || n > LIMIT_ID) {
		bad(m, "the id is longer than 128 bytes");
		return false;
	}
	memcpy(m->id, raw, n);
	m->id[n] = '\0';
	return true;
}

static bool
take_fds(struct rpc_msg *m, struct json_object *o)
{
	struct json_object *fds;
	size_t i, n;

	if (!jx_get(o, "fds", &fds))
		return true;
	n = json_object_is_type(fds, json_type_array)
		? json_object_array_length(fds)
		: 0;
	if (n < 1 || n > LIMIT_FDS) {
		bad(m, "fds must be an array of 1 to 3 names");
		return false;
	}
	for (i = 0; i < n; i++) {
		m->fds[i] = jx_text_of(json_object_array_get_idx(fds, i), NULL);
		if (m->fds[i] == NULL) {
			bad(m, "fds must be an array of 1 to 3 names");
			return false;
		}
	}
	m->fd_count = (int)n;
	return true;
}

static void
take_request(struct rpc_msg *m, struct json_object *o)
{
	struct json_object *v;

	m->method = jx_str(o, "method");
	if (m->method == NULL) {
		bad(m, "the method must be a string");
		return;
	}
	if (jx_get(o, "params", &m->params) &&
	    !json_object_is_type(m->params, json_type_object) &&
	    !json_object_is_type(m->params, json_type_array)) {
		bad(m, "params must be an object");
		return;
	}
	json_object_object_foreach(o, key, value) {
		(void)value;
		if (!known_member(key)) {
			bad(m, "the request has an unknown member");
			return;
		}
	}
	if (!take_fds(m, o))
		return;
	m->kind =
	    jx_get(o, "id", &v) ? RPC_KIND_REQUEST : RPC_KIND_NOTIFICATION;
}

static void
take_answer(struct rpc_msg *m, struct json_object *o)
{
	m->error = jx_obj(o, "error");
	if (m->error != NULL)
		m->kind = RPC_KIND_ERROR;
	else if (jx_get(o, "result", &m->result))
		m->kind = RPC_KIND_RESULT;
	else
		bad(m, "neither a request nor an answer");
}

/* One message, whose text is a part of the line. */
static void
msg_parse(
    struct rpc_msg *m, struct json_object *o, const char *text, size_t len)
{
	struct json_object *v;
	const char *version;

	if (!json_object_is_type(o, json_type_object)) {
		bad(m, "a request must be an object");
		return;
	}
	if (!take_id(m, o, text, len))
		return;
	version = jx_str(o, "jsonrpc");
	if (version == NULL || strcmp(version, "2.0") != 0) {
		bad(m, "the member jsonrpc must be \"2.0\"");
		return;
	}
	if (jx_get(o, "method", &v))
		take_request(m, o);
	else
		take_answer(m, o);
}

static void
batch_parse(struct rpc_line *line, const char *text, size_t len)
{
	size_t i, n = json_object_array_length(line->root), pos = 0, part_len;
	const char *part;

	if (n == 0 || n > LIMIT_BATCH) {
		rpc_error_set(&line->fault, RPC_INVALID_REQUEST,
		    "a batch holds 1 to %d requests, this one %zu", LIMIT_BATCH,
		    n);
		return;
	}
	line->batch = true;
	line->count = n;
	line->msgs = xcalloc(n, sizeof(*line->msgs));
	for (i = 0; i < n; i++) {
		json_next_element(text, len, &pos, &part, &part_len);
		msg_parse(&line->msgs[i],
		    json_object_array_get_idx(line->root, i), part, part_len);
	}
}

void
rpc_line_parse(struct rpc_line *line, const char *text, size_t len)
{
	struct json_check_fault fault;

	*line = (struct rpc_line){ 0 };
	line->root = jx_parse(text, len, &fault);
	if (fault.reason != NULL) {
		rpc_error_set(&line->fault, RPC_PARSE,
		    "not JSON: %s at byte %zu", fault.reason, fault.offset);
		return;
	}
	if (fault.nul_name) {
		rpc_error_set(
		    &line->fault, RPC_INVALID_REQUEST, "a name holds U+0000");
		return;
	}
	if (json_object_is_type(line->root, json_type_array)) {
		batch_parse(line, text, len);
		return;
	}
	line->count = 1;
	line->msgs = xcalloc(1, sizeof(*line->msgs));
	msg_parse(line->msgs, line->root, text, len);
}

void
rpc_line_release(struct rpc_line *line)
{
	free(line->msgs);
	json_object_put(line->root);
	*line = (struct rpc_line){ 0 };
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

static int
print_head(struct buf *out, const char *id, const char *member)
{
	return buf_addf(
	    out, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"%s\":", id, member);
}

int
rpc_print_result_text(
    struct buf *out, const char *id, const char *json, size_t len)
{
	size_t before = out->len;
	int r;

	if ((r = print_head(out, id, "result")) == 0 &&
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
	return print_answer(out, id, "result", v);
}

int
rpc_print_error(struct buf *out, const char *id, const struct rpc_error *e,
    const char *request)
{
	struct json_object *o = rpc_error_to_json(e, request);
	int r = print_answer(out, id, "error", o);

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
