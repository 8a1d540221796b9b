#include "proto/json_check.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"

#include "proto/banned.h"

/* A name of an object that is still open, or just closed. */
struct name {
	uint64_t hash; /* of its code points */
	const char *text;
	const char *end; /* the closing quote */
};

/*
 * One check. `names` is a stack: each open object's names lie above those of
 * the objects around it and are dropped when it closes.
 */
struct check {
	const char *start, *p, *end;
	const char *reason; /* set once, with p at the fault */
	struct name *names;
	size_t name_count, name_alloc;
	size_t values, max_values;
	bool nul_name;
};

static bool
fail(struct check *c, const char *at, const char *reason)
{
	c->p = at;
	c->reason = reason;
	return false;
}

static void
skip_space(struct check *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' ||
				    *c->p == '\n' || *c->p == '\r'))
		c->p++;
}

/*
 * Bytes of the UTF-8 sequence at s, which has n bytes, or 0 when it is not
 * one (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
 */
static size_t
utf8_sequence(const unsigned char *s, size_t n)
{
	unsigned char low = 0x80, high = 0xBF;
	size_t len, i;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xC2 || s[0] > 0xF4)
		return 0;
	len = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
	if (s[0] == 0xE0)
		low = 0xA0;
	else if (s[0] == 0xED)
		high = 0x9F;
	else if (s[0] == 0xF0)
		low = 0x90;
	else if (s[0] == 0xF4)
		high = 0x8F;
	if (len > n || s[1] < low || s[1] > high)
		return 0;
	for (i = 2; i < len; i++)
		if ((s[i] & 0xC0) != 0x80)
			return 0;
	return len;
}

size_t
utf8_valid_prefix(const char *s, size_t n)
{
	size_t i = 0, len;

	while (i < n) {
		len = utf8_sequence((const unsigned char *)s + i, n - i);
		if (len == 0)
			break;
		i += len;
	}
	return i;
}

/* Four hexadecimal digits at p, or -1. */
static int32_t
hex4(const char *p, const char *end)
{
	int32_t v = 0;
	int i;

	if (end - p < 4)
		return -1;
	for (i = 0; i < 4; i++) {
		char ch = p[i];

		v <<= 4;
		if (ch >= '0' && ch <= '9')
			v |= ch - '0';
		else if ((ch | 32) >= 'a' && (ch | 32) <= 'f')
			v |= (ch | 32) - 'a' + 10;
		else
			return -1;
	}
	return v;
}

/* The escape at c->p, which stands on the backslash. */
static bool
check_escape(struct check *c)
{
	const char *at = c->p;
	int32_t v, low;

	if (++c->p >= c->end)
		return fail(c, at, "unfinished escape");
	if (*c->p != 'u') {
		if (strchr("\"\\/bfnrt", *c->p) == NULL || *c->p == '\0')
			return fail(c, at, "unknown escape");
		c->p++;
		return true;
	}
	v = hex4(c->p + 1, c->end);
	if (v < 0)
		return fail(c, at, "\\u needs four hexadecimal digits");
	c->p += 5;
	if (v < 0xD800 || v > 0xDFFF)
		return true;
	if (v > 0xDBFF || c->end - c->p < 6 || c->p[0] != '\\' ||
	    c->p[1] != 'u')
		return fail(c, at, "lone surrogate");
	low = hex4(c->p + 2, c->end);
	if (low < 0xDC00 || low > 0xDFFF)
		return fail(c, at, "lone surrogate");
	c->p += 6;
	return true;
}

/* A string at c->p, which stands on the opening quote. */
static bool
check_string(struct check *c)
{
	const char *open = c->p++;
	unsigned char ch;
	size_t n;

	while (c->p < c->end) {
		ch = (unsigned char)*c->p;
		if (ch == '"') {
			c->p++;
			return true;
		}
		if (ch < 0x20)
			return fail(c, c->p, "control character in a string");
		if (ch == '\\') {
			if (!check_escape(c))
				return false;
			continue;
		}
		n = utf8_sequence(
		    (const unsigned char *)c->p, (size_t)(c->end - c->p));
		if (n == 0)
			return fail(c, c->p, "not UTF-8");
		c->p += n;
	}
	return fail(c, open, "unfinished string");
}

static bool
is_digit(const struct check *c)
{
	return c->p < c->end && *c->p >= '0' && *c->p <= '9';
}

static bool
check_digits(struct check *c)
{
	if (!is_digit(c))
		return fail(c, c->p, "digit expected");
	while (is_digit(c))
		c->p++;
	return true;
}

static bool
check_number(struct check *c)
{
	if (*c->p == '-')
		c->p++;
	if (c->p < c->end && *c->p == '0') {
		c->p++;
		if (is_digit(c))
			return fail(c, c->p, "number with a leading zero");
	} else if (!check_digits(c)) {
		return false;
	}
	if (c->p < c->end && *c->p == '.') {
		c->p++;
		if (!check_digits(c))
			return false;
	}
	if (c->p < c->end && (*c->p | 32) == 'e') {
		c->p++;
		if (c->p < c->end && (*c->p == '+' || *c->p == '-'))
			c->p++;
		if (!check_digits(c))
			return false;
	}
	return true;
}

/* The code point at *p inside a string that was checked; moves *p. */
static uint32_t
next_code_point(const char **p)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const unsigned char *s = (const unsigned char *)*p;
	uint32_t v;
	size_t n, i;

	if (s[0] == '\\' && s[1] != 'u') {
		*p += 2;
		return (unsigned char)to[strchr(from, s[1]) - from];
	}
	if (s[0] == '\\') {
		v = (uint32_t)hex4(*p + 2, *p + 6);
		*p += 6;
		if (v < 0xD800 || v > 0xDFFF)
			return v;
		v = 0x10000 + ((v - 0xD800) << 10) +
		    ((uint32_t)hex4(*p + 2, *p + 6) - 0xDC00);
		*p += 6;
		return v;
	}
	n = s[0] < 0x80 ? 1 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
	v = n == 1 ? s[0] : s[0] & (0xFFU >> (n + 1));
	for (i = 1; i < n; i++)
		v = v << 6 | (s[i] & 0x3F);
	*p += n;
	return v;
}

/* By hash, then by content, so that equal names end up side by side. */
static int
name_compare(const void *va, const void *vb)
{
	const struct name *a = va, *b = vb;
	const char *p = a->text, *q = b->text;
	uint32_t x, y;

	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	while (p < a->end && q < b->end) {
		x = next_code_point(&p);
		y = next_code_point(&q);
		if (x != y)
			return x < y ? -1 : 1;
	}
	return (p < a->end) - (q < b->end);
}

/* Remembers a name that was just read; c->p stands behind its quote. */
static bool
push_name(struct check *c, const char *text)
{
	struct name *n;
	const char *p = text;
	uint32_t v;

	if (c->name_count == c->name_alloc) {
		size_t alloc = c->name_alloc ? 2 * c->name_alloc : 32;

		n = reallocarray(c->names, alloc, sizeof(*n));
		if (n == NULL)
			return fail(c, text, "out of memory");
		c->names = n;
		c->name_alloc = alloc;
	}
	n = &c->names[c->name_count++];
	*n = (struct name){ 0xcbf29ce484222325U, text, c->p - 1 };
	while (p < n->end) {
		v = next_code_point(&p);
		if (v == 0)
			c->nul_name = true;
		n->hash = (n->hash ^ v) * 0x100000001b3U; /* FNV-1a */
	}
	return true;
}

/* Drops the names from `base` on, unless two of them are the same. */
static bool
pop_names(struct check *c, size_t base)
{
	size_t i, count = c->name_count - base;
	struct name *n;

	c->name_count = base;
	if (count < 2)
		return true;
	n = c->names + base;
	qsort(n, count, sizeof(*n), name_compare);
	for (i = 1; i < count; i++)
		if (name_compare(&n[i - 1], &n[i]) == 0)
			return fail(c,
			    n[i].text > n[i - 1].text ? n[i].text
						      : n[i - 1].text,
			    "duplicate name in an object");
	return true;
}

static bool check_value(struct check *c, int depth);

static bool
check_member(struct check *c, int depth)
{
	const char *name;

	skip_space(c);
	if (c->p >= c->end || *c->p != '"')
		return fail(c, c->p, "name in double quotes expected");
	name = c->p + 1;
	if (!check_string(c) || !push_name(c, name))
		return false;
	skip_space(c);
	if (c->p >= c->end || *c->p != ':')
		return fail(c, c->p, "colon expected");
	c->p++;
	return check_value(c, depth);
}

/* An object or array at c->p, which stands on its opening bracket. */
static bool
check_container(struct check *c, int depth)
{
	bool object = *c->p == '{';
	char close = object ? '}' : ']';
	size_t base = c->name_count;

	if (depth >= LIMIT_JSON_DEPTH)
		return fail(c, c->p, "nested too deeply");
	c->p++;
	skip_space(c);
	if (c->p < c->end && *c->p == close) {
		c->p++;
		return true;
	}
	for (;;) {
		if (!(object ? check_member(c, depth + 1)
			     : check_value(c, depth + 1)))
			return false;
		skip_space(c);
		if (c->p < c->end && *c->p == close)
			break;
		if (c->p >= c->end || *c->p != ',')
			return fail(c, c->p,
			    object ? "comma or } expected"
				   : "comma or ] expected");
		c->p++;
	}
	c->p++;
	return pop_names(c, base);
}

static bool
check_word(struct check *c, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0)
		return fail(c, c->p, "value expected");
	c->p += n;
	return true;
}

/* One value, with white space before it but not behind. */
static bool
check_value(struct check *c, int depth)
{
	skip_space(c);
	if (c->p >= c->end)
		return fail(c, c->p, "value expected");
	if (++c->values > c->max_values)
		return fail(c, c->p, "too many values");
	switch (*c->p) {
	case '{':
	case '[':
		return check_container(c, depth);
	case '"':
		return check_string(c);
	case 't':
		return check_word(c, "true");
	case 'f':
		return check_word(c, "false");
	case 'n':
		return check_word(c, "null");
	case '-':
	case '0' ... '9':
		return check_number(c);
	default:
		return fail(c, c->p, "value expected");
	}
}

int
json_check(const char *text, size_t len, struct json_check_fault *ret)
{
	struct check c = {
		.start = text,
		.p = text,
		.end = text + len,
		.max_values =
		    len / 16 > LIMIT_JSON_VALUES ? len / 16 : LIMIT_JSON_VALUES,
	};
	bool ok;

	ok = check_value(&c, 0);
	if (ok) {
		skip_space(&c);
		if (c.p < c.end)
			ok = fail(&c, c.p, "text behind the value");
	}
	free(c.names);
	*ret = (struct json_check_fault){
		.offset = (size_t)(c.p - c.start),
		.reason = ok ? NULL : c.reason,
		.nul_name = c.nul_name,
	};
	return ok ? 0 : -EINVAL;
}

/* Behind the string that starts at p. */
static const char *
skip_string(const char *p)
{
	for (p++; *p != '"'; p++)
		if (*p == '\\')
			p++;
	return p + 1;
}

/* Behind one punctuation mark, or a number or word with it. */
static const char *
skip_scalar(const char *p, const char *end)
{
	for (p++; p < end; p++)
		if (strchr(",:[]{}\" \t\n\r", *p) != NULL)
			break;
	return p;
}

/* Behind the value that starts at p, in text that was checked. */
static const char *
skip_value(const char *p, const char *end)
{
	int depth = 0;

	do {
		switch (*p) {
		case '"':
			p = skip_string(p);
			break;
		case '{':
		case '[':
			depth++;
			p++;
			break;
		case '}':
		case ']':
			depth--;
			p++;
			break;
		default:
			p = skip_scalar(p, end);
		}
	} while (depth > 0);
	return p;
}

static const char *
skip_blank(const char *p, const char *end)
{
	while (p < end && strchr(" \t\n\r", *p) != NULL)
		p++;
	return p;
}

bool
json_next_element(const char *text, size_t len, size_t *pos,
    const char **ret_value, size_t *ret_len)
{
	const char *end = text + len;
	const char *p;

	p = skip_blank(text + *pos, end);
	if (p < end && (*p == '[' || *p == ','))
		p = skip_blank(p + 1, end);
	if (p >= end || *p == ']')
		return false;
	*ret_value = p;
	p = skip_value(p, end);
	*ret_len = (size_t)(p - *ret_value);
	*pos = (size_t)(skip_blank(p, end) - text);
	return true;
}

bool
json_member_text(const char *text, size_t len, const char *name,
    const char **ret_value, size_t *ret_len)
{
	struct name wanted = { 0, name, name + strlen(name) };
	const char *end = text + len;
	const char *p = skip_blank(text, end);

	if (p >= end || *p != '{')
		return false;
	p = skip_blank(p + 1, end);
	while (p < end && *p == '"') {
		struct name have = { 0, p + 1, skip_string(p) - 1 };
		const char *value;

		p = skip_blank(have.end + 1, end); /* the colon */
		value = skip_blank(p + 1, end);
		p = skip_value(value, end);
		if (name_compare(&have, &wanted) == 0) {
			*ret_value = value;
			*ret_len = (size_t)(p - value);
			return true;
		}
		p = skip_blank(p, end);
		if (p < end && *p == ',')
			p = skip_blank(p + 1, end);
	}
	return false;
}
