#include "proto/json_walk.h"

#include <string.h>

#include "proto/buf.h"
#include "proto/json_plain.h"

#include "proto/banned.h"

/* ---- strings ---- */

/* Four hexadecimal digits. */
static uint32_t
hex4(const char *p)
{
	uint32_t v = 0;
	int i;

	for (i = 0; i < 4; i++)
		v = v << 4 | (uint32_t)(p[i] <= '9' ? p[i] - '0'
						    : (p[i] | 32) - 'a' + 10);
	return v;
}

uint32_t
json_code_point(const char **p)
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
		v = hex4(*p + 2);
		*p += 6;
		if (v < 0xD800 || v > 0xDFFF)
			return v;
		v = 0x10000 + ((v - 0xD800) << 10) + (hex4(*p + 2) - 0xDC00);
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

int
json_compare(const char *a, const char *a_end, const char *b, const char *b_end)
{
	uint32_t x, y;

	while (a < a_end && b < b_end) {
		x = json_code_point(&a);
		y = json_code_point(&b);
		if (x != y)
			return x < y ? -1 : 1;
	}
	return (a < a_end) - (b < b_end);
}

/* The UTF-8 form of a code point; returns its length. */
static size_t
encode(char *out, uint32_t v)
{
	static const unsigned char lead[] = { 0, 0x00, 0xC0, 0xE0, 0xF0 };
	size_t n = v < 0x80 ? 1 : v < 0x800 ? 2 : v < 0x10000 ? 3 : 4, i;

	for (i = n - 1; i > 0; i--, v >>= 6)
		out[i] = (char)(0x80 | (v & 0x3F));
	out[0] = (char)(lead[n] | v);
	return n;
}

/* What of n bytes fits, with no character in two. */
static size_t
cut(const char *p, size_t n, size_t room)
{
	if (n <= room)
		return n;
	while (room > 0 && ((unsigned char)p[room] & 0xC0) == 0x80)
		room--;
	return room;
}

size_t
json_decode(char *out, size_t size, const char *p, const char *end)
{
	size_t used = 0, run, n;
	char form[4];

	for (;;) {
		run = json_bare_run(p, end);
		n = cut(p, run, size - used);
		memcpy(out + used, p, n);
		used += n;
		p += n;
		if (p == end || n < run)
			return used;
		n = encode(form, json_code_point(&p));
		if (n > size - used)
			return used;
		memcpy(out + used, form, n);
		used += n;
	}
}

const char *
json_skip_string(const char *p, const char *end)
{
	for (p++;;) {
		p += json_bare_run(p, end);
		if (*p == '"')
			return p + 1;
		p += 2; /* a backslash and what it escapes */
	}
}

/* ---- values ---- */

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *
skip_blank(const char *p, const char *end)
{
	while (p < end && is_blank(*p))
		p++;
	return p;
}

/* Behind a number or a word. */
static const char *
skip_scalar(const char *p, const char *end)
{
	while (p < end && !is_blank(*p) && *p != ',' && *p != ']' && *p != '}')
		p++;
	return p;
}

/* Behind the object or array that starts at p. */
static const char *
skip_container(const char *p, const char *end)
{
	int depth = 0;

	for (;;) {
		switch (*p) {
		case '"':
			p = json_skip_string(p, end);
			break;
		case '{':
		case '[':
			depth++;
			p++;
			break;
		case '}':
		case ']':
			p++;
			if (--depth == 0)
				return p;
			break;
		default:
			p++;
		}
	}
}

/* Behind the value that starts at p. */
static const char *
skip_value(const char *p, const char *end)
{
	switch (*p) {
	case '"':
		return json_skip_string(p, end);
	case '{':
	case '[':
		return skip_container(p, end);
	default:
		return skip_scalar(p, end);
	}
}

char
json_first(const char *text, size_t len)
{
	return *skip_blank(text, text + len);
}

/*
 * At the next member or element of what `open` begins, or NULL at its end and
 * for what is something else.
 */
static const char *
next_part(const char *text, const char *end, size_t pos, char open)
{
	const char *p = skip_blank(text + pos, end);

	if (p == end || *p != (pos == 0 ? open : ','))
		return NULL;
	p = skip_blank(p + 1, end);
	return p == end || *p == '}' || *p == ']' ? NULL : p;
}

bool
json_next_element(const char *text, size_t len, size_t *pos,
    const char **ret_value, size_t *ret_len)
{
	const char *end = text + len;
	const char *p = next_part(text, end, *pos, '[');

	if (p == NULL)
		return false;
	*ret_value = p;
	p = skip_value(p, end);
	*ret_len = (size_t)(p - *ret_value);
	*pos = (size_t)(p - text);
	return true;
}

bool
json_next_member(
    const char *text, size_t len, size_t *pos, struct json_member *ret)
{
	const char *end = text + len;
	const char *p = next_part(text, end, *pos, '{');

	if (p == NULL)
		return false;
	ret->name = p + 1;
	p += 1 + json_bare_run(p + 1, end);
	ret->escaped = *p != '"';
	p = ret->escaped ? json_skip_string(ret->name - 1, end) : p + 1;
	ret->name_len = (size_t)(p - 1 - ret->name);
	p = skip_blank(p, end); /* the colon */
	ret->value = skip_blank(p + 1, end);
	p = skip_value(ret->value, end);
	ret->len = (size_t)(p - ret->value);
	*pos = (size_t)(p - text);
	return true;
}

bool
json_stands_for(const char *inside, size_t len, const char *wanted)
{
	size_t n = strlen(wanted);

	if (json_bare_run(inside, inside + len) == len)
		return len == n && memcmp(inside, wanted, n) == 0;
	return json_compare(inside, inside + len, wanted, wanted + n) == 0;
}

bool
json_member_equals(const struct json_member *m, const char *content)
{
	return m->value[0] == '"' &&
	       json_stands_for(m->value + 1, m->len - 2, content);
}

int
json_print_line(struct buf *out, const char *text, size_t len)
{
	char *p, *end;
	int r = buf_add(out, text, len);

	if (r < 0)
		return r;
	end = buf_head(out) + out->len;
	for (p = end - len; (p = memchr(p, '\n', (size_t)(end - p))) != NULL;)
		*p = ' ';
	for (p = end - len; (p = memchr(p, '\r', (size_t)(end - p))) != NULL;)
		*p = ' ';
	return 0;
}
