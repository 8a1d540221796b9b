#include "daemon/conn.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/dialer.h"
#include "daemon/loop.h"
#include "daemon/multi.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

/*
 * The multi is this connection's alone: among others it would count as idle,
 * and the next one that is made would prune it after 118 s. The handle stays
 * in the multi, through which libcurl finds the connection.
 */
struct conn {
	struct multi *multi;
	CURL *easy;
	struct handshake handshake;
	struct loop *loop;
	struct io *io; /* NULL until it stands */
	bool ended;    /* connecting, in one way or the other */
	CURLcode code;
	char detail[CURL_ERROR_SIZE];
	const struct conn_ops *ops;
	void *arg;
};

static void
ready(void *arg, int events)
{
	struct conn *c = arg;

	c->ops->ready(c->arg, events);
}

static void
done(void *arg, CURL *easy, CURLcode code)
{
	struct conn *c = arg;

	(void)easy;
	c->ended = true;
	c->code = code;
}

static void
fail(struct conn *c)
{
	c->ops->failed(c->arg,
	    dialer_is_tls_fault(c->code) ? RPC_TLS : RPC_UNREACHABLE,
	    dialer_explain(c->handshake.dialer, c->code, c->detail));
}

static void
settled(void *arg)
{
	struct conn *c = arg;
	curl_socket_t fd = CURL_SOCKET_BAD;

	if (!c->ended || c->io != NULL)
		return;
	if (c->code == CURLE_OK)
		curl_easy_getinfo(c->easy, CURLINFO_ACTIVESOCKET, &fd);
	if (fd == CURL_SOCKET_BAD) {
		fail(c);
		return;
	}
	c->io = io_new(c->loop, fd, ready, c);
	c->ops->opened(c->arg, c->handshake.agreed);
}

static const struct multi_ops multi_ops = { .done = done, .settled = settled };

struct conn *
conn_open(struct loop *l, struct dialer *d, const char *url, const char *alpn,
    const struct conn_ops *ops, void *arg)
{
	struct conn *c = xcalloc(1, sizeof(*c));

	c->loop = l;
	c->ops = ops;
	c->arg = arg;
	c->handshake.alpn = alpn;
	c->multi = multi_new(l, &multi_ops, c);
	c->easy = curl_easy_init();
	if (c->easy == NULL)
		abort();
	dialer_set(d, c->easy, &c->handshake);
	curl_easy_setopt(c->easy, CURLOPT_URL, url);
	curl_easy_setopt(c->easy, CURLOPT_CONNECT_ONLY, 1L);
	/* A proxy is to pass on what is not HTTP, or not as it knows it. */
	curl_easy_setopt(c->easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
	curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->detail);
	multi_add(c->multi, c->easy);
	return c;
}

void
conn_close(struct conn *c)
{
	if (c == NULL)
		return;
	io_free(c->io);
	multi_remove(c->multi, c->easy);
	/* The connection is the multi's, and calls back with the handle. */
	multi_free(c->multi);
	curl_easy_cleanup(c->easy);
	free(c);
}

static ssize_t
result_of(CURLcode code, size_t n)
{
	if (code == CURLE_OK)
		return (ssize_t)n;
	return code == CURLE_AGAIN ? -EAGAIN : -ECONNRESET;
}

ssize_t
conn_send(struct conn *c, const void *data, size_t n)
{
	size_t sent = 0;
	CURLcode code = curl_easy_send(c->easy, data, n, &sent);

	return result_of(code, sent);
}

ssize_t
conn_recv(struct conn *c, void *data, size_t n)
{
	size_t got = 0;
	CURLcode code = curl_easy_recv(c->easy, data, n, &got);

	return result_of(code, got);
}

void
conn_want(struct conn *c, int events)
{
	io_want(c->io, events);
}
