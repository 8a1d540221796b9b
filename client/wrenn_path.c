#include "client/wrenn_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "proto/banned.h"

#define SYSTEM_SOCKET "/run/wrennd/wrennd.sock"

/* Two strings in one of their own; NULL with an error without memory. */
static char *
join(const char *a, const char *b, struct wrenn_error *err)
{
	char *s;

	if (asprintf(&s, "%s%s", a, b) >= 0)
		return s;
	wrenn_error_set(err, RPC_LOCAL, "out of memory");
	return NULL;
}

/* A variable that holds an absolute path; others count as absent. */
static const char *
absolute_env(const char *name)
{
	const char *s = getenv(name);

	return s != NULL && s[0] == '/' ? s : NULL;
}

/* Where a user's wrennd keeps its state, and its log when started here. */
char *
wrenn_path_state_dir(struct wrenn_error *err)
{
	const char *dir = absolute_env("XDG_STATE_HOME");

	if (dir != NULL)
		return join(dir, "/wrennd", err);
	dir = absolute_env("HOME");
	if (dir != NULL)
		return join(dir, "/.local/state/wrennd", err);
	wrenn_error_set(err, RPC_DAEMON_UNREACHABLE,
	    "none of XDG_RUNTIME_DIR, XDG_STATE_HOME and HOME is set to an "
	    "absolute path, so there is no place for wrennd's socket");
	return NULL;
}

/* The socket when none was named. */
char *
wrenn_path_socket(bool system_wide, struct wrenn_error *err)
{
	const char *runtime = absolute_env("XDG_RUNTIME_DIR");
	char *dir, *path;

	if (system_wide)
		return join(SYSTEM_SOCKET, "", err);
	if (runtime != NULL)
		return join(runtime, "/wrennd/wrennd.sock", err);
	dir = wrenn_path_state_dir(err);
	if (dir == NULL)
		return NULL;
	path = join(dir, "/wrennd.sock", err);
	free(dir);
	return path;
}

/* The folder of an absolute path; NULL when there is no memory. */
char *
wrenn_path_dir_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL || slash == path)
		return strdup("/");
	return strndup(path, (size_t)(slash - path));
}

/* Makes a folder with its parents, each only for this user. */
static int
make_dirs(char *dir)
{
	char *p;

	for (p = dir + 1; (p = strchr(p, '/')) != NULL; p++) {
		*p = '\0';
		if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
			*p = '/';
			return -errno;
		}
		*p = '/';
	}
	return mkdir(dir, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/*
 * Makes the folder when it is missing. One that belongs to someone else is
 * refused: its owner could put another socket or log there.
 */
int
wrenn_path_make_dir(const char *dir, struct wrenn_error *err)
{
	struct stat st;
	char *copy;
	int r;

	if (stat(dir, &st) < 0) {
		copy = strdup(dir);
		r = copy == NULL ? -ENOMEM : make_dirs(copy);
		free(copy);
		if (r < 0)
			return wrenn_error_errno(
			    err, -r, "cannot make the folder %s", dir);
		if (stat(dir, &st) < 0)
			return wrenn_error_errno(err, errno, "%s", dir);
	}
	if (!S_ISDIR(st.st_mode))
		return wrenn_error_errno(err, ENOTDIR, "%s", dir);
	if (st.st_uid != geteuid())
		return wrenn_error_set(err, RPC_LOCAL,
		    "the folder %s belongs to uid %u, not to you (uid %u)", dir,
		    (unsigned)st.st_uid, (unsigned)geteuid());
	return 0;
}
