/*
 * The bytes of a client, in reads of any size, against the plainest splitter
 * there is. The input: a byte for the longest line, a byte for the size of
 * the reads, then the bytes of the client.
 */
#include <stdbool.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#include "proto/rpc_frame.h"

#include "proto/banned.h"

/* What is left of the bytes that the splitter has still to see. */
struct model {
	const char *bytes;
	size_t left;
	size_t max;
	bool skipping; /* inside a line that was told of as too long */
};

/* What comes next, once all bytes are known. */
static enum rpc_frame_result
model_next(struct model *m, const char **ret_line, size_t *ret_len)
{
	const char *nl;
	size_t len;

	for (;;) {
		nl = m->left > 0 ? memchr(m->bytes, '\n', m->left) : NULL;
		len = nl ? (size_t)(nl - m->bytes) : m->left;
		*ret_line = m->bytes;
		*ret_len = len;
		if (!m->skipping && len > m->max) {
			m->skipping = true;
			return RPC_FRAME_TOO_LONG;
		}
		if (nl == NULL)
			return RPC_FRAME_MORE;
		m->bytes += len + 1;
		m->left -= len + 1;
		if (!m->skipping)
			return RPC_FRAME_LINE;
		m->skipping = false;
	}
}

/* Takes all that the frame has by now; each is what the model says. */
static void
drain(struct rpc_frame *f, struct model *m)
{
	enum rpc_frame_result result;
	const char *line, *wanted;
	size_t len, wanted_len;

	while ((result = rpc_frame_next(f, &line, &len)) != RPC_FRAME_MORE) {
		fuzz_check(model_next(m, &wanted, &wanted_len) == result);
		if (result == RPC_FRAME_TOO_LONG)
			continue;
		fuzz_check(len == wanted_len);
		fuzz_check(len == 0 || memcmp(line, wanted, len) == 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t max, want, room, len;
	const char *bytes, *line;
	struct rpc_frame f;
	struct model m;
	char *space;

	if (size < 2)
		return 0;
	max = data[0];
	want = (size_t)data[1] + 1;
	bytes = (const char *)data + 2;
	size -= 2;
	m = (struct model){ .bytes = bytes, .left = size, .max = max };
	rpc_frame_init(&f, max);
	while (size > 0) {
		fuzz_check(rpc_frame_reserve(&f, want, &space, &room) == 0);
		fuzz_check(room > 0 && room <= want);
		len = room < size ? room : size;
		memcpy(space, bytes, len);
		rpc_frame_commit(&f, len);
		bytes += len;
		size -= len;
		drain(&f, &m);
		fuzz_check(f.in.alloc <= 2 * max + 3);
	}
	fuzz_check(model_next(&m, &line, &len) == RPC_FRAME_MORE);
	rpc_frame_release(&f);
	return 0;
}
