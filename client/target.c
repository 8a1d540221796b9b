#include "client/target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/wrenn_priv.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

/* The mode of a file that this process would make. */
static mode_t
new_file_mode(void)
{
	mode_t mask = umask(077);

	umask(mask);
	return 0666 & ~mask;
}

/*
 * The temporary file gets the mode of what it will replace, and its owner
 * where that is allowed; set-id bits are not carried over.
 */
static int
make_temp(struct target *t, const struct stat *old, struct wrenn_error *err)
{
	const char *slash = strrchr(t->path, '/');
	int dir = slash ? (int)(slash - t->path) + 1 : 0;
	mode_t mode = old ? old->st_mode & 0777 : new_file_mode();

	t->temp = xasprintf("%.*s.wrennctl-XXXXXX", dir, t->path);
	t->fd = mkostemp(t->temp, O_CLOEXEC);
	if (t->fd < 0) {
		free(t->temp);
		t->temp = NULL;
		return wrenn_error_errno(err, errno, "%s", t->path);
	}
	if (old != NULL && fchown(t->fd, old->st_uid, old->st_gid) < 0 &&
	    errno != EPERM)
		return wrenn_error_errno(err, errno, "%s", t->temp);
	if (fchmod(t->fd, mode) < 0)
		return wrenn_error_errno(err, errno, "%s", t->temp);
	return 0;
}

int
target_open(struct target *t, const char *path, struct wrenn_error *err)
{
	struct stat st;

	*t = (struct target){ .fd = -1 };
	if (stat(path, &st) < 0) {
		if (errno != ENOENT)
			return wrenn_error_errno(err, errno, "%s", path);
		t->path = xstrdup(path);
		return make_temp(t, NULL, err);
	}
	t->path = realpath(path, NULL);
	if (t->path == NULL)
		return wrenn_error_errno(err, errno, "%s", path);
	if (S_ISREG(st.st_mode)) {
		/* What may not be written is not replaced either. */
		if (access(path, W_OK) < 0)
			return wrenn_error_errno(err, errno, "%s", path);
		return make_temp(t, &st, err);
	}
	t->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	return t->fd < 0 ? wrenn_error_errno(err, errno, "%s", path) : 0;
}

int
target_commit(struct target *t, struct wrenn_error *err)
{
	int r = close(t->fd); /* network file systems fail here */

	t->fd = -1;
	if (r < 0)
		return wrenn_error_errno(err, errno, "%s", t->path);
	if (t->temp == NULL)
		return 0;
	if (rename(t->temp, t->path) < 0)
		return wrenn_error_errno(err, errno, "%s", t->path);
	free(t->temp);
	t->temp = NULL;
	return 0;
}

void
target_release(struct target *t)
{
	if (t->fd >= 0)
		close(t->fd);
	if (t->temp != NULL)
		unlink(t->temp);
	free(t->temp);
	free(t->path);
	*t = (struct target){ .fd = -1 };
}
