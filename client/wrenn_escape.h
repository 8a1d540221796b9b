/*
 * Text from elsewhere, made safe to show: control characters (C0, C1, DEL),
 * what reorders or hides text (bidi controls, zero-width), and bytes that
 * are not UTF-8 become visible escapes such as \n, \x1b, \u{202e}.
 */
#ifndef CLIENT_WRENN_ESCAPE_H
#define CLIENT_WRENN_ESCAPE_H

#include <stddef.h>
#include <stdint.h>

struct buf;

/* Appends the text; 0, -ENOSPC or -ENOMEM. */
int wrenn_escape(struct buf *out, const char *s, size_t n);

/*
 * The character at s and its length in bytes; 0 where the bytes are not
 * UTF-8. n is at least 1.
 */
size_t wrenn_utf8_char(const char *s, size_t n, uint32_t *ret_char);

#endif
