/*
 * One client connection: bytes in and out, descriptors, who it is. Only
 * peer.c sees inside; what a line means is decided above.
 */
#ifndef DAEMON_PEER_H
#define DAEMON_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/limits.h"

struct buf;
struct loop;
struct peer;

/*
 * What all clients of one user share; kept by the listener, which frees it
 * with the last of them.
 */
struct peer_user {
	uid_t uid;
	int peers;
	size_t output; /* bytes queued for all of them */
};

/* The only way upwards. */
struct peer_ops {
	/*
	 * One line, lent, with the number of descriptors that came with it,
	 * which are taken by peer_take_fds(). Returns false to have the peer
	 * closed for a breach of the rule of descriptors.
	 */
	bool (*line)(
	    struct peer *, const char *line, size_t len, int fds, void *arg);
	/* A line was too long and is being skipped. */
	void (*too_long)(struct peer *, void *arg);
	/* Whether calls of this client are under way. */
	bool (*busy)(struct peer *, void *arg);
	/* Once, never inside line(); the peer is freed after it. */
	void (*gone)(struct peer *, void *arg);
};

/* Takes fd and the user's place over. */
struct peer *peer_new(struct loop *l, int fd, pid_t pid, struct peer_user *user,
    const struct peer_ops *ops, void *arg);
void peer_free(struct peer *p); /* at shutdown; gone() is not called */

/*
 * Queues a line, without its newline, which is sent at the end of the turn
 * with all others of it, as far as the socket takes them. -ENOBUFS when the
 * user's share of the output is used up and the line does not fit below
 * LIMIT_OUTPUT_SOFT either; nothing is queued then.
 */
int peer_send(struct peer *p, const struct buf *line);

/* Whether its queued output is below the limit for more. */
bool peer_reads(const struct peer *p);

/* Closes it at the end of the turn, after what is queued where it can. */
void peer_doom(struct peer *p, const char *why);

/* The descriptors of the line being handled, in order; the caller's. */
void peer_take_fds(struct peer *p, int *fds, int count);

/* The calls of its client, for the layer above. */
void peer_set_calls(struct peer *p, void *calls);
void *peer_calls(const struct peer *p);

uid_t peer_uid(const struct peer *p);
pid_t peer_pid(const struct peer *p);
struct peer_user *peer_user(const struct peer *p);

#endif
