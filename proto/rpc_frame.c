#include "proto/rpc_frame.h"

#include <string.h>

#include "proto/banned.h"

#define KEEP_ALLOC (64 * 1024) /* an empty buffer keeps no more than that */

void
rpc_frame_init(struct rpc_frame *f, size_t max_line)
{
	*f = (struct rpc_frame){ .max = max_line };
	/* A full line, its newline, and what was read behind it. */
	buf_init(&f->in, 2 * max_line + 2);
}

void
rpc_frame_release(struct rpc_frame *f)
{
	buf_release(&f->in);
}

/* A long line's memory is not kept for the short ones that follow. */
static void
shrink(struct rpc_frame *f)
{
	if (f->in.len == 0 && f->in.alloc > KEEP_ALLOC)
		buf_release(&f->in);
}

/* Gives up the line handed out last. */
static void
drop_taken(struct rpc_frame *f)
{
	if (f->taken == 0)
		return;
	/* It may have held a key. */
	explicit_bzero(buf_head(&f->in), f->taken);
	buf_consume(&f->in, f->taken);
	f->taken = 0;
	shrink(f);
}

int
rpc_frame_reserve(
    struct rpc_frame *f, size_t want, char **ret_space, size_t *ret_size)
{
	size_t room;

	drop_taken(f);
	room = f->in.max - f->in.len;
	*ret_size = want < room ? want : room;
	return buf_reserve(&f->in, *ret_size, ret_space);
}

void
rpc_frame_commit(struct rpc_frame *f, size_t n)
{
	buf_commit(&f->in, n);
}

/* Drops bytes up to the end of the line that was too long. */
static void
skip_rest(struct rpc_frame *f)
{
	const char *nl =
	    f->in.len > 0 ? memchr(buf_head(&f->in), '\n', f->in.len) : NULL;

	if (nl == NULL) {
		buf_consume(&f->in, f->in.len);
		shrink(f);
		return;
	}
	buf_consume(&f->in, (size_t)(nl - buf_head(&f->in)) + 1);
	f->skipping = false;
}

enum rpc_frame_result
rpc_frame_next(struct rpc_frame *f, const char **ret_line, size_t *ret_len)
{
	const char *head, *nl;
	size_t len;

	drop_taken(f);
	if (f->skipping)
		skip_rest(f);
	if (f->in.len == 0)
		return RPC_FRAME_MORE;
	head = buf_head(&f->in);
	nl = memchr(head + f->scanned, '\n', f->in.len - f->scanned);
	len = nl ? (size_t)(nl - head) : f->in.len;
	if (len > f->max) {
		f->scanned = 0;
		f->skipping = true;
		skip_rest(f);
		return RPC_FRAME_TOO_LONG;
	}
	if (nl == NULL) {
		f->scanned = f->in.len;
		return RPC_FRAME_MORE;
	}
	f->scanned = 0;
	f->taken = len + 1;
	*ret_line = head;
	*ret_len = len;
	return RPC_FRAME_LINE;
}
