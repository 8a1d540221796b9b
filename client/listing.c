#include "client/listing.h"

#include <stdio.h>
#include <time.h>

#include <json-c/json.h>

#include "client/cmd.h"
#include "client/human.h"
#include "client/table.h"
#include "client/wrenn_priv.h"
#include "proto/jx.h"

#include "proto/banned.h"

#define COLUMNS_MAX 8

/* clang-format off */
const struct opt listing_opts[] = {
	{ "quiet", 'q', OPT_FLAG, NULL, "print the first column alone", 0 },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};
/* clang-format on */

static const char *
text_of(struct json_object *o, const char *key)
{
	const char *s = jx_str(o, key);

	return s ? s : "-";
}

/* How long ago a time was. */
static const char *
age_of(struct human *h, const char *text)
{
	time_t when;

	if (human_parse_time(text, &when) < 0)
		return "-";
	return human_age(h, time(NULL) - when);
}

static void
add_cell(struct table *t, const struct listing_column *c, struct json_object *o)
{
	struct human h;
	int64_t n;

	if (c->kind == LISTING_TEXT) {
		table_add(t, text_of(o, c->key));
		return;
	}
	if (c->kind == LISTING_TIME) {
		table_add(t, age_of(&h, text_of(o, c->key)));
		return;
	}
	if (jx_int(o, c->key, 0, INT64_MAX, &n) < 0) {
		table_add(t, "-");
	} else if (c->kind == LISTING_BYTES) {
		table_add(t, human_bytes(&h, (uint64_t)n));
	} else if (c->kind == LISTING_MIB) {
		table_add(t, human_mib(&h, n));
	} else {
		snprintf(h.text, sizeof(h.text), "%jd", (intmax_t)n);
		table_add(t, h.text);
	}
}

static void
print_table(struct ctl *ctl, const struct listing *l, struct json_object *rows)
{
	struct column columns[COLUMNS_MAX];
	size_t count = 0, i, j;
	struct table t;

	for (; count < COLUMNS_MAX && l->columns[count].head != NULL; count++)
		columns[count] = (struct column){ l->columns[count].head,
			l->columns[count].kind != LISTING_TEXT };
	table_init(&t, columns, count);
	for (i = 0; i < json_object_array_length(rows); i++)
		for (j = 0; j < count; j++)
			add_cell(&t, &l->columns[j],
			    json_object_array_get_idx(rows, i));
	table_print(&t, &ctl->out, table_terminal_width());
	table_release(&t);
}

static void
print_first(struct ctl *ctl, const struct listing *l, struct json_object *rows)
{
	size_t i;

	for (i = 0; i < json_object_array_length(rows); i++) {
		out_text(&ctl->out, text_of(json_object_array_get_idx(rows, i),
					l->columns[0].key));
		out_bytes(&ctl->out, "\n", 1);
	}
}

int
listing_run(struct ctl *ctl, const struct listing *l,
    struct json_object *params, bool quiet)
{
	struct json_object *result, *rows;
	struct wrenn_error err;

	if (ctl_call(ctl, l->method, params, &result, &err) < 0)
		return ctl_fail(ctl, &err);
	rows = jx_arr(result, l->member);
	if (rows == NULL) {
		json_object_put(result);
		wrenn_error_set(&err, RPC_PROTOCOL,
		    "wrennd answered no list of %s", l->member);
		return ctl_fail(ctl, &err);
	}
	if (ctl->out.json)
		out_json(&ctl->out, result);
	else if (quiet)
		print_first(ctl, l, rows);
	else
		print_table(ctl, l, rows);
	json_object_put(result);
	return EXIT_OK;
}
