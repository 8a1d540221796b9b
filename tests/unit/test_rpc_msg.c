#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "proto/buf.h"
#include "proto/json_check.h"
#include "proto/jx.h"
#include "proto/limits.h"
#include "proto/rpc_error.h"
#include "proto/rpc_msg.h"

#include "proto/banned.h"

static void
parse(struct rpc_line *line, const char *text)
{
	rpc_line_parse(line, text, strlen(text));
	assert_true((line->fault.kind == RPC_OK) == (line->count > 0));
}

/* The text is one message of this kind with this id. */
static void
assert_kind(const char *text, enum rpc_kind kind, const char *id)
{
	struct rpc_line line;

	parse(&line, text);
	assert_int_equal(line.count, 1);
	assert_false(line.batch);
	assert_int_equal(line.msgs[0].kind, kind);
	assert_string_equal(line.msgs[0].id, id);
	assert_int_equal(line.msgs[0].fault.kind,
	    kind == RPC_KIND_BAD ? RPC_INVALID_REQUEST : RPC_OK);
	rpc_line_release(&line);
}

/* The line as a whole is nothing. */
static void
assert_fault(const char *text, size_t len, enum rpc_errno kind)
{
	struct rpc_line line;

	rpc_line_parse(&line, text, len);
	assert_int_equal(line.count, 0);
	assert_null(line.msgs);
	assert_int_equal(line.fault.kind, kind);
	assert_int_not_equal(strlen(line.fault.message), 0);
	rpc_line_release(&line);
}

static void
assert_json(struct json_object *o, const char *wanted)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	assert_int_equal(jx_print(&b, o), 0);
	assert_string_equal(buf_str(&b), wanted);
	buf_release(&b);
}

/*
 * Section 7 of the JSON-RPC 2.0 specification, its exchanges one by one. What
 * the server sends there is what the printing tests below compare with.
 */
static void
spec_positional_and_named_parameters(void **state)
{
	static const struct {
		const char *text, *id, *params;
	} calls[] = {
		{ "{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", "
		  "\"params\": [42, 23], \"id\": 1}",
		    "1", "[42,23]" },
		{ "{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", "
		  "\"params\": [23, 42], \"id\": 2}",
		    "2", "[23,42]" },
		{ "{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\":"
		  " {\"subtrahend\": 23, \"minuend\": 42}, \"id\": 3}",
		    "3", "{\"subtrahend\":23,\"minuend\":42}" },
		{ "{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\":"
		  " {\"minuend\": 42, \"subtrahend\": 23}, \"id\": 4}",
		    "4", "{\"minuend\":42,\"subtrahend\":23}" },
	};
	struct rpc_line line;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(calls); i++) {
		parse(&line, calls[i].text);
		assert_int_equal(line.count, 1);
		assert_int_equal(line.msgs[0].kind, RPC_KIND_REQUEST);
		assert_string_equal(line.msgs[0].method, "subtract");
		assert_string_equal(line.msgs[0].id, calls[i].id);
		assert_json(line.msgs[0].params, calls[i].params);
		rpc_line_release(&line);
	}
}

static void
spec_notifications(void **state)
{
	struct rpc_line line;

	(void)state;
	parse(&line, "{\"jsonrpc\": \"2.0\", \"method\": \"update\", "
		     "\"params\": [1,2,3,4,5]}");
	assert_int_equal(line.msgs[0].kind, RPC_KIND_NOTIFICATION);
	assert_string_equal(line.msgs[0].id, "");
	assert_json(line.msgs[0].params, "[1,2,3,4,5]");
	rpc_line_release(&line);
	parse(&line, "{\"jsonrpc\": \"2.0\", \"method\": \"foobar\"}");
	assert_int_equal(line.msgs[0].kind, RPC_KIND_NOTIFICATION);
	assert_null(line.msgs[0].params);
	rpc_line_release(&line);
}

static void
spec_call_of_a_method_that_is_not(void **state)
{
	(void)state;
	assert_kind("{\"jsonrpc\": \"2.0\", \"method\": \"foobar\", "
		    "\"id\": \"1\"}",
	    RPC_KIND_REQUEST, "\"1\"");
}

static void
spec_invalid_json(void **state)
{
	(void)state;
	assert_fault(LITERAL("{\"jsonrpc\": \"2.0\", \"method\": \"foobar, "
			     "\"params\": \"bar\", \"baz]"),
	    RPC_PARSE);
}

static void
spec_invalid_request(void **state)
{
	(void)state;
	assert_kind("{\"jsonrpc\": \"2.0\", \"method\": 1, "
		    "\"params\": \"bar\"}",
	    RPC_KIND_BAD, "");
}

static void
spec_batch_of_invalid_json(void **state)
{
	(void)state;
	assert_fault(LITERAL("[ {\"jsonrpc\": \"2.0\", \"method\": \"sum\", "
			     "\"params\": [1,2,4], \"id\": \"1\"}, "
			     "{\"jsonrpc\": \"2.0\", \"method\" ]"),
	    RPC_PARSE);
}

static void
spec_empty_batch(void **state)
{
	(void)state;
	assert_fault(LITERAL("[]"), RPC_INVALID_REQUEST);
}

static void
spec_batches_of_no_requests(void **state)
{
	struct rpc_line line;
	size_t i;

	(void)state;
	parse(&line, "[1]");
	assert_true(line.batch);
	assert_int_equal(line.count, 1);
	assert_int_equal(line.msgs[0].kind, RPC_KIND_BAD);
	assert_int_equal(line.msgs[0].fault.kind, RPC_INVALID_REQUEST);
	assert_string_equal(line.msgs[0].id, "");
	rpc_line_release(&line);
	parse(&line, "[1,2,3]");
	assert_true(line.batch);
	assert_int_equal(line.count, 3);
	for (i = 0; i < 3; i++) {
		assert_int_equal(line.msgs[i].kind, RPC_KIND_BAD);
		assert_string_equal(line.msgs[i].id, "");
	}
	rpc_line_release(&line);
}

static void
spec_mixed_batch(void **state)
{
	static const struct {
		enum rpc_kind kind;
		const char *id, *method;
	} wanted[] = {
		{ RPC_KIND_REQUEST, "\"1\"", "sum" },
		{ RPC_KIND_NOTIFICATION, "", "notify_hello" },
		{ RPC_KIND_REQUEST, "\"2\"", "subtract" },
		{ RPC_KIND_BAD, "", NULL },
		{ RPC_KIND_REQUEST, "\"5\"", "foo.get" },
		{ RPC_KIND_REQUEST, "\"9\"", "get_data" },
	};
	struct rpc_line line;
	size_t i;

	(void)state;
	parse(&line, "[ {\"jsonrpc\": \"2.0\", \"method\": \"sum\", "
		     "\"params\": [1,2,4], \"id\": \"1\"}, "
		     "{\"jsonrpc\": \"2.0\", \"method\": \"notify_hello\", "
		     "\"params\": [7]}, "
		     "{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", "
		     "\"params\": [42,23], \"id\": \"2\"}, "
		     "{\"foo\": \"boo\"}, "
		     "{\"jsonrpc\": \"2.0\", \"method\": \"foo.get\", "
		     "\"params\": {\"name\": \"myself\"}, \"id\": \"5\"}, "
		     "{\"jsonrpc\": \"2.0\", \"method\": \"get_data\", "
		     "\"id\": \"9\"} ]");
	assert_true(line.batch);
	assert_int_equal(line.count, COUNT(wanted));
	for (i = 0; i < COUNT(wanted); i++) {
		assert_int_equal(line.msgs[i].kind, wanted[i].kind);
		assert_string_equal(line.msgs[i].id, wanted[i].id);
		if (wanted[i].method != NULL)
			assert_string_equal(
			    line.msgs[i].method, wanted[i].method);
	}
	rpc_line_release(&line);
}

static void
spec_batch_of_notifications(void **state)
{
	struct rpc_line line;

	(void)state;
	parse(&line, "[ {\"jsonrpc\": \"2.0\", \"method\": \"notify_sum\", "
		     "\"params\": [1,2,4]}, {\"jsonrpc\": \"2.0\", "
		     "\"method\": \"notify_hello\", \"params\": [7]} ]");
	assert_int_equal(line.count, 2);
	assert_int_equal(line.msgs[0].kind, RPC_KIND_NOTIFICATION);
	assert_int_equal(line.msgs[1].kind, RPC_KIND_NOTIFICATION);
	rpc_line_release(&line);
}

/* Letter for letter: what a client compares is the text it sent. */
static void
an_id_is_echoed_as_it_was_written(void **state)
{
	static const char *const ids[] = { "0", "-0", "1", "1.0", "1.50e+02",
		"1E400", "-7", "123456789012345678901234567890", "null", "\"\"",
		"\"a b\"", "\"\\u0061\"", "\"\\/\"", "\"\\\"}\"",
		"\"\xc3\xa9\"", "\"\\u0000\"",
		"\"3f0c7a52-8a0e-4f0e-9a57-6a8a2b1f4c11\"" };
	static const char *const lines[] = {
		"{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"id\":%s}",
		"{\"id\":%s,\"jsonrpc\":\"2.0\",\"method\":\"m\"}",
		" {\"jsonrpc\":\"2.0\" ,\"id\" : %s ,\"method\":\"m\",\"params\":"
		"{\"id\":\"inner\"}} ",
	};
	char text[300];
	size_t i, j;

	(void)state;
	for (i = 0; i < COUNT(ids); i++) {
		for (j = 0; j < COUNT(lines); j++) {
			const char *gap = strstr(lines[j], "%s");

			snprintf(text, sizeof(text), "%.*s%s%s",
			    (int)(gap - lines[j]), lines[j], ids[i], gap + 2);
			assert_kind(text, RPC_KIND_REQUEST, ids[i]);
		}
	}
}

static void
ids_of_a_batch_are_told_apart(void **state)
{
	struct rpc_line line;

	(void)state;
	parse(&line, "[{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"id\":1.0},\n"
		     "{\"id\":\"1\",\"jsonrpc\":\"2.0\",\"method\":\"m\"} ,7,"
		     "{\"params\":{\"id\":5},\"jsonrpc\":\"2.0\","
		     "\"method\":\"m\"},"
		     "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"}]");
	assert_int_equal(line.count, 5);
	assert_string_equal(line.msgs[0].id, "1.0");
	assert_string_equal(line.msgs[1].id, "\"1\"");
	assert_int_equal(line.msgs[2].kind, RPC_KIND_BAD);
	assert_int_equal(line.msgs[3].kind, RPC_KIND_NOTIFICATION);
	assert_string_equal(line.msgs[4].id, "1");
	rpc_line_release(&line);
}

static void
an_id_is_a_string_a_number_or_null(void **state)
{
	static const char *const ids[] = { "true", "false", "[]", "[1]", "{}" };
	char text[100];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(ids); i++) {
		snprintf(text, sizeof(text),
		    "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"m\"}", ids[i]);
		assert_kind(text, RPC_KIND_BAD, "");
	}
}

/* The limit counts the text with its quotes. */
static void
an_id_has_at_most_128_bytes(void **state)
{
	char id[LIMIT_ID + 2], text[300];

	(void)state;
	assert_int_equal(LIMIT_ID, 128);
	memset(id, 'i', sizeof(id));
	id[0] = id[LIMIT_ID - 1] = '"';
	id[LIMIT_ID] = '\0';
	snprintf(text, sizeof(text),
	    "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"m\"}", id);
	assert_kind(text, RPC_KIND_REQUEST, id);
	id[LIMIT_ID - 1] = 'i';
	id[LIMIT_ID] = '"';
	id[LIMIT_ID + 1] = '\0';
	snprintf(text, sizeof(text),
	    "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"m\"}", id);
	assert_kind(text, RPC_KIND_BAD, "");
}

/* An error that has the id in it reaches the call that it is for. */
static void
a_bad_request_keeps_its_id(void **state)
{
	static const char *const lines[] = {
		"{\"id\":7,\"method\":\"m\"}",
		"{\"jsonrpc\":\"1.0\",\"id\":7,\"method\":\"m\"}",
		"{\"jsonrpc\":2.0,\"id\":7,\"method\":\"m\"}",
		"{\"jsonrpc\":\"2.0\\u0000\",\"id\":7,\"method\":\"m\"}",
		"{\"jsonrpc\":\"2.0\",\"id\":7}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":null}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":[\"m\"]}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"m\\u0000\"}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"m\",\"params\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"m\","
		"\"params\":null}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"m\","
		"\"params\":\"{}\"}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"m\","
		"\"param\":{}}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"m\",\"ID\":7}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"m\","
		"\"result\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"m\","
		"\"error\":{}}",
	};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(lines); i++)
		assert_kind(lines[i], RPC_KIND_BAD, "7");
}

static void
assert_method(const char *written, const char *method)
{
	struct rpc_line line;
	struct buf b;

	buf_init(&b, 1000);
	buf_addf(&b, " {\"method\" : %s,\"jsonrpc\":\"2.0\"} ", written);
	parse(&line, buf_str(&b));
	assert_int_equal(line.count, 1);
	if (method == NULL) {
		assert_int_equal(line.msgs[0].kind, RPC_KIND_BAD);
	} else {
		assert_int_equal(line.msgs[0].kind, RPC_KIND_NOTIFICATION);
		assert_string_equal(line.msgs[0].method, method);
	}
	rpc_line_release(&line);
	buf_release(&b);
}

#define TEN   "0123456789"
#define SIXTY TEN TEN TEN TEN TEN TEN

static void
a_method_is_a_string_in_any_form(void **state)
{
	(void)state;
	assert_method("\"file.read\"", "file.read");
	assert_method("\"f\\u0069le.re\\/d\"", "file.re/d");
	assert_method("\"\"", "");
	assert_method("null", NULL);
	assert_method("7", NULL);
	assert_method("[\"file.read\"]", NULL);
	assert_method("\"file.read\\u0000\"", NULL);
	assert_method("\"" SIXTY "abcd\"", SIXTY "abcd");
	assert_method("\"" SIXTY "abcdefgh\"", SIXTY "abcd");
	assert_method("\"" SIXTY "abc\xc3\xa9\"", SIXTY "abc");
	assert_method("\"" SIXTY "abc\\u00e9\"", SIXTY "abc");
}

static void
what_is_no_object_is_no_request(void **state)
{
	(void)state;
	assert_kind("1", RPC_KIND_BAD, "");
	assert_kind("null", RPC_KIND_BAD, "");
	assert_kind("true", RPC_KIND_BAD, "");
	assert_kind("\"jsonrpc\"", RPC_KIND_BAD, "");
	assert_kind("{}", RPC_KIND_BAD, "");
	assert_kind("{\"jsonrpc\":\"2.0\"}", RPC_KIND_BAD, "");
}

static void
what_is_no_json_is_a_parse_error(void **state)
{
	struct rpc_line line;

	(void)state;
	assert_fault(LITERAL(""), RPC_PARSE);
	assert_fault(LITERAL("   "), RPC_PARSE);
	assert_fault(LITERAL("\0"), RPC_PARSE);
	assert_fault(LITERAL("{\"jsonrpc\":\"2.0\",\"id\":1,"
			     "\"method\":\"m\"}\0"),
	    RPC_PARSE);
	assert_fault(LITERAL("{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,"
			     "\"method\":\"m\"}"),
	    RPC_PARSE);
	rpc_line_parse(&line, LITERAL("[1,2"));
	assert_string_equal(
	    line.fault.message, "not JSON: comma or ] expected at byte 4");
	rpc_line_release(&line);
}

/* json-c would cut such a name off and so make two names one. */
static void
a_name_with_nul_is_refused(void **state)
{
	(void)state;
	assert_fault(LITERAL("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\","
			     "\"params\":{\"a\\u0000b\":1}}"),
	    RPC_INVALID_REQUEST);
	assert_fault(LITERAL("{\"jsonrpc\":\"2.0\",\"id\\u0000\":1,"
			     "\"method\":\"m\"}"),
	    RPC_INVALID_REQUEST);
}

static void
white_space_around_a_message_is_ignored(void **state)
{
	(void)state;
	assert_kind("\t {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"} \r",
	    RPC_KIND_REQUEST, "1");
}

/* A batch of n requests that count themselves. */
static void
build_batch(struct buf *b, int n)
{
	int i;

	buf_adds(b, "[");
	for (i = 0; i < n; i++)
		buf_addf(b,
		    "%s{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"m\"}",
		    i == 0 ? "" : ",", i);
	buf_adds(b, "]");
}

static void
a_batch_holds_at_most_64(void **state)
{
	struct rpc_line line;
	struct buf b;
	char id[8];
	int i;

	(void)state;
	assert_int_equal(LIMIT_BATCH, 64);
	buf_init(&b, 10000);
	build_batch(&b, LIMIT_BATCH);
	rpc_line_parse(&line, buf_head(&b), b.len);
	assert_true(line.batch);
	assert_int_equal(line.count, LIMIT_BATCH);
	for (i = 0; i < LIMIT_BATCH; i++) {
		snprintf(id, sizeof(id), "%d", i);
		assert_string_equal(line.msgs[i].id, id);
	}
	rpc_line_release(&line);
	buf_clear(&b);
	build_batch(&b, LIMIT_BATCH + 1);
	assert_fault(buf_head(&b), b.len, RPC_INVALID_REQUEST);
	buf_release(&b);
}

/* A batch within a batch is no request. */
static void
batches_do_not_nest(void **state)
{
	struct rpc_line line;

	(void)state;
	parse(&line, "[[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"}]]");
	assert_int_equal(line.count, 1);
	assert_int_equal(line.msgs[0].kind, RPC_KIND_BAD);
	rpc_line_release(&line);
}

static void
descriptors_are_named_in_order(void **state)
{
	struct rpc_line line;

	(void)state;
	parse(&line, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\","
		     "\"fds\":[\"stdin\",\"stdout\",\"stderr\"]}");
	assert_int_equal(line.msgs[0].kind, RPC_KIND_REQUEST);
	assert_int_equal(line.msgs[0].fd_count, 3);
	assert_string_equal(line.msgs[0].fds[0], "stdin");
	assert_string_equal(line.msgs[0].fds[1], "stdout");
	assert_string_equal(line.msgs[0].fds[2], "stderr");
	rpc_line_release(&line);
	parse(&line, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"}");
	assert_int_equal(line.msgs[0].fd_count, 0);
	rpc_line_release(&line);
}

static void
descriptors_are_one_to_three_names(void **state)
{
	static const char *const fds[] = { "[]", "[\"a\",\"b\",\"c\",\"d\"]",
		"\"data\"", "{}", "null", "1", "[1]", "[null]", "[\"a\",3]",
		"[\"a\\u0000\"]", "[[\"a\"]]" };
	char text[200];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(fds); i++) {
		snprintf(text, sizeof(text),
		    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\","
		    "\"fds\":%s}",
		    fds[i]);
		assert_kind(text, RPC_KIND_BAD, "1");
	}
}

static void
answers_are_results_or_errors(void **state)
{
	struct rpc_line line;

	(void)state;
	parse(&line, "{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{\"a\":1}}");
	assert_int_equal(line.msgs[0].kind, RPC_KIND_RESULT);
	assert_string_equal(line.msgs[0].id, "3");
	assert_json(line.msgs[0].result, "{\"a\":1}");
	assert_null(line.msgs[0].error);
	rpc_line_release(&line);
	parse(&line, "{\"jsonrpc\":\"2.0\",\"id\":3,\"error\":{\"code\":-1,"
		     "\"message\":\"no\"}}");
	assert_int_equal(line.msgs[0].kind, RPC_KIND_ERROR);
	assert_json(line.msgs[0].error, "{\"code\":-1,\"message\":\"no\"}");
	rpc_line_release(&line);
}

static void
a_result_may_be_null_and_an_error_not(void **state)
{
	(void)state;
	assert_kind("{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":null}",
	    RPC_KIND_RESULT, "3");
	assert_kind("{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{}}",
	    RPC_KIND_ERROR, "null");
	assert_kind(
	    "{\"jsonrpc\":\"2.0\",\"id\":3,\"error\":null}", RPC_KIND_BAD, "3");
	assert_kind("{\"jsonrpc\":\"2.0\",\"id\":3,\"error\":\"no\"}",
	    RPC_KIND_BAD, "3");
	assert_kind("{\"id\":3,\"result\":1}", RPC_KIND_BAD, "3");
}

/* A newer wrennd may say more in an answer than this client knows of. */
static void
an_answer_may_have_unknown_members(void **state)
{
	(void)state;
	assert_kind("{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":1,\"took\":2}",
	    RPC_KIND_RESULT, "3");
}

static void
released_lines_are_empty(void **state)
{
	struct rpc_line line;

	(void)state;
	parse(&line, "[1]");
	rpc_line_release(&line);
	assert_null(line.msgs);
	assert_int_equal(line.count, 0);
	rpc_line_release(&line);
}

static void
requests_print_and_parse_back(void **state)
{
	static const char *const fds[] = { "stdin", "a\"b", "stderr" };
	struct json_object *params = json_object_new_object();
	struct rpc_line line;
	struct buf b;

	(void)state;
	jx_add_str(params, "path", "/tmp/x");
	buf_init(&b, 1000);
	assert_int_equal(
	    rpc_print_request(&b, "17", "file.read", params, fds, 3), 0);
	assert_string_equal(buf_str(&b),
	    "{\"jsonrpc\":\"2.0\",\"id\":17,\"method\":\"file.read\","
	    "\"params\":{\"path\":\"/tmp/x\"},"
	    "\"fds\":[\"stdin\",\"a\\\"b\",\"stderr\"]}");
	parse(&line, buf_str(&b));
	assert_int_equal(line.msgs[0].kind, RPC_KIND_REQUEST);
	assert_string_equal(line.msgs[0].method, "file.read");
	assert_int_equal(line.msgs[0].fd_count, 3);
	assert_string_equal(line.msgs[0].fds[1], "a\"b");
	assert_json(line.msgs[0].params, "{\"path\":\"/tmp/x\"}");
	rpc_line_release(&line);
	json_object_put(params);
	buf_release(&b);
}

static void
a_request_without_an_id_is_a_notification(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	assert_int_equal(
	    rpc_print_request(&b, NULL, "call.end", NULL, NULL, 0), 0);
	assert_string_equal(
	    buf_str(&b), "{\"jsonrpc\":\"2.0\",\"method\":\"call.end\"}");
	assert_kind(buf_str(&b), RPC_KIND_NOTIFICATION, "");
	buf_release(&b);
}

static void
results_print_in_both_ways_alike(void **state)
{
	struct json_object *v = json_object_new_object();
	struct buf b;

	(void)state;
	jx_add_int(v, "size", 5);
	buf_init(&b, 1000);
	assert_int_equal(rpc_print_result(&b, "\"x\"", v), 0);
	assert_string_equal(buf_str(&b),
	    "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"result\":{\"size\":5}}");
	buf_clear(&b);
	assert_int_equal(
	    rpc_print_result_text(&b, "\"x\"", LITERAL("{\"size\":5}")), 0);
	assert_string_equal(buf_str(&b),
	    "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"result\":{\"size\":5}}");
	buf_clear(&b);
	assert_int_equal(rpc_print_result(&b, "1.0", NULL), 0);
	assert_string_equal(
	    buf_str(&b), "{\"jsonrpc\":\"2.0\",\"id\":1.0,\"result\":null}");
	json_object_put(v);
	buf_release(&b);
}

static void
errors_print_as_the_specification_has_them(void **state)
{
	struct rpc_line line;
	struct rpc_error e;
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	rpc_error_set(&e, RPC_METHOD_NOT_FOUND, "no method %s", "foobar");
	assert_int_equal(rpc_print_error(&b, "\"1\"", &e, NULL), 0);
	assert_string_equal(buf_str(&b),
	    "{\"jsonrpc\":\"2.0\",\"id\":\"1\",\"error\":{\"code\":-32601,"
	    "\"message\":\"no method foobar\",\"data\":{"
	    "\"name\":\"method_not_found\",\"retryable\":false}}}");
	parse(&line, buf_str(&b));
	assert_int_equal(line.msgs[0].kind, RPC_KIND_ERROR);
	rpc_line_release(&line);
	buf_clear(&b);
	rpc_line_parse(&line, LITERAL("{"));
	assert_int_equal(rpc_print_error(&b, "null", &line.fault, NULL), 0);
	assert_non_null(
	    strstr(buf_str(&b), "\"id\":null,\"error\":{\"code\":-32700,"));
	rpc_line_release(&line);
	buf_release(&b);
}

/* One message of each kind. */
static int
print_kind(struct buf *b, int kind, struct json_object *v)
{
	static const char *const fds[] = { "data" };
	struct rpc_error e;

	switch (kind) {
	case 0:
		return rpc_print_request(b, "1", "m", v, fds, 1);
	case 1:
		return rpc_print_result(b, "1", v);
	case 2:
		return rpc_print_result_text(b, "1", "[]", 2);
	default:
		rpc_error_set(&e, RPC_BUSY, "busy");
		return rpc_print_error(b, "1", &e, "r-1");
	}
}

/*
 * With room for every possible number of its bytes: it is there as a whole,
 * or nothing of it behind what was there, so that another can follow.
 */
static void
a_message_fits_or_leaves_nothing(void **state)
{
	struct json_object *v = json_object_new_object();
	struct buf b, whole;
	size_t room;
	int kind;

	(void)state;
	jx_add_str(v, "k", "v");
	for (kind = 0; kind < 4; kind++) {
		buf_init(&whole, 1000);
		assert_int_equal(print_kind(&whole, kind, v), 0);
		for (room = 0; room < whole.len; room++) {
			buf_init(&b, 4 + room);
			buf_adds(&b, "kept");
			assert_int_equal(print_kind(&b, kind, v), -ENOSPC);
			assert_buf_equal(&b, "kept");
			buf_release(&b);
		}
		buf_init(&b, 4 + whole.len);
		buf_adds(&b, "kept");
		assert_int_equal(print_kind(&b, kind, v), 0);
		assert_string_equal(buf_str(&b) + 4, buf_str(&whole));
		buf_release(&b);
		buf_release(&whole);
	}
	json_object_put(v);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spec_positional_and_named_parameters),
		cmocka_unit_test(spec_notifications),
		cmocka_unit_test(spec_call_of_a_method_that_is_not),
		cmocka_unit_test(spec_invalid_json),
		cmocka_unit_test(spec_invalid_request),
		cmocka_unit_test(spec_batch_of_invalid_json),
		cmocka_unit_test(spec_empty_batch),
		cmocka_unit_test(spec_batches_of_no_requests),
		cmocka_unit_test(spec_mixed_batch),
		cmocka_unit_test(spec_batch_of_notifications),
		cmocka_unit_test(an_id_is_echoed_as_it_was_written),
		cmocka_unit_test(ids_of_a_batch_are_told_apart),
		cmocka_unit_test(an_id_is_a_string_a_number_or_null),
		cmocka_unit_test(an_id_has_at_most_128_bytes),
		cmocka_unit_test(a_bad_request_keeps_its_id),
		cmocka_unit_test(a_method_is_a_string_in_any_form),
		cmocka_unit_test(what_is_no_object_is_no_request),
		cmocka_unit_test(what_is_no_json_is_a_parse_error),
		cmocka_unit_test(a_name_with_nul_is_refused),
		cmocka_unit_test(white_space_around_a_message_is_ignored),
		cmocka_unit_test(a_batch_holds_at_most_64),
		cmocka_unit_test(batches_do_not_nest),
		cmocka_unit_test(descriptors_are_named_in_order),
		cmocka_unit_test(descriptors_are_one_to_three_names),
		cmocka_unit_test(answers_are_results_or_errors),
		cmocka_unit_test(a_result_may_be_null_and_an_error_not),
		cmocka_unit_test(an_answer_may_have_unknown_members),
		cmocka_unit_test(released_lines_are_empty),
		cmocka_unit_test(requests_print_and_parse_back),
		cmocka_unit_test(a_request_without_an_id_is_a_notification),
		cmocka_unit_test(results_print_in_both_ways_alike),
		cmocka_unit_test(errors_print_as_the_specification_has_them),
		cmocka_unit_test(a_message_fits_or_leaves_nothing),
	};

	return cmocka_run_group_tests_name("rpc_msg", tests, NULL, NULL);
}
