/*
 * Work put off to the end of a turn of the loop, which has one queue of it.
 */
#ifndef DAEMON_LATER_H
#define DAEMON_LATER_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/queue.h"

/* Embedded in its owner, who takes it out before it goes. */
struct later {
	void (*fn)(void *arg);
	void *arg;
	bool queued, last; /* behind the others */
	uint64_t turn;     /* in which it was queued */
	TAILQ_ENTRY(later) entry;
};

struct later_queue {
	TAILQ_HEAD(, later) first, last;
	uint64_t turns; /* that have ended */
};

void later_init(struct later *w, void (*fn)(void *arg), void *arg);

void later_queue_init(struct later_queue *q);
bool later_queue_is_empty(const struct later_queue *q);

/* Nothing is queued twice. */
void later_queue_add(struct later_queue *q, struct later *w, bool last);
void later_queue_remove(struct later_queue *q, struct later *w);

/*
 * The turn ends: runs what was queued up to now, and then the last. What the
 * first queue in their turn waits for the next one, so that descriptors are
 * never starved. false when there was nothing.
 */
bool later_queue_run(struct later_queue *q);

#endif
