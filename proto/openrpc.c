#include "proto/methods.h"

#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

#include "proto/jx.h"

#include "proto/banned.h"

static void
add_choices(struct json_object *schema, const char *choices)
{
	struct json_object *list = json_object_new_array();
	size_t n;

	for (;; choices += n + 1) {
		n = strcspn(choices, "|");
		json_object_array_add(
		    list, json_object_new_string_len(choices, (int)n));
		if (choices[n] == '\0')
			break;
	}
	jx_add(schema, "enum", list);
}

static void
add_id_pattern(struct json_object *schema, const char *prefix)
{
	char pattern[64];

	snprintf(pattern, sizeof(pattern), "^%s-[0-9a-z]{25}$", prefix);
	jx_add_str(schema, "pattern", pattern);
}

static struct json_object *
string_schema(int64_t max)
{
	struct json_object *o = json_object_new_object();

	jx_add_str(o, "type", "string");
	jx_add_int(o, "maxLength", max);
	return o;
}

/* The JSON Schema of one parameter. Lengths are bytes, not characters. */
static struct json_object *
param_schema(const struct param *p)
{
	static const char *const types[] = {
		[PARAM_STRING] = "string",
		[PARAM_INT] = "integer",
		[PARAM_BOOL] = "boolean",
		[PARAM_CAPSULE] = "string",
		[PARAM_NAME] = "string",
		[PARAM_IDENT] = "string",
		[PARAM_DATE] = "string",
		[PARAM_ENUM] = "string",
		[PARAM_STRINGS] = "array",
		[PARAM_MAP] = "object",
		[PARAM_OBJECT] = "object",
	};
	struct json_object *o = json_object_new_object();
	struct json_object *both;

	if (p->type == PARAM_ID) {
		both = json_object_new_array();
		json_object_array_add(both, json_object_new_string("string"));
		json_object_array_add(both, json_object_new_string("number"));
		jx_add(o, "type", both);
		return o;
	}
	jx_add_str(o, "type", types[p->type]);
	if (p->type == PARAM_STRING || p->type == PARAM_CAPSULE) {
		jx_add_int(o, "minLength", p->min);
		jx_add_int(o, "maxLength", p->max);
	} else if (p->type == PARAM_INT) {
		jx_add_int(o, "minimum", p->min);
		jx_add_int(o, "maximum", p->max);
	} else if (p->type == PARAM_ENUM) {
		add_choices(o, p->choices);
	} else if (p->type == PARAM_NAME) {
		jx_add_str(o, "pattern", "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$");
	} else if (p->type == PARAM_IDENT) {
		add_id_pattern(o, p->choices);
	} else if (p->type == PARAM_DATE) {
		jx_add_str(o, "format", "date");
	} else if (p->type == PARAM_STRINGS) {
		jx_add(o, "items", string_schema(p->max));
	} else if (p->type == PARAM_MAP) {
		jx_add(o, "additionalProperties", string_schema(p->max));
	}
	return o;
}

static struct json_object *
method_openrpc(const struct method *m)
{
	struct json_object *o = json_object_new_object();
	struct json_object *params = json_object_new_array();
	struct json_object *result = json_object_new_object();
	struct json_object *one;
	const struct param *p;

	for (p = m->params; p->name != NULL; p++) {
		one = json_object_new_object();
		jx_add_str(one, "name", p->name);
		jx_add_str(one, "description", p->help);
		jx_add_bool(one, "required", p->flags & PARAM_REQUIRED);
		jx_add(one, "schema", param_schema(p));
		json_object_array_add(params, one);
	}
	jx_add_str(result, "name", "result");
	jx_add_str(result, "description", m->result);
	one = json_object_new_object();
	jx_add_str(one, "type", "object");
	jx_add(result, "schema", one);

	jx_add_str(o, "name", m->name);
	jx_add_str(o, "summary", m->summary);
	jx_add_str(o, "paramStructure", "by-name");
	jx_add(o, "params", params);
	jx_add(o, "result", result);
	jx_add_str(o, "x-access", access_name(m->access));
	jx_add_str(o, "x-hangup", hangup_name(m->hangup));
	jx_add_str(o, "x-fds", m->fds);
	return o;
}

struct json_object *
methods_openrpc(const char *version)
{
	struct json_object *o = json_object_new_object();
	struct json_object *info = json_object_new_object();
	struct json_object *list = json_object_new_array();
	int i;

	jx_add_str(info, "title", "wrennd");
	jx_add_str(info, "version", version);
	for (i = 0; i < METHOD_COUNT; i++)
		json_object_array_add(
		    list, method_openrpc(method_by_id((enum method_id)i)));
	jx_add_str(o, "openrpc", "1.2.6");
	jx_add(o, "info", info);
	jx_add(o, "methods", list);
	return o;
}
