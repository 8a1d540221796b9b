/*
 * The part of the Wrenn API that is about a team and not about one capsule:
 * requests, as in api.h. What gets into a path or query is encoded.
 */
#ifndef DAEMON_API_TEAM_H
#define DAEMON_API_TEAM_H

#include <stdbool.h>

struct json_object;
struct upstream_request;

/* Figures; NULL for what upstream is to choose. */
struct upstream_request *api_metrics(const char *capsule, const char *range);
struct upstream_request *api_stats(const char *range);
struct upstream_request *api_usage(const char *from, const char *to);

/* Hosts, which only a person with a token may see. */
struct upstream_request *api_host_list(void);
/* type, team_id, provider, availability_zone: what params have of them. */
struct upstream_request *api_host_create(struct json_object *params);
/* what: "" for itself, "/tags" or "/delete-preview". */
struct upstream_request *api_host_get(const char *host, const char *what);
struct upstream_request *api_host_delete(const char *host, bool force);
struct upstream_request *api_host_token(const char *host);
struct upstream_request *api_host_add_tag(const char *host, const char *tag);
struct upstream_request *api_host_remove_tag(const char *host, const char *tag);

/* API keys, likewise; name may be NULL. */
struct upstream_request *api_key_list(void);
struct upstream_request *api_key_create(const char *name);
struct upstream_request *api_key_delete(const char *key);

/*
 * Snapshots, which are templates. type: "base", "snapshot" or NULL for both;
 * name: NULL to have one made up.
 */
struct upstream_request *api_snapshot_list(const char *type);
struct upstream_request *api_snapshot_create(
    const char *capsule, const char *name, bool overwrite);
struct upstream_request *api_snapshot_delete(const char *name);

#endif
