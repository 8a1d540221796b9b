/*
 * How dialer.c trusts, with libcurl, real TLS and a server in a process of its
 * own: what is taken up again, and what is not. The clock is the fake loop's.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "tests/unit/unit.h"

#include "daemon/dialer.h"
#include "proto/xalloc.h"
#include "tests/unit/fakes/fake_loop.h"

#include "proto/banned.h"

#define MINUTE_MS 60000

/* What the server says first, and what it may be told to do. */
#define IS_FULL    'f'
#define IS_RESUMED 'r'
#define DO_TICKET  't' /* one more session, and DONE */
#define DO_HELLO   'n' /* it asks for a new handshake; DONE after that */
#define DO_KEYS    'k' /* it changes its key many times; DONE after that */
#define DONE       'd'

#define KEY_CHANGES 50000

/* ---- the server ---- */

struct identity {
	EVP_PKEY *key;
	X509 *cert; /* signed by itself, so that it is its own authority */
};

static void
identity_init(struct identity *i)
{
	X509_NAME *name;
	X509_EXTENSION *names;

	i->key = EVP_EC_gen("P-256");
	i->cert = X509_new();
	X509_set_version(i->cert, X509_VERSION_3);
	X509_gmtime_adj(X509_getm_notBefore(i->cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(i->cert), 86400);
	X509_set_pubkey(i->cert, i->key);
	name = X509_get_subject_name(i->cert);
	X509_NAME_add_entry_by_txt(
	    name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
	X509_set_issuer_name(i->cert, name);
	names = X509V3_EXT_conf_nid(
	    NULL, NULL, NID_subject_alt_name, "DNS:localhost");
	X509_add_ext(i->cert, names, -1);
	X509_EXTENSION_free(names);
	assert_true(X509_sign(i->cert, i->key, EVP_sha256()) > 0);
}

static void
identity_release(struct identity *i)
{
	X509_free(i->cert);
	EVP_PKEY_free(i->key);
}

static void
change_keys(SSL *ssl)
{
	int i;

	for (i = 0; i < KEY_CHANGES; i++)
		if (SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1 ||
		    SSL_do_handshake(ssl) != 1)
			_exit(0);
}

/* In the server's process, for each connection in turn. */
static void
obey(SSL *ssl)
{
	char c = SSL_session_reused(ssl) ? IS_RESUMED : IS_FULL;

	SSL_write(ssl, &c, 1);
	while (SSL_read(ssl, &c, 1) == 1) {
		if (c == DO_TICKET)
			SSL_new_session_ticket(ssl);
		if (c == DO_HELLO)
			SSL_renegotiate(ssl);
		if (c == DO_KEYS)
			change_keys(ssl);
		SSL_do_handshake(ssl);
		/* The other half of a handshake comes before the next byte. */
		if (c == DO_HELLO && SSL_read(ssl, &c, 1) != 1)
			return;
		c = DONE;
		SSL_write(ssl, &c, 1);
	}
}

static _Noreturn void
serve(int listener, const struct identity *i, int version)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	SSL *ssl;
	int fd;

	SSL_CTX_use_certificate(ctx, i->cert);
	SSL_CTX_use_PrivateKey(ctx, i->key);
	SSL_CTX_set_max_proto_version(ctx, version);
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		/* Several at a time: one may be kept while others come. */
		if (fork() == 0) {
			ssl = SSL_new(ctx);
			SSL_set_fd(ssl, fd);
			if (SSL_accept(ssl) == 1)
				obey(ssl);
			_exit(0);
		}
		close(fd);
	}
	_exit(0);
}

/* ---- the rig ---- */

struct rig {
	struct loop *loop;
	struct identity own, other;
	char folder[32], file[64], url[64];
	pid_t server;
	struct dialer *dialer;
};

static void
write_trust(struct rig *r, const struct identity *i)
{
	FILE *f = fopen(r->file, "w");

	assert_non_null(f);
	PEM_write_X509(f, i->cert);
	assert_int_equal(fclose(f), 0);
}

static void
start_server(struct rig *r, int version)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	snprintf(
	    r->url, sizeof(r->url), "https://localhost:%d", ntohs(a.sin_port));
	r->server = fork();
	if (r->server == 0) {
		signal(SIGCHLD, SIG_IGN);
		signal(SIGPIPE, SIG_IGN);
		serve(fd, &r->own, version);
	}
	close(fd);
}

static struct rig *
rig_new(int version)
{
	struct rig *r = xcalloc(1, sizeof(*r));
	struct dialer_options o = { .connect_timeout_ms = 10000 };

	r->loop = loop_new();
	identity_init(&r->own);
	identity_init(&r->other);
	snprintf(r->folder, sizeof(r->folder), "/tmp/test-tls-XXXXXX");
	assert_non_null(mkdtemp(r->folder));
	snprintf(r->file, sizeof(r->file), "%s/ca.pem", r->folder);
	write_trust(r, &r->own);
	start_server(r, version);
	o.base_url = r->url;
	o.ca_file = r->file;
	r->dialer = dialer_new(&o);
	return r;
}

static void
rig_free(struct rig *r)
{
	dialer_free(r->dialer);
	kill(r->server, SIGTERM);
	waitpid(r->server, NULL, 0);
	unlink(r->file);
	rmdir(r->folder);
	identity_release(&r->own);
	identity_release(&r->other);
	loop_free(r->loop);
	free(r);
}

static int
setup_new(void **state)
{
	*state = rig_new(TLS1_3_VERSION);
	return 0;
}

static int
setup_old(void **state)
{
	*state = rig_new(TLS1_2_VERSION);
	return 0;
}

static int
teardown(void **state)
{
	rig_free(*state);
	return 0;
}

/* ---- connections ---- */

struct link {
	CURL *easy;
	struct handshake handshake;
};

/* The next byte, or 0 when the connection has ended. */
static char
hear(struct link *l)
{
	struct pollfd p = { .events = POLLIN };
	curl_socket_t fd;
	CURLcode code;
	size_t n = 0;
	char c = 0;

	curl_easy_getinfo(l->easy, CURLINFO_ACTIVESOCKET, &fd);
	p.fd = fd;
	while ((code = curl_easy_recv(l->easy, &c, 1, &n)) == CURLE_AGAIN)
		assert_int_equal(poll(&p, 1, 10000), 1);
	return code == CURLE_OK && n == 1 ? c : 0;
}

static void
say(struct link *l, char c)
{
	size_t n = 0;

	assert_int_equal(curl_easy_send(l->easy, &c, 1, &n), CURLE_OK);
	assert_int_equal(n, 1);
}

static CURLcode
link_open(struct link *l, struct rig *r)
{
	*l = (struct link){ .handshake = { .alpn = "\2h2" } };
	l->easy = curl_easy_init();
	dialer_set(r->dialer, l->easy, &l->handshake);
	curl_easy_setopt(l->easy, CURLOPT_URL, r->url);
	curl_easy_setopt(l->easy, CURLOPT_CONNECT_ONLY, 1L);
	return curl_easy_perform(l->easy);
}

static void
link_close(struct link *l)
{
	curl_easy_cleanup(l->easy);
}

/* One that is closed at once: IS_FULL, IS_RESUMED, or 0 for none. */
static char
connect_once(struct rig *r)
{
	struct link l;
	char c = 0;

	if (link_open(&l, r) == CURLE_OK)
		c = hear(&l);
	link_close(&l);
	return c;
}

/* ---- tests ---- */

static void
a_session_is_taken_up_for_an_hour(void **state)
{
	struct rig *r = *state;

	assert_int_equal(connect_once(r), IS_FULL);
	assert_int_equal(connect_once(r), IS_RESUMED);
	fake_loop_advance(r->loop, 40 * MINUTE_MS);
	assert_int_equal(connect_once(r), IS_RESUMED);
	/* Each brought a new session, and none a look at certificates. */
	fake_loop_advance(r->loop, 40 * MINUTE_MS);
	assert_int_equal(connect_once(r), IS_FULL);
	fake_loop_advance(r->loop, 40 * MINUTE_MS);
	assert_int_equal(connect_once(r), IS_RESUMED);
}

static void
a_session_of_an_old_connection_is_as_old(void **state)
{
	struct rig *r = *state;
	struct link l;

	assert_int_equal(link_open(&l, r), CURLE_OK);
	assert_int_equal(hear(&l), IS_FULL);
	fake_loop_advance(r->loop, 59 * MINUTE_MS);
	say(&l, DO_TICKET);
	assert_int_equal(hear(&l), DONE);
	assert_int_equal(connect_once(r), IS_RESUMED);
	fake_loop_advance(r->loop, 2 * MINUTE_MS);
	assert_int_equal(connect_once(r), IS_FULL);
	link_close(&l);
}

static void
other_trust_ends_a_session(void **state)
{
	struct rig *r = *state;

	assert_int_equal(connect_once(r), IS_FULL);
	write_trust(r, &r->other);
	assert_int_equal(connect_once(r), 0);
	write_trust(r, &r->own);
	assert_int_equal(connect_once(r), IS_FULL);
	assert_int_equal(unlink(r->file), 0);
	assert_int_equal(connect_once(r), 0);
}

/* Its server hands out sessions as it likes, long after the handshake. */
static void
connections_of_other_trust_bring_no_session(void **state)
{
	struct rig *r = *state;
	struct link old;

	assert_int_equal(link_open(&old, r), CURLE_OK);
	assert_int_equal(hear(&old), IS_FULL);
	write_trust(r, &r->other);
	assert_int_equal(connect_once(r), 0);
	say(&old, DO_TICKET);
	assert_int_equal(hear(&old), DONE);
	assert_int_equal(connect_once(r), 0);
	link_close(&old);
}

/* As rsync(1) and cp(1) with -p leave it: written over, of the same time. */
static void
trust_that_looks_the_same_is_read(void **state)
{
	struct rig *r = *state;
	struct timespec times[2];
	struct stat before, after;

	assert_int_equal(stat(r->file, &before), 0);
	assert_int_equal(connect_once(r), IS_FULL);
	write_trust(r, &r->other);
	assert_int_equal(truncate(r->file, before.st_size), 0);
	times[0] = before.st_atim;
	times[1] = before.st_mtim;
	assert_int_equal(utimensat(AT_FDCWD, r->file, times, 0), 0);
	assert_int_equal(stat(r->file, &after), 0);
	assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
	assert_int_equal(connect_once(r), 0);
}

/* Of the same bytes, so that neither length nor number tells. */
static void
write_trust_over(struct rig *r)
{
	struct stat before, after;

	assert_int_equal(stat(r->file, &before), 0);
	/* The file's clock is coarse: it may not have moved since. */
	do {
		write_trust(r, &r->own);
		assert_int_equal(stat(r->file, &after), 0);
	} while (after.st_ctim.tv_sec == before.st_ctim.tv_sec &&
		 after.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
	assert_int_equal(after.st_ino, before.st_ino);
	assert_int_equal(after.st_size, before.st_size);
}

/* As a package manager does it. */
static void
replace_trust(struct rig *r)
{
	char file[80];
	FILE *f;

	snprintf(file, sizeof(file), "%s.new", r->file);
	f = fopen(file, "w");
	assert_non_null(f);
	PEM_write_X509(f, r->own.cert);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(rename(file, r->file), 0);
}

/* Each change is told once, however long nobody connects after it. */
static void
changed_trust_is_told(void **state)
{
	static void (*const change[])(
	    struct rig * r) = { replace_trust, write_trust_over };
	struct rig *r = *state;
	size_t i;

	write_trust_over(r);
	assert_false(dialer_trust_changed(r->dialer));
	assert_int_equal(connect_once(r), IS_FULL);
	assert_false(dialer_trust_changed(r->dialer));
	for (i = 0; i < COUNT(change); i++) {
		change[i](r);
		assert_true(dialer_trust_changed(r->dialer));
		assert_false(dialer_trust_changed(r->dialer));
		change[i](r);
		assert_true(dialer_trust_changed(r->dialer));
		assert_int_equal(connect_once(r), IS_FULL);
		assert_false(dialer_trust_changed(r->dialer));
	}
}

/* It may be on its way: those who trust what it held go on. */
static void
trust_that_is_gone_has_not_changed(void **state)
{
	struct rig *r = *state;

	assert_int_equal(connect_once(r), IS_FULL);
	assert_int_equal(unlink(r->file), 0);
	assert_false(dialer_trust_changed(r->dialer));
	assert_int_equal(connect_once(r), 0);
	assert_false(dialer_trust_changed(r->dialer));
}

static void
a_server_may_not_renegotiate(void **state)
{
	struct rig *r = *state;
	struct link l;

	assert_int_equal(link_open(&l, r), CURLE_OK);
	assert_int_equal(hear(&l), IS_FULL);
	say(&l, DO_HELLO);
	assert_int_equal(hear(&l), 0);
	link_close(&l);
}

/* OpenSSL itself would take them all in before it says a word. */
static void
a_flood_of_keys_ends_the_connection(void **state)
{
	struct rig *r = *state;
	struct link l;
	int i;

	assert_int_equal(link_open(&l, r), CURLE_OK);
	assert_int_equal(hear(&l), IS_FULL);
	for (i = 0; i < 10; i++) {
		say(&l, DO_TICKET);
		assert_int_equal(hear(&l), DONE);
	}
	say(&l, DO_KEYS);
	assert_int_equal(hear(&l), 0);
	link_close(&l);
}

int
main(void)
{
#define NEW(name) cmocka_unit_test_setup_teardown(name, setup_new, teardown)
#define OLD(name) cmocka_unit_test_setup_teardown(name, setup_old, teardown)
	const struct CMUnitTest tests[] = {
		NEW(a_session_is_taken_up_for_an_hour),
		NEW(a_session_of_an_old_connection_is_as_old),
		NEW(other_trust_ends_a_session),
		OLD(other_trust_ends_a_session),
		NEW(connections_of_other_trust_bring_no_session),
		NEW(trust_that_looks_the_same_is_read),
		NEW(changed_trust_is_told),
		NEW(trust_that_is_gone_has_not_changed),
		OLD(a_server_may_not_renegotiate),
		NEW(a_flood_of_keys_ends_the_connection),
	};
	int failed;

	/* Nobody's proxy, and no server that outlives its test. */
	unsetenv("https_proxy");
	unsetenv("HTTPS_PROXY");
	unsetenv("all_proxy");
	dialer_process_init();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	dialer_process_end();
	return failed;
}
