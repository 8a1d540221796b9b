/*
 * A verb that names several things: one call for each, several at once.
 */
#ifndef CLIENT_EACH_H
#define CLIENT_EACH_H

#include <stdbool.h>

struct ctl;
struct json_object;

struct each {
	const char *method;
	const char *param; /* what the name is to the method */
	struct json_object
	    *common;     /* parameters of every call, or NULL; lent */
	bool print_name; /* on success, where the answer has no ID */
};

/*
 * Goes on after a failure. Returns the exit status, which is that of the first
 * one. names ends with NULL.
 */
int each_call(struct ctl *ctl, const struct each *e, char **names);

#endif
