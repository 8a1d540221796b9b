#include "tests/unit/fakes/fake_conn.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/loop.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define MAX_CONNS 256

struct conn {
	struct fake_conn *record;
	const struct conn_ops *ops;
	void *arg;
	int wanted;
	bool stands;
	struct timer *ready; /* armed while there is something to be told */
};

static struct fake_conn *conns[MAX_CONNS];
static int count;

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fake connection: %s\n", what);
	abort();
}

/* ---- for tests ---- */

int
fake_conn_count(void)
{
	return count;
}

struct fake_conn *
fake_conn_at(int i)
{
	must(i >= 0 && i < count, "there is no such connection");
	return conns[i];
}

void
fake_conn_forget(void)
{
	struct fake_conn *c;

	while (count > 0) {
		c = conns[--count];
		must(c->conn == NULL, "it was never closed");
		buf_release(&c->offered);
		buf_release(&c->in);
		free(c->url);
		free(c->alpn);
		free(c);
	}
}

static int
events_due(const struct conn *conn)
{
	const struct fake_conn *c = conn->record;
	int events = 0;

	if ((c->in.len > 0 && !c->told) ||
	    (c->in.len == 0 && c->end != -EAGAIN))
		events |= IO_READ;
	if (c->room > 0 || c->then != -EAGAIN)
		events |= IO_WRITE;
	return conn->stands ? events & conn->wanted : 0;
}

static void
look(struct conn *conn)
{
	timer_set(conn->ready, events_due(conn) ? 0 : -1);
}

static void
ready_due(void *arg)
{
	struct conn *conn = arg;
	int events = events_due(conn);

	look(conn);
	conn->ops->ready(conn->arg, events);
}

void
fake_conn_open(struct fake_conn *c, const char *protocol)
{
	must(c->conn != NULL && !c->conn->stands, "it cannot be opened");
	c->conn->stands = true;
	c->conn->ops->opened(c->conn->arg, protocol);
}

void
fake_conn_fail(struct fake_conn *c, enum rpc_errno error, const char *why)
{
	must(c->conn != NULL && !c->conn->stands, "it cannot fail any more");
	c->conn->ops->failed(c->conn->arg, error, why);
}

void
fake_conn_limit(struct fake_conn *c, size_t n, int then)
{
	c->room = n;
	c->then = then;
	if (c->conn != NULL)
		look(c->conn);
}

void
fake_conn_feed(struct fake_conn *c, const void *data, size_t n)
{
	if (c->conn == NULL || n == 0)
		return;
	must(buf_add(&c->in, data, n) == 0, "too much is fed");
	c->told = false;
	look(c->conn);
}

void
fake_conn_end(struct fake_conn *c, int end)
{
	c->end = end;
	if (c->conn != NULL)
		look(c->conn);
}

/* ---- daemon/conn.h ---- */

struct conn *
conn_open(struct loop *l, struct dialer *d, const char *url, const char *alpn,
    const struct conn_ops *ops, void *arg)
{
	struct fake_conn *c = xcalloc(1, sizeof(*c));
	struct conn *conn = xcalloc(1, sizeof(*conn));

	(void)d;
	must(count < MAX_CONNS, "too many connections");
	conns[count++] = c;
	c->conn = conn;
	c->url = xstrdup(url);
	c->alpn = xstrdup(alpn);
	buf_init(&c->offered, SIZE_MAX);
	buf_init(&c->in, SIZE_MAX);
	c->room = SIZE_MAX;
	c->then = -EAGAIN;
	c->chunk = SIZE_MAX;
	c->end = -EAGAIN;
	conn->record = c;
	conn->ops = ops;
	conn->arg = arg;
	conn->ready = timer_new(l, ready_due, conn);
	return conn;
}

void
conn_close(struct conn *conn)
{
	if (conn == NULL)
		return;
	conn->record->conn = NULL;
	timer_free(conn->ready);
	free(conn);
}

/* What was offered before and not taken begins what is offered now. */
static void
offer(struct fake_conn *c, const char *data, size_t n)
{
	size_t before = c->offered.len - c->taken;

	must(n >= before, "less is offered than before");
	must(before == 0 ||
		 memcmp(buf_head(&c->offered) + c->taken, data, before) == 0,
	    "something else is offered than before");
	must(buf_add(&c->offered, data + before, n - before) == 0,
	    "too much is sent");
}

ssize_t
conn_send(struct conn *conn, const void *data, size_t n)
{
	struct fake_conn *c = conn->record;

	must(conn->stands && n > 0, "that cannot be sent");
	offer(c, data, n);
	if (n > c->room)
		n = c->room;
	if (n == 0)
		return c->then;
	if (c->room != SIZE_MAX)
		c->room -= n;
	c->taken += n;
	look(conn);
	return (ssize_t)n;
}

ssize_t
conn_recv(struct conn *conn, void *data, size_t n)
{
	struct fake_conn *c = conn->record;

	must(conn->stands && n > 0, "nothing can be received");
	c->told = true;
	look(conn);
	if (c->in.len == 0)
		return c->end;
	if (n > c->in.len)
		n = c->in.len;
	if (n > c->chunk)
		n = c->chunk;
	memcpy(data, buf_head(&c->in), n);
	buf_consume(&c->in, n);
	look(conn);
	return (ssize_t)n;
}

void
conn_want(struct conn *conn, int events)
{
	must(conn->stands, "there is nothing to wait for");
	conn->wanted = events;
	look(conn);
}
