#include "proto/json_out.h"

#include <math.h>
#include <string.h>

#include <json-c/json.h>

#include "proto/buf.h"
#include "proto/json_walk.h"
#include "proto/jx.h"

#include "proto/banned.h"

void
json_out_init(struct json_out *o, struct buf *b)
{
	*o = (struct json_out){ .buf = b };
}

static void
add(struct json_out *o, const char *text, size_t n)
{
	if (o->error == 0)
		o->error = buf_add(o->buf, text, n);
}

/* The comma and the name; whether there is any use in going on. */
static bool
begin_n(struct json_out *o, const char *name, size_t n)
{
	char *to;

	if (o->error != 0)
		return false;
	o->error = buf_reserve(o->buf, n + 4, &to);
	if (o->error != 0)
		return false;
	if (o->comma)
		*to++ = ',';
	if (name != NULL) {
		*to++ = '"';
		memcpy(to, name, n);
		memcpy(to + n, "\":", 2);
	}
	buf_commit(o->buf, o->comma + (name ? n + 3 : 0));
	o->comma = true;
	return true;
}

static bool
begin(struct json_out *o, const char *name)
{
	return begin_n(o, name, name ? strlen(name) : 0);
}

static void
open_bracket(struct json_out *o, const char *name, const char *bracket)
{
	if (begin(o, name))
		add(o, bracket, 1);
	o->comma = false;
}

static void
close_bracket(struct json_out *o, const char *bracket)
{
	add(o, bracket, 1);
	o->comma = true;
}

void
json_out_object(struct json_out *o, const char *name)
{
	open_bracket(o, name, "{");
}

void
json_out_end_object(struct json_out *o)
{
	close_bracket(o, "}");
}

void
json_out_array(struct json_out *o, const char *name)
{
	open_bracket(o, name, "[");
}

void
json_out_end_array(struct json_out *o)
{
	close_bracket(o, "]");
}

void
json_out_str(struct json_out *o, const char *name, const char *s)
{
	json_out_strn(o, name, s, strlen(s));
}

void
json_out_strn(struct json_out *o, const char *name, const char *s, size_t n)
{
	if (begin(o, name))
		o->error = jx_print_string(o->buf, s, n);
}

void
json_out_int(struct json_out *o, const char *name, int64_t n)
{
	if (begin(o, name))
		o->error = buf_addi(o->buf, n);
}

void
json_out_bool(struct json_out *o, const char *name, bool b)
{
	if (begin(o, name))
		o->error = buf_adds(o->buf, b ? "true" : "false");
}

void
json_out_null(struct json_out *o, const char *name)
{
	if (begin(o, name))
		o->error = buf_add(o->buf, "null", 4);
}

/* As json-c prints fractions elsewhere. */
void
json_out_double(struct json_out *o, const char *name, double n)
{
	struct json_object *v;

	if (!isfinite(n)) {
		json_out_null(o, name);
		return;
	}
	v = json_object_new_double(n);
	if (begin(o, name))
		o->error = jx_print(o->buf, v);
	json_object_put(v);
}

void
json_out_text(
    struct json_out *o, const char *name, const char *text, size_t len)
{
	if (begin(o, name))
		o->error = json_print_line(o->buf, text, len);
}

void
json_out_member(struct json_out *o, const struct json_member *m)
{
	if (begin_n(o, m->name, m->name_len))
		o->error = json_print_line(o->buf, m->value, m->len);
}

void
json_out_members(struct json_out *o, const char *text, size_t len)
{
	const char *open_brace = memchr(text, '{', len);
	const char *p = open_brace + 1, *last = text + len;

	while (*--last != '}')
		;
	while (p < last && (unsigned char)*p <= ' ')
		p++;
	if (p < last && begin(o, NULL))
		o->error = json_print_line(o->buf, p, (size_t)(last - p));
}
