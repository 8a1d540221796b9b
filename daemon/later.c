#include "daemon/later.h"

#include <stddef.h>

#include "proto/banned.h"

void
later_init(struct later *w, void (*fn)(void *arg), void *arg)
{
	*w = (struct later){ .fn = fn, .arg = arg };
}

void
later_queue_init(struct later_queue *q)
{
	TAILQ_INIT(&q->first);
	TAILQ_INIT(&q->last);
	q->turns = 0;
}

bool
later_queue_is_empty(const struct later_queue *q)
{
	return TAILQ_EMPTY(&q->first) && TAILQ_EMPTY(&q->last);
}

void
later_queue_add(struct later_queue *q, struct later *w, bool last)
{
	if (w->queued)
		return;
	w->queued = true;
	w->last = last;
	w->turn = q->turns;
	if (last)
		TAILQ_INSERT_TAIL(&q->last, w, entry);
	else
		TAILQ_INSERT_TAIL(&q->first, w, entry);
}

void
later_queue_remove(struct later_queue *q, struct later *w)
{
	if (!w->queued)
		return;
	w->queued = false;
	if (w->last)
		TAILQ_REMOVE(&q->last, w, entry);
	else
		TAILQ_REMOVE(&q->first, w, entry);
}

static void
run(struct later_queue *q, struct later *w)
{
	later_queue_remove(q, w);
	w->fn(w->arg);
}

bool
later_queue_run(struct later_queue *q)
{
	bool any = !later_queue_is_empty(q);
	struct later *w;

	q->turns++;
	while ((w = TAILQ_FIRST(&q->first)) != NULL && w->turn < q->turns)
		run(q, w);
	while ((w = TAILQ_FIRST(&q->last)) != NULL)
		run(q, w);
	return any;
}
