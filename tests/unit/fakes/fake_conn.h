/*
 * daemon/conn.h without a network: the test is what is at the other end.
 * Linked in place of daemon/conn.c: list its object before libdaemon.a.
 *
 * It is as unkind as TLS: readiness is told once for what came, however much
 * of it is left unread, and what was refused must be offered again as it was.
 */
#ifndef TESTS_UNIT_FAKES_FAKE_CONN_H
#define TESTS_UNIT_FAKES_FAKE_CONN_H

#include <stdbool.h>

#include "daemon/conn.h"
#include "proto/buf.h"

/* What is known of one connection; stays after it was closed. */
struct fake_conn {
	struct conn *conn; /* NULL: it was closed */
	char *url, *alpn;
	struct buf offered; /* all that was to be sent, */
	size_t taken;       /* and how much of it was */
	size_t room;        /* that is to be taken still, before */
	int then;           /* this is said */
	struct buf in;      /* to be received, */
	size_t chunk;       /* so much at once, */
	int end;            /* and this in the end: 0, an errno, or -EAGAIN */
	bool told;          /* of what is in `in` */
};

/* How many were opened, and one of them. */
int fake_conn_count(void);
struct fake_conn *fake_conn_at(int i);
/* The program ends if one is open still. */
void fake_conn_forget(void);

/* These two call back. */
void fake_conn_open(struct fake_conn *c, const char *protocol);
void fake_conn_fail(struct fake_conn *c, enum rpc_errno error, const char *why);

/* From now on it takes n bytes, and then says -EAGAIN, or that it is dead. */
void fake_conn_limit(struct fake_conn *c, size_t n, int then);

/* These take effect when the loop runs. */
void fake_conn_feed(struct fake_conn *c, const void *data, size_t n);
void fake_conn_end(struct fake_conn *c, int end);

#endif
