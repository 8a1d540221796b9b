/*
 * One side of a copy: a local path, "-", or CAPSULE:PATH.
 */
#ifndef CLIENT_PLACE_H
#define CLIENT_PLACE_H

#include <stdbool.h>

enum place_kind {
	PLACE_LOCAL,
	PLACE_STDIO, /* "-" */
	PLACE_REMOTE,
};

/* place_init, then place_release. */
struct place {
	enum place_kind kind;
	char *capsule; /* NULL unless remote */
	char *path;
};

/*
 * A word with a colon is remote, unless it begins with / or . or has a /
 * before the first colon.
 */
void place_init(struct place *p, const char *word);
void place_release(struct place *p);

/* The last part of the path; NULL when it has none, as "/" and "..". */
char *place_base_name(const struct place *p);

/* Puts the name behind the path, with one / between. */
void place_append(struct place *p, const char *name);

bool place_ends_in_slash(const struct place *p);

#endif
