#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "proto/buf.h"
#include "proto/json_check.h"
#include "proto/jx.h"
#include "proto/limits.h"
#include "proto/rpc_error.h"

#include "proto/banned.h"

/* Compares the error as JSON with the text. */
static void
assert_prints(
    const struct rpc_error *e, const char *request, const char *wanted)
{
	struct json_object *o = rpc_error_to_json(e, request);
	struct buf b;

	buf_init(&b, 4000);
	assert_int_equal(jx_print(&b, o), 0);
	assert_string_equal(buf_str(&b), wanted);
	buf_release(&b);
	json_object_put(o);
}

/* Reads the text as the "error" member of an answer. */
static void
from_text(struct rpc_error *e, const char *text)
{
	struct json_check_fault fault;
	struct json_object *o = jx_parse(text, strlen(text), &fault);

	assert_null(fault.reason);
	rpc_error_from_json(e, o);
	json_object_put(o);
}

static void
every_row_is_whole_and_unlike_the_others(void **state)
{
	const struct rpc_error_row *a, *b;
	int i, j;

	(void)state;
	for (i = RPC_OK + 1; i < RPC_ERRNO_COUNT; i++) {
		a = rpc_error_row((enum rpc_errno)i);
		assert_int_not_equal(strlen(a->name), 0);
		assert_int_equal(strspn(a->name, "abcdefghijklmnopqrstuvwxyz_"),
		    strlen(a->name));
		assert_int_not_equal(strlen(a->meaning), 0);
		assert_true(strlen(a->meaning) < LIMIT_ERROR_MESSAGE);
		assert_non_null(a->sdk_class);
		for (j = RPC_OK + 1; j < i; j++) {
			b = rpc_error_row((enum rpc_errno)j);
			assert_string_not_equal(a->name, b->name);
			assert_int_not_equal(a->code, b->code);
		}
	}
}

/* -32768 to -32000 is reserved; ours are in the part for servers. */
static void
codes_are_where_json_rpc_allows_them(void **state)
{
	static const int standard[] = { -32700, -32600, -32601, -32602,
		-32603 };
	static const enum rpc_errno kinds[] = { RPC_PARSE, RPC_INVALID_REQUEST,
		RPC_METHOD_NOT_FOUND, RPC_INVALID_PARAMS, RPC_INTERNAL };
	size_t i;
	int kind, code;

	(void)state;
	for (i = 0; i < COUNT(kinds); i++)
		assert_int_equal(rpc_error_row(kinds[i])->code, standard[i]);
	for (kind = RPC_UPSTREAM; kind < RPC_ERRNO_COUNT; kind++) {
		code = rpc_error_row((enum rpc_errno)kind)->code;
		assert_true(code >= -32099 && code <= -32000);
	}
}

/* 0 would hide the error, and 128 and up would look like a signal. */
static void
exit_statuses_tell_failure(void **state)
{
	enum exit_status exit;
	int kind;

	(void)state;
	for (kind = RPC_OK + 1; kind < RPC_ERRNO_COUNT; kind++) {
		exit = rpc_error_row((enum rpc_errno)kind)->exit;
		assert_in_range(exit, 1, 127);
	}
}

/* Sending again must never be suggested for what may have happened. */
static void
what_may_have_happened_is_not_retryable(void **state)
{
	static const enum rpc_errno unsure[] = { RPC_OUTCOME_UNKNOWN,
		RPC_DAEMON_LOST, RPC_TRUNCATED, RPC_CANCELLED, RPC_AGENT,
		RPC_BAD_ANSWER, RPC_INTERNAL };
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(unsure); i++)
		assert_false(rpc_error_row(unsure[i])->retryable);
	assert_true(rpc_error_row(RPC_BUSY)->retryable);
	assert_true(rpc_error_row(RPC_UNREACHABLE)->retryable);
}

static void
rows_are_found_by_code_and_name(void **state)
{
	const struct rpc_error_row *row;
	int kind;

	(void)state;
	for (kind = RPC_OK + 1; kind < RPC_ERRNO_COUNT; kind++) {
		row = rpc_error_row((enum rpc_errno)kind);
		assert_int_equal(rpc_errno_by_code(row->code), kind);
		assert_int_equal(rpc_errno_by_name(row->name), kind);
	}
	assert_int_equal(rpc_errno_by_code(0), RPC_UPSTREAM);
	assert_int_equal(rpc_errno_by_code(-1), RPC_UPSTREAM);
	assert_int_equal(rpc_errno_by_name(""), RPC_OK);
	assert_int_equal(rpc_errno_by_name("Not_Found"), RPC_OK);
	assert_int_equal(rpc_errno_by_name("not_found "), RPC_OK);
}

static void
a_status_has_its_class(void **state)
{
	static const struct {
		int status;
		enum rpc_errno kind;
	} pairs[] = {
		{ 400, RPC_VALIDATION },
		{ 401, RPC_UNAUTHORIZED },
		{ 403, RPC_FORBIDDEN },
		{ 404, RPC_NOT_FOUND },
		{ 409, RPC_CONFLICT },
		{ 413, RPC_TOO_LARGE },
		{ 500, RPC_UPSTREAM_INTERNAL },
		{ 501, RPC_AGENT },
		{ 502, RPC_AGENT },
		{ 503, RPC_HOST_UNAVAILABLE },
		{ 0, RPC_UPSTREAM },
		{ 301, RPC_UPSTREAM },
		{ 402, RPC_UPSTREAM },
		{ 405, RPC_UPSTREAM },
		{ 410, RPC_UPSTREAM },
		{ 418, RPC_UPSTREAM },
		{ 429, RPC_UPSTREAM },
		{ 504, RPC_UPSTREAM },
	};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(pairs); i++) {
		assert_int_equal(rpc_errno_from_upstream(pairs[i].status, ""),
		    pairs[i].kind);
		assert_int_equal(
		    rpc_errno_from_upstream(pairs[i].status, "brand_new"),
		    pairs[i].kind);
	}
}

/* Each code upstream is known to send, with the status it comes with. */
static void
upstreams_codes_have_their_class(void **state)
{
	static const struct {
		int status;
		const char *code, *sdk_class;
	} known[] = {
		{ 400, "invalid_request", "WrennValidationError" },
		{ 401, "unauthorized", "WrennAuthenticationError" },
		{ 403, "forbidden", "WrennForbiddenError" },
		{ 403, "no_team", "WrennForbiddenError" },
		{ 403, "account_not_activated", "WrennForbiddenError" },
		{ 403, "account_disabled", "WrennForbiddenError" },
		{ 403, "account_deactivated", "WrennForbiddenError" },
		{ 404, "not_found", "WrennNotFoundError" },
		{ 409, "invalid_state", "WrennConflictError" },
		{ 409, "conflict", "WrennConflictError" },
		{ 409, "name_reserved", "WrennConflictError" },
		{ 409, "template_name_taken", "WrennConflictError" },
		{ 409, "host_has_sandboxes", "WrennHostHasCapsulesError" },
		{ 409, "host_has_capsules", "WrennHostHasCapsulesError" },
		{ 409, "has_active_sandboxes", "WrennHostHasCapsulesError" },
		{ 413, "too_large", "WrennError" },
		{ 500, "internal_error", "WrennInternalError" },
		{ 500, "db_error", "WrennInternalError" },
		{ 500, "read_error", "WrennInternalError" },
		{ 501, "agent_error", "WrennAgentError" },
		{ 502, "agent_error", "WrennAgentError" },
		{ 503, "host_unavailable", "WrennHostUnavailableError" },
		{ 503, "no_hosts_available", "WrennHostUnavailableError" },
	};
	enum rpc_errno kind;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(known); i++) {
		kind = rpc_errno_from_upstream(known[i].status, known[i].code);
		assert_string_equal(
		    rpc_error_row(kind)->sdk_class, known[i].sdk_class);
		/* The code wins over whatever status it comes with. */
		assert_int_equal(
		    rpc_errno_from_upstream(418, known[i].code), kind);
	}
	assert_int_equal(
	    rpc_errno_from_upstream(500, "not_found"), RPC_NOT_FOUND);
}

static void
setting_starts_anew(void **state)
{
	struct rpc_error e;

	(void)state;
	memset(&e, 0x5a, sizeof(e));
	rpc_error_set(&e, RPC_TIMEOUT, "after %d s", 30);
	assert_int_equal(e.kind, RPC_TIMEOUT);
	assert_string_equal(e.message, "after 30 s");
	assert_int_equal(e.http_status, 0);
	assert_string_equal(e.upstream_code, "");
	assert_string_equal(e.param, "");
	assert_null(e.extra);
	rpc_error_release(&e);
	memset(&e, 0x5a, sizeof(e));
	rpc_error_set_param(&e, "cwd", "%s is bad", "cwd");
	assert_int_equal(e.kind, RPC_INVALID_PARAMS);
	assert_string_equal(e.param, "cwd");
	assert_string_equal(e.message, "cwd is bad");
	assert_null(e.extra);
	rpc_error_release(&e);
}

static void
long_messages_are_cut(void **state)
{
	char text[LIMIT_ERROR_MESSAGE + 100];
	struct rpc_error e;

	(void)state;
	memset(text, 'm', sizeof(text));
	text[LIMIT_ERROR_MESSAGE - 1] = '\0';
	rpc_error_set(&e, RPC_UPSTREAM, "%s", text);
	assert_string_equal(e.message, text);
	text[LIMIT_ERROR_MESSAGE - 1] = 'm';
	text[sizeof(text) - 1] = '\0';
	rpc_error_set_param(&e, text, "%s", text);
	assert_int_equal(strlen(e.message), LIMIT_ERROR_MESSAGE - 1);
	assert_int_equal(strlen(e.param), sizeof(e.param) - 1);
}

static void
prints_all_that_is_known(void **state)
{
	struct rpc_error e;

	(void)state;
	rpc_error_set(&e, RPC_HOST_HAS_CAPSULES, "2 \"left\"");
	e.http_status = 409;
	memcpy(e.upstream_code, "host_has_capsules", 18);
	e.extra = json_object_new_object();
	jx_add_int(e.extra, "count", 2);
	jx_add_null(e.extra, "host");
	assert_prints(&e, "req-1",
	    "{\"code\":-32006,\"message\":\"2 \\\"left\\\"\",\"data\":{"
	    "\"name\":\"host_has_capsules\","
	    "\"class\":\"WrennHostHasCapsulesError\",\"http_status\":409,"
	    "\"upstream_code\":\"host_has_capsules\",\"retryable\":false,"
	    "\"request\":\"req-1\",\"count\":2,\"host\":null}}");
	rpc_error_release(&e);
	assert_null(e.extra);
	rpc_error_set_param(&e, "cwd", "bad");
	assert_prints(&e, NULL,
	    "{\"code\":-32602,\"message\":\"bad\",\"data\":{"
	    "\"name\":\"invalid_params\",\"class\":\"WrennValidationError\","
	    "\"param\":\"cwd\",\"retryable\":false}}");
}

/* Cut inside a character, or no UTF-8 at all: the line stays JSON. */
static void
prints_utf8_whatever_it_was_given(void **state)
{
	static const char euro[] = "\xe2\x82\xac";
	struct json_check_fault fault;
	char text[LIMIT_ERROR_MESSAGE + 3];
	struct json_object *o;
	struct rpc_error e;
	struct buf b;
	size_t i, pad;

	(void)state;
	buf_init(&b, 4000);
	for (pad = 0; pad < 3; pad++) {
		memset(text, 'x', pad);
		for (i = pad; i + 3 < sizeof(text); i += 3)
			memcpy(text + i, euro, 3);
		text[i] = '\0';
		rpc_error_set_param(&e, text, "%s", text);
		memcpy(e.upstream_code, text, sizeof(e.upstream_code) - 1);
		o = rpc_error_to_json(&e, NULL);
		buf_clear(&b);
		assert_int_equal(jx_print(&b, o), 0);
		assert_int_equal(json_check(buf_head(&b), b.len, &fault), 0);
		json_object_put(o);
	}
	buf_release(&b);
	rpc_error_set(&e, RPC_UPSTREAM, "caf\xe9 \xe2\x82\xac \xff\xc3");
	assert_prints(&e, NULL,
	    "{\"code\":-32000,\"message\":\"caf? \xe2\x82\xac ?"
	    "?\",\"data\":{"
	    "\"name\":\"upstream_error\",\"class\":\"WrennError\","
	    "\"retryable\":false}}");
}

static void
reads_back_what_it_printed(void **state)
{
	struct rpc_error e, back;
	struct json_object *o;
	int kind;

	(void)state;
	for (kind = RPC_OK + 1; kind < RPC_ERRNO_COUNT; kind++) {
		rpc_error_set(&e, (enum rpc_errno)kind, "message %d", kind);
		e.http_status = 400 + kind;
		memcpy(e.upstream_code, "code", 5);
		memcpy(e.param, "param", 6);
		o = rpc_error_to_json(&e, "req-1");
		rpc_error_from_json(&back, o);
		json_object_put(o);
		assert_int_equal(back.kind, kind);
		assert_string_equal(back.message, e.message);
		assert_int_equal(back.http_status, e.http_status);
		assert_string_equal(back.upstream_code, "code");
		assert_string_equal(back.param, "param");
		assert_string_equal(jx_str(back.extra, "request"), "req-1");
		rpc_error_release(&back);
	}
}

/* The name says more than the code; unknown names fall back to it. */
static void
reads_the_name_before_the_code(void **state)
{
	struct rpc_error e;

	(void)state;
	from_text(&e, "{\"code\":-32000,\"message\":\"m\","
		      "\"data\":{\"name\":\"not_found\"}}");
	assert_int_equal(e.kind, RPC_NOT_FOUND);
	rpc_error_release(&e);
	from_text(&e, "{\"code\":-32004,\"message\":\"m\","
		      "\"data\":{\"name\":\"of_a_newer_wrennd\"}}");
	assert_int_equal(e.kind, RPC_NOT_FOUND);
	rpc_error_release(&e);
	from_text(&e, "{\"code\":-32601,\"message\":\"m\"}");
	assert_int_equal(e.kind, RPC_METHOD_NOT_FOUND);
	assert_null(e.extra);
	rpc_error_release(&e);
	from_text(&e, "{\"code\":-31999,\"message\":\"m\",\"data\":\"text\"}");
	assert_int_equal(e.kind, RPC_UPSTREAM);
	rpc_error_release(&e);
}

/* What is missing or of a wrong type leaves an error all the same. */
static void
reads_anything_as_an_error(void **state)
{
	static const char *const texts[] = {
		"{}", "{\"code\":\"-32004\"}",
		"{\"code\":null,\"message\":null,\"data\":null}",
		"{\"code\":99999999999,\"message\":[],\"data\":[]}",
		"{\"data\":{\"name\":5,\"http_status\":\"404\",\"param\":{}}}"
	};
	struct rpc_error e;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(texts); i++) {
		from_text(&e, texts[i]);
		assert_int_equal(e.kind, RPC_PROTOCOL);
		assert_string_equal(
		    e.message, rpc_error_row(RPC_PROTOCOL)->meaning);
		assert_int_equal(e.http_status, 0);
		assert_string_equal(e.param, "");
		rpc_error_release(&e);
	}
	rpc_error_from_json(&e, NULL);
	assert_int_equal(e.kind, RPC_PROTOCOL);
	rpc_error_release(&e);
}

static void
long_texts_are_cut_when_read(void **state)
{
	struct json_object *o = json_object_new_object();
	struct json_object *data = json_object_new_object();
	char text[LIMIT_ERROR_MESSAGE + 100];
	struct rpc_error e;

	(void)state;
	memset(text, 't', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	jx_add_str(o, "message", text);
	jx_add_str(data, "name", "busy");
	jx_add_str(data, "param", text);
	jx_add_str(data, "upstream_code", text);
	jx_add(o, "data", data);
	rpc_error_from_json(&e, o);
	json_object_put(o);
	assert_int_equal(e.kind, RPC_BUSY);
	assert_int_equal(strlen(e.message), sizeof(e.message) - 1);
	assert_int_equal(strlen(e.param), sizeof(e.param) - 1);
	assert_int_equal(strlen(e.upstream_code), sizeof(e.upstream_code) - 1);
	/* All of data outlives the answer it came in. */
	assert_string_equal(jx_str(e.extra, "param"), text);
	rpc_error_release(&e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_is_whole_and_unlike_the_others),
		cmocka_unit_test(codes_are_where_json_rpc_allows_them),
		cmocka_unit_test(exit_statuses_tell_failure),
		cmocka_unit_test(what_may_have_happened_is_not_retryable),
		cmocka_unit_test(rows_are_found_by_code_and_name),
		cmocka_unit_test(a_status_has_its_class),
		cmocka_unit_test(upstreams_codes_have_their_class),
		cmocka_unit_test(setting_starts_anew),
		cmocka_unit_test(long_messages_are_cut),
		cmocka_unit_test(prints_all_that_is_known),
		cmocka_unit_test(prints_utf8_whatever_it_was_given),
		cmocka_unit_test(reads_back_what_it_printed),
		cmocka_unit_test(reads_the_name_before_the_code),
		cmocka_unit_test(reads_anything_as_an_error),
		cmocka_unit_test(long_texts_are_cut_when_read),
	};

	return cmocka_run_group_tests_name("rpc_error", tests, NULL, NULL);
}
