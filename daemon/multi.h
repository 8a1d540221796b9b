/*
 * A libcurl multi handle on the loop: its sockets, its timer, and the word of
 * every transfer that ended. libcurl's callbacks only note and arm here; the
 * owner is told when none of them is running any more.
 */
#ifndef DAEMON_MULTI_H
#define DAEMON_MULTI_H

#include <curl/curl.h>

struct loop;
struct multi;

struct multi_ops {
	/*
	 * A transfer ended. Its handle is still in the multi: to be taken out
	 * with multi_remove(), unless it is a connection to be kept. Others
	 * may follow, so that nothing else is to be done here.
	 */
	void (*done)(void *arg, CURL *easy, CURLcode code);
	/* All that have ended were told. The multi may be freed here. */
	void (*settled)(void *arg);
};

struct multi *multi_new(struct loop *l, const struct multi_ops *ops, void *arg);
/* Closes its connections. Its handles were removed, or are cleaned up next. */
void multi_free(struct multi *m);

void multi_add(struct multi *m, CURL *easy); /* work begins next turn */
void multi_remove(struct multi *m, CURL *easy);
void multi_set(struct multi *m, CURLMoption option, long value);
/* Calls settled() at the end of the turn, whether or not any ended. */
void multi_settle(struct multi *m);

#endif
