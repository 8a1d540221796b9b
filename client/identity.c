#include "client/identity.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "client/sha256.h"
#include "client/wrenn_priv.h"
#include "proto/jx.h"

#include "proto/banned.h"

/* Digits that two keys must not share by chance. */
#define FINGERPRINT_MIN 8

/* A variable that is set to something. */
static const char *
set_env(const char *name)
{
	const char *s = getenv(name);

	return s != NULL && s[0] != '\0' ? s : NULL;
}

bool
identity_is_set(void)
{
	return set_env("WRENN_API_KEY") != NULL ||
	       set_env("WRENN_TOKEN") != NULL ||
	       set_env("WRENN_BASE_URL") != NULL;
}

/* The SHA-256 of the text without the white space around it. */
static void
fingerprint(const char *text, char hex[SHA256_HEX + 1])
{
	size_t n;

	while (isspace((unsigned char)*text))
		text++;
	n = strlen(text);
	while (n > 0 && isspace((unsigned char)text[n - 1]))
		n--;
	sha256_hex(text, n, hex);
}

/* Whether wrennd holds that very key or token; `held` may be NULL. */
static int
compare_secret(const char *variable, const char *secret,
    struct json_object *held, struct wrenn_error *err)
{
	const char *theirs = jx_str(held, "fingerprint");
	const char *source = jx_str(held, "source");
	char ours[SHA256_HEX + 1];
	size_t n = theirs != NULL ? strlen(theirs) : 0;

	fingerprint(secret, ours);
	if (n >= FINGERPRINT_MIN && n <= SHA256_HEX &&
	    memcmp(ours, theirs, n) == 0)
		return 0;
	if (theirs == NULL)
		return wrenn_error_set(err, RPC_NO_CREDENTIAL,
		    "%s is set here, but the running wrennd holds none",
		    variable);
	return wrenn_error_set(err, RPC_NO_CREDENTIAL,
	    "%s (%.12s) is not what the running wrennd uses (%.64s, from %s): "
	    "unset it, or give it to wrennd",
	    variable, ours, theirs, source != NULL ? source : "elsewhere");
}

/* Length without the slashes at the end. */
static size_t
trimmed(const char *url)
{
	size_t n = strlen(url);

	while (n > 0 && url[n - 1] == '/')
		n--;
	return n;
}

static int
compare_url(const char *ours, const char *theirs, struct wrenn_error *err)
{
	size_t n = trimmed(ours);

	if (theirs != NULL && trimmed(theirs) == n &&
	    strncasecmp(ours, theirs, n) == 0)
		return 0;
	return wrenn_error_set(err, RPC_NO_CREDENTIAL,
	    "WRENN_BASE_URL is %s, but the running wrennd uses %s: unset it, "
	    "or start wrennd anew with it",
	    ours, theirs != NULL ? theirs : "none");
}

int
identity_compare(struct json_object *status, struct wrenn_error *err)
{
	const char *key = set_env("WRENN_API_KEY");
	const char *token = set_env("WRENN_TOKEN");
	const char *url = set_env("WRENN_BASE_URL");

	if (url != NULL &&
	    compare_url(url, jx_str(status, "base_url"), err) < 0)
		return -1;
	if (key != NULL && compare_secret("WRENN_API_KEY", key,
			       jx_obj(status, "api_key"), err) < 0)
		return -1;
	/* With both set, wrennd sends the key where either would do. */
	if (key == NULL && token != NULL)
		return compare_secret(
		    "WRENN_TOKEN", token, jx_obj(status, "token"), err);
	return 0;
}
