#include "daemon/api_team.h"

#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "daemon/api.h"
#include "daemon/upstream.h"
#include "daemon/url.h"
#include "proto/buf.h"
#include "proto/jx.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define PATH_MAX_BYTES 4096
#define SNAPSHOT_MS    (15 * 60 * 1000) /* memory and disk are copied */

/* ---- paths ---- */

/* What is added is bounded by the table of methods, so that all of it fits. */
static void
must(int r)
{
	if (r < 0)
		abort();
}

/* Adds NAME=VALUE to the query; nothing for a value that is NULL. */
static void
add_query(struct buf *path, const char *name, const char *value)
{
	if (value == NULL)
		return;
	must(
	    buf_adds(path, memchr(buf_head(path), '?', path->len) ? "&" : "?"));
	must(buf_addf(path, "%s=", name));
	must(url_add_encoded(path, value));
}

static struct upstream_request *
get(struct buf *path)
{
	return upstream_request_new("GET", buf_steal(path, NULL));
}

/* ---- figures ---- */

struct upstream_request *
api_metrics(const char *capsule, const char *range)
{
	struct buf path;

	buf_init(&path, PATH_MAX_BYTES);
	must(buf_addf(&path, "/v1/capsules/%s/metrics", capsule));
	add_query(&path, "range", range);
	return get(&path);
}

struct upstream_request *
api_stats(const char *range)
{
	struct buf path;

	buf_init(&path, PATH_MAX_BYTES);
	must(buf_adds(&path, "/v1/capsules/stats"));
	add_query(&path, "range", range);
	return get(&path);
}

struct upstream_request *
api_usage(const char *from, const char *to)
{
	struct buf path;

	buf_init(&path, PATH_MAX_BYTES);
	must(buf_adds(&path, "/v1/capsules/usage"));
	add_query(&path, "from", from);
	add_query(&path, "to", to);
	return get(&path);
}

/* ---- hosts ---- */

/* An API key would be refused, even beside a good token. */
static struct upstream_request *
with_token(struct upstream_request *r)
{
	r->auth = AUTH_TOKEN;
	return r;
}

struct upstream_request *
api_host_list(void)
{
	return with_token(upstream_request_new("GET", xstrdup("/v1/hosts")));
}

struct upstream_request *
api_host_create(struct json_object *params)
{
	static const char *const keys[] = { "type", "team_id", "provider",
		"availability_zone" };
	struct json_object *o = json_object_new_object();
	size_t i;

	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (jx_str(params, keys[i]) != NULL)
			jx_add_str(o, keys[i], jx_str(params, keys[i]));
	return with_token(api_post(xstrdup("/v1/hosts"), o));
}

struct upstream_request *
api_host_get(const char *host, const char *what)
{
	return with_token(upstream_request_new(
	    "GET", xasprintf("/v1/hosts/%s%s", host, what)));
}

struct upstream_request *
api_host_delete(const char *host, bool force)
{
	return with_token(upstream_request_new("DELETE",
	    xasprintf("/v1/hosts/%s%s", host, force ? "?force=true" : "")));
}

struct upstream_request *
api_host_token(const char *host)
{
	return with_token(api_post(
	    xasprintf("/v1/hosts/%s/token", host), json_object_new_object()));
}

struct upstream_request *
api_host_add_tag(const char *host, const char *tag)
{
	struct json_object *o = json_object_new_object();

	jx_add_str(o, "tag", tag);
	return with_token(api_post(xasprintf("/v1/hosts/%s/tags", host), o));
}

struct upstream_request *
api_host_remove_tag(const char *host, const char *tag)
{
	struct buf path;

	buf_init(&path, PATH_MAX_BYTES);
	must(buf_addf(&path, "/v1/hosts/%s/tags/", host));
	must(url_add_encoded(&path, tag));
	return with_token(
	    upstream_request_new("DELETE", buf_steal(&path, NULL)));
}

/* ---- keys ---- */

struct upstream_request *
api_key_list(void)
{
	return with_token(upstream_request_new("GET", xstrdup("/v1/api-keys")));
}

struct upstream_request *
api_key_create(const char *name)
{
	struct json_object *o = json_object_new_object();

	if (name != NULL)
		jx_add_str(o, "name", name);
	return with_token(api_post(xstrdup("/v1/api-keys"), o));
}

struct upstream_request *
api_key_delete(const char *key)
{
	return with_token(
	    upstream_request_new("DELETE", xasprintf("/v1/api-keys/%s", key)));
}

/* ---- snapshots ---- */

struct upstream_request *
api_snapshot_list(const char *type)
{
	struct buf path;

	buf_init(&path, PATH_MAX_BYTES);
	must(buf_adds(&path, "/v1/snapshots"));
	add_query(&path, "type", type);
	return get(&path);
}

struct upstream_request *
api_snapshot_create(const char *capsule, const char *name, bool overwrite)
{
	struct json_object *o = json_object_new_object();
	struct upstream_request *r;

	jx_add_str(o, "sandbox_id", capsule);
	if (name != NULL)
		jx_add_str(o, "name", name);
	r = api_post(
	    xasprintf("/v1/snapshots%s", overwrite ? "?overwrite=true" : ""),
	    o);
	r->timeout_ms = SNAPSHOT_MS;
	r->slow = true;
	return r;
}

struct upstream_request *
api_snapshot_delete(const char *name)
{
	struct buf path;

	buf_init(&path, PATH_MAX_BYTES);
	must(buf_adds(&path, "/v1/snapshots/"));
	must(url_add_encoded(&path, name));
	return upstream_request_new("DELETE", buf_steal(&path, NULL));
}
