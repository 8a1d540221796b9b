/*
 * The transport for HTTP/1.1, on libcurl: calls where the server knows no
 * HTTP/2, and bulk transfers, each on a connection of its own.
 */
#ifndef DAEMON_HTTP_CURL_H
#define DAEMON_HTTP_CURL_H

#include "daemon/http.h"

struct dialer;
struct loop;

/* The dialer outlives it. */
struct http *http_curl_new(struct loop *l, struct dialer *d);

#endif
