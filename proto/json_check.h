/*
 * The one JSON grammar: RFC 8259, strictly. json-c takes NaN, single quotes,
 * raw control characters and duplicate names; whatever this accepts, json-c
 * reads the same way.
 *
 * Accepted is exactly one value, with white space around it: valid UTF-8
 * (no surrogates, no overlong forms; escaped surrogates only in pairs), no
 * duplicate names in an object, at most LIMIT_JSON_DEPTH levels of nesting and
 * LIMIT_JSON_VALUES values, or one in 16 bytes where that is more.
 */
#ifndef PROTO_JSON_CHECK_H
#define PROTO_JSON_CHECK_H

#include <stdbool.h>
#include <stddef.h>

struct json_check_fault {
	size_t offset;      /* where in the text, in bytes */
	const char *reason; /* static text; NULL when nothing is wrong */
	bool nul_name;      /* a name holds U+0000, which json-c cuts off */
};

/* 0, or -EINVAL with the first fault. */
int json_check(const char *text, size_t len, struct json_check_fault *ret);

/* Length of the longest valid UTF-8 prefix of the bytes. */
size_t utf8_valid_prefix(const char *s, size_t n);

#endif
