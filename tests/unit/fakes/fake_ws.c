#include "tests/unit/fakes/fake_ws.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/upstream.h"
#include "proto/buf.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define MAX_STREAMS 64
#define MAX_SENT    (1024 * 1024)

/* Kept after its end, so that a test can look at it. */
struct ws {
	char *path;
	struct buf sent;
	bool open, paused, ended, freed;
	struct ws_end *end; /* gone with ws_free(), as the real one */
	const struct ws_ops *ops;
	void *arg;
};

static struct ws streams[MAX_STREAMS];
static int count;
static bool refusing;

struct ws *
upstream_stream(struct upstream *u, const char *path, const struct ws_ops *ops,
    void *arg, struct rpc_error *why)
{
	struct ws *w;

	(void)u;
	if (refusing || count == MAX_STREAMS) {
		rpc_error_set(why, RPC_NO_CREDENTIAL, "no credential");
		return NULL;
	}
	w = &streams[count++];
	*w = (struct ws){ .path = xstrdup(path), .ops = ops, .arg = arg };
	buf_init(&w->sent, MAX_SENT);
	return w;
}

int
ws_send(struct ws *w, const char *text, size_t n)
{
	if (!w->open || w->ended || w->freed)
		abort();
	if (buf_add(&w->sent, text, n) < 0 || buf_add(&w->sent, "\n", 1) < 0)
		abort();
	return 0;
}

void
ws_pause(struct ws *w, bool paused)
{
	if (w->freed)
		abort();
	w->paused = paused;
}

static void
end_free(struct ws *w)
{
	if (w->end == NULL)
		return;
	free((void *)(uintptr_t)w->end->why);
	free((void *)(uintptr_t)w->end->body);
	free(w->end);
	w->end = NULL;
}

void
ws_free(struct ws *w)
{
	if (w == NULL)
		return;
	if (w->freed)
		abort();
	w->freed = true;
	end_free(w);
}

/* ---- for tests ---- */

const int *
fake_ws_count(void)
{
	return &count;
}

const char *
fake_ws_path(int i)
{
	return i < count ? streams[i].path : "";
}

const char *
fake_ws_sent(int i)
{
	const char *text = i < count ? buf_str(&streams[i].sent) : NULL;

	return text != NULL ? text : "";
}

bool
fake_ws_is_paused(int i)
{
	return streams[i].paused;
}

bool
fake_ws_is_alive(int i)
{
	return i < count && !streams[i].ended && !streams[i].freed;
}

static struct ws *
alive(int i)
{
	if (!fake_ws_is_alive(i)) {
		fprintf(stderr, "fake ws: stream %d is not there\n", i);
		abort();
	}
	return &streams[i];
}

void
fake_ws_accept(int i)
{
	struct ws *w = alive(i);

	w->open = true;
	w->ops->opened(w->arg);
}

void
fake_ws_tell(int i, const char *message)
{
	struct ws *w = alive(i);

	w->ops->message(w->arg, message, strlen(message));
}

void
fake_ws_end(int i, const struct ws_end *end)
{
	struct ws *w = alive(i);

	w->ended = true;
	w->end = xmalloc(sizeof(*w->end));
	*w->end = *end;
	w->end->why = xstrdup(end->why ? end->why : "it broke");
	w->end->body = xstrdup(end->body ? end->body : "");
	w->end->len = strlen(w->end->body);
	w->ops->ended(w->arg, w->end);
}

void
fake_ws_reset(void)
{
	int i;

	for (i = 0; i < count; i++) {
		end_free(&streams[i]);
		free(streams[i].path);
		buf_release(&streams[i].sent);
	}
	count = 0;
	refusing = false;
}

void
fake_ws_refuse(bool refuse)
{
	refusing = refuse;
}
