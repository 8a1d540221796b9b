#include "proto/jx.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include <json-c/json.h>

#include "proto/buf.h"
#include "proto/json_check.h"
#include "proto/limits.h"

#include "proto/banned.h"

#define PRINT_FLAGS (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

struct json_object *
jx_parse(const char *text, size_t len, struct json_check_fault *ret_fault)
{
	struct json_tokener *tok;
	struct json_object *value;

	if (json_check(text, len, ret_fault) < 0)
		return NULL;
	tok = json_tokener_new_ex(LIMIT_JSON_DEPTH + 1);
	if (tok == NULL) {
		ret_fault->reason = "out of memory";
		return NULL;
	}
	value = json_tokener_parse_ex(tok, text, (int)len);
	/* A bare number ends only when json-c sees what follows it. */
	if (json_tokener_get_error(tok) == json_tokener_continue)
		value = json_tokener_parse_ex(tok, "", 1);
	if (value == NULL &&
	    json_tokener_get_error(tok) != json_tokener_success)
		ret_fault->reason = "out of memory";
	json_tokener_free(tok);
	return value;
}

bool
jx_get(struct json_object *o, const char *key, struct json_object **ret)
{
	if (!json_object_is_type(o, json_type_object))
		return false;
	return json_object_object_get_ex(o, key, ret);
}

const char *
jx_bytes_of(struct json_object *value, size_t *ret_len)
{
	if (!json_object_is_type(value, json_type_string))
		return NULL;
	*ret_len = (size_t)json_object_get_string_len(value);
	return json_object_get_string(value);
}

const char *
jx_text_of(struct json_object *value, size_t *ret_len)
{
	const char *s;
	size_t n;

	s = jx_bytes_of(value, &n);
	if (s == NULL || memchr(s, '\0', n) != NULL)
		return NULL;
	if (ret_len != NULL)
		*ret_len = n;
	return s;
}

int
jx_int_of(struct json_object *value, int64_t min, int64_t max, int64_t *ret)
{
	int64_t n;

	if (!json_object_is_type(value, json_type_int))
		return -EINVAL;
	n = json_object_get_int64(value);
	/* json-c gives these two for whatever lies beyond them as well. */
	if (n == INT64_MIN || json_object_get_uint64(value) > INT64_MAX)
		return -ERANGE;
	if (n < min || n > max)
		return -ERANGE;
	*ret = n;
	return 0;
}

const char *
jx_str(struct json_object *o, const char *key)
{
	struct json_object *v;

	return jx_get(o, key, &v) ? jx_text_of(v, NULL) : NULL;
}

static struct json_object *
member_of_type(struct json_object *o, const char *key, json_type type)
{
	struct json_object *v;

	if (!jx_get(o, key, &v) || !json_object_is_type(v, type))
		return NULL;
	return v;
}

struct json_object *
jx_obj(struct json_object *o, const char *key)
{
	return member_of_type(o, key, json_type_object);
}

struct json_object *
jx_arr(struct json_object *o, const char *key)
{
	return member_of_type(o, key, json_type_array);
}

int
jx_int(struct json_object *o, const char *key, int64_t min, int64_t max,
    int64_t *ret)
{
	struct json_object *v;

	return jx_get(o, key, &v) ? jx_int_of(v, min, max, ret) : -ENOENT;
}

bool
jx_bool(struct json_object *o, const char *key, bool absent)
{
	struct json_object *v = member_of_type(o, key, json_type_boolean);

	return v ? json_object_get_boolean(v) : absent;
}

double
jx_double(struct json_object *o, const char *key, double absent)
{
	struct json_object *v;
	double n;

	if (!jx_get(o, key, &v))
		return absent;
	if (!json_object_is_type(v, json_type_int) &&
	    !json_object_is_type(v, json_type_double))
		return absent;
	n = json_object_get_double(v);
	return isfinite(n) ? n : absent;
}

void
jx_add(struct json_object *o, const char *key, struct json_object *value)
{
	json_object_object_add(o, key, value);
}

void
jx_add_str(struct json_object *o, const char *key, const char *s)
{
	jx_add(o, key, json_object_new_string(s));
}

void
jx_add_strn(struct json_object *o, const char *key, const char *s, size_t n)
{
	jx_add(o, key, json_object_new_string_len(s, (int)n));
}

void
jx_add_int(struct json_object *o, const char *key, int64_t n)
{
	jx_add(o, key, json_object_new_int64(n));
}

void
jx_add_double(struct json_object *o, const char *key, double n)
{
	/* json-c would print the words NaN and Infinity, which are no JSON. */
	jx_add(o, key, isfinite(n) ? json_object_new_double(n) : NULL);
}

void
jx_add_bool(struct json_object *o, const char *key, bool b)
{
	jx_add(o, key, json_object_new_boolean(b));
}

void
jx_add_null(struct json_object *o, const char *key)
{
	jx_add(o, key, NULL);
}

int
jx_print(struct buf *out, struct json_object *value)
{
	const char *text;
	size_t n;

	text = json_object_to_json_string_length(value, PRINT_FLAGS, &n);
	return text ? buf_add(out, text, n) : -ENOMEM;
}

/* The escape of one byte below 0x20, or of a quote or backslash. */
static int
print_escape(struct buf *out, unsigned char c)
{
	static const char shorts[] = "btn.fr"; /* from 8 on; 11 has none */

	if (c == '"' || c == '\\')
		return buf_addf(out, "\\%c", c);
	if (c >= 8 && c <= 13 && c != 11)
		return buf_addf(out, "\\%c", shorts[c - 8]);
	return buf_addf(out, "\\u%04x", c);
}

int
jx_print_string(struct buf *out, const char *s, size_t n)
{
	size_t i, from = 0;
	unsigned char c;
	int r;

	if ((r = buf_add(out, "\"", 1)) < 0)
		return r;
	for (i = 0; i < n; i++) {
		c = (unsigned char)s[i];
		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		if ((r = buf_add(out, s + from, i - from)) < 0 ||
		    (r = print_escape(out, c)) < 0)
			return r;
		from = i + 1;
	}
	if ((r = buf_add(out, s + from, n - from)) < 0)
		return r;
	return buf_add(out, "\"", 1);
}
