#include "client/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <json-c/json.h>

#include "client/cmd.h"
#include "client/place.h"
#include "client/progress.h"
#include "client/target.h"
#include "client/wrenn_priv.h"
#include "proto/jx.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

/* {"capsule": ..., "path": ...} */
static struct json_object *
place_params(const struct place *p)
{
	struct json_object *params = ctl_capsule(p->capsule);

	jx_add_str(params, "path", p->path);
	return params;
}

/*
 * Says which file an error of a transfer is about: the local one where
 * reading or writing it failed, the one in the capsule otherwise.
 */
static void
name_place(
    struct wrenn_error *err, const struct place *remote, const char *local)
{
	char *name;

	if (strcmp(err->name, "local") == 0) {
		ctl_name_in_error(err, local);
		return;
	}
	name = xasprintf("%s:%s", remote->capsule, remote->path);
	ctl_name_in_error(err, name);
	free(name);
}

static bool
is_local_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Puts the base name of src behind a target that is a folder. */
static int
name_after(struct place *dst, const struct place *src, struct wrenn_error *err)
{
	char *name = src->kind == PLACE_STDIO ? NULL : place_base_name(src);

	if (name == NULL)
		return wrenn_error_set(err, RPC_USAGE,
		    "%s is a folder, and %s gives no name for a file in it",
		    dst->path, src->path);
	place_append(dst, name);
	free(name);
	return 0;
}

/* --- from a capsule */

/* Downloads into fd, which is the caller's; `name` is what it is called. */
static int
download(struct ctl *ctl, const struct place *src, int fd, const char *name,
    struct progress *progress, struct wrenn_error *err)
{
	struct wrenn_transfer t = { .progress = progress_step,
		.arg = progress,
		.timeout_ms = CALL_TIMEOUT_MS };
	struct json_object *params;
	uint64_t size;
	int r;

	if (ctl_open(ctl, err) < 0)
		return -1;
	params = place_params(src);
	r = wrenn_file_read_to_fd(ctl->w, params, fd, &t, &size, err);
	progress_end(progress);
	json_object_put(params);
	if (r < 0)
		name_place(err, src, name);
	return r;
}

int
copy_to_stdout(struct ctl *ctl, const struct place *src)
{
	struct progress progress;
	struct wrenn_error err;

	/* Standard output may be the terminal: no line is drawn there. */
	progress_init(&progress, true, 0);
	if (download(ctl, src, STDOUT_FILENO, "standard output", &progress,
		&err) < 0)
		return ctl_fail(ctl, &err);
	return EXIT_OK;
}

static int
copy_from(
    struct ctl *ctl, const struct place *src, struct place *dst, bool quiet)
{
	struct progress progress;
	struct target target = { .fd = -1 };
	struct wrenn_error err;
	int r = 0;

	if (dst->kind == PLACE_STDIO)
		return copy_to_stdout(ctl, src);
	if (place_ends_in_slash(dst) || is_local_dir(dst->path))
		r = name_after(dst, src, &err);
	if (r == 0)
		r = target_open(&target, dst->path, &err);
	if (r == 0) {
		progress_init(&progress, quiet, 0);
		r = download(ctl, src, target.fd, dst->path, &progress, &err);
	}
	if (r == 0)
		r = target_commit(&target, &err);
	target_release(&target);
	return r < 0 ? ctl_fail(ctl, &err) : EXIT_OK;
}

/* --- to a capsule */

/* 1 when the remote path is a folder, 0 when not or not there, or -1. */
static int
is_remote_dir(struct ctl *ctl, const struct place *p, struct wrenn_error *err)
{
	struct json_object *result;
	const char *type;
	int r;

	if (ctl_call(ctl, "file.stat", place_params(p), &result, err) < 0) {
		if (strcmp(err->name, "not_found") != 0)
			return -1;
		/* Also when the capsule is unknown: the write will say so. */
		wrenn_error_release(err);
		return 0;
	}
	type = jx_str(jx_obj(result, "entry"), "type");
	r = type != NULL && strcmp(type, "directory") == 0;
	json_object_put(result);
	return r;
}

/* What is uploaded: a local file or standard input. */
struct source {
	const char *name;
	int fd;
	uint64_t size; /* 0 where it is not known before */
};

static void
source_close(const struct source *s)
{
	if (s->fd > STDIN_FILENO)
		close(s->fd);
}

static int
source_open(struct source *s, const struct place *p, struct wrenn_error *err)
{
	struct stat st;

	*s = (struct source){ .name = p->path, .fd = STDIN_FILENO };
	if (p->kind == PLACE_STDIO)
		s->name = "standard input";
	else
		s->fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (s->fd < 0 || fstat(s->fd, &st) < 0)
		return wrenn_error_errno(err, errno, "%s", s->name);
	if (S_ISDIR(st.st_mode))
		return wrenn_error_errno(err, EISDIR, "%s", s->name);
	/*
	 * Standard input may stand in the middle of its file, and files of
	 * /proc say that they are empty: both are sent up to their end.
	 */
	if (S_ISREG(st.st_mode) && p->kind == PLACE_LOCAL)
		s->size = (uint64_t)st.st_size;
	return 0;
}

static int
upload(struct ctl *ctl, const struct source *src, const struct place *dst,
    bool quiet, struct wrenn_error *err)
{
	struct progress progress;
	struct wrenn_transfer t = { .progress = progress_step,
		.arg = &progress,
		.timeout_ms = CALL_TIMEOUT_MS };
	struct json_object *params;
	uint64_t sent;
	int r;

	if (ctl_open(ctl, err) < 0)
		return -1;
	params = place_params(dst);
	if (src->size > 0)
		jx_add_int(params, "size", (int64_t)src->size);
	progress_init(&progress, quiet, src->size);
	r = wrenn_file_write_from_fd(ctl->w, params, src->fd, &t, &sent, err);
	progress_end(&progress);
	json_object_put(params);
	if (r < 0)
		name_place(err, dst, src->name);
	return r;
}

static int
copy_to(struct ctl *ctl, const struct place *src, struct place *dst, bool quiet)
{
	struct wrenn_error err;
	struct source source;
	int r;

	r = source_open(&source, src, &err);
	if (r == 0)
		r = place_ends_in_slash(dst) ? 1
					     : is_remote_dir(ctl, dst, &err);
	if (r == 1)
		r = name_after(dst, src, &err);
	if (r == 0)
		r = upload(ctl, &source, dst, quiet, &err);
	source_close(&source);
	return r < 0 ? ctl_fail(ctl, &err) : EXIT_OK;
}

int
copy_place(struct ctl *ctl, struct place *src, struct place *dst, bool quiet)
{
	interrupt_catch();
	return src->kind == PLACE_REMOTE ? copy_from(ctl, src, dst, quiet)
					 : copy_to(ctl, src, dst, quiet);
}
