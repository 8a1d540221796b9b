#include "daemon/api_team.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/api.h"
#include "daemon/upstream.h"
#include "daemon/url.h"
#include "proto/buf.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define PATH_MAX_BYTES 4096

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
