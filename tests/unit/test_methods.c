#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "proto/buf.h"
#include "proto/json_check.h"
#include "proto/jx.h"
#include "proto/limits.h"
#include "proto/methods.h"
#include "proto/rpc_error.h"

#include "proto/banned.h"

static const struct method *
method(const char *name)
{
	enum method_id id = method_by_name(name);

	assert_int_not_equal(id, METHOD_COUNT);
	return method_by_id(id);
}

/*
 * Checks params, given as JSON text or NULL for none. Wanted is the name of
 * the parameter at fault, "" for a fault of none, NULL for no fault.
 */
static void
assert_params(const char *name, const char *text, const char *wanted)
{
	struct json_check_fault fault;
	struct json_object *params = NULL;
	struct rpc_error e;
	int r;

	if (text != NULL) {
		params = jx_parse(text, strlen(text), &fault);
		assert_null(fault.reason);
	}
	rpc_error_set(&e, RPC_OK, "untouched");
	r = method_check_params(method(name), params, &e);
	if (wanted == NULL) {
		assert_int_equal(r, 0);
		assert_string_equal(e.message, "untouched");
	} else {
		assert_int_equal(r, -EINVAL);
		assert_int_equal(e.kind, RPC_INVALID_PARAMS);
		assert_string_equal(e.param, wanted);
		assert_int_not_equal(strlen(e.message), 0);
	}
	json_object_put(params);
}

/* As assert_params, with one parameter that is a string of n letters. */
static void
assert_length(const char *name, const char *others, const char *param, size_t n,
    const char *wanted)
{
	struct buf b;
	size_t i;

	buf_init(&b, 4 << 20);
	buf_addf(&b, "{%s\"%s\":\"", others, param);
	for (i = 0; i < n; i++)
		buf_add(&b, "x", 1);
	buf_adds(&b, "\"}");
	assert_params(name, buf_str(&b), wanted);
	buf_release(&b);
}

static void
every_row_is_whole(void **state)
{
	const struct param *p;
	const struct method *m;
	int i;

	(void)state;
	for (i = 0; i < METHOD_COUNT; i++) {
		m = method_by_id((enum method_id)i);
		assert_int_equal(method_by_name(m->name), i);
		assert_int_equal(
		    strspn(m->name, "abcdefghijklmnopqrstuvwxyz_."),
		    strlen(m->name));
		assert_non_null(strchr(m->name, '.'));
		assert_int_not_equal(strlen(m->summary), 0);
		assert_int_not_equal(strlen(m->result), 0);
		assert_non_null(m->fds);
		for (p = m->params; p->name != NULL; p++) {
			assert_int_equal(
			    strspn(p->name, "abcdefghijklmnopqrstuvwxyz_"),
			    strlen(p->name));
			assert_true(strlen(p->name) <
				    sizeof(((struct rpc_error *)0)->param));
			assert_int_not_equal(strlen(p->help), 0);
			assert_null(strchr(p->help, '\n'));
			assert_true(p->min <= p->max);
			assert_true(
			    (p->type == PARAM_ENUM || p->type == PARAM_IDENT) ==
			    (p->choices != NULL));
		}
	}
}

static void
no_parameter_is_named_twice(void **state)
{
	const struct param *p, *q;
	int i;

	(void)state;
	for (i = 0; i < METHOD_COUNT; i++)
		for (p = method_by_id((enum method_id)i)->params;
		     p->name != NULL; p++)
			for (q = p + 1; q->name != NULL; q++)
				assert_string_not_equal(p->name, q->name);
}

static void
unknown_names_are_no_methods(void **state)
{
	static const char *const names[] = { "", ".", "capsule", "capsule.",
		"capsule.creat", "capsule.createx", "Capsule.create",
		" capsule.create", "capsule.create " };
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(names); i++)
		assert_int_equal(method_by_name(names[i]), METHOD_COUNT);
}

/* Whatever needs less than its due would be open to whom it should not be. */
static void
access_classes_are_as_designed(void **state)
{
	static const char *const admin[] = { "daemon.reload", "daemon.shutdown",
		"auth.login", "auth.set", "auth.logout", "capsule.stats",
		"capsule.usage", "snapshot.delete", "host.create", "host.list",
		"host.get", "host.delete", "host.delete_preview",
		"host.regenerate_token", "host.list_tags", "host.add_tag",
		"host.remove_tag", "key.create", "key.list", "key.delete",
		"api.request" };
	static const char *const read[] = { "daemon.hello", "daemon.status",
		"daemon.metrics", "daemon.events", "auth.status",
		"capsule.list", "capsule.get", "capsule.wait",
		"capsule.metrics", "snapshot.list", "rpc.discover",
		"call.cancel", "call.end" };
	enum access wanted;
	size_t j;
	int i;

	(void)state;
	for (i = 0; i < METHOD_COUNT; i++) {
		const struct method *m = method_by_id((enum method_id)i);

		wanted = ACCESS_USE;
		for (j = 0; j < COUNT(admin); j++)
			if (strcmp(m->name, admin[j]) == 0)
				wanted = ACCESS_ADMIN;
		for (j = 0; j < COUNT(read); j++)
			if (strcmp(m->name, read[j]) == 0)
				wanted = ACCESS_READ;
		assert_int_equal(m->access, wanted);
	}
	assert_true(ACCESS_READ < ACCESS_USE && ACCESS_USE < ACCESS_ADMIN);
	assert_string_equal(access_name(ACCESS_READ), "read");
	assert_string_equal(access_name(ACCESS_USE), "use");
	assert_string_equal(access_name(ACCESS_ADMIN), "admin");
}

/* Upstream would keep a capsule that nobody knows of. */
static void
a_create_is_never_hung_up_on(void **state)
{
	(void)state;
	assert_int_equal(method("capsule.create")->hangup, HANGUP_FINISH);
	assert_int_equal(method("capsule.destroy")->hangup, HANGUP_FINISH);
	/* Between a delete and what is to replace it. */
	assert_int_equal(method("snapshot.create")->hangup, HANGUP_FINISH);
	assert_int_equal(method("process.start")->hangup, HANGUP_FINISH);
	assert_int_equal(method("process.kill")->hangup, HANGUP_FINISH);
	assert_int_equal(method("process.list")->hangup, HANGUP_ABORT);
	assert_int_equal(method("exec.run")->hangup, HANGUP_ABORT);
	assert_int_equal(method("exec.stream")->hangup, HANGUP_ABORT);
	assert_string_equal(hangup_name(HANGUP_FINISH), "finish");
	assert_string_equal(hangup_name(HANGUP_ABORT), "abort");
}

static void
params_may_be_left_out_where_none_is_required(void **state)
{
	(void)state;
	assert_params("daemon.status", NULL, NULL);
	assert_params("daemon.status", "{}", NULL);
	assert_params("capsule.create", NULL, NULL);
	assert_params("capsule.get", NULL, "capsule");
	assert_params("capsule.get", "{}", "capsule");
}

static void
params_are_by_name(void **state)
{
	(void)state;
	assert_params("daemon.status", "[]", "");
	assert_params("capsule.get", "[\"cl-1\"]", "");
}

static void
unknown_parameters_are_refused_by_name(void **state)
{
	(void)state;
	assert_params("daemon.status", "{\"verbose\":true}", "verbose");
	assert_params(
	    "capsule.get", "{\"capsule\":\"a\",\"Capsule\":\"a\"}", "Capsule");
	assert_params("capsule.get", "{\"capsule\":\"a\",\"\":1}", "");
}

static void
every_required_parameter_is_missed(void **state)
{
	(void)state;
	assert_params("exec.run", "{\"cmd\":\"ls\"}", "capsule");
	assert_params("exec.run", "{\"capsule\":\"a\"}", "cmd");
	assert_params("exec.run", "{\"capsule\":\"a\",\"cmd\":\"ls\"}", NULL);
	assert_params("process.start", "{\"cmd\":\"ls\"}", "capsule");
	assert_params("process.start", "{\"capsule\":\"a\"}", "cmd");
	assert_params("process.list", "{}", "capsule");
	assert_params("process.kill", "{\"pid\":1}", "capsule");
	assert_params("exec.stream", "{\"cmd\":\"ls\"}", "capsule");
	assert_params("exec.stream", "{\"capsule\":\"a\"}", "cmd");
	assert_params(
	    "exec.stream", "{\"capsule\":\"a\",\"cmd\":\"ls\"}", NULL);
	assert_params("exec.stream",
	    "{\"capsule\":\"a\",\"cmd\":\"ls\",\"timeout_sec\":0}",
	    "timeout_sec");
	assert_params("file.read", "{\"capsule\":\"a\"}", "path");
	assert_params("file.read", "{\"path\":\"/a\"}", "capsule");
	assert_params("call.cancel", "{}", "call");
}

/* JSON null is a value, and of no parameter's type. */
static void
null_is_not_absent(void **state)
{
	(void)state;
	assert_params("capsule.create", "{\"name\":null}", "name");
	assert_params("capsule.create", "{\"vcpus\":null}", "vcpus");
	assert_params("capsule.create", "{\"wait\":null}", "wait");
	assert_params("capsule.create", "{\"labels\":null}", "labels");
	assert_params("capsule.create", "{\"lease\":null}", "lease");
	assert_params("capsule.get", "{\"capsule\":null}", "capsule");
	assert_params("call.cancel", "{\"call\":null}", "call");
	assert_params("exec.run",
	    "{\"capsule\":\"a\",\"cmd\":\"b\",\"args\":null}", "args");
}

/* Each type of parameter takes its own values and no other. */
static void
wrong_types_are_refused(void **state)
{
	static const char *const values[] = { "\"text\"", "1", "1.5", "true",
		"[]", "[1]", "{}", "{\"a\":1}" };
	static const struct {
		const char *method, *before, *param;
		bool good[8];
	} rows[] = {
		{ "capsule.create", "{", "name", { 1, 0, 0, 0, 0, 0, 0, 0 } },
		{ "capsule.create", "{", "vcpus", { 0, 1, 0, 0, 0, 0, 0, 0 } },
		{ "capsule.create", "{", "wait", { 0, 0, 0, 1, 0, 0, 0, 0 } },
		{ "capsule.create", "{", "labels", { 0, 0, 0, 0, 0, 0, 1, 0 } },
		{ "capsule.create", "{", "lease", { 0, 0, 0, 0, 0, 0, 1, 1 } },
		{ "capsule.get", "{", "capsule", { 1, 0, 0, 0, 0, 0, 0, 0 } },
		{ "capsule.wait", "{\"capsule\":\"a\",", "status",
		    { 0, 0, 0, 0, 0, 0, 0, 0 } },
		{ "call.cancel", "{", "call", { 1, 1, 1, 0, 0, 0, 0, 0 } },
		{ "exec.run", "{\"capsule\":\"a\",\"cmd\":\"b\",", "args",
		    { 0, 0, 0, 0, 1, 0, 0, 0 } },
	};
	char text[200];
	size_t i, j;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		for (j = 0; j < COUNT(values); j++) {
			snprintf(text, sizeof(text), "%s\"%s\":%s}",
			    rows[i].before, rows[i].param, values[j]);
			assert_params(rows[i].method, text,
			    rows[i].good[j] ? NULL : rows[i].param);
		}
	}
}

static void
whole_numbers_stay_within_their_range(void **state)
{
	(void)state;
	assert_params("capsule.create", "{\"vcpus\":0}", "vcpus");
	assert_params("capsule.create", "{\"vcpus\":1}", NULL);
	assert_params("capsule.create", "{\"vcpus\":1024}", NULL);
	assert_params("capsule.create", "{\"vcpus\":1025}", "vcpus");
	assert_params("capsule.create", "{\"vcpus\":-1}", "vcpus");
	assert_params("capsule.create", "{\"vcpus\":4294967297}", "vcpus");
	assert_params("capsule.create", "{\"timeout_sec\":0}", NULL);
	assert_params("capsule.create", "{\"timeout_sec\":31536000}", NULL);
	assert_params(
	    "capsule.create", "{\"timeout_sec\":31536001}", "timeout_sec");
}

/* A size that json-c would clamp must not pass as the largest size. */
static void
sizes_beyond_64_bits_are_refused(void **state)
{
	(void)state;
	assert_params("file.write",
	    "{\"capsule\":\"a\",\"path\":\"/b\","
	    "\"size\":9223372036854775807}",
	    NULL);
	assert_params("file.write",
	    "{\"capsule\":\"a\",\"path\":\"/b\","
	    "\"size\":9223372036854775808}",
	    "size");
	assert_params("file.write",
	    "{\"capsule\":\"a\",\"path\":\"/b\","
	    "\"size\":99999999999999999999}",
	    "size");
}

static void
strings_stay_within_their_length(void **state)
{
	static const char both[] = "\"capsule\":\"a\",\"path\":\"/b\",";

	(void)state;
	assert_length("capsule.create", "", "name", 0, "name");
	assert_length("capsule.create", "", "name", 1, NULL);
	assert_length("capsule.create", "", "name", LIMIT_NAME, NULL);
	assert_length("capsule.create", "", "name", LIMIT_NAME + 1, "name");
	assert_length("capsule.get", "", "capsule", 0, "capsule");
	assert_length("capsule.get", "", "capsule", LIMIT_NAME, NULL);
	assert_length("capsule.get", "", "capsule", LIMIT_NAME + 1, "capsule");
	assert_length("daemon.hello", "", "client", 0, NULL);
	assert_length(
	    "file.read", "\"capsule\":\"a\",", "path", LIMIT_PATH, NULL);
	assert_length(
	    "file.read", "\"capsule\":\"a\",", "path", LIMIT_PATH + 1, "path");
	assert_length("auth.set", "", "api_key", LIMIT_SECRET, NULL);
	assert_length("auth.set", "", "api_key", LIMIT_SECRET + 1, "api_key");
	assert_length("file.write", both, "text", 0, NULL);
	assert_length("file.write", both, "text", LIMIT_REQUEST_LINE, NULL);
	assert_length(
	    "file.write", both, "text", LIMIT_REQUEST_LINE + 1, "text");
}

static void
string_lengths_are_bytes(void **state)
{
	char text[300] = "{\"name\":\"";
	size_t i, n = strlen(text);

	(void)state;
	for (i = 0; i < LIMIT_NAME / 2; i++, n += 2)
		memcpy(text + n, "\xc3\xa9", 2);
	memcpy(text + n, "\"}", 3);
	assert_params("capsule.create", text, NULL);
	memcpy(text + n, "x\"}", 4);
	assert_params("capsule.create", text, "name");
}

static void
strings_with_nul_are_refused(void **state)
{
	(void)state;
	assert_params("capsule.create", "{\"name\":\"a\\u0000b\"}", "name");
	assert_params("capsule.get", "{\"capsule\":\"\\u0000\"}", "capsule");
	assert_params("exec.run",
	    "{\"capsule\":\"a\",\"cmd\":\"b\",\"args\":[\"c\\u0000\"]}",
	    "args");
	assert_params("exec.run",
	    "{\"capsule\":\"a\",\"cmd\":\"b\",\"envs\":{\"A\":\"\\u0000\"}}",
	    "envs");
}

static void
choices_are_whole_words(void **state)
{
	static const struct {
		const char *status;
		bool good;
	} words[] = {
		{ "running", true },
		{ "paused", true },
		{ "stopped", true },
		{ "", false },
		{ "run", false },
		{ "runningx", false },
		{ "Running", false },
		{ "paused|stopped", false },
		{ "|", false },
		{ "topped", false },
	};
	char text[100];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(words); i++) {
		snprintf(text, sizeof(text),
		    "{\"capsule\":\"a\",\"status\":\"%s\"}", words[i].status);
		assert_params(
		    "capsule.wait", text, words[i].good ? NULL : "status");
	}
}

/* args with n strings, the last of them of `last` bytes. */
static void
assert_args(int n, size_t last, const char *wanted)
{
	struct buf b;
	size_t i;
	int j;

	buf_init(&b, 1 << 20);
	buf_adds(&b, "{\"capsule\":\"a\",\"cmd\":\"b\",\"args\":[");
	for (j = 1; j < n; j++)
		buf_adds(&b, "\"\",");
	buf_adds(&b, "\"");
	for (i = 0; i < last; i++)
		buf_adds(&b, "x");
	buf_adds(&b, "\"]}");
	assert_params("exec.run", buf_str(&b), wanted);
	buf_release(&b);
}

static void
arrays_of_strings_are_bounded(void **state)
{
	(void)state;
	assert_args(1, 0, NULL);
	assert_args(LIMIT_ARGS, 1, NULL);
	assert_args(LIMIT_ARGS + 1, 1, "args");
	assert_args(2, LIMIT_ARG, NULL);
	assert_args(2, LIMIT_ARG + 1, "args");
	assert_params("exec.run",
	    "{\"capsule\":\"a\",\"cmd\":\"b\",\"args\":[\"x\",1]}", "args");
	assert_params("exec.run",
	    "{\"capsule\":\"a\",\"cmd\":\"b\",\"args\":[null]}", "args");
}

/* labels with n members, the last of them with a value of `last` bytes. */
static void
assert_labels(int n, size_t last, const char *wanted)
{
	struct buf b;
	size_t i;
	int j;

	buf_init(&b, 1 << 20);
	buf_adds(&b, "{\"labels\":{");
	for (j = 1; j < n; j++)
		buf_addf(&b, "\"k%d\":\"\",", j);
	buf_adds(&b, "\"last\":\"");
	for (i = 0; i < last; i++)
		buf_adds(&b, "x");
	buf_adds(&b, "\"}}");
	assert_params("capsule.create", buf_str(&b), wanted);
	buf_release(&b);
}

static void
maps_of_strings_are_bounded(void **state)
{
	(void)state;
	assert_labels(1, LIMIT_LABEL_VALUE, NULL);
	assert_labels(1, LIMIT_LABEL_VALUE + 1, "labels");
	assert_labels(LIMIT_ENVS, 1, NULL);
	assert_labels(LIMIT_ENVS + 1, 1, "labels");
	assert_params("capsule.create", "{\"labels\":{\"a\":1}}", "labels");
	assert_params("capsule.create", "{\"labels\":{\"a\":null}}", "labels");
	assert_params("capsule.create", "{\"labels\":{\"a\":{}}}", "labels");
}

static void
ids_are_of_their_kind(void **state)
{
	(void)state;
	assert_params(
	    "host.get", "{\"host\":\"host-0123456789abcdefghijklmno\"}", NULL);
	assert_params(
	    "host.get", "{\"host\":\"key-0123456789abcdefghijklmno\"}", "host");
	assert_params("host.get", "{\"host\":\"../capsules\"}", "host");
	assert_params(
	    "key.delete", "{\"key\":\"key-0123456789abcdefghijklmno\"}", NULL);
	assert_params("key.delete",
	    "{\"key\":\"wrn_0123456789abcdef0123456789abcdef\"}", "key");
	assert_params(
	    "host.create", "{\"type\":\"byoc\",\"team_id\":\"x\"}", "team_id");
	assert_params("host.create", "{\"type\":\"own\"}", "type");
	assert_params("host.create", "{}", "type");
}

static void
names_can_stand_in_a_path(void **state)
{
	(void)state;
	assert_params("snapshot.delete", "{\"name\":\"a.b-c_D\"}", NULL);
	assert_params("snapshot.delete", "{\"name\":\"..\"}", "name");
	assert_params("snapshot.delete", "{\"name\":\"a/b\"}", "name");
	assert_params("snapshot.delete", "{\"name\":\"\"}", "name");
	assert_params(
	    "snapshot.create", "{\"capsule\":\"c\",\"name\":\"a b\"}", "name");
	assert_params("snapshot.list", "{\"type\":\"all\"}", "type");
}

static void
dates_are_days(void **state)
{
	(void)state;
	assert_params("capsule.usage", "{}", NULL);
	assert_params("capsule.usage",
	    "{\"from\":\"2026-02-28\",\"to\":\"2026-03-01\"}", NULL);
	assert_params("capsule.usage", "{\"from\":\"2026-02-30\"}", "from");
	assert_params("capsule.usage", "{\"to\":\"today\"}", "to");
	assert_params("capsule.usage", "{\"to\":20260228}", "to");
}

/* The message of a fault names what the caller can look up. */
static void
faults_speak_of_the_parameter(void **state)
{
	struct json_check_fault fault;
	struct json_object *params;
	struct rpc_error e;

	(void)state;
	params = jx_parse(LITERAL("{\"vcpus\":5000}"), &fault);
	method_check_params(method("capsule.create"), params, &e);
	json_object_put(params);
	assert_string_equal(e.message, "parameter vcpus must be 1 to 1024");
	method_check_params(method("capsule.get"), NULL, &e);
	assert_string_equal(
	    e.message, "capsule.get needs the parameter capsule");
	params = jx_parse(LITERAL("{\"nmae\":\"x\"}"), &fault);
	method_check_params(method("capsule.create"), params, &e);
	json_object_put(params);
	assert_string_equal(
	    e.message, "capsule.create has no parameter \"nmae\"");
}

/* A row of the table as the OpenRPC document has it. */
static void
assert_described(const struct method *m, struct json_object *o)
{
	struct json_object *list = jx_arr(o, "params"), *one;
	const struct param *p;
	size_t i;

	assert_string_equal(jx_str(o, "name"), m->name);
	assert_string_equal(jx_str(o, "summary"), m->summary);
	assert_string_equal(jx_str(o, "paramStructure"), "by-name");
	assert_string_equal(jx_str(o, "x-access"), access_name(m->access));
	assert_string_equal(jx_str(o, "x-hangup"), hangup_name(m->hangup));
	assert_string_equal(jx_str(o, "x-fds"), m->fds);
	assert_string_equal(
	    jx_str(jx_obj(o, "result"), "description"), m->result);
	for (p = m->params, i = 0; p->name != NULL; p++, i++) {
		one = json_object_array_get_idx(list, i);
		assert_string_equal(jx_str(one, "name"), p->name);
		assert_string_equal(jx_str(one, "description"), p->help);
		assert_true(jx_bool(one, "required", false) ==
			    ((p->flags & PARAM_REQUIRED) != 0));
		assert_non_null(jx_obj(one, "schema"));
	}
	assert_int_equal(json_object_array_length(list), i);
}

static void
openrpc_describes_every_method(void **state)
{
	struct json_object *doc = methods_openrpc("1.2.3"), *list;
	int i;

	(void)state;
	assert_string_equal(jx_str(doc, "openrpc"), "1.2.6");
	assert_string_equal(jx_str(jx_obj(doc, "info"), "version"), "1.2.3");
	list = jx_arr(doc, "methods");
	assert_int_equal(json_object_array_length(list), METHOD_COUNT);
	for (i = 0; i < METHOD_COUNT; i++)
		assert_described(method_by_id((enum method_id)i),
		    json_object_array_get_idx(list, (size_t)i));
	json_object_put(doc);
}

/* The schema of one parameter, as text. */
static void
assert_schema(struct json_object *doc, const char *name, const char *param,
    const char *wanted)
{
	struct json_object *list = jx_arr(doc, "methods"), *params, *one;
	enum method_id id = method_by_name(name);
	struct buf b;
	size_t i;

	params = jx_arr(json_object_array_get_idx(list, id), "params");
	for (i = 0; i < json_object_array_length(params); i++) {
		one = json_object_array_get_idx(params, i);
		if (strcmp(jx_str(one, "name"), param) != 0)
			continue;
		buf_init(&b, 1000);
		assert_int_equal(jx_print(&b, jx_obj(one, "schema")), 0);
		assert_string_equal(buf_str(&b), wanted);
		buf_release(&b);
		return;
	}
	fail_msg("%s has no parameter %s", name, param);
}

static void
openrpc_schemas_state_the_limits(void **state)
{
	struct json_object *doc = methods_openrpc("1");

	(void)state;
	assert_schema(doc, "capsule.create", "name",
	    "{\"type\":\"string\",\"minLength\":1,\"maxLength\":64}");
	assert_schema(doc, "capsule.get", "capsule",
	    "{\"type\":\"string\",\"minLength\":1,\"maxLength\":64}");
	assert_schema(doc, "capsule.create", "vcpus",
	    "{\"type\":\"integer\",\"minimum\":1,\"maximum\":1024}");
	assert_schema(doc, "capsule.create", "wait", "{\"type\":\"boolean\"}");
	assert_schema(doc, "capsule.create", "lease", "{\"type\":\"object\"}");
	assert_schema(doc, "capsule.create", "labels",
	    "{\"type\":\"object\",\"additionalProperties\":"
	    "{\"type\":\"string\",\"maxLength\":256}}");
	assert_schema(doc, "exec.run", "args",
	    "{\"type\":\"array\",\"items\":"
	    "{\"type\":\"string\",\"maxLength\":131072}}");
	assert_schema(doc, "capsule.wait", "status",
	    "{\"type\":\"string\","
	    "\"enum\":[\"running\",\"paused\",\"stopped\"]}");
	assert_schema(doc, "snapshot.create", "name",
	    "{\"type\":\"string\",\"pattern\":"
	    "\"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$\"}");
	assert_schema(doc, "host.get", "host",
	    "{\"type\":\"string\",\"pattern\":\"^host-[0-9a-z]{25}$\"}");
	assert_schema(doc, "capsule.usage", "from",
	    "{\"type\":\"string\",\"format\":\"date\"}");
	assert_schema(
	    doc, "call.cancel", "call", "{\"type\":[\"string\",\"number\"]}");
	json_object_put(doc);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_is_whole),
		cmocka_unit_test(no_parameter_is_named_twice),
		cmocka_unit_test(unknown_names_are_no_methods),
		cmocka_unit_test(access_classes_are_as_designed),
		cmocka_unit_test(a_create_is_never_hung_up_on),
		cmocka_unit_test(params_may_be_left_out_where_none_is_required),
		cmocka_unit_test(params_are_by_name),
		cmocka_unit_test(unknown_parameters_are_refused_by_name),
		cmocka_unit_test(every_required_parameter_is_missed),
		cmocka_unit_test(null_is_not_absent),
		cmocka_unit_test(wrong_types_are_refused),
		cmocka_unit_test(whole_numbers_stay_within_their_range),
		cmocka_unit_test(sizes_beyond_64_bits_are_refused),
		cmocka_unit_test(strings_stay_within_their_length),
		cmocka_unit_test(string_lengths_are_bytes),
		cmocka_unit_test(strings_with_nul_are_refused),
		cmocka_unit_test(choices_are_whole_words),
		cmocka_unit_test(arrays_of_strings_are_bounded),
		cmocka_unit_test(maps_of_strings_are_bounded),
		cmocka_unit_test(ids_are_of_their_kind),
		cmocka_unit_test(names_can_stand_in_a_path),
		cmocka_unit_test(dates_are_days),
		cmocka_unit_test(faults_speak_of_the_parameter),
		cmocka_unit_test(openrpc_describes_every_method),
		cmocka_unit_test(openrpc_schemas_state_the_limits),
	};

	return cmocka_run_group_tests_name("methods", tests, NULL, NULL);
}
