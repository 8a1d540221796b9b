#include "proto/buf.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/banned.h"

#define BUF_FIRST 256            /* smallest allocation */
#define BUF_MAX   (SIZE_MAX / 4) /* so that no sum of sizes wraps */

void
buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .max = max < BUF_MAX ? max : BUF_MAX };
}

void
buf_release(struct buf *b)
{
	if (b->data != NULL)
		explicit_bzero(b->data, b->dirty);
	free(b->data);
	buf_init(b, b->max);
}

void
buf_clear(struct buf *b)
{
	b->len = 0;
	b->off = 0;
}

void
buf_wipe(struct buf *b)
{
	if (b->data != NULL)
		explicit_bzero(b->data, b->dirty);
	b->dirty = 0;
	buf_clear(b);
}

/* Moves the bytes in use to the front of the allocation. */
static void
buf_compact(struct buf *b)
{
	if (b->off == 0)
		return;
	memmove(b->data, b->data + b->off, b->len);
	b->off = 0;
}

/* Doubles until `need` bytes and a NUL fit, never far above the maximum. */
static int
buf_grow(struct buf *b, size_t need)
{
	size_t alloc = b->alloc ? b->alloc : BUF_FIRST;
	char *data;

	while (alloc < need)
		alloc *= 2;
	if (alloc > b->max + 1)
		alloc = b->max + 1;
	data = realloc(b->data, alloc);
	if (data == NULL)
		return -ENOMEM;
	b->data = data;
	b->alloc = alloc;
	return 0;
}

int
buf_reserve(struct buf *b, size_t n, char **ret_space)
{
	int r;

	if (n > b->max || b->len > b->max - n)
		return -ENOSPC;
	if (b->off + b->len + n + 1 > b->alloc) {
		buf_compact(b);
		if (b->len + n + 1 > b->alloc &&
		    (r = buf_grow(b, b->len + n + 1)) < 0)
			return r;
	}
	*ret_space = b->data + b->off + b->len;
	return 0;
}

void
buf_commit(struct buf *b, size_t n)
{
	b->len += n;
	if (b->dirty < b->off + b->len)
		b->dirty = b->off + b->len;
}

int
buf_add(struct buf *b, const void *data, size_t n)
{
	char *space;
	int r;

	r = buf_reserve(b, n, &space);
	if (r < 0)
		return r;
	if (n > 0)
		memcpy(space, data, n);
	buf_commit(b, n);
	return 0;
}

int
buf_adds(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

/* The digits of n, with a minus before them where it is wanted. */
static int
add_digits(struct buf *b, uint64_t n, bool minus)
{
	char digits[21], *p = digits + sizeof(digits);

	do {
		*--p = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	if (minus)
		*--p = '-';
	return buf_add(b, p, (size_t)(digits + sizeof(digits) - p));
}

int
buf_addu(struct buf *b, uint64_t n)
{
	return add_digits(b, n, false);
}

int
buf_addi(struct buf *b, int64_t n)
{
	return n < 0 ? add_digits(b, 0 - (uint64_t)n, true)
		     : add_digits(b, (uint64_t)n, false);
}

int
buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	char *space;
	int n, r;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -EINVAL;
	r = buf_reserve(b, (size_t)n, &space);
	if (r < 0)
		return r;
	va_start(ap, fmt);
	vsnprintf(space, (size_t)n + 1, fmt, ap);
	va_end(ap);
	buf_commit(b, (size_t)n);
	return 0;
}

void
buf_consume(struct buf *b, size_t n)
{
	b->off += n;
	b->len -= n;
	if (b->len == 0)
		b->off = 0;
}

char *
buf_str(struct buf *b)
{
	char *space;

	if (buf_reserve(b, 0, &space) < 0)
		return NULL;
	*space = '\0';
	return buf_head(b);
}

char *
buf_steal(struct buf *b, size_t *ret_len)
{
	char *data;

	buf_compact(b);
	if (buf_str(b) == NULL)
		return NULL;
	data = b->data;
	if (ret_len != NULL)
		*ret_len = b->len;
	buf_init(b, b->max);
	return data;
}
