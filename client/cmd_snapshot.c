#include <stdbool.h>

#include <json-c/json.h>

#include "client/cmd.h"
#include "client/each.h"
#include "client/listing.h"
#include "client/wrenn_priv.h"
#include "proto/jx.h"

#include "proto/banned.h"

/* wrennd gives each of two requests 15 minutes, and two in between one. */
#define CREATE_S ((2 * 15 + 2) * 60)

/* --- create */

struct create_opts {
	bool overwrite;
};

/* clang-format off */
static const struct opt create_opts[] = {
	{ "overwrite", 0, OPT_FLAG, NULL, "replace an older snapshot of that name", offsetof(struct create_opts, overwrite) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};
/* clang-format on */

static int
create_run(struct ctl *ctl, const void *opts, char **args)
{
	struct json_object *params = ctl_capsule(args[0]), *result;
	const struct create_opts *o = opts;
	struct wrenn_error err;
	const char *name;

	if (args[1] != NULL)
		jx_add_str(params, "name", args[1]);
	if (o->overwrite)
		jx_add_bool(params, "overwrite", true);
	if (ctl_call_within(
		ctl, "snapshot.create", params, CREATE_S, &result, &err) < 0)
		return ctl_fail(ctl, &err);
	name = jx_str(result, "name");
	if (name == NULL) {
		json_object_put(result);
		wrenn_error_set(&err, RPC_PROTOCOL,
		    "the answer does not name the snapshot; see "
		    "`wrennctl snapshot ls`");
		return ctl_fail(ctl, &err);
	}
	if (ctl->out.json) {
		out_json(&ctl->out, result);
	} else {
		out_text(&ctl->out, name);
		out_bytes(&ctl->out, "\n", 1);
		out_note("%s is paused; `wrennctl resume %s` wakes it", args[0],
		    args[0]);
	}
	json_object_put(result);
	return EXIT_OK;
}

/* --- ls and rm */

struct ls_opts {
	const char *type;
	bool quiet;
};

/* clang-format off */
static const struct opt ls_opts[] = {
	{ "type", 0, OPT_TEXT, "TYPE", "base (the platform's templates) or snapshot; default both", offsetof(struct ls_opts, type) },
	{ "quiet", 'q', OPT_FLAG, NULL, "print the names alone", offsetof(struct ls_opts, quiet) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};
/* clang-format on */

static int
ls_run(struct ctl *ctl, const void *opts, char **args)
{
	static const struct listing_column columns[] = {
		{ "NAME", "name", LISTING_TEXT },
		{ "TYPE", "type", LISTING_TEXT },
		{ "CPUS", "vcpus", LISTING_COUNT },
		{ "MEMORY", "memory_mb", LISTING_MIB },
		{ "SIZE", "size_bytes", LISTING_BYTES },
		{ "AGE", "created_at", LISTING_TIME },
		{ NULL, NULL, LISTING_TEXT },
	};
	static const struct listing snapshots = { "snapshot.list", "snapshots",
		columns };
	struct json_object *params = json_object_new_object();
	const struct ls_opts *o = opts;

	(void)args;
	if (o->type != NULL)
		jx_add_str(params, "type", o->type);
	return listing_run(ctl, &snapshots, params, o->quiet);
}

static int
rm_run(struct ctl *ctl, const void *opts, char **args)
{
	static const struct each e = {
		.method = "snapshot.delete", .param = "name", .print_name = true
	};

	(void)opts;
	return each_call(ctl, &e, args);
}

/* clang-format off */
const struct cmd cmd_snapshot[] = {
	{ "snapshot create", "[--overwrite] CAPSULE [NAME]", "Make a template of a capsule, which then sleeps",
	  "Prints the name; without NAME the server makes one up. The capsule is paused by\n"
	  "it, and stays so until it is resumed by hand. A server that cannot replace a\n"
	  "snapshot has the older one deleted first.",
	  create_opts, sizeof(struct create_opts),
	  "  wrennctl snapshot create build tools-v2\n"
	  "  wrennctl create -t tools-v2\n",
	  CMD_SERVER, 1, 2, create_run },
	{ "snapshot ls", "[OPTION...]", "List templates and snapshots",
	  NULL, ls_opts, sizeof(struct ls_opts),
	  "  wrennctl snapshot ls --type snapshot\n",
	  CMD_SERVER, 0, 0, ls_run },
	{ "snapshot rm", "NAME...", "Delete snapshots", NULL, NULL, 0,
	  "  wrennctl snapshot rm tools-v1\n",
	  CMD_SERVER, 1, -1, rm_run },
	{ NULL, NULL, NULL, NULL, NULL, 0, NULL, 0, 0, 0, NULL }
};
/* clang-format on */
