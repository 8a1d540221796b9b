/*
 * The transport for HTTP/2: few connections, many requests on each. Where the
 * server speaks no HTTP/2, requests come back with want_http1.
 */
#ifndef DAEMON_HTTP_H2_H
#define DAEMON_HTTP_H2_H

#include "daemon/http.h"

struct dialer;
struct loop;

struct http_h2_options {
	const char *base_url; /* https; copied */
	int max_connections;
	uint64_t ping_after_ms;   /* without a byte; then a PING is sent */
	uint64_t ping_timeout_ms; /* and without one more the peer is dead */
};

/* The dialer outlives it. */
struct http *http_h2_new(
    struct loop *l, struct dialer *d, const struct http_h2_options *options);

#endif
