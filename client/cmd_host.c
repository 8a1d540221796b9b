#include <stdbool.h>

#include <json-c/json.h>

#include "client/cmd.h"
#include "client/each.h"
#include "client/listing.h"
#include "client/wrenn_priv.h"
#include "proto/jx.h"

#include "proto/banned.h"

static struct json_object *
host_params(const char *host)
{
	struct json_object *params = json_object_new_object();

	jx_add_str(params, "host", host);
	return params;
}

/* --- create and token: a token that is shown once, alone on stdout */

struct create_opts {
	const char *type, *team, *provider, *zone;
};

/* clang-format off */
static const struct opt create_opts[] = {
	{ "type", 0, OPT_TEXT, "TYPE", "regular (the platform's) or byoc (a team's own)", offsetof(struct create_opts, type) },
	{ "team", 0, OPT_TEXT, "ID", "whose it is, of a byoc", offsetof(struct create_opts, team) },
	{ "provider", 0, OPT_TEXT, "NAME", "who runs the machine", offsetof(struct create_opts, provider) },
	{ "zone", 0, OPT_TEXT, "NAME", "its availability zone", offsetof(struct create_opts, zone) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};
/* clang-format on */

/* Takes params over. */
static int
print_token(struct ctl *ctl, const char *method, struct json_object *params)
{
	struct json_object *result;
	struct wrenn_error err;
	const char *token, *id;

	if (ctl_call(ctl, method, params, &result, &err) < 0)
		return ctl_fail(ctl, &err);
	token = jx_str(result, "registration_token");
	id = jx_str(jx_obj(result, "host"), "id");
	if (token == NULL) {
		json_object_put(result);
		wrenn_error_set(
		    &err, RPC_PROTOCOL, "the answer holds no token");
		return ctl_fail(ctl, &err);
	}
	if (ctl->out.json) {
		out_json(&ctl->out, result);
	} else {
		out_text(&ctl->out, token);
		out_bytes(&ctl->out, "\n", 1);
		out_note("the token registers %s, within an hour; it is not "
			 "shown again",
		    id ? id : "the host");
	}
	json_object_put(result);
	return EXIT_OK;
}

static int
create_run(struct ctl *ctl, const void *opts, char **args)
{
	const struct create_opts *o = opts;
	struct json_object *params;

	(void)args;
	if (o->type == NULL)
		return ctl_usage(ctl, "--type must say regular or byoc");
	params = json_object_new_object();
	jx_add_str(params, "type", o->type);
	if (o->team != NULL)
		jx_add_str(params, "team_id", o->team);
	if (o->provider != NULL)
		jx_add_str(params, "provider", o->provider);
	if (o->zone != NULL)
		jx_add_str(params, "availability_zone", o->zone);
	return print_token(ctl, "host.create", params);
}

static int
token_run(struct ctl *ctl, const void *opts, char **args)
{
	(void)opts;
	return print_token(ctl, "host.regenerate_token", host_params(args[0]));
}

/* --- ls and get */

static int
ls_run(struct ctl *ctl, const void *opts, char **args)
{
	static const struct listing_column columns[] = {
		{ "ID", "id", LISTING_TEXT },
		{ "STATUS", "status", LISTING_TEXT },
		{ "TYPE", "type", LISTING_TEXT },
		{ "CPUS", "cpu_cores", LISTING_COUNT },
		{ "MEMORY", "memory_mb", LISTING_MIB },
		{ "SEEN", "last_heartbeat_at", LISTING_TIME },
		{ "PROVIDER", "provider", LISTING_TEXT },
		{ "ZONE", "availability_zone", LISTING_TEXT },
		{ NULL, NULL, LISTING_TEXT },
	};
	static const struct listing hosts = { "host.list", "hosts", columns };
	const bool *quiet = opts;

	(void)args;
	return listing_run(ctl, &hosts, NULL, *quiet);
}

static int
get_run(struct ctl *ctl, const void *opts, char **args)
{
	struct json_object *result;
	struct wrenn_error err;

	(void)opts;
	if (ctl_call(ctl, "host.get", host_params(args[0]), &result, &err) < 0)
		return ctl_fail(ctl, &err);
	ctl_print_object(ctl, result);
	json_object_put(result);
	return EXIT_OK;
}

/* --- rm */

struct rm_opts {
	bool force, dry_run;
};

/* clang-format off */
static const struct opt rm_opts[] = {
	{ "force", 'f', OPT_FLAG, NULL, "destroy the capsules that run there", offsetof(struct rm_opts, force) },
	{ "dry-run", 0, OPT_FLAG, NULL, "print the IDs of those capsules and remove nothing", offsetof(struct rm_opts, dry_run) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};
/* clang-format on */

static int
preview(struct ctl *ctl, const char *host, bool many)
{
	struct json_object *result, *ids;
	struct wrenn_error err;
	const char *id;
	size_t i;

	if (ctl_call(ctl, "host.delete_preview", host_params(host), &result,
		&err) < 0) {
		if (many && !ctl->out.json)
			ctl_name_in_error(&err, host);
		return ctl_fail(ctl, &err);
	}
	ids = jx_arr(result, "sandbox_ids");
	if (ids == NULL) {
		json_object_put(result);
		wrenn_error_set(
		    &err, RPC_PROTOCOL, "the answer holds no list of capsules");
		return ctl_fail(ctl, &err);
	}
	if (ctl->out.json)
		out_json(&ctl->out, result);
	for (i = 0; i < json_object_array_length(ids) && !ctl->out.json; i++) {
		id = jx_text_of(json_object_array_get_idx(ids, i), NULL);
		out_text(&ctl->out, id ? id : "-");
		out_bytes(&ctl->out, "\n", 1);
	}
	json_object_put(result);
	return EXIT_OK;
}

static int
rm_run(struct ctl *ctl, const void *opts, char **args)
{
	struct each e = {
		.method = "host.delete", .param = "host", .print_name = true
	};
	const struct rm_opts *o = opts;
	int status = EXIT_OK, r;
	bool many = args[1] != NULL;

	for (; o->dry_run && *args != NULL; args++) {
		r = preview(ctl, *args, many);
		if (status == EXIT_OK)
			status = r;
	}
	if (o->dry_run)
		return status;
	e.common = json_object_new_object();
	jx_add_bool(e.common, "force", o->force);
	status = each_call(ctl, &e, args);
	json_object_put(e.common);
	return status;
}

/* --- tags */

static int
tags_run(struct ctl *ctl, const void *opts, char **args)
{
	struct json_object *result, *tags;
	struct wrenn_error err;
	const char *tag;
	size_t i;

	(void)opts;
	if (ctl_call(
		ctl, "host.list_tags", host_params(args[0]), &result, &err) < 0)
		return ctl_fail(ctl, &err);
	tags = jx_arr(result, "tags");
	if (tags == NULL) {
		json_object_put(result);
		wrenn_error_set(
		    &err, RPC_PROTOCOL, "wrennd answered no list of tags");
		return ctl_fail(ctl, &err);
	}
	if (ctl->out.json)
		out_json(&ctl->out, result);
	for (i = 0; i < json_object_array_length(tags) && !ctl->out.json; i++) {
		tag = jx_text_of(json_object_array_get_idx(tags, i), NULL);
		out_text(&ctl->out, tag ? tag : "-");
		out_bytes(&ctl->out, "\n", 1);
	}
	json_object_put(result);
	return EXIT_OK;
}

static int
change_tags(struct ctl *ctl, const char *method, char **args)
{
	struct each e = {
		.method = method, .param = "tag", .common = host_params(args[0])
	};
	int status = each_call(ctl, &e, args + 1);

	json_object_put(e.common);
	return status;
}

static int
tag_run(struct ctl *ctl, const void *opts, char **args)
{
	(void)opts;
	return change_tags(ctl, "host.add_tag", args);
}

static int
untag_run(struct ctl *ctl, const void *opts, char **args)
{
	(void)opts;
	return change_tags(ctl, "host.remove_tag", args);
}

/* clang-format off */
const struct cmd cmd_host[] = {
	{ "host create", "--type TYPE [OPTION...]", "Add a host and print the token that registers it",
	  "The token alone goes to standard output. It is good for an hour.",
	  create_opts, sizeof(struct create_opts),
	  "  wrennctl host create --type byoc --team team-4f6hsk2mcf8q0z3v7xw1t9d5j\n",
	  CMD_SERVER, 0, 0, create_run },
	{ "host ls", "[-q]", "List the hosts", NULL, listing_opts, sizeof(bool),
	  "  wrennctl host ls\n",
	  CMD_SERVER, 0, 0, ls_run },
	{ "host get", "HOST", "Show one host", NULL, NULL, 0,
	  "  wrennctl host get host-4f6hsk2mcf8q0z3v7xw1t9d5j\n",
	  CMD_SERVER, 1, 1, get_run },
	{ "host rm", "[OPTION...] HOST...", "Remove hosts",
	  "One with capsules is refused, and they are named, unless --force is given.",
	  rm_opts, sizeof(struct rm_opts),
	  "  wrennctl host rm --dry-run host-4f6hsk2mcf8q0z3v7xw1t9d5j\n",
	  CMD_SERVER, 1, -1, rm_run },
	{ "host token", "HOST", "Print another token that registers a pending host",
	  NULL, NULL, 0,
	  "  wrennctl host token host-4f6hsk2mcf8q0z3v7xw1t9d5j\n",
	  CMD_SERVER, 1, 1, token_run },
	{ "host tags", "HOST", "List the tags of a host", NULL, NULL, 0,
	  "  wrennctl host tags host-4f6hsk2mcf8q0z3v7xw1t9d5j\n",
	  CMD_SERVER, 1, 1, tags_run },
	{ "host tag", "HOST TAG...", "Give a host tags", NULL, NULL, 0,
	  "  wrennctl host tag host-4f6hsk2mcf8q0z3v7xw1t9d5j gpu\n",
	  CMD_SERVER, 2, -1, tag_run },
	{ "host untag", "HOST TAG...", "Take tags from a host", NULL, NULL, 0,
	  "  wrennctl host untag host-4f6hsk2mcf8q0z3v7xw1t9d5j gpu\n",
	  CMD_SERVER, 2, -1, untag_run },
	{ NULL, NULL, NULL, NULL, NULL, 0, NULL, 0, 0, 0, NULL }
};
/* clang-format on */
