/*
 * Bytes to lines. A line longer than the maximum is reported once, as soon
 * as that is known, and the rest of it is skipped without being kept.
 */
#ifndef PROTO_RPC_FRAME_H
#define PROTO_RPC_FRAME_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/buf.h"

enum rpc_frame_result {
	RPC_FRAME_MORE,     /* no whole line yet */
	RPC_FRAME_LINE,     /* one line, without its newline */
	RPC_FRAME_TOO_LONG, /* a line began that is over the maximum */
};

struct rpc_frame {
	struct buf in;
	size_t max;     /* bytes in a line, without the newline */
	size_t scanned; /* bytes of `in` known to hold no newline */
	size_t taken;   /* bytes of `in` that the last line still uses */
	bool skipping;  /* inside a line that was too long */
};

void rpc_frame_init(struct rpc_frame *f, size_t max_line);
void rpc_frame_release(struct rpc_frame *f);

/*
 * Where to read to: at least 1 byte and at most `want`; then commit what
 * was read. -ENOSPC never comes while lines are taken until RPC_FRAME_MORE.
 */
int rpc_frame_reserve(
    struct rpc_frame *f, size_t want, char **ret_space, size_t *ret_size);
void rpc_frame_commit(struct rpc_frame *f, size_t n);

/* The line stays valid until the next call on f. */
enum rpc_frame_result rpc_frame_next(
    struct rpc_frame *f, const char **ret_line, size_t *ret_len);

#endif
