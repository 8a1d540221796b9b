#include "daemon/view.h"

#include <string.h>

#include "daemon/tracker.h"
#include "proto/json_out.h"
#include "proto/json_walk.h"

#include "proto/banned.h"

/* The names of members that are told from here, of a capsule on record. */
static bool
is_ours(const struct json_member *m)
{
	return json_member_is(m, "tracked") || json_member_is(m, "name") ||
	       json_member_is(m, "labels") || json_member_is(m, "lease") ||
	       json_member_is(m, "record");
}

/* A string without NUL that fits; else nothing. */
static void
copy_text(char *to, size_t size, const struct json_member *m)
{
	size_t n = 0;

	if (m->value[0] == '"' && m->len - 2 < size)
		n = json_decode(
		    to, size - 1, m->value + 1, m->value + m->len - 1);
	to[n] = '\0';
	if (strlen(to) != n)
		to[0] = '\0';
}

bool
shown_init(struct shown *s, const char *text, size_t len)
{
	struct json_member m;
	size_t pos = 0;

	*s = (struct shown){ .text = len > 0 ? text : NULL, .len = len };
	if (len == 0)
		return true;
	while (json_next_member(text, len, &pos, &m)) {
		s->any = true;
		if (json_member_is(&m, "id"))
			copy_text(s->id, sizeof(s->id), &m);
		else if (json_member_is(&m, "status"))
			copy_text(s->status, sizeof(s->status), &m);
		else if (is_ours(&m))
			s->ours = true;
	}
	return json_first(text, len) == '{';
}

/* What a record says of a capsule that upstream did not show. */
static void
print_row(struct json_out *out, const struct capsule_row *r)
{
	json_out_str(out, "id", r->id[0] ? r->id : r->record);
	json_out_str(out, "status",
	    r->state == CAPSULE_GONE   ? "stopped"
	    : r->state == CAPSULE_LIVE ? "unlisted"
				       : capsule_state_name(r->state));
	json_out_str(out, "template", r->template);
	if (r->vcpus != 0)
		json_out_int(out, "vcpus", r->vcpus);
	if (r->memory_mb != 0)
		json_out_int(out, "memory_mb", r->memory_mb);
	json_out_int(out, "timeout_sec", r->timeout_s);
}

/* Upstream's members, without those that are told from here. */
static void
print_others(
    struct json_out *out, const struct capsule *c, const struct shown *s)
{
	struct json_member m;
	size_t pos = 0;

	while (json_next_member(s->text, s->len, &pos, &m))
		if (!json_member_is(&m, "tracked") &&
		    (c == NULL || !is_ours(&m)))
			json_out_member(out, &m);
}

static void
print_record(struct json_out *out, const struct capsule_row *r)
{
	if (r->name[0] != '\0')
		json_out_str(out, "name", r->name);
	else
		json_out_null(out, "name");
	if (r->labels != NULL)
		json_out_text(out, "labels", r->labels, strlen(r->labels));
	else
		json_out_text(out, "labels", "{}", 2);
	json_out_text(out, "lease", "{\"type\":\"none\"}", 15);
	json_out_str(out, "record", capsule_state_name(r->state));
}

void
view_print(struct json_out *out, const struct capsule *c, const struct shown *s)
{
	json_out_object(out, NULL);
	if (s == NULL || s->text == NULL)
		print_row(out, &c->row);
	else if (s->ours)
		print_others(out, c, s);
	else if (s->any)
		json_out_members(out, s->text, s->len);
	json_out_bool(out, "tracked", c != NULL);
	if (c != NULL)
		print_record(out, &c->row);
	json_out_end_object(out);
}
