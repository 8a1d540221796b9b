#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "client/cmd.h"
#include "client/human.h"
#include "client/wrenn_priv.h"
#include "proto/jx.h"

#include "proto/banned.h"

/* --- events */

struct events_opts {
	const char *since;
	struct opt_list types;
	const char *capsule;
	bool no_follow;
};

/* clang-format off */
static const struct opt events_opts[] = {
	{ "since", 0, OPT_TEXT, "NUMBER", "first those above this number that wrennd still keeps; 0 for all", offsetof(struct events_opts, since) },
	{ "type", 0, OPT_LIST, "TYPE", "only this type, or all that start so when it ends in a dot; may be given several times", offsetof(struct events_opts, types) },
	{ "capsule", 0, OPT_TEXT, "CAPSULE", "only those of this capsule", offsetof(struct events_opts, capsule) },
	{ "no-follow", 0, OPT_FLAG, NULL, "print what is kept and end", offsetof(struct events_opts, no_follow) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};
/* clang-format on */

/* The members that stand in columns of their own. */
static bool
is_column(const char *key)
{
	return strcmp(key, "seq") == 0 || strcmp(key, "time") == 0 ||
	       strcmp(key, "type") == 0;
}

/* "12  2026-11-23 15:04:05  capsule.live  capsule=cl-… name=web" */
static void
print_event(struct ctl *ctl, struct json_object *event)
{
	struct human h;
	struct buf b;
	int64_t seq = 0, ms = 0;
	const char *text;

	jx_int(event, "seq", 0, INT64_MAX, &seq);
	jx_int(event, "time", 0, INT64_MAX, &ms);
	out_printf(&ctl->out, "%jd  %s  ", (intmax_t)seq,
	    human_time(&h, (time_t)(ms / 1000)));
	text = jx_str(event, "type");
	out_text(&ctl->out, text ? text : "-");
	buf_init(&b, OUT_TEXT_MAX);
	json_object_object_foreach(event, key, value) {
		if (is_column(key))
			continue;
		buf_addf(&b, "%s%s=", b.len > 0 ? " " : "  ", key);
		out_value(&b, value);
	}
	text = buf_str(&b);
	out_text(&ctl->out, text ? text : "");
	out_bytes(&ctl->out, "\n", 1);
	buf_release(&b);
}

static void
on_event(void *arg, int64_t id, struct json_object *params)
{
	struct ctl *ctl = arg;
	struct json_object *event = jx_obj(params, "event");
	int64_t missed;

	(void)id;
	if (event != NULL && ctl->out.json)
		out_json(&ctl->out, event);
	else if (event != NULL)
		print_event(ctl, event);
	else if (jx_int(params, "missed", 1, INT64_MAX, &missed) == 0)
		out_note("%jd events were missed", (intmax_t)missed);
	out_flush(&ctl->out);
}

static int
events_params(const struct events_opts *o, struct json_object **ret,
    struct wrenn_error *err)
{
	struct json_object *params = json_object_new_object(), *types;
	char *end;
	long long since;
	size_t i;

	*ret = params;
	jx_add_bool(params, "follow", !o->no_follow);
	if (o->since != NULL) {
		since = strtoll(o->since, &end, 10);
		if (end == o->since || *end != '\0' || since < 0)
			return wrenn_error_set(err, RPC_USAGE,
			    "--since wants the number of an event, not %s",
			    o->since);
		jx_add_int(params, "since", since);
	}
	if (o->capsule != NULL)
		jx_add_str(params, "capsule", o->capsule);
	if (o->types.count == 0)
		return 0;
	types = json_object_new_array();
	for (i = 0; i < o->types.count; i++)
		json_object_array_add(
		    types, json_object_new_string(o->types.items[i]));
	jx_add(params, "types", types);
	return 0;
}

/* Until wrennd ends it, a signal comes, or nobody reads the output. */
static int
follow(struct ctl *ctl, struct json_object *params, struct wrenn_error *err)
{
	struct json_object *result;
	int64_t id = wrenn_send(ctl->w, "daemon.events", params, err);

	if (id < 0)
		return -1;
	while (wrenn_wait(ctl->w, id, INTERRUPT_POLL_MS, &result, err) < 0) {
		if (!wrenn_is_pending(ctl->w, id) || interrupt_signal() != 0)
			return -1;
		wrenn_error_release(err);
		if (ctl->out.write_errno != 0)
			return 0; /* out_close() says so */
	}
	json_object_put(result);
	return 0;
}

static int
events_run(struct ctl *ctl, const void *opts, char **args)
{
	struct json_object *params;
	struct wrenn_error err;
	int r;

	(void)args;
	r = events_params(opts, &params, &err);
	if (r == 0)
		r = ctl_open(ctl, &err);
	if (r == 0) {
		interrupt_catch();
		wrenn_set_interrupt(ctl->w, interrupt_flag());
		wrenn_on_event(ctl->w, on_event, ctl);
		r = follow(ctl, params, &err);
	}
	json_object_put(params);
	if (r == 0)
		return EXIT_OK;
	/* Following ends by Ctrl-C: that is no failure. */
	if (interrupt_signal() == 0)
		return ctl_fail(ctl, &err);
	wrenn_error_release(&err);
	return 128 + interrupt_signal();
}

/* clang-format off */
const struct cmd cmd_watch[] = {
	{ "events", "[OPTION...]", "Follow what happens to capsules, calls and the connection", NULL,
	  events_opts, sizeof(struct events_opts),
	  "  wrennctl events\n"
	  "  wrennctl events --since 0 --no-follow --type capsule.\n",
	  0, 0, 0, events_run },
	{ NULL, NULL, NULL, NULL, NULL, 0, NULL, 0, 0, 0, NULL }
};
/* clang-format on */
