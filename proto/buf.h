/*
 * Growable bytes with a maximum given at birth. A buffer that would pass its
 * maximum, or finds no memory, refuses the addition with -ENOSPC or -ENOMEM
 * and keeps what it had. Embedded in its owner: buf_init and buf_release.
 */
#ifndef PROTO_BUF_H
#define PROTO_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	char *data;   /* NULL while nothing was added */
	size_t len;   /* bytes in use, from off on */
	size_t off;   /* bytes consumed at the front */
	size_t alloc; /* bytes allocated */
	size_t dirty; /* bytes that ever were in use, from data on */
	size_t max;   /* bytes in use may never be more */
};

void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b); /* wipes what was committed, frees */
void buf_clear(struct buf *b);   /* empties, keeps the memory */
void buf_wipe(struct buf *b);    /* the same, with nothing left in it */

/* The bytes in use; not NUL-terminated, and NULL while nothing was added. */
static inline char *
buf_head(const struct buf *b)
{
	return b->data ? b->data + b->off : NULL;
}

/* Makes room for n more bytes and returns where they go; then buf_commit. */
int buf_reserve(struct buf *b, size_t n, char **ret_space);
void buf_commit(struct buf *b, size_t n);

int buf_add(struct buf *b, const void *data, size_t n);
int buf_adds(struct buf *b, const char *s);
int buf_addf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int buf_addu(struct buf *b, uint64_t n); /* in decimal */
int buf_addi(struct buf *b, int64_t n);
void buf_consume(struct buf *b, size_t n); /* drops n bytes at the front */

/* Adds a final NUL outside the length; NULL when there is no memory. */
char *buf_str(struct buf *b);

/* Hands the bytes over to the caller (free()), as a NUL-terminated string. */
char *buf_steal(struct buf *b, size_t *ret_len);

#endif
