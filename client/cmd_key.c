#include <stdbool.h>

#include <json-c/json.h>

#include "client/cmd.h"
#include "client/each.h"
#include "client/listing.h"
#include "client/wrenn_priv.h"
#include "proto/jx.h"

#include "proto/banned.h"

/* --- create */

/* The key alone on standard output: it goes into a file or a variable. */
static int
create_run(struct ctl *ctl, const void *opts, char **args)
{
	struct json_object *params = json_object_new_object(), *result;
	struct wrenn_error err;
	const char *key, *id;

	(void)opts;
	if (args[0] != NULL)
		jx_add_str(params, "name", args[0]);
	if (ctl_call(ctl, "key.create", params, &result, &err) < 0)
		return ctl_fail(ctl, &err);
	key = jx_str(result, "key");
	id = jx_str(result, "id");
	if (key == NULL) {
		json_object_put(result);
		wrenn_error_set(&err, RPC_PROTOCOL,
		    "the answer holds no key; one may have been made, see "
		    "`wrennctl key ls`");
		return ctl_fail(ctl, &err);
	}
	if (ctl->out.json) {
		out_json(&ctl->out, result);
	} else {
		out_text(&ctl->out, key);
		out_bytes(&ctl->out, "\n", 1);
		out_note("made %s; the key is not shown again, and "
			 "`wrennctl key rm %s` revokes it",
		    id ? id : "-", id ? id : "-");
	}
	json_object_put(result);
	return EXIT_OK;
}

/* --- ls and rm */

static int
ls_run(struct ctl *ctl, const void *opts, char **args)
{
	static const struct listing_column columns[] = {
		{ "ID", "id", LISTING_TEXT },
		{ "NAME", "name", LISTING_TEXT },
		{ "BEGINS", "key_prefix", LISTING_TEXT },
		{ "AGE", "created_at", LISTING_TIME },
		{ "USED", "last_used", LISTING_TIME },
		{ "BY", "created_by", LISTING_TEXT },
		{ NULL, NULL, LISTING_TEXT },
	};
	static const struct listing keys = { "key.list", "keys", columns };
	const bool *quiet = opts;

	(void)args;
	return listing_run(ctl, &keys, NULL, *quiet);
}

static int
rm_run(struct ctl *ctl, const void *opts, char **args)
{
	static const struct each e = {
		.method = "key.delete", .param = "key", .print_name = true
	};

	(void)opts;
	return each_call(ctl, &e, args);
}

/* clang-format off */
const struct cmd cmd_key[] = {
	{ "key create", "[NAME]", "Make an API key and print it, this once",
	  "The key alone goes to standard output. wrennd keeps no copy of it and goes on\n"
	  "with its own credential.",
	  NULL, 0, "  (umask 077; wrennctl key create ci > key.txt)\n",
	  CMD_SERVER, 0, 1, create_run },
	{ "key ls", "[-q]", "List the API keys, without the secrets",
	  NULL, listing_opts, sizeof(bool), "  wrennctl key ls\n",
	  CMD_SERVER, 0, 0, ls_run },
	{ "key rm", "ID...", "Revoke API keys",
	  "Whoever uses one is shut out at once, wrennd too if it is its own.",
	  NULL, 0, "  wrennctl key rm key-4f6hsk2mcf8q0z3v7xw1t9d5j\n",
	  CMD_SERVER, 1, -1, rm_run },
	{ NULL, NULL, NULL, NULL, NULL, 0, NULL, 0, 0, 0, NULL }
};
/* clang-format on */
