/*
 * A socket that a client passed for the raw bytes of a call. It belongs to
 * the client too, who may set or clear O_NONBLOCK on it at will, so every
 * operation says MSG_DONTWAIT for itself.
 */
#ifndef DAEMON_DATASOCK_H
#define DAEMON_DATASOCK_H

#include <stddef.h>
#include <sys/types.h>

#include "daemon/loop.h"

struct datasock;

/*
 * Whether the descriptor is fit: a connected AF_UNIX stream socket that does
 * not lead back to this process. NULL, or what it is instead.
 */
const char *datasock_fault(int fd);

/* Takes fd over. `ready` is called when what datasock_want() named is so. */
struct datasock *datasock_new(
    struct loop *l, int fd, loop_fn *ready, void *arg);
void datasock_free(struct datasock *d); /* closes; NULL is fine */

void datasock_want(struct datasock *d, int events);

/* Bytes, 0 at the end, or a negative errno (-EAGAIN: not now). */
ssize_t datasock_read(struct datasock *d, void *data, size_t n);
ssize_t datasock_write(struct datasock *d, const void *data, size_t n);

#endif
