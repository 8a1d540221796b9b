/*
 * The local file of a download. The bytes go to a temporary file beside it
 * that takes its name only when they are complete; a target that is no
 * regular file (a device, a named pipe) is written to as it stands.
 */
#ifndef CLIENT_TARGET_H
#define CLIENT_TARGET_H

#include <sys/types.h>

struct wrenn_error;

/* target_open, then target_commit, and target_release in any case. */
struct target {
	int fd;
	char *path; /* symbolic links resolved */
	char *temp; /* NULL when it is written to as it stands */
};

int target_open(struct target *t, const char *path, struct wrenn_error *err);
int target_commit(struct target *t, struct wrenn_error *err);
void target_release(struct target *t); /* removes what is not committed */

#endif
