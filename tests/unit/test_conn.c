/*
 * The real connections, of libcurl, to a socket of our own. libcurl's clock can
 * be put forward: this program's clock_gettime() goes before libc's.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#include "daemon/conn.h"
#include "daemon/dialer.h"
#include "proto/xalloc.h"
#include "tests/unit/fakes/fake_loop.h"

#include "proto/banned.h"

#define PRUNED_S 200 /* libcurl's own limit is 118 */

static time_t forward_s;

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	int r = (int)syscall(SYS_clock_gettime, id, ts);

	ts->tv_sec += forward_s;
	return r;
}

/* One end of a connection to a server that listens. */
struct end {
	struct conn *conn;
	int listener, fd; /* what it listens on, and the accepted one */
	char url[64];
	int opened, failed, ready;
	enum rpc_errno error;
	char protocol[16], why[256];
};

struct bed {
	struct loop *loop;
	struct dialer *dialer;
	struct end ends[2];
};

static void
opened(void *arg, const char *protocol)
{
	struct end *e = arg;

	e->opened++;
	snprintf(e->protocol, sizeof(e->protocol), "%s", protocol);
}

static void
failed(void *arg, enum rpc_errno error, const char *why)
{
	struct end *e = arg;

	e->failed++;
	e->error = error;
	snprintf(e->why, sizeof(e->why), "%s", why);
}

static void
ready(void *arg, int events)
{
	struct end *e = arg;

	(void)events;
	e->ready++;
	conn_want(e->conn, 0);
}

static const struct conn_ops ops = { opened, failed, ready };

static void
end_listen(struct end *e)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);

	e->fd = -1;
	e->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(e->listener >= 0);
	assert_int_equal(bind(e->listener, (struct sockaddr *)&a, n), 0);
	assert_int_equal(listen(e->listener, 5), 0);
	getsockname(e->listener, (struct sockaddr *)&a, &n);
	snprintf(
	    e->url, sizeof(e->url), "http://127.0.0.1:%d", ntohs(a.sin_port));
}

static int
setup(void **state)
{
	const struct dialer_options options = {
		.base_url = "http://127.0.0.1",
		.proxy = "", /* none, whatever the environment says */
		.connect_timeout_ms = 10000,
	};
	struct bed *b = xcalloc(1, sizeof(*b));
	int i;

	forward_s = 0;
	b->loop = loop_new();
	b->dialer = dialer_new(&options);
	for (i = 0; i < 2; i++)
		end_listen(&b->ends[i]);
	*state = b;
	return 0;
}

static int
teardown(void **state)
{
	struct bed *b = *state;
	int i;

	for (i = 0; i < 2; i++) {
		conn_close(b->ends[i].conn);
		close(b->ends[i].listener);
		if (b->ends[i].fd >= 0)
			close(b->ends[i].fd);
	}
	dialer_free(b->dialer);
	loop_free(b->loop);
	free(b);
	return 0;
}

static void
open_one(struct bed *b, struct end *e)
{
	e->conn =
	    conn_open(b->loop, b->dialer, e->url, "\2h2\10http/1.1", &ops, e);
	assert_int_equal(e->opened, 0);
	fake_loop_until(b->loop, &e->opened, 1);
	e->fd = accept(e->listener, NULL, NULL);
	assert_true(e->fd >= 0);
}

/* Bytes go both ways. */
static void
expect_alive(struct bed *b, struct end *e)
{
	char text[16];
	int before = e->ready;

	assert_int_equal(conn_send(e->conn, "there", 5), 5);
	assert_int_equal(read(e->fd, text, sizeof(text)), 5);
	assert_memory_equal(text, "there", 5);
	assert_int_equal(conn_recv(e->conn, text, sizeof(text)), -EAGAIN);
	conn_want(e->conn, IO_READ);
	assert_int_equal(write(e->fd, "back", 4), 4);
	fake_loop_until(b->loop, &e->ready, before + 1);
	assert_int_equal(conn_recv(e->conn, text, sizeof(text)), 4);
	assert_memory_equal(text, "back", 4);
}

static void
bytes_go_both_ways(void **state)
{
	struct bed *b = *state;
	struct end *e = &b->ends[0];
	char text[16];

	open_one(b, e);
	assert_string_equal(e->protocol, "");
	expect_alive(b, e);
	conn_want(e->conn, IO_READ | IO_WRITE);
	fake_loop_until(b->loop, &e->ready, e->ready + 1);
	close(e->fd);
	e->fd = -1;
	conn_want(e->conn, IO_READ);
	fake_loop_until(b->loop, &e->ready, e->ready + 1);
	assert_int_equal(conn_recv(e->conn, text, sizeof(text)), 0);
}

static void
one_that_is_refused_says_so(void **state)
{
	struct bed *b = *state;
	struct end *e = &b->ends[0];

	shutdown(e->listener, SHUT_RDWR);
	e->conn = conn_open(b->loop, b->dialer, e->url, "\2h2", &ops, e);
	fake_loop_until(b->loop, &e->failed, 1);
	assert_int_equal(e->opened, 0);
	assert_int_equal(e->error, RPC_UNREACHABLE);
	assert_non_null(strstr(e->why, "connect"));
}

static void
one_may_be_closed_while_connecting(void **state)
{
	struct bed *b = *state;
	struct end *e = &b->ends[0];

	e->conn = conn_open(b->loop, b->dialer, e->url, "\2h2", &ops, e);
	conn_close(e->conn);
	e->conn = NULL;
	fake_loop_settle(b->loop);
	assert_int_equal(e->opened + e->failed, 0);
}

/*
 * It is not libcurl's to end, however long nothing happens on it. libcurl 7.88
 * takes it for one in use from the first byte on, hence none before.
 */
static void
an_idle_one_outlives_the_making_of_others(void **state)
{
	struct bed *b = *state;

	open_one(b, &b->ends[0]);
	forward_s += PRUNED_S;
	open_one(b, &b->ends[1]);
	expect_alive(b, &b->ends[1]);
	expect_alive(b, &b->ends[0]);
}

/* ---- what libcurl does with two of them in one multi handle ---- */

static CURL *
open_shared(CURLM *multi, struct bed *b, struct handshake *h, struct end *e)
{
	CURL *easy = curl_easy_init();
	int running = 1, n;

	dialer_set(b->dialer, easy, h);
	curl_easy_setopt(easy, CURLOPT_URL, e->url);
	curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
	curl_multi_add_handle(multi, easy);
	for (n = 0; n < 1000 && running > 0; n++) {
		curl_multi_perform(multi, &running);
		curl_multi_poll(multi, NULL, 0, 10, NULL);
	}
	assert_int_equal(running, 0);
	e->fd = accept(e->listener, NULL, NULL);
	return easy;
}

/*
 * Why each connection has one of its own, and that the test above can fail: it
 * does exactly this. A libcurl that prunes no more has no need of either.
 */
static void
an_idle_one_would_be_pruned_among_others(void **state)
{
	struct handshake h[2] = { 0 };
	struct bed *b = *state;
	CURLM *multi = curl_multi_init();
	CURL *a, *other;
	CURLcode code;
	size_t n = 0;

	a = open_shared(multi, b, &h[0], &b->ends[0]);
	forward_s += PRUNED_S;
	other = open_shared(multi, b, &h[1], &b->ends[1]);
	code = curl_easy_send(a, "there", 5, &n);
	curl_multi_remove_handle(multi, a);
	curl_multi_remove_handle(multi, other);
	curl_multi_cleanup(multi);
	curl_easy_cleanup(a);
	curl_easy_cleanup(other);
	if (code == CURLE_OK)
		skip();
}

static int
init(void **state)
{
	(void)state;
	dialer_process_init();
	return 0;
}

static int
end(void **state)
{
	(void)state;
	dialer_process_end();
	return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(bytes_go_both_ways),
		T(one_that_is_refused_says_so),
		T(one_may_be_closed_while_connecting),
		T(an_idle_one_outlives_the_making_of_others),
		T(an_idle_one_would_be_pruned_among_others),
	};

	return cmocka_run_group_tests_name("conn", tests, init, end);
}
