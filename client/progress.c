#include "client/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "client/human.h"
#include "client/wrenn_priv.h"

#include "proto/banned.h"

#define FIRST_MS 500 /* short copies show nothing */
#define EVERY_MS 200

void
progress_init(struct progress *p, bool quiet, uint64_t total)
{
	int64_t now = wrenn_now_ms();

	*p = (struct progress){ .on = !quiet && isatty(STDERR_FILENO),
		.total = total,
		.since_ms = now,
		.next_ms = now + FIRST_MS };
}

void
progress_step(uint64_t bytes, void *arg)
{
	struct progress *p = arg;
	struct human done, rate, total;
	int64_t now;

	if (!p->on || (now = wrenn_now_ms()) < p->next_ms)
		return;
	p->next_ms = now + EVERY_MS;
	p->shown = true;
	human_bytes(&done, bytes);
	human_bytes(&rate, bytes * 1000 / (uint64_t)(now - p->since_ms + 1));
	if (p->total > 0)
		fprintf(stderr, "\r%s of %s, %s/s\033[K", done.text,
		    human_bytes(&total, p->total), rate.text);
	else
		fprintf(stderr, "\r%s, %s/s\033[K", done.text, rate.text);
}

void
progress_end(struct progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}
