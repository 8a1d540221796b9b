#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "client/cmd.h"
#include "client/copy.h"
#include "client/human.h"
#include "client/place.h"
#include "client/table.h"
#include "client/wrenn_priv.h"
#include "proto/jx.h"

#include "proto/banned.h"

/* --- cp, fs put, fs get */

struct cp_opts {
	bool quiet;
};

/* clang-format off */
static const struct opt cp_opts[] = {
	{ "quiet", 'q', OPT_FLAG, NULL, "show no progress", offsetof(struct cp_opts, quiet) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};
/* clang-format on */

static int
copy_words(struct ctl *ctl, const char *from, const char *to, bool quiet)
{
	struct place src, dst;
	int status;

	place_init(&src, from);
	place_init(&dst, to);
	if ((src.kind == PLACE_REMOTE) == (dst.kind == PLACE_REMOTE))
		status = ctl_usage(
		    ctl, "one of the two must be CAPSULE:PATH, and not both");
	else if (src.path[0] == '\0' || dst.path[0] == '\0')
		status = ctl_usage(ctl, "a path is missing behind the colon");
	else
		status = copy_place(ctl, &src, &dst, quiet);
	place_release(&src);
	place_release(&dst);
	return status;
}

static int
cp_run(struct ctl *ctl, const void *opts, char **args)
{
	const struct cp_opts *o = opts;

	return copy_words(ctl, args[0], args[1], o->quiet);
}

/* Whether the word is CAPSULE:PATH; else a usage error. */
static int
check_remote(struct ctl *ctl, const char *word)
{
	struct place p;
	bool ok;

	place_init(&p, word);
	ok = p.kind == PLACE_REMOTE && p.path[0] != '\0';
	place_release(&p);
	return ok ? EXIT_OK
		  : ctl_usage(ctl, "\"%s\" is not CAPSULE:PATH", word);
}

static int
put_run(struct ctl *ctl, const void *opts, char **args)
{
	const struct cp_opts *o = opts;
	int status = check_remote(ctl, args[1]);

	return status ? status : copy_words(ctl, args[0], args[1], o->quiet);
}

static int
get_run(struct ctl *ctl, const void *opts, char **args)
{
	const struct cp_opts *o = opts;
	int status = check_remote(ctl, args[0]);

	return status ? status
		      : copy_words(
			    ctl, args[0], args[1] ? args[1] : ".", o->quiet);
}

/* --- verbs with remote paths alone */

/* Does something with one remote path; the exit status. */
typedef int place_fn(struct ctl *ctl, const struct place *p, const void *opts);

/* Goes on after a failure; the status is that of the first one. */
static int
for_each_place(struct ctl *ctl, char **words, place_fn *fn, const void *opts)
{
	int status = EXIT_OK, r;
	struct place p;

	for (; *words != NULL; words++) {
		r = check_remote(ctl, *words);
		if (r == EXIT_OK) {
			place_init(&p, *words);
			r = fn(ctl, &p, opts);
			place_release(&p);
		}
		if (status == EXIT_OK)
			status = r;
	}
	return status;
}

static int
place_call(struct ctl *ctl, const char *method, const struct place *p,
    struct json_object **ret_result, struct wrenn_error *err)
{
	struct json_object *params = ctl_capsule(p->capsule);

	jx_add_str(params, "path", p->path);
	return ctl_call(ctl, method, params, ret_result, err);
}

static int
cat_one(struct ctl *ctl, const struct place *p, const void *opts)
{
	(void)opts;
	return copy_to_stdout(ctl, p);
}

static int
cat_run(struct ctl *ctl, const void *opts, char **args)
{
	return for_each_place(ctl, args, cat_one, opts);
}

static int
mkdir_one(struct ctl *ctl, const struct place *p, const void *opts)
{
	struct json_object *result;
	struct wrenn_error err;

	(void)opts;
	if (place_call(ctl, "file.mkdir", p, &result, &err) < 0)
		return ctl_fail(ctl, &err);
	if (ctl->out.json)
		out_json(&ctl->out, result);
	json_object_put(result);
	return EXIT_OK;
}

static int
mkdir_run(struct ctl *ctl, const void *opts, char **args)
{
	return for_each_place(ctl, args, mkdir_one, opts);
}

/* The facts of an entry that a person asks for, in their words. */
static void
print_entry(struct ctl *ctl, struct json_object *entry)
{
	static const char *const texts[][2] = {
		{ "name", "name" },
		{ "path", "path" },
		{ "type", "type" },
		{ "target", "symlink_target" },
		{ "mode", "permissions" },
		{ "owner", "owner" },
		{ "group", "group" },
	};
	struct human h;
	int64_t n;
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (jx_str(entry, texts[i][1]) != NULL)
			out_pair(
			    &ctl->out, texts[i][0], jx_str(entry, texts[i][1]));
	if (jx_int(entry, "size", 0, INT64_MAX, &n) == 0)
		out_printf(&ctl->out, "%-16s%jd bytes\n", "size:", (intmax_t)n);
	if (jx_int(entry, "modified_at", INT64_MIN, INT64_MAX, &n) == 0)
		out_pair(&ctl->out, "modified", human_time(&h, (time_t)n));
}

static int
stat_one(struct ctl *ctl, const struct place *p, const void *opts)
{
	struct json_object *result, *entry;
	struct wrenn_error err;

	(void)opts;
	if (place_call(ctl, "file.stat", p, &result, &err) < 0)
		return ctl_fail(ctl, &err);
	entry = jx_obj(result, "entry");
	if (ctl->out.json || entry == NULL)
		out_json(&ctl->out, result);
	else
		print_entry(ctl, entry);
	json_object_put(result);
	return EXIT_OK;
}

static int
stat_run(struct ctl *ctl, const void *opts, char **args)
{
	return for_each_place(ctl, args, stat_one, opts);
}

struct rm_opts {
	bool recursive;
};

/* clang-format off */
static const struct opt rm_opts[] = {
	{ "recursive", 'r', OPT_FLAG, NULL, "also folders, with all that is in them", offsetof(struct rm_opts, recursive) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};
/* clang-format on */

/* file.remove takes folders as well; without -r they are refused here. */
static int
check_no_dir(struct ctl *ctl, const struct place *p, struct wrenn_error *err)
{
	struct json_object *result;
	const char *type;
	bool dir;

	if (place_call(ctl, "file.stat", p, &result, err) < 0)
		return -1;
	type = jx_str(jx_obj(result, "entry"), "type");
	dir = type != NULL && strcmp(type, "directory") == 0;
	json_object_put(result);
	return dir ? wrenn_error_set(err, RPC_USAGE,
			 "%s is a folder: -r removes it with all in it",
			 p->path)
		   : 0;
}

static int
rm_one(struct ctl *ctl, const struct place *p, const void *opts)
{
	const struct rm_opts *o = opts;
	struct json_object *result;
	struct wrenn_error err;

	if (!o->recursive && check_no_dir(ctl, p, &err) < 0)
		return ctl_fail(ctl, &err);
	if (place_call(ctl, "file.remove", p, &result, &err) < 0)
		return ctl_fail(ctl, &err);
	if (ctl->out.json)
		out_json(&ctl->out, result);
	json_object_put(result);
	return EXIT_OK;
}

static int
rm_run(struct ctl *ctl, const void *opts, char **args)
{
	return for_each_place(ctl, args, rm_one, opts);
}

/* --- fs ls */

/* clang-format off */
static const struct column ls_columns[] = {
	{ "MODE", false }, { "OWNER", false }, { "GROUP", false },
	{ "SIZE", true }, { "MODIFIED", false }, { "NAME", false },
};
/* clang-format on */

static const char *
text_or_dash(struct json_object *o, const char *key)
{
	const char *s = jx_str(o, key);

	return s ? s : "-";
}

static int
by_name(const void *a, const void *b)
{
	struct json_object *const *x = a, *const *y = b;

	return strcmp(text_or_dash(*x, "name"), text_or_dash(*y, "name"));
}

/* The name, and what a symbolic link points to. */
static void
add_name(struct table *t, struct json_object *entry)
{
	const char *target = jx_str(entry, "symlink_target");
	char *text;

	if (target == NULL) {
		table_add(t, text_or_dash(entry, "name"));
		return;
	}
	if (asprintf(&text, "%s -> %s", text_or_dash(entry, "name"), target) <
	    0)
		abort();
	table_add(t, text);
	free(text);
}

static void
add_entry(struct table *t, struct json_object *entry)
{
	struct human h;
	int64_t n;

	table_add(t, text_or_dash(entry, "permissions"));
	table_add(t, text_or_dash(entry, "owner"));
	table_add(t, text_or_dash(entry, "group"));
	table_add(t, jx_int(entry, "size", 0, INT64_MAX, &n) == 0
			 ? human_bytes(&h, (uint64_t)n)
			 : "-");
	table_add(t, jx_int(entry, "modified_at", INT64_MIN, INT64_MAX, &n) == 0
			 ? human_time(&h, (time_t)n)
			 : "-");
	add_name(t, entry);
}

/* The order of the answer is upstream's; people look for names. */
static void
print_entries(struct ctl *ctl, struct json_object *entries)
{
	size_t i, n = json_object_array_length(entries);
	struct json_object **sorted = calloc(n + 1, sizeof(*sorted));
	struct table t;

	if (sorted == NULL)
		abort();
	for (i = 0; i < n; i++)
		sorted[i] = json_object_array_get_idx(entries, i);
	qsort(sorted, n, sizeof(*sorted), by_name);
	table_init(&t, ls_columns, sizeof(ls_columns) / sizeof(*ls_columns));
	for (i = 0; i < n; i++)
		add_entry(&t, sorted[i]);
	/* The name is the last column, so that none may be left out. */
	table_print(&t, &ctl->out, 0);
	table_release(&t);
	free(sorted);
}

static int
ls_one(struct ctl *ctl, const struct place *p, const void *opts)
{
	struct json_object *result, *entries;
	struct wrenn_error err;

	(void)opts;
	if (place_call(ctl, "file.list", p, &result, &err) < 0)
		return ctl_fail(ctl, &err);
	entries = jx_arr(result, "entries");
	if (entries == NULL) {
		json_object_put(result);
		wrenn_error_set(
		    &err, RPC_PROTOCOL, "wrennd answered no list of files");
		return ctl_fail(ctl, &err);
	}
	if (ctl->out.json)
		out_json(&ctl->out, result);
	else
		print_entries(ctl, entries);
	json_object_put(result);
	return EXIT_OK;
}

static int
ls_run(struct ctl *ctl, const void *opts, char **args)
{
	return for_each_place(ctl, args, ls_one, opts);
}

/* clang-format off */
const struct cmd cmd_file[] = {
	{ "cp", "[-q] SOURCE TARGET", "Copy a file to or from a capsule",
	  "One of the two is CAPSULE:PATH, the other a local path or - for standard input\n"
	  "or output. A local path that holds a colon is written with a / or . before it.\n"
	  "A target that is a folder, or ends in /, gets the source's name. Downloads take\n"
	  "their name only when they are complete.",
	  cp_opts, sizeof(struct cp_opts),
	  "  wrennctl cp notes.txt build:/srv/\n"
	  "  wrennctl cp build:/var/log/syslog .\n"
	  "  tar c src | wrennctl cp - build:/tmp/src.tar\n",
	  CMD_SERVER, 2, 2, cp_run },
	{ "fs ls", "CAPSULE:PATH...", "List a folder in a capsule", NULL, NULL, 0,
	  "  wrennctl fs ls build:/etc\n",
	  CMD_SERVER, 1, -1, ls_run },
	{ "fs cat", "CAPSULE:PATH...", "Print a file of a capsule", NULL, NULL, 0,
	  "  wrennctl fs cat build:/etc/os-release\n",
	  CMD_SERVER, 1, -1, cat_run },
	{ "fs mkdir", "CAPSULE:PATH...", "Make a folder, with its parents", NULL, NULL, 0,
	  "  wrennctl fs mkdir build:/srv/data\n",
	  CMD_SERVER, 1, -1, mkdir_run },
	{ "fs rm", "[-r] CAPSULE:PATH...", "Remove a file or a folder",
	  NULL, rm_opts, sizeof(struct rm_opts),
	  "  wrennctl fs rm -r build:/srv/data\n",
	  CMD_SERVER, 1, -1, rm_run },
	{ "fs stat", "CAPSULE:PATH...", "Show the facts about a file", NULL, NULL, 0,
	  "  wrennctl fs stat build:/etc/passwd\n",
	  CMD_SERVER, 1, -1, stat_run },
	{ "fs put", "[-q] SOURCE CAPSULE:PATH", "Copy a file to a capsule",
	  NULL, cp_opts, sizeof(struct cp_opts),
	  "  wrennctl fs put app.conf build:/etc/app.conf\n",
	  CMD_SERVER, 2, 2, put_run },
	{ "fs get", "[-q] CAPSULE:PATH [TARGET]", "Copy a file from a capsule (here, without TARGET)",
	  NULL, cp_opts, sizeof(struct cp_opts),
	  "  wrennctl fs get build:/etc/app.conf\n",
	  CMD_SERVER, 1, 2, get_run },
	{ NULL, NULL, NULL, NULL, NULL, 0, NULL, 0, 0, 0, NULL }
};
/* clang-format on */
