/*
 * A socket pair that another process made, so that its ends do not lead back
 * to this one.
 */
#ifndef TESTS_UNIT_FAKES_FOREIGN_H
#define TESTS_UNIT_FAKES_FOREIGN_H

#include <sys/types.h>

struct foreign {
	int fd, other; /* the two ends; -1 once the test took one */
	pid_t pid;     /* of the maker, which lives until foreign_stop() */
};

void foreign_start(struct foreign *f);
void foreign_stop(struct foreign *f);

/* One message with descriptors, as a client sends a request. */
void foreign_send_fds(int to, const char *text, const int *fds, int count);

#endif
