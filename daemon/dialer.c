#include "daemon/dialer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <openssl/ssl.h>

#include "daemon/loop.h"
#include "daemon/url.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define DNS_CACHE_S    60L
#define TCP_TIMEOUT_MS 30000
#define SESSION_MS     3600000 /* certificates are looked at again */
#define MESSAGES_MAX   1000    /* of a handshake, and behind it */

/*
 * The certificates trusted, read from a file that is looked at before every
 * connection. Not libcurl's: its cache is one for each multi handle, and to
 * read the system's 140 certificates takes 20 ms.
 */
struct trust {
	X509_STORE *store;
	struct stat seen; /* the file that it was read from */
	struct stat told; /* that it has changed to; zeros before any */
};

struct dialer {
	char *ca_file, *client_cert, *client_key, *proxy;
	long connect_timeout_ms;
	char *host; /* as in a TLS server name; "" for an address */
	struct trust trust;
	SSL_SESSION *session; /* of the last connection; NULL for none */
	uint64_t session_ms;  /* when its certificates were looked at */
	struct handshake plain;
	char fault[256]; /* of the trust */
};

/* ---- trust ---- */

static void
drop_session(struct dialer *d)
{
	SSL_SESSION_free(d->session);
	d->session = NULL;
}

static bool
is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev &&
	       a->st_size == b->st_size &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static const char *
trust_file(const struct dialer *d)
{
	if (d->ca_file != NULL)
		return d->ca_file;
	return curl_version_info(CURLVERSION_NOW)->cainfo;
}

bool
dialer_trust_changed(struct dialer *d)
{
	const char *file = trust_file(d);
	struct trust *t = &d->trust;
	struct stat now;

	/* One that is gone is none of another kind: it may be on its way. */
	if (t->store == NULL || file == NULL || stat(file, &now) < 0 ||
	    is_same_file(&now, &t->seen) || is_same_file(&now, &t->told))
		return false;
	t->told = now;
	return true;
}

static X509_STORE *
load_trust(const char *file)
{
	X509_STORE *store = X509_STORE_new();

	if (store == NULL)
		abort();
	if (file != NULL ? X509_STORE_load_file(store, file) != 1
			 : X509_STORE_set_default_paths(store) != 1) {
		X509_STORE_free(store);
		return NULL;
	}
	/* As libcurl does: an intermediate certificate may be the anchor. */
	X509_STORE_set_flags(
	    store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);
	return store;
}

/*
 * Brings the trust up to date. A session is no proof that a certificate is
 * still trusted, so that it goes with what it was checked against.
 */
static bool
refresh_trust(struct dialer *d)
{
	const char *file = trust_file(d);
	struct stat now = { 0 };
	X509_STORE *store;

	if (file != NULL && stat(file, &now) == 0 && d->trust.store != NULL &&
	    is_same_file(&now, &d->trust.seen))
		return true;
	if (file == NULL && d->trust.store != NULL)
		return true;
	store = load_trust(file);
	if (store == NULL) {
		snprintf(d->fault, sizeof(d->fault),
		    "no certificates can be read from %s",
		    file ? file : "the system's folders");
		return false;
	}
	X509_STORE_free(d->trust.store);
	d->trust.store = store;
	d->trust.seen = now;
	drop_session(d);
	return true;
}

/* ---- handshakes ---- */

/*
 * Whether it is the server's handshake, not that of an https proxy, through
 * which the other goes. An address has no server name.
 */
static bool
is_server(const struct dialer *d, const SSL *ssl)
{
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	return strcasecmp(name ? name : "", d->host) == 0;
}

static void
handshake_begins(struct handshake *h, SSL *ssl)
{
	struct dialer *d = h->dialer;

	if (!is_server(d, ssl))
		return;
	if (h->alpn != NULL) {
		SSL_set_alpn_protos(ssl, (const unsigned char *)h->alpn,
		    (unsigned int)strlen(h->alpn));
		/*
		 * One read for many small records, not two for each. Only
		 * where whoever reads goes on until there is no more:
		 * libcurl's own transfers would wait for what is here.
		 */
		SSL_set_read_ahead(ssl, 1);
		/* libcurl's choice: to free, and wipe, 17 kB a record. */
		SSL_clear_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
		/* Some answers hold a secret: a token, a key that was made. */
		SSL_set_options(ssl, SSL_OP_CLEANSE_PLAINTEXT);
	}
	h->messages = 0;
	h->begun_ms = now_ms();
	h->offered_ms = d->session_ms;
	if (d->session != NULL && h->begun_ms - d->session_ms < SESSION_MS)
		SSL_set_session(ssl, d->session);
}

static void
handshake_ends(struct handshake *h, const SSL *ssl)
{
	const unsigned char *name;
	unsigned int n;

	if (!is_server(h->dialer, ssl))
		return;
	SSL_get0_alpn_selected(ssl, &name, &n);
	snprintf(h->agreed, sizeof(h->agreed), "%.*s", (int)n,
	    name ? (const char *)name : "");
}

static void
info_cb(const SSL *ssl, int where, int ret)
{
	struct handshake *h = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	(void)ret;
	/* OpenSSL has no hook for this that is not const. */
	if (where & SSL_CB_HANDSHAKE_START && SSL_in_before(ssl))
		handshake_begins(h, (SSL *)(uintptr_t)ssl);
	if (where & SSL_CB_HANDSHAKE_DONE)
		handshake_ends(h, ssl);
}

/*
 * OpenSSL takes in any number of sessions and new keys within one read, and
 * the loop would wait for it: too many end the connection.
 */
static void
message_cb(int sent, int version, int type, const void *data, size_t n,
    SSL *ssl, void *arg)
{
	struct handshake *h = arg;

	(void)version;
	(void)data;
	(void)n;
	if (!sent && type == SSL3_RT_HANDSHAKE && ++h->messages > MESSAGES_MAX)
		SSL_set_shutdown(ssl, SSL_RECEIVED_SHUTDOWN);
}

/*
 * 1 means that the session is kept. Not that of a connection which began with
 * other certificates trusted: servers hand them out at any time. One that
 * follows from another is as old as that: nothing was looked at in between.
 */
static int
session_cb(SSL *ssl, SSL_SESSION *session)
{
	SSL_CTX *ctx = SSL_get_SSL_CTX(ssl);
	struct handshake *h = SSL_CTX_get_app_data(ctx);
	struct dialer *d = h->dialer;

	if (!is_server(d, ssl) || SSL_CTX_get_cert_store(ctx) != d->trust.store)
		return 0;
	drop_session(d);
	d->session = session;
	d->session_ms = SSL_session_reused(ssl) ? h->offered_ms : h->begun_ms;
	return 1;
}

static CURLcode
ssl_ctx_cb(CURL *easy, void *ssl_ctx, void *arg)
{
	struct handshake *h = arg;
	SSL_CTX *ctx = ssl_ctx;

	(void)easy;
	if (!refresh_trust(h->dialer))
		return CURLE_SSL_CACERT_BADFILE;
	SSL_CTX_set1_cert_store(ctx, h->dialer->trust.store);
	SSL_CTX_set_app_data(ctx, h);
	SSL_CTX_set_info_callback(ctx, info_cb);
	SSL_CTX_set_msg_callback(ctx, message_cb);
	SSL_CTX_set_msg_callback_arg(ctx, h);
	SSL_CTX_sess_set_new_cb(ctx, session_cb);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
				  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/*
	 * HTTP/2 forbids it (RFC 9113, 9.2.1), names are not checked again, and
	 * a write that waits for a server's half of it would spin.
	 */
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
	return CURLE_OK;
}

/* ---- handles ---- */

static int
sockopt_cb(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	unsigned int ms = TCP_TIMEOUT_MS;

	(void)arg;
	(void)purpose;
	/* Unacknowledged data for so long means that the peer is gone. */
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
	return CURL_SOCKOPT_OK;
}

static void
set_tls(struct dialer *d, CURL *e, struct handshake *h)
{
	/* The trust is ssl_ctx_cb()'s. */
	curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(e, CURLOPT_CAINFO, NULL);
	curl_easy_setopt(e, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	curl_easy_setopt(e, CURLOPT_SSL_CTX_FUNCTION, ssl_ctx_cb);
	curl_easy_setopt(e, CURLOPT_SSL_CTX_DATA, h);
	if (d->client_cert != NULL)
		curl_easy_setopt(e, CURLOPT_SSLCERT, d->client_cert);
	if (d->client_key != NULL)
		curl_easy_setopt(e, CURLOPT_SSLKEY, d->client_key);
}

void
dialer_set(struct dialer *d, CURL *e, struct handshake *h)
{
	if (h != NULL) {
		h->dialer = d;
		curl_easy_setopt(e, CURLOPT_SSL_ENABLE_ALPN, 0L);
	}
	set_tls(d, e, h ? h : &d->plain);
	if (d->proxy != NULL)
		curl_easy_setopt(e, CURLOPT_PROXY, d->proxy);
	curl_easy_setopt(e, CURLOPT_DNS_CACHE_TIMEOUT, DNS_CACHE_S);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, d->connect_timeout_ms);
	curl_easy_setopt(e, CURLOPT_SOCKOPTFUNCTION, sockopt_cb);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
}

bool
dialer_is_tls_fault(CURLcode code)
{
	return code == CURLE_PEER_FAILED_VERIFICATION ||
	       code == CURLE_SSL_CACERT_BADFILE ||
	       code == CURLE_SSL_CERTPROBLEM || code == CURLE_SSL_ISSUER_ERROR;
}

const char *
dialer_explain(const struct dialer *d, CURLcode code, const char *detail)
{
	if (code == CURLE_SSL_CACERT_BADFILE)
		return d->fault;
	return detail[0] != '\0' ? detail : curl_easy_strerror(code);
}

/* ---- the whole ---- */

/* The name that TLS is told; addresses are told none. */
static char *
server_name(const char *base_url)
{
	unsigned char address[sizeof(struct in6_addr)];
	const char *why;
	char *name;
	struct url u;

	if (url_parse(&u, base_url, &why) < 0)
		return xstrdup("");
	name = xstrdup(u.host);
	url_release(&u);
	if (name[0] != '[')
		name[strcspn(name, ":")] = '\0';
	if (name[0] == '[' || inet_pton(AF_INET, name, address) == 1)
		name[0] = '\0';
	return name;
}

struct dialer *
dialer_new(const struct dialer_options *o)
{
	struct dialer *d = xcalloc(1, sizeof(*d));

	d->ca_file = xstrdup(o->ca_file);
	d->client_cert = xstrdup(o->client_cert);
	d->client_key = xstrdup(o->client_key);
	d->proxy = xstrdup(o->proxy);
	d->connect_timeout_ms = o->connect_timeout_ms;
	d->host = server_name(o->base_url);
	d->plain.dialer = d;
	return d;
}

void
dialer_free(struct dialer *d)
{
	drop_session(d);
	X509_STORE_free(d->trust.store);
	free(d->ca_file);
	free(d->client_cert);
	free(d->client_key);
	free(d->proxy);
	free(d->host);
	free(d);
}

void
dialer_process_init(void)
{
	/* libcurl opens the file that it names, and writes TLS keys there. */
	unsetenv("SSLKEYLOGFILE");
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

void
dialer_process_end(void)
{
	curl_global_cleanup();
}
