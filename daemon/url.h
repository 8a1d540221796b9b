/*
 * The base URL: what it may be, and what follows from it.
 */
#ifndef DAEMON_URL_H
#define DAEMON_URL_H

#include <stdbool.h>

struct buf;

/* Parts of a base URL. Filled by url_parse, emptied by url_release. */
struct url {
	char *text; /* normalised, without a slash at the end */
	char *host; /* with its port as it stands */
	bool tls;
	bool loopback; /* localhost, 127/8 or ::1 */
};

/*
 * Takes http and https URLs with a host, a port and a path; no user, query
 * or fragment. 0, or -EINVAL with a static text that says what is wrong.
 */
int url_parse(struct url *u, const char *text, const char **ret_why);
void url_release(struct url *u);

/*
 * Appends text as one segment of a path, or as a name or value of a query.
 * 0 or a negative errno. "." and ".." stay what they are.
 */
int url_add_encoded(struct buf *b, const char *text);

#endif
