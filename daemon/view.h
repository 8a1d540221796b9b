/*
 * A capsule as clients see it: what upstream shows of it, in upstream's own
 * bytes, with what is recorded here. Pure.
 */
#ifndef DAEMON_VIEW_H
#define DAEMON_VIEW_H

#include <stdbool.h>
#include <stddef.h>

#include "daemon/store.h"

struct capsule;
struct json_out;

/* What upstream showed, looked at once; it lends from the text. */
struct shown {
	const char *text; /* an object; NULL when upstream showed nothing */
	size_t len;
	bool any;                /* it has members */
	bool ours;               /* some have names of ours */
	char id[CAPSULE_ID_MAX]; /* "" when it has none that can be one */
	char status[16];         /* likewise, of a status */
};

/* Takes text that json_check() accepted, or "". false when it is no object. */
bool shown_init(struct shown *s, const char *text, size_t len);

/*
 * Adds the capsule, as a value, to what is written. c is NULL for one that was
 * not created here; s is NULL when upstream was not asked. One of them is
 * there. Where both have a member, ours counts.
 */
void view_print(
    struct json_out *out, const struct capsule *c, const struct shown *s);

#endif
