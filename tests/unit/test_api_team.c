#include <stdbool.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "daemon/api_team.h"
#include "daemon/upstream.h"

#include "proto/banned.h"

#define CL "cl-0123456789abcdefghijklmno"

/* Checks a request and frees it; body "" means none. */
static void
expect(struct upstream_request *r, enum upstream_auth auth, const char *method,
    const char *path, const char *body)
{
	assert_string_equal(r->method, method);
	assert_string_equal(r->path, path);
	assert_string_equal(r->body.len > 0 ? buf_str(&r->body) : "", body);
	if (body[0] != '\0')
		assert_string_equal(r->content_type, "application/json");
	assert_int_equal(r->auth, auth);
	assert_true(r->timeout_ms > 0);
	/* What may be sent twice is what has no body. */
	assert_true(r->idempotent == (body[0] == '\0'));
	upstream_request_free(r);
}

static void
figures_are_asked_for_as_documented(void **state)
{
	enum upstream_auth any = AUTH_KEY_OR_TOKEN;

	(void)state;
	expect(api_metrics(CL, NULL), any, "GET", "/v1/capsules/" CL "/metrics",
	    "");
	expect(api_metrics(CL, "2h"), any, "GET",
	    "/v1/capsules/" CL "/metrics?range=2h", "");
	expect(api_stats(NULL), any, "GET", "/v1/capsules/stats", "");
	expect(
	    api_stats("30d"), any, "GET", "/v1/capsules/stats?range=30d", "");
	expect(api_usage(NULL, NULL), any, "GET", "/v1/capsules/usage", "");
	expect(api_usage(NULL, "2026-11-23"), any, "GET",
	    "/v1/capsules/usage?to=2026-11-23", "");
	expect(api_usage("2026-11-01", "2026-11-23"), any, "GET",
	    "/v1/capsules/usage?from=2026-11-01&to=2026-11-23", "");
	/* Whatever comes here stays one value. */
	expect(api_stats("1h&x=/../"), any, "GET",
	    "/v1/capsules/stats?range=1h%26x%3D%2F..%2F", "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(figures_are_asked_for_as_documented),
	};

	return cmocka_run_group_tests_name("api_team", tests, NULL, NULL);
}
