/*
 * From a line to a handler: the request is parsed, its method found, access,
 * parameters, descriptors and limits checked, in this order and only here.
 */
#ifndef DAEMON_DISPATCH_H
#define DAEMON_DISPATCH_H

#include "daemon/call.h"

struct dispatch;
struct peer_ops;

/* The ops for the listener; their argument is the dispatch. */
extern const struct peer_ops dispatch_peer_ops;

struct dispatch *dispatch_new(struct services *svc);
void dispatch_free(struct dispatch *d);

/* From now on only calls that look or cancel are taken. */
void dispatch_drain(struct dispatch *d);

/* Every m_*.c defines those of its group; each answers its call once. */
#define METHOD(sym, name, access, hangup, fds, summary, result) \
	void m_##sym(struct call *c);
#include "proto/methods.def"
#undef METHOD

#endif
