#include "proto/json_check.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json_plain.h"
#include "proto/json_walk.h"
#include "proto/limits.h"

#include "proto/banned.h"

#define NAMES_FIRST 64 /* names of all open objects: few texts have more */
#define PAIRS_MAX   16 /* names that are compared each with each */

/* A name of an object that is still open, or just closed. */
struct name {
	unsigned char key[8]; /* its first code points, cut to bytes */
	bool plain;           /* no escapes, and ASCII alone */
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
	struct name *names; /* `first`, or on the heap */
	size_t name_count, name_alloc;
	size_t values, max_values;
	bool nul_name;
	bool plain; /* the string read last: no escapes, and ASCII alone */
	struct name first[NAMES_FIRST];
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
	while (
	    c->p < c->end && (unsigned char)*c->p <= ' ' &&
	    (*c->p == ' ' || *c->p == '\t' || *c->p == '\n' || *c->p == '\r'))
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

	c->plain = true;
	for (;;) {
		c->p += json_plain_run(c->p, c->end);
		if (c->p == c->end)
			return fail(c, open, "unfinished string");
		ch = (unsigned char)*c->p;
		if (ch == '"') {
			c->p++;
			return true;
		}
		c->plain = false;
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

/* By key, then by content, so that equal names end up side by side. */
static int
name_compare(const void *va, const void *vb)
{
	const struct name *a = va, *b = vb;
	size_t m = (size_t)(a->end - a->text), n = (size_t)(b->end - b->text);
	int r = memcmp(a->key, b->key, sizeof(a->key));

	if (r != 0)
		return r;
	if (!a->plain || !b->plain)
		return json_compare(a->text, a->end, b->text, b->end);
	r = memcmp(a->text, b->text, m < n ? m : n);
	return r != 0 ? r : (m > n) - (m < n);
}

static bool
names_equal(const struct name *a, const struct name *b)
{
	return memcmp(a->key, b->key, sizeof(a->key)) == 0 &&
	       name_compare(a, b) == 0;
}

/* Equal names have equal keys, however they are written. */
static void
set_key(struct name *n)
{
	const char *p = n->text;
	size_t i;

	if (n->plain && n->end - n->text >= (ptrdiff_t)sizeof(n->key)) {
		memcpy(n->key, n->text, sizeof(n->key));
		return;
	}
	memset(n->key, 0, sizeof(n->key));
	for (i = 0; i < sizeof(n->key) && p < n->end; i++)
		n->key[i] = (unsigned char)json_code_point(&p);
}

static bool
has_nul(const struct name *n)
{
	const char *p = n->text;

	while (p < n->end)
		if (json_code_point(&p) == 0)
			return true;
	return false;
}

static bool
more_names(struct check *c)
{
	size_t alloc = 2 * c->name_alloc;
	struct name *names;

	names = reallocarray(
	    c->names == c->first ? NULL : c->names, alloc, sizeof(*names));
	if (names == NULL)
		return false;
	if (c->names == c->first)
		memcpy(names, c->first, sizeof(c->first));
	c->names = names;
	c->name_alloc = alloc;
	return true;
}

/* Remembers a name that was just read; c->p stands behind its quote. */
static bool
push_name(struct check *c, const char *text)
{
	struct name *n;

	if (c->name_count == c->name_alloc && !more_names(c))
		return fail(c, text, "out of memory");
	n = &c->names[c->name_count++];
	n->plain = c->plain;
	n->text = text;
	n->end = c->p - 1;
	set_key(n);
	if (!n->plain && has_nul(n))
		c->nul_name = true;
	return true;
}

/* The second of two names that are the same, or NULL. */
static const struct name *
find_duplicate(struct name *n, size_t count)
{
	size_t i, j;

	if (count <= PAIRS_MAX) {
		for (i = 1; i < count; i++)
			for (j = 0; j < i; j++)
				if (names_equal(&n[i], &n[j]))
					return &n[i];
		return NULL;
	}
	qsort(n, count, sizeof(*n), name_compare);
	for (i = 1; i < count; i++)
		if (name_compare(&n[i - 1], &n[i]) == 0)
			return n[i].text > n[i - 1].text ? &n[i] : &n[i - 1];
	return NULL;
}

/* Drops the names from `base` on, unless two of them are the same. */
static bool
pop_names(struct check *c, size_t base)
{
	const struct name *twice;

	twice = find_duplicate(c->names + base, c->name_count - base);
	c->name_count = base;
	return twice == NULL ||
	       fail(c, twice->text, "duplicate name in an object");
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

/* By member: the room for names is not filled before it is used. */
static void
check_init(struct check *c, const char *text, size_t len)
{
	c->start = text;
	c->p = text;
	c->end = text + len;
	c->reason = NULL;
	c->names = c->first;
	c->name_count = 0;
	c->name_alloc = NAMES_FIRST;
	c->values = 0;
	c->max_values =
	    len / 16 > LIMIT_JSON_VALUES ? len / 16 : LIMIT_JSON_VALUES;
	c->nul_name = false;
}

int
json_check(const char *text, size_t len, struct json_check_fault *ret)
{
	struct check c;
	bool ok;

	check_init(&c, text, len);
	ok = check_value(&c, 0);
	if (ok) {
		skip_space(&c);
		if (c.p < c.end)
			ok = fail(&c, c.p, "text behind the value");
	}
	if (c.names != c.first)
		free(c.names);
	*ret = (struct json_check_fault){
		.offset = (size_t)(c.p - c.start),
		.reason = ok ? NULL : c.reason,
		.nul_name = c.nul_name,
	};
	return ok ? 0 : -EINVAL;
}
