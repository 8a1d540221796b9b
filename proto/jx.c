#include "proto/jx.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "proto/buf.h"
#include "proto/json_check.h"
#include "proto/json_plain.h"
#include "proto/json_walk.h"

#include "proto/banned.h"

/* ---- text to values ---- */

/* Reads text that json_check() accepted; p moves on. */
struct reader {
	const char *p, *end;
	bool failed; /* no memory */
};

static struct json_object *read_value(struct reader *r);

static void
skip_blank(struct reader *r)
{
	while (r->p < r->end && (unsigned char)*r->p <= ' ')
		r->p++;
}

/* The value, unless there was no memory for it. */
static struct json_object *
made(struct reader *r, struct json_object *value)
{
	if (value == NULL)
		r->failed = true;
	return value;
}

/*
 * The inside of the string at r->p, with a NUL behind it: in `small` where it
 * fits, else on the heap. NULL when there is no memory.
 */
static char *
read_text(struct reader *r, char *small, size_t size, size_t *ret_len)
{
	const char *from = r->p + 1;
	char *text = small;
	size_t n;

	r->p = json_skip_string(r->p, r->end);
	n = (size_t)(r->p - 1 - from);
	if (n >= size)
		text = malloc(n + 1);
	if (text == NULL) {
		r->failed = true;
		return NULL;
	}
	*ret_len = json_decode(text, n, from, r->p - 1);
	text[*ret_len] = '\0';
	return text;
}

static struct json_object *
read_string(struct reader *r)
{
	size_t n = json_bare_run(r->p + 1, r->end);
	const char *from = r->p + 1;
	struct json_object *value;
	char *text;

	if (from[n] == '"') {
		r->p = from + n + 1;
		return made(r, json_object_new_string_len(from, (int)n));
	}
	text = read_text(r, NULL, 0, &n);
	if (text == NULL)
		return NULL;
	value = made(r, json_object_new_string_len(text, (int)n));
	free(text);
	return value;
}

/*
 * json-c itself reads a fraction, and keeps its text: strtod() would go by
 * the program's locale.
 */
static struct json_object *
read_fraction(struct reader *r, const char *text, size_t n)
{
	struct json_tokener *tok = json_tokener_new();
	struct json_object *value = NULL;

	if (tok != NULL) {
		json_tokener_parse_ex(tok, text, (int)n);
		/* A bare number ends only when json-c sees what follows. */
		value = json_tokener_parse_ex(tok, "", 1);
		json_tokener_free(tok);
	}
	return made(r, value);
}

/* Beyond 64 bits it is the nearest that there is, as with json-c. */
static struct json_object *
read_number(struct reader *r)
{
	const char *text = r->p;
	bool minus = *text == '-', over = false;
	uint64_t v = 0;

	for (r->p += minus; r->p < r->end && isdigit((unsigned char)*r->p);
	     r->p++)
		if (__builtin_mul_overflow(v, 10U, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*r->p - '0'), &v))
			over = true;
	if (r->p < r->end && (*r->p == '.' || (*r->p | 32) == 'e')) {
		while (r->p < r->end && strchr("0123456789.+-eE", *r->p))
			r->p++;
		return read_fraction(r, text, (size_t)(r->p - text));
	}
	if (minus)
		return made(
		    r, json_object_new_int64(
			   over || v > INT64_MAX ? INT64_MIN : -(int64_t)v));
	if (over)
		v = UINT64_MAX;
	return made(r, v > INT64_MAX ? json_object_new_uint64(v)
				     : json_object_new_int64((int64_t)v));
}

static struct json_object *
read_word(struct reader *r)
{
	char first = *r->p;

	r->p += first == 'f' ? 5 : 4;
	return first == 'n' ? NULL
			    : made(r, json_object_new_boolean(first == 't'));
}

static struct json_object *
read_array(struct reader *r)
{
	struct json_object *array = made(r, json_object_new_array());

	r->p++;
	skip_blank(r);
	while (*r->p != ']' && !r->failed) {
		if (json_object_array_add(array, read_value(r)) < 0)
			r->failed = true;
		skip_blank(r);
		if (*r->p == ',')
			r->p++;
	}
	r->p++;
	return array;
}

static void
read_member(struct reader *r, struct json_object *object)
{
	char small[128], *name;
	struct json_object *value;
	size_t n;

	name = read_text(r, small, sizeof(small), &n);
	skip_blank(r);
	r->p++; /* the colon */
	value = read_value(r);
	if (name == NULL || json_object_object_add(object, name, value) < 0) {
		json_object_put(value);
		r->failed = true;
	}
	if (name != small)
		free(name);
}

static struct json_object *
read_object(struct reader *r)
{
	struct json_object *object = made(r, json_object_new_object());

	r->p++;
	skip_blank(r);
	while (*r->p != '}' && !r->failed) {
		read_member(r, object);
		skip_blank(r);
		if (*r->p == ',')
			r->p++;
		skip_blank(r);
	}
	r->p++;
	return object;
}

/* The value at r->p; NULL for null, and with r->failed set for no memory. */
static struct json_object *
read_value(struct reader *r)
{
	skip_blank(r);
	switch (*r->p) {
	case '{':
		return read_object(r);
	case '[':
		return read_array(r);
	case '"':
		return read_string(r);
	case 't':
	case 'f':
	case 'n':
		return read_word(r);
	default:
		return read_number(r);
	}
}

int
jx_read(const char *text, size_t len, struct json_object **ret)
{
	struct reader r = { .p = text, .end = text + len };

	*ret = read_value(&r);
	if (!r.failed)
		return 0;
	json_object_put(*ret);
	*ret = NULL;
	return -ENOMEM;
}

struct json_object *
jx_parse(const char *text, size_t len, struct json_check_fault *ret_fault)
{
	struct json_object *value;

	if (json_check(text, len, ret_fault) < 0)
		return NULL;
	if (jx_read(text, len, &value) < 0)
		ret_fault->reason = "out of memory";
	return value;
}

/* ---- access ---- */

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

/* ---- building ---- */

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

/* ---- values to text ---- */

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
	const char *end = s + n;
	size_t run;
	char *to;
	int r;

	for (r = buf_add(out, "\"", 1); r == 0; s++) {
		run = json_bare_run(s, end);
		/* With the closing quote, if this is all. */
		r = buf_reserve(out, run + 1, &to);
		if (r < 0)
			return r;
		memcpy(to, s, run);
		s += run;
		if (s == end) {
			to[run] = '"';
			buf_commit(out, run + 1);
			return 0;
		}
		buf_commit(out, run);
		r = print_escape(out, (unsigned char)*s);
	}
	return r;
}

static int print_value(struct buf *out, struct json_object *value);

static int
print_number(struct buf *out, struct json_object *value)
{
	int64_t n = json_object_get_int64(value);

	/* The signed one is cut off at its maximum. */
	if (n < 0)
		return buf_addi(out, n);
	return buf_addu(out, json_object_get_uint64(value));
}

static int
print_array(struct buf *out, struct json_object *array)
{
	size_t i, n = json_object_array_length(array);
	int r = buf_add(out, "[", 1);

	for (i = 0; i < n && r == 0; i++) {
		if (i > 0)
			r = buf_add(out, ",", 1);
		if (r == 0)
			r = print_value(
			    out, json_object_array_get_idx(array, i));
	}
	return r < 0 ? r : buf_add(out, "]", 1);
}

static int
print_object(struct buf *out, struct json_object *object)
{
	const char *before = "{";
	int r = 0;

	json_object_object_foreach(object, key, value) {
		if ((r = buf_add(out, before, 1)) < 0 ||
		    (r = jx_print_string(out, key, strlen(key))) < 0 ||
		    (r = buf_add(out, ":", 1)) < 0 ||
		    (r = print_value(out, value)) < 0)
			return r;
		before = ",";
	}
	return *before == '{' ? buf_add(out, "{}", 2) : buf_add(out, "}", 1);
}

/* As json-c prints it, which has a text of its own for each number. */
static int
print_double(struct buf *out, struct json_object *value)
{
	const char *text;
	size_t n;

	text = json_object_to_json_string_length(
	    value, JSON_C_TO_STRING_PLAIN, &n);
	return text ? buf_add(out, text, n) : -ENOMEM;
}

static int
print_value(struct buf *out, struct json_object *value)
{
	switch (json_object_get_type(value)) {
	case json_type_null:
		return buf_add(out, "null", 4);
	case json_type_boolean:
		return buf_adds(
		    out, json_object_get_boolean(value) ? "true" : "false");
	case json_type_int:
		return print_number(out, value);
	case json_type_double:
		return print_double(out, value);
	case json_type_string:
		return jx_print_string(out, json_object_get_string(value),
		    (size_t)json_object_get_string_len(value));
	case json_type_array:
		return print_array(out, value);
	case json_type_object:
		return print_object(out, value);
	}
	return -EINVAL;
}

int
jx_print(struct buf *out, struct json_object *value)
{
	size_t before = out->len;
	int r = print_value(out, value);

	if (r < 0)
		out->len = before;
	return r;
}
