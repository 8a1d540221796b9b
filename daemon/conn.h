/*
 * A connection to the server that libcurl makes (names, proxies, TLS) and
 * somebody else speaks on. Nothing blocks.
 */
#ifndef DAEMON_CONN_H
#define DAEMON_CONN_H

#include <sys/types.h>

#include "proto/rpc_error.h"

struct conn;
struct dialer;
struct loop;

struct conn_ops {
	/* It stands. protocol: what ALPN agreed to, "" for nothing. */
	void (*opened)(void *arg, const char *protocol);
	/* It could not be made; `why` is for people. */
	void (*failed)(void *arg, enum rpc_errno error, const char *why);
	/* What conn_want() asked for. */
	void (*ready)(void *arg, int events);
};

/*
 * Connects to the host of url. alpn: the protocols to offer, in the wire's
 * form, static. Nothing is called before this returns; each of the callbacks
 * may close the connection.
 */
struct conn *conn_open(struct loop *l, struct dialer *d, const char *url,
    const char *alpn, const struct conn_ops *ops, void *arg);
void conn_close(struct conn *c); /* NULL is fine */

/* Once it stands. Bytes, -EAGAIN, or another negative errno: it is dead. */
ssize_t conn_send(struct conn *c, const void *data, size_t n);
/*
 * 0: the end. To be called until there is no more, also once it stands: of
 * what TLS has read ahead no event tells.
 */
ssize_t conn_recv(struct conn *c, void *data, size_t n);
void conn_want(struct conn *c, int events); /* IO_READ, IO_WRITE, or both */

#endif
