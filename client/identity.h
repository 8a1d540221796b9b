/*
 * Whether wrennd works for whom the environment says. A key or server set in
 * the shell but not in the running wrennd would otherwise be ignored in
 * silence, and another team's capsules used and billed.
 */
#ifndef CLIENT_IDENTITY_H
#define CLIENT_IDENTITY_H

#include <stdbool.h>

struct json_object;
struct wrenn_error;

/* Whether the environment says anything to compare. */
bool identity_is_set(void);

/*
 * Compares WRENN_API_KEY, WRENN_TOKEN and WRENN_BASE_URL with the answer of
 * auth.status. 0, or -1 with the error "no_credential".
 */
int identity_compare(struct json_object *status, struct wrenn_error *err);

#endif
