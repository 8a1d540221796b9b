/*
 * The transport on libcurl: HTTP/2 where ALPN agrees to it, keep-alive
 * HTTP/1.1 elsewhere. Sole owner of curl/multi.h.
 */
#ifndef DAEMON_HTTP_CURL_H
#define DAEMON_HTTP_CURL_H

#include "daemon/http.h"

struct loop;

/* Copied. NULL members mean libcurl's defaults. */
struct http_curl_options {
	const char *ca_file;
	const char *client_cert;
	const char *client_key;
	const char *proxy; /* NULL: http_proxy and no_proxy, as in curl */
	bool tls;          /* of the base URL */
	long connect_timeout_ms;
	long max_connections;
};

/* Once each, before the first thread and after the last transport. */
void http_curl_process_init(void);
void http_curl_process_end(void);

struct http *http_curl_new(
    struct loop *l, const struct http_curl_options *options);

#endif
