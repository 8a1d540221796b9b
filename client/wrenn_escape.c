#include "client/wrenn_escape.h"

#include <stdbool.h>
#include <string.h>

#include "proto/buf.h"
#include "proto/json_check.h"

#include "proto/banned.h"

size_t
wrenn_utf8_char(const char *s, size_t n, uint32_t *ret_char)
{
	unsigned char c = (unsigned char)s[0];
	size_t i, len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	uint32_t ch;

	if (len > n || utf8_valid_prefix(s, len) != len)
		return 0;
	ch = len == 1 ? c : c & (0xffu >> (len + 1));
	for (i = 1; i < len; i++)
		ch = ch << 6 | ((unsigned char)s[i] & 0x3fu);
	*ret_char = ch;
	return len;
}

/* Whether showing it could move, hide or reorder what stands around it. */
static bool
is_unsafe(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) ||   /* C0, DEL, C1 */
	       c == 0xad || c == 0x61c || c == 0x180e || /* hidden */
	       (c >= 0x200b && c <= 0x200f) ||           /* zero-width, marks */
	       (c >= 0x2028 && c <= 0x202e) ||           /* lines, embeddings */
	       (c >= 0x2060 && c <= 0x206f) ||           /* joiners, isolates */
	       c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) ||
	       (c >= 0xe0000 && c <= 0xe007f); /* tags */
}

static int
add_escape(struct buf *out, uint32_t c)
{
	switch (c) {
	case '\n':
		return buf_adds(out, "\\n");
	case '\r':
		return buf_adds(out, "\\r");
	case '\t':
		return buf_adds(out, "\\t");
	default:
		return c < 0x80 ? buf_addf(out, "\\x%02x", c)
				: buf_addf(out, "\\u{%x}", c);
	}
}

int
wrenn_escape(struct buf *out, const char *s, size_t n)
{
	size_t i = 0, len, from = 0;
	uint32_t c;
	int r;

	while (i < n) {
		if (s[i] >= 0x20 && s[i] < 0x7f) { /* most of most texts */
			i++;
			continue;
		}
		len = wrenn_utf8_char(s + i, n - i, &c);
		if (len > 0 && !is_unsafe(c)) {
			i += len;
			continue;
		}
		if ((r = buf_add(out, s + from, i - from)) < 0)
			return r;
		r = len > 0 ? add_escape(out, c)
			    : buf_addf(out, "\\x%02x", (unsigned char)s[i]);
		if (r < 0)
			return r;
		i += len > 0 ? len : 1;
		from = i;
	}
	return buf_add(out, s + from, n - from);
}
