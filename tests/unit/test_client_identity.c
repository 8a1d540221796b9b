#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "client/identity.h"
#include "client/sha256.h"
#include "client/wrenn.h"
#include "proto/json_check.h"
#include "proto/jx.h"

#include "proto/banned.h"

static void
assert_digest(const void *data, size_t n, const char *wanted)
{
	char hex[SHA256_HEX + 1];

	sha256_hex(data, n, hex);
	assert_string_equal(hex, wanted);
}

/* Every padding: nothing, one block with and without room, two blocks. */
static void
test_digests(void **state)
{
	char *million = malloc(1000000);

	(void)state;
	assert_digest("", 0,
	    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	assert_digest("abc", 3,
	    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_digest(
	    LITERAL("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
	    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	assert_non_null(million);
	memset(million, 'a', 1000000);
	assert_digest(million, 55,
	    "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
	assert_digest(million, 64,
	    "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
	assert_digest(million, 1000000,
	    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	free(million);
}

#define STATUS                                              \
	"{\"base_url\":\"https://app.wrenn.dev/api\","      \
	"\"api_key\":{\"source\":\"file\",\"fingerprint\":" \
	"\"ba7816bf8f01\"},\"token\":{\"source\":\"set\","  \
	"\"fingerprint\":\"248d6a61d206\"}}"
#define ABC56 "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"

/* What the comparison says: NULL when nothing, else words of the message. */
static void
compare(const char *status, const char *key, const char *token, const char *url,
    const char *wanted)
{
	struct json_check_fault fault;
	struct json_object *o = jx_parse(status, strlen(status), &fault);
	struct wrenn_error err;

	assert_non_null(o);
	setenv("WRENN_API_KEY", key, 1);
	setenv("WRENN_TOKEN", token, 1);
	setenv("WRENN_BASE_URL", url, 1);
	if (wanted == NULL) {
		assert_int_equal(identity_compare(o, &err), 0);
	} else {
		assert_int_equal(identity_compare(o, &err), -1);
		assert_string_equal(err.name, "no_credential");
		assert_non_null(strstr(err.message, wanted));
		/* Never the secret itself. */
		assert_null(strstr(err.message, "secret"));
		wrenn_error_release(&err);
	}
	json_object_put(o);
}

static void
test_what_agrees(void **state)
{
	(void)state;
	compare(STATUS, "", "", "", NULL);
	compare(STATUS, "abc", "", "", NULL);
	compare(STATUS, " abc\n", "", "", NULL);
	compare(STATUS, "", ABC56, "", NULL);
	compare(STATUS, "", "", "https://app.wrenn.dev/api", NULL);
	compare(STATUS, "abc", "", "https://App.wrenn.dev/api/", NULL);
	/* The key counts where both are set. */
	compare(STATUS, "abc", "secret", "", NULL);
}

static void
test_what_differs(void **state)
{
	(void)state;
	compare(STATUS, "secret", "", "", "WRENN_API_KEY (2bb80d537b1d)");
	compare(STATUS, "secret", "", "", "(ba7816bf8f01, from file)");
	compare(STATUS, "", "secret", "", "WRENN_TOKEN");
	compare(STATUS, "", "", "https://app.wrenn.dev/ap",
	    "uses https://app.wrenn.dev/api");
	compare(STATUS, "", "", "https://app.wrenn.dev/api2",
	    "uses https://app.wrenn.dev/api");
	compare("{\"api_key\":null}", "secret", "", "", "holds none");
	/* Too short to mean anything. */
	compare("{\"api_key\":{\"fingerprint\":\"ba78\"}}", "abc", "", "",
	    "is not what");
	compare("{\"api_key\":{\"fingerprint\":\"\"}}", "abc", "", "",
	    "is not what");
}

static void
test_what_is_set(void **state)
{
	(void)state;
	setenv("WRENN_API_KEY", "", 1);
	unsetenv("WRENN_TOKEN");
	unsetenv("WRENN_BASE_URL");
	assert_false(identity_is_set());
	setenv("WRENN_BASE_URL", "http://localhost", 1);
	assert_true(identity_is_set());
	unsetenv("WRENN_BASE_URL");
	setenv("WRENN_API_KEY", "x", 1);
	assert_true(identity_is_set());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_digests),
		cmocka_unit_test(test_what_agrees),
		cmocka_unit_test(test_what_differs),
		cmocka_unit_test(test_what_is_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
