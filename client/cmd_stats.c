#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

#include "client/cmd.h"
#include "client/human.h"
#include "client/table.h"
#include "client/wrenn_priv.h"
#include "proto/jx.h"

#include "proto/banned.h"

/* The array of an answer; NULL with the error when there is none. */
static struct json_object *
rows_of(struct json_object *result, const char *key, struct wrenn_error *err)
{
	struct json_object *rows = jx_arr(result, key);

	if (rows == NULL)
		wrenn_error_set(
		    err, RPC_PROTOCOL, "the answer holds no list of %s", key);
	return rows;
}

/* A number with so many digits behind the point; "-" where there is none. */
static void
add_number(struct table *t, struct json_object *o, const char *key, int digits)
{
	double n = jx_double(o, key, -1);
	struct human h = { "-" };

	if (n >= 0)
		snprintf(h.text, sizeof(h.text), "%.*f", digits, n);
	table_add(t, h.text);
}

/* --- metrics */

struct range_opts {
	const char *range;
};

/* clang-format off */
static const struct opt metrics_opts[] = {
	{ "range", 0, OPT_TEXT, "TIME", "how far back: 5m, 10m (default), 1h, 2h, 6h, 12h or 24h", offsetof(struct range_opts, range) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};

static const struct column metrics_columns[] = {
	{ "TIME", false }, { "CPU%", true }, { "MEMORY", true }, { "DISK", true },
};
/* clang-format on */

static void
add_bytes(struct table *t, struct json_object *o, const char *key)
{
	struct human h;
	int64_t n;

	table_add(t, jx_int(o, key, 0, INT64_MAX, &n) == 0
			 ? human_bytes(&h, (uint64_t)n)
			 : "-");
}

static void
print_points(struct ctl *ctl, struct json_object *points)
{
	struct json_object *p;
	struct human h;
	struct table t;
	int64_t at;
	size_t i;

	table_init(&t, metrics_columns,
	    sizeof(metrics_columns) / sizeof(*metrics_columns));
	for (i = 0; i < json_object_array_length(points); i++) {
		p = json_object_array_get_idx(points, i);
		table_add(
		    &t, jx_int(p, "timestamp_unix", 0, INT64_MAX, &at) == 0
			    ? human_time(&h, (time_t)at)
			    : "-");
		add_number(&t, p, "cpu_pct", 1);
		add_bytes(&t, p, "mem_bytes");
		add_bytes(&t, p, "disk_bytes");
	}
	table_print(&t, &ctl->out, table_terminal_width());
	table_release(&t);
}

/* The parameters of a call that may be given a range. */
static struct json_object *
range_params(const struct range_opts *o)
{
	struct json_object *params = json_object_new_object();

	if (o->range != NULL)
		jx_add_str(params, "range", o->range);
	return params;
}

/* Calls a method whose result has points, and prints them; takes params over.
 */
static int
show_points(struct ctl *ctl, const char *method, struct json_object *params,
    void (*print)(struct ctl *ctl, struct json_object *points))
{
	struct json_object *result, *points;
	struct wrenn_error err;

	if (ctl_call(ctl, method, params, &result, &err) < 0)
		return ctl_fail(ctl, &err);
	points = rows_of(result, "points", &err);
	if (points == NULL) {
		json_object_put(result);
		return ctl_fail(ctl, &err);
	}
	if (ctl->out.json)
		out_json(&ctl->out, result);
	else
		print(ctl, points);
	json_object_put(result);
	return EXIT_OK;
}

static int
capsule_metrics(
    struct ctl *ctl, const struct range_opts *o, const char *capsule)
{
	struct json_object *params = range_params(o);

	/* Unlike wrennd's own figures, these are somebody's. */
	ctl->uses_server = true;
	jx_add_str(params, "capsule", capsule);
	return show_points(ctl, "capsule.metrics", params, print_points);
}

static int
metrics_run(struct ctl *ctl, const void *opts, char **args)
{
	const struct range_opts *o = opts;
	struct json_object *result;
	struct wrenn_error err;
	const char *text;

	if (args[0] != NULL)
		return capsule_metrics(ctl, o, args[0]);
	if (o->range != NULL)
		return ctl_usage(ctl, "--range needs a capsule");
	if (ctl_call(ctl, "daemon.metrics", NULL, &result, &err) < 0)
		return ctl_fail(ctl, &err);
	text = jx_str(result, "text");
	if (ctl->out.json)
		out_json(&ctl->out, result);
	else if (text != NULL)
		out_bytes(&ctl->out, text, strlen(text));
	json_object_put(result);
	return EXIT_OK;
}

/* --- stats */

/* clang-format off */
static const struct opt stats_opts[] = {
	{ "range", 0, OPT_TEXT, "TIME", "how far back: 5m, 1h (default), 6h, 24h or 30d", offsetof(struct range_opts, range) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};

static const struct column stats_columns[] = {
	{ "", false }, { "NOW", true }, { "PEAK", true },
};
/* clang-format on */

static void
print_stats(struct ctl *ctl, struct json_object *stats)
{
	static const struct {
		const char *label, *now, *peak;
	} rows[] = {
		{ "capsules", "running_count", "running_count" },
		{ "vcpus", "vcpus_reserved", "vcpus" },
		{ "memory MiB", "memory_mb_reserved", "memory_mb" },
	};
	struct table t;
	size_t i;

	table_init(
	    &t, stats_columns, sizeof(stats_columns) / sizeof(*stats_columns));
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		table_add(&t, rows[i].label);
		add_number(&t, jx_obj(stats, "current"), rows[i].now, 0);
		add_number(&t, jx_obj(stats, "peaks"), rows[i].peak, 0);
	}
	table_print(&t, &ctl->out, table_terminal_width());
	table_release(&t);
}

static int
stats_run(struct ctl *ctl, const void *opts, char **args)
{
	struct json_object *result;
	struct wrenn_error err;

	(void)args;
	if (ctl_call(ctl, "capsule.stats", range_params(opts), &result, &err) <
	    0)
		return ctl_fail(ctl, &err);
	if (ctl->out.json)
		out_json(&ctl->out, result);
	else
		print_stats(ctl, result);
	json_object_put(result);
	return EXIT_OK;
}

/* --- usage */

struct usage_opts {
	const char *from, *to;
};

/* clang-format off */
static const struct opt usage_opts[] = {
	{ "from", 0, OPT_TEXT, "YYYY-MM-DD", "the first day (default: 30 days in all)", offsetof(struct usage_opts, from) },
	{ "to", 0, OPT_TEXT, "YYYY-MM-DD", "the last day (default: today)", offsetof(struct usage_opts, to) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};

static const struct column usage_columns[] = {
	{ "DAY", false }, { "CPU-MINUTES", true }, { "RAM-MB-MINUTES", true },
};
/* clang-format on */

static void
print_days(struct ctl *ctl, struct json_object *points)
{
	struct json_object *p;
	const char *day;
	struct table t;
	size_t i;

	table_init(
	    &t, usage_columns, sizeof(usage_columns) / sizeof(*usage_columns));
	for (i = 0; i < json_object_array_length(points); i++) {
		p = json_object_array_get_idx(points, i);
		day = jx_str(p, "date");
		table_add(&t, day ? day : "-");
		add_number(&t, p, "cpu_minutes", 1);
		add_number(&t, p, "ram_mb_minutes", 0);
	}
	table_print(&t, &ctl->out, table_terminal_width());
	table_release(&t);
}

static int
usage_run(struct ctl *ctl, const void *opts, char **args)
{
	struct json_object *params = json_object_new_object();
	const struct usage_opts *o = opts;

	(void)args;
	if (o->from != NULL)
		jx_add_str(params, "from", o->from);
	if (o->to != NULL)
		jx_add_str(params, "to", o->to);
	return show_points(ctl, "capsule.usage", params, print_days);
}

/* clang-format off */
const struct cmd cmd_stats[] = {
	{ "metrics", "[[--range TIME] CAPSULE]", "Print a capsule's figures, or wrennd's as OpenMetrics text",
	  "With a CAPSULE: its processor, memory and disk, as the server took them. Without:\n"
	  "what wrennd counts of itself, for a monitoring system.",
	  metrics_opts, sizeof(struct range_opts),
	  "  wrennctl metrics build --range 1h\n"
	  "  wrennctl metrics\n",
	  0, 0, 1, metrics_run },
	{ "stats", "[OPTION...]", "Show how many capsules the team runs, and ran of late",
	  "With -o json there is a series of figures behind it.",
	  stats_opts, sizeof(struct range_opts),
	  "  wrennctl stats --range 24h\n",
	  CMD_SERVER, 0, 0, stats_run },
	{ "usage", "[OPTION...]", "Show what the team used, day by day",
	  NULL, usage_opts, sizeof(struct usage_opts),
	  "  wrennctl usage --from 2026-11-01\n",
	  CMD_SERVER, 0, 0, usage_run },
	{ NULL, NULL, NULL, NULL, NULL, 0, NULL, 0, 0, 0, NULL }
};
/* clang-format on */
