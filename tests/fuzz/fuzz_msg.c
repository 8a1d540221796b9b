/*
 * One line of a client. Whatever was understood of it must survive being
 * printed and read again, and whatever was not must have an answer that is
 * JSON.
 */
#include <string.h>

#include <json-c/json.h>

#include "tests/fuzz/fuzz.h"

#include "proto/buf.h"
#include "proto/json_check.h"
#include "proto/json_walk.h"
#include "proto/jx.h"
#include "proto/limits.h"
#include "proto/methods.h"
#include "proto/rpc_error.h"
#include "proto/rpc_msg.h"

#include "proto/banned.h"

/* With few enough values that a few more of our own do not pass the limit. */
#define MAX_INPUT LIMIT_JSON_VALUES
#define PRINT_MAX (8 * MAX_INPUT + 4096) /* escapes make 6 bytes of one */

static void
check_is_json(const struct buf *b)
{
	struct json_check_fault fault;

	fuzz_check(json_check(buf_head(b), b->len, &fault) == 0);
	fuzz_check(memchr(buf_head(b), '\n', b->len) == NULL);
}

/* Both print the same text, which also is JSON. */
static void
check_same_value(struct json_object *a, struct json_object *b)
{
	struct buf x, y;

	buf_init(&x, PRINT_MAX);
	buf_init(&y, PRINT_MAX);
	fuzz_check(jx_print(&x, a) == 0);
	fuzz_check(jx_print(&y, b) == 0);
	fuzz_check(x.len == y.len);
	fuzz_check(memcmp(buf_head(&x), buf_head(&y), x.len) == 0);
	check_is_json(&x);
	buf_release(&x);
	buf_release(&y);
}

/* A request or notification, printed and read again, is the same. */
static void
check_request(const struct rpc_msg *m)
{
	const char *id = m->kind == RPC_KIND_REQUEST ? m->id : NULL;
	const struct rpc_msg *again;
	struct rpc_line line;
	struct buf b;
	int i;

	buf_init(&b, PRINT_MAX);
	fuzz_check(rpc_print_request(
		       &b, id, m->method, m->params, m->fds, m->fd_count) == 0);
	check_is_json(&b);
	rpc_line_parse(&line, buf_head(&b), b.len);
	fuzz_check(line.count == 1 && !line.batch);
	again = &line.msgs[0];
	fuzz_check(again->kind == m->kind);
	fuzz_check(strcmp(again->id, m->id) == 0);
	fuzz_check(strcmp(again->method, m->method) == 0);
	fuzz_check(again->fd_count == m->fd_count);
	for (i = 0; i < m->fd_count; i++)
		fuzz_check(strcmp(again->fds[i], m->fds[i]) == 0);
	fuzz_check((again->params == NULL) == (m->params == NULL));
	check_same_value(again->params, m->params);
	rpc_line_release(&line);
	buf_release(&b);
}

/* The answer to a fault is read as the error that it is. */
static void
check_fault(const char *id, const struct rpc_error *fault)
{
	struct rpc_error again;
	struct rpc_line line;
	struct buf b;

	buf_init(&b, PRINT_MAX);
	fuzz_check(rpc_print_error(&b, id[0] ? id : "null", fault, NULL) == 0);
	check_is_json(&b);
	rpc_line_parse(&line, buf_head(&b), b.len);
	fuzz_check(line.count == 1);
	fuzz_check(line.msgs[0].kind == RPC_KIND_ERROR);
	fuzz_check(strcmp(line.msgs[0].id, id[0] ? id : "null") == 0);
	rpc_error_from_json(&again, line.msgs[0].error);
	fuzz_check(again.kind == fault->kind);
	rpc_error_release(&again);
	rpc_line_release(&line);
	buf_release(&b);
}

/* Its parameters against every method: a fault has its words. */
static void
check_params(const struct rpc_msg *m)
{
	struct rpc_error e;
	int i;

	for (i = 0; i < METHOD_COUNT; i++)
		if (method_check_params(
			method_by_id((enum method_id)i), m->params, &e) < 0)
			check_fault(m->id, &e);
}

/* An error that was read can be passed on. */
static void
check_error(const struct rpc_msg *m)
{
	struct rpc_error e;

	rpc_error_from_json(&e, m->error);
	fuzz_check(e.kind != RPC_OK);
	check_fault(m->id, &e);
	rpc_error_release(&e);
}

static void
check_message(const struct rpc_msg *m)
{
	fuzz_check(strlen(m->id) <= LIMIT_ID);
	switch (m->kind) {
	case RPC_KIND_BAD:
		check_fault(m->id, &m->fault);
		break;
	case RPC_KIND_REQUEST:
		fuzz_check(m->id[0] != '\0');
		check_request(m);
		check_params(m);
		break;
	case RPC_KIND_NOTIFICATION:
		fuzz_check(m->id[0] == '\0');
		check_request(m);
		break;
	case RPC_KIND_RESULT:
		check_same_value(m->result, m->result);
		break;
	case RPC_KIND_ERROR:
		check_error(m);
		break;
	}
}

/* Text that the check took is the same to json-c, read and printed. */
static void
check_tree(const char *text, size_t size)
{
	struct json_tokener *tok = json_tokener_new_ex(LIMIT_JSON_DEPTH + 1);
	struct json_object *ours, *theirs;
	const char *printed;
	struct buf b;
	size_t n;

	fuzz_check(jx_read(text, size, &ours) == 0);
	theirs = json_tokener_parse_ex(tok, text, (int)size);
	/* A bare number ends only when json-c sees what follows it. */
	if (json_tokener_get_error(tok) == json_tokener_continue)
		theirs = json_tokener_parse_ex(tok, "", 1);
	printed = json_object_to_json_string_length(theirs,
	    JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &n);
	buf_init(&b, PRINT_MAX);
	fuzz_check(jx_print(&b, ours) == 0);
	fuzz_check(b.len == n && memcmp(buf_head(&b), printed, n) == 0);
	buf_release(&b);
	json_object_put(ours);
	json_object_put(theirs);
	json_tokener_free(tok);
}

/* Its members are those of the tree, in name and in value. */
static void
check_members(const char *text, size_t size)
{
	struct json_object *o, *a, *b;
	struct json_member m;
	char name[1000];
	size_t pos = 0, n = 0;

	fuzz_check(jx_read(text, size, &o) == 0);
	while (json_next_member(text, size, &pos, &m)) {
		n++;
		if (m.name_len >= sizeof(name))
			continue;
		name[json_decode(
		    name, m.name_len, m.name, m.name + m.name_len)] = '\0';
		fuzz_check(jx_get(o, name, &a));
		fuzz_check(jx_read(m.value, m.len, &b) == 0);
		check_same_value(a, b);
		json_object_put(b);
	}
	if (json_object_is_type(o, json_type_object))
		fuzz_check((size_t)json_object_object_length(o) == n);
	else
		fuzz_check(n == 0);
	json_object_put(o);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct json_check_fault fault;
	struct rpc_line line;
	size_t i;

	if (size > MAX_INPUT)
		return 0;
	rpc_line_parse(&line, text, size);
	if (json_check(text, size, &fault) < 0) {
		fuzz_check(line.fault.kind == RPC_PARSE);
	} else {
		fuzz_check(line.fault.kind != RPC_PARSE);
		check_tree(text, size);
		if (!fault.nul_name)
			check_members(text, size);
	}
	if (line.fault.kind != RPC_OK) {
		fuzz_check(line.count == 0);
		check_fault("", &line.fault);
	}
	for (i = 0; i < line.count; i++)
		check_message(&line.msgs[i]);
	rpc_line_release(&line);
	return 0;
}
