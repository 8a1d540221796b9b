#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "daemon/url.h"
#include "proto/buf.h"

#include "proto/banned.h"

static void
good_urls_are_taken_apart(void **state)
{
	static const struct {
		const char *text, *normal, *host;
		bool tls, loopback;
	} good[] = {
		{ "https://app.wrenn.dev/api", "https://app.wrenn.dev/api",
		    "app.wrenn.dev", true, false },
		{ "https://app.wrenn.dev/api/", "https://app.wrenn.dev/api",
		    "app.wrenn.dev", true, false },
		{ "https://app.wrenn.dev", "https://app.wrenn.dev",
		    "app.wrenn.dev", true, false },
		{ "https://app.wrenn.dev//", "https://app.wrenn.dev",
		    "app.wrenn.dev", true, false },
		{ "http://localhost:8080", "http://localhost:8080",
		    "localhost:8080", false, true },
		{ "http://127.0.0.1:80/x", "http://127.0.0.1:80/x",
		    "127.0.0.1:80", false, true },
		{ "http://127.3.2.1", "http://127.3.2.1", "127.3.2.1", false,
		    true },
		{ "https://[::1]:4/", "https://[::1]:4", "[::1]:4", true,
		    true },
		{ "https://[2001:db8::1]/", "https://[2001:db8::1]",
		    "[2001:db8::1]", true, false },
		/* Names that only look like this machine. */
		{ "http://127.0.0.1.evil.test", "http://127.0.0.1.evil.test",
		    "127.0.0.1.evil.test", false, false },
		{ "http://localhost.evil.test", "http://localhost.evil.test",
		    "localhost.evil.test", false, false },
		{ "http://128.0.0.1", "http://128.0.0.1", "128.0.0.1", false,
		    false },
	};
	const char *why;
	struct url u;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(good); i++) {
		assert_int_equal(url_parse(&u, good[i].text, &why), 0);
		assert_null(why);
		assert_string_equal(u.text, good[i].normal);
		assert_string_equal(u.host, good[i].host);
		assert_int_equal(u.tls, good[i].tls);
		assert_int_equal(u.loopback, good[i].loopback);
		url_release(&u);
		assert_null(u.text);
	}
}

static void
bad_urls_are_refused_with_the_reason(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{ "", "start with https://" },
		{ "app.wrenn.dev", "start with https://" },
		{ "ftp://a.test/", "start with https://" },
		{ "file:///etc/passwd", "start with https://" },
		{ "HTTPS://a.test/", "start with https://" },
		{ "https://", "not a URL" },
		{ "https://a.test:port/", "not a URL" },
		{ "https://a.test:70000/", "not a URL" },
		{ "https://a b.test/", "not a URL" },
		{ "https://me@a.test/", "user name or password" },
		{ "https://me:secret@a.test/", "user name or password" },
		{ "https://:secret@a.test/", "user name or password" },
		{ "https://a.test/?x=1", "query or fragment" },
		{ "https://a.test/#top", "query or fragment" },
	};
	const char *why;
	struct url u;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(bad); i++) {
		assert_int_equal(url_parse(&u, bad[i].text, &why), -EINVAL);
		assert_non_null(strstr(why, bad[i].why));
		assert_null(u.text);
		url_release(&u);
	}
}

static void
text_is_encoded_for_paths_and_queries(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 200);
	assert_int_equal(url_add_encoded(&b, "aZ09-._~"), 0);
	assert_buf_equal(&b, "aZ09-._~");
	buf_clear(&b);
	assert_int_equal(url_add_encoded(&b, "a/b?c=d&e#%+ \r\n\xc3\xa9"), 0);
	assert_buf_equal(&b, "a%2Fb%3Fc%3Dd%26e%23%25%2B%20%0D%0A%C3%A9");
	buf_release(&b);
	buf_init(&b, 4);
	assert_true(url_add_encoded(&b, "abc\n") < 0);
	buf_release(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_urls_are_taken_apart),
		cmocka_unit_test(bad_urls_are_refused_with_the_reason),
		cmocka_unit_test(text_is_encoded_for_paths_and_queries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
