/*
 * Base64 of RFC 4648 section 4, with padding. Here, and not from OpenSSL,
 * because wrennctl links nothing but libc and json-c.
 */
#ifndef PROTO_BASE64_H
#define PROTO_BASE64_H

#include "proto/buf.h"

/* Characters that n bytes become. */
static inline size_t
base64_size(size_t n)
{
	return (n + 2) / 3 * 4;
}

int base64_encode(struct buf *out, const void *data, size_t n);

/* -EINVAL for anything but canonical base64; out is then unchanged. */
int base64_decode(struct buf *out, const char *text, size_t n);

#endif
