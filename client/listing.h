/*
 * A verb that lists: a call whose answer holds an array of objects, and the
 * columns that people see of it.
 */
#ifndef CLIENT_LISTING_H
#define CLIENT_LISTING_H

#include <stdbool.h>

#include "client/opt.h"

struct ctl;
struct json_object;

enum listing_kind {
	LISTING_TEXT,
	LISTING_COUNT, /* a whole number */
	LISTING_BYTES,
	LISTING_MIB,
	LISTING_TIME, /* RFC 3339, as how long ago */
};

/* A column; a row without a head ends them. */
struct listing_column {
	const char *head;
	const char *key; /* of the object's member */
	enum listing_kind kind;
};

/* The first column is what tells the objects apart. */
struct listing {
	const char *method;
	const char *member; /* of the answer: the array */
	const struct listing_column *columns;
};

/*
 * Calls with params, which it takes over (NULL for none), and prints; with
 * `quiet` the first column alone. Returns the exit status.
 */
int listing_run(struct ctl *ctl, const struct listing *l,
    struct json_object *params, bool quiet);

/* The one option of a verb that lists, whose value is a bool. */
extern const struct opt listing_opts[];

#endif
