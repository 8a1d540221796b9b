/*
 * How far a copy is, on a terminal's standard error and nowhere else.
 */
#ifndef CLIENT_PROGRESS_H
#define CLIENT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool shown;     /* there is a line to wipe */
	bool on;        /* standard error is a terminal and not -q */
	uint64_t total; /* 0 when it is not known */
	int64_t since_ms;
	int64_t next_ms; /* when to print again */
};

void progress_init(struct progress *p, bool quiet, uint64_t total);
void progress_step(uint64_t bytes, void *arg); /* arg: struct progress */
void progress_end(struct progress *p);         /* wipes the line */

#endif
