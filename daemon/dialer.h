/*
 * How connections to the server are made: trust, client certificates,
 * proxies, TLS sessions taken up again, deadlines. The rules exist once, for
 * libcurl's own transfers and for the connections that others take over.
 */
#ifndef DAEMON_DIALER_H
#define DAEMON_DIALER_H

#include <stdbool.h>
#include <stdint.h>

#include <curl/curl.h>

#include "proto/rpc_error.h"

struct dialer;

/* Copied. NULL members mean libcurl's defaults. */
struct dialer_options {
	const char *base_url; /* whose host is connected to */
	const char *ca_file;
	const char *client_cert;
	const char *client_key;
	const char *proxy; /* NULL: http_proxy and no_proxy, as in curl */
	long connect_timeout_ms;
};

/* Once each, before the first thread and after the last handle. */
void dialer_process_init(void);
void dialer_process_end(void);

struct dialer *dialer_new(const struct dialer_options *options);
void dialer_free(struct dialer *d); /* after its handles */

/*
 * What is offered in a TLS handshake, and agreed to in it. Belongs to the
 * owner of the handle, and outlives that.
 */
struct handshake {
	struct dialer *dialer;
	const char *alpn;      /* offered, in the wire's form (RFC 7301) */
	char agreed[16];       /* a protocol's name; "" when there is none */
	uint64_t begun_ms;     /* when, and */
	unsigned int messages; /* of it, and of TLS behind it */
	uint64_t offered_ms;   /* how old the session was that it offered */
};

/*
 * Sets all of this on a handle. With a handshake the protocols are its own,
 * and TLS reads ahead, so that the connection is to be read until there is no
 * more; NULL leaves both to libcurl.
 */
void dialer_set(struct dialer *d, CURL *easy, struct handshake *h);

/*
 * Whether the file with the certificates is another than the one that the
 * last connection was made with. Says so of each file once.
 */
bool dialer_trust_changed(struct dialer *d);

/* What a handle's failure means; of its text, detail is the first part. */
bool dialer_is_tls_fault(CURLcode code);
const char *dialer_explain(
    const struct dialer *d, CURLcode code, const char *detail);

#endif
