#include "proto/base64.h"

#include <errno.h>
#include <stdint.h>

#include "proto/banned.h"

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int
base64_encode(struct buf *out, const void *data, size_t n)
{
	const uint8_t *p = data;
	uint32_t v;
	char *q;
	int r;

	r = buf_reserve(out, base64_size(n), &q);
	if (r < 0)
		return r;
	buf_commit(out, base64_size(n));
	for (; n >= 3; n -= 3, p += 3) {
		v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
		*q++ = alphabet[v >> 18];
		*q++ = alphabet[v >> 12 & 63];
		*q++ = alphabet[v >> 6 & 63];
		*q++ = alphabet[v & 63];
	}
	if (n > 0) {
		v = (uint32_t)p[0] << 16 | (n == 2 ? (uint32_t)p[1] << 8 : 0);
		*q++ = alphabet[v >> 18];
		*q++ = alphabet[v >> 12 & 63];
		*q++ = n == 2 ? alphabet[v >> 6 & 63] : '=';
		*q++ = '=';
	}
	return 0;
}

/* The value of one character, or 64 and more when it has none. */
static uint32_t
digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (uint32_t)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (uint32_t)(c - 'a') + 26;
	if (c >= '0' && c <= '9')
		return (uint32_t)(c - '0') + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : 64;
}

/* Four characters to 24 bits; -1 when one of them is no digit. */
static int32_t
quantum(const char *t)
{
	uint32_t a = digit(t[0]), b = digit(t[1]);
	uint32_t c = digit(t[2]), d = digit(t[3]);

	if ((a | b | c | d) > 63)
		return -1;
	return (int32_t)(a << 18 | b << 12 | c << 6 | d);
}

/*
 * The last quantum may be padded; the bits that padding drops must be zero,
 * so that every byte string has one encoding only. Returns the bytes it
 * holds, or -1.
 */
static int
last_quantum(const char *t, int32_t *ret_bits)
{
	char full[4] = { t[0], t[1], t[2], t[3] };
	int bytes = 3;
	int32_t v;

	if (full[3] == '=') {
		full[3] = 'A';
		bytes = 2;
		if (full[2] == '=') {
			full[2] = 'A';
			bytes = 1;
		}
	}
	v = quantum(full);
	if (v < 0 || (v & ((1 << (24 - 8 * bytes)) - 1)) != 0)
		return -1;
	*ret_bits = v;
	return bytes;
}

/* Bytes in n > 0 characters, so that a buffer of just that size suffices. */
static size_t
decoded_size(const char *text, size_t n)
{
	size_t size = n / 4 * 3;

	if (text[n - 1] == '=')
		size -= text[n - 2] == '=' ? 2 : 1;
	return size;
}

int
base64_decode(struct buf *out, const char *text, size_t n)
{
	size_t i, kept = 0;
	int32_t v = 0;
	int bytes, r;
	char *q;

	if (n % 4 != 0)
		return -EINVAL;
	if (n == 0)
		return 0;
	r = buf_reserve(out, decoded_size(text, n), &q);
	if (r < 0)
		return r;
	for (i = 0; i + 4 < n; i += 4) {
		v = quantum(text + i);
		if (v < 0)
			return -EINVAL;
		q[kept++] = (char)(v >> 16);
		q[kept++] = (char)(v >> 8);
		q[kept++] = (char)v;
	}
	bytes = last_quantum(text + i, &v);
	if (bytes < 0)
		return -EINVAL;
	for (i = 0; i < (size_t)bytes; i++)
		q[kept++] = (char)(v >> (16 - 8 * i));
	buf_commit(out, kept);
	return 0;
}
