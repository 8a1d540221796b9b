/*
 * A free() and realloc() that wipe. libcurl, OpenSSL and nghttp2 copy API keys
 * into buffers of their own and leave them behind in freed memory: with
 * these in the executable no copy outlives its buffer (measured on glibc
 * 2.36; M_PERTURB and libcurl's own allocator hooks do not reach all).
 *
 * Linked into wrennd itself, never into the test programs, and left out under
 * the sanitizers, which bring an allocator of their own.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "proto/banned.h"

#ifndef WITH_SANITIZERS

void __libc_free(void *p);

void
free(void *p)
{
	if (p == NULL)
		return;
	explicit_bzero(p, malloc_usable_size(p));
	__libc_free(p);
}

void *
realloc(void *p, size_t size)
{
	size_t have;
	void *q;

	if (p == NULL)
		return malloc(size);
	if (size == 0) {
		free(p);
		return NULL;
	}
	have = malloc_usable_size(p);
	/* Stays in place unless it grows, or shrinks so much that it pays. */
	if (size <= have && size >= have / 2)
		return p;
	q = malloc(size);
	if (q == NULL)
		return NULL;
	memcpy(q, p, have < size ? have : size);
	free(p);
	return q;
}

#endif
