#include <stdbool.h>
#include <string.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "daemon/api_team.h"
#include "daemon/upstream.h"

#include "proto/banned.h"

#define CL   "cl-0123456789abcdefghijklmno"
#define HOST "host-0123456789abcdefghijklmno"
#define KEY  "key-0123456789abcdefghijklmno"

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

static void
hosts_take_a_token(void **state)
{
	struct json_object *params = json_tokener_parse(
	    "{\"type\":\"byoc\",\"team_id\":\"team-1\",\"other\":\"x\"}");

	(void)state;
	expect(api_host_list(), AUTH_TOKEN, "GET", "/v1/hosts", "");
	expect(api_host_create(params), AUTH_TOKEN, "POST", "/v1/hosts",
	    "{\"type\":\"byoc\",\"team_id\":\"team-1\"}");
	json_object_put(params);
	expect(
	    api_host_get(HOST, ""), AUTH_TOKEN, "GET", "/v1/hosts/" HOST, "");
	expect(api_host_get(HOST, "/tags"), AUTH_TOKEN, "GET",
	    "/v1/hosts/" HOST "/tags", "");
	expect(api_host_delete(HOST, false), AUTH_TOKEN, "DELETE",
	    "/v1/hosts/" HOST, "");
	expect(api_host_delete(HOST, true), AUTH_TOKEN, "DELETE",
	    "/v1/hosts/" HOST "?force=true", "");
	expect(api_host_token(HOST), AUTH_TOKEN, "POST",
	    "/v1/hosts/" HOST "/token", "{}");
	expect(api_host_add_tag(HOST, "a b"), AUTH_TOKEN, "POST",
	    "/v1/hosts/" HOST "/tags", "{\"tag\":\"a b\"}");
	expect(api_host_remove_tag(HOST, "a b?c#%/"), AUTH_TOKEN, "DELETE",
	    "/v1/hosts/" HOST "/tags/a%20b%3Fc%23%25%2F", "");
}

static void
keys_take_a_token(void **state)
{
	(void)state;
	expect(api_key_list(), AUTH_TOKEN, "GET", "/v1/api-keys", "");
	expect(api_key_create(NULL), AUTH_TOKEN, "POST", "/v1/api-keys", "{}");
	expect(api_key_create("ci \"x\""), AUTH_TOKEN, "POST", "/v1/api-keys",
	    "{\"name\":\"ci \\\"x\\\"\"}");
	expect(
	    api_key_delete(KEY), AUTH_TOKEN, "DELETE", "/v1/api-keys/" KEY, "");
}

static void
snapshots_are_asked_for_as_documented(void **state)
{
	enum upstream_auth any = AUTH_KEY_OR_TOKEN;
	struct upstream_request *r;

	(void)state;
	expect(api_snapshot_list(NULL), any, "GET", "/v1/snapshots", "");
	expect(api_snapshot_list("base"), any, "GET", "/v1/snapshots?type=base",
	    "");
	expect(api_snapshot_delete("a.b-c"), any, "DELETE",
	    "/v1/snapshots/a.b-c", "");
	expect(api_snapshot_create(CL, NULL, false), any, "POST",
	    "/v1/snapshots", "{\"sandbox_id\":\"" CL "\"}");
	expect(api_snapshot_create(CL, "s1", true), any, "POST",
	    "/v1/snapshots?overwrite=true",
	    "{\"sandbox_id\":\"" CL "\",\"name\":\"s1\"}");
	r = api_snapshot_create(CL, NULL, false);
	assert_true(r->slow);
	assert_true(r->timeout_ms >= 5 * 60 * 1000);
	upstream_request_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(figures_are_asked_for_as_documented),
		cmocka_unit_test(hosts_take_a_token),
		cmocka_unit_test(keys_take_a_token),
		cmocka_unit_test(snapshots_are_asked_for_as_documented),
	};

	return cmocka_run_group_tests_name("api_team", tests, NULL, NULL);
}
