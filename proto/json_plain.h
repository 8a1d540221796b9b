/*
 * How far bytes of a JSON string stand for themselves, looked at eight at a
 * time: most strings are nothing else, and every byte passes here.
 */
#ifndef PROTO_JSON_PLAIN_H
#define PROTO_JSON_PLAIN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define JSON_EACH(byte) (0x0101010101010101U * (uint64_t)(byte))

/*
 * The high bit of the first byte in memory that is a control character, a
 * quote or a backslash; bits behind that one mean nothing. 0 when there is
 * none. A subtraction borrows only from bytes behind one that is found, so
 * the first is exact.
 */
static inline uint64_t
json_escaped_bytes(uint64_t w)
{
	uint64_t quote = w ^ JSON_EACH('"'), slash = w ^ JSON_EACH('\\');

	return (((w - JSON_EACH(0x20)) & ~w) |
		   ((quote - JSON_EACH(1)) & ~quote) |
		   ((slash - JSON_EACH(1)) & ~slash)) &
	       JSON_EACH(0x80);
}

/* Eight bytes, the first in memory as the lowest. */
static inline uint64_t
json_load(const char *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	w = __builtin_bswap64(w);
#endif
	return w;
}

/* `stop` is JSON_EACH(0x80) to stop at what is not ASCII as well, or 0. */
static inline size_t
json_run(const char *p, const char *end, uint64_t stop)
{
	const char *from = p;
	uint64_t w, found;
	unsigned char c;

	for (; end - p >= 8; p += 8) {
		w = json_load(p);
		found = json_escaped_bytes(w) | (w & stop);
		if (found != 0)
			return (size_t)(p - from) +
			       (size_t)__builtin_ctzll(found) / 8;
	}
	for (; p < end; p++) {
		c = (unsigned char)*p;
		if (c < 0x20 || c == '"' || c == '\\' || (c & stop) != 0)
			break;
	}
	return (size_t)(p - from);
}

/* Bytes before the first that is no ASCII or is or begins an escape. */
static inline size_t
json_plain_run(const char *p, const char *end)
{
	return json_run(p, end, JSON_EACH(0x80));
}

/* Bytes before the first that a string must escape, or the closing quote. */
static inline size_t
json_bare_run(const char *p, const char *end)
{
	return json_run(p, end, 0);
}

#endif
