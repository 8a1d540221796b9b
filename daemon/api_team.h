/*
 * The part of the Wrenn API that is about a team and not about one capsule:
 * requests, as in api.h. What gets into a path or query is encoded.
 */
#ifndef DAEMON_API_TEAM_H
#define DAEMON_API_TEAM_H

struct upstream_request;

/* Figures; NULL for what upstream is to choose. */
struct upstream_request *api_metrics(const char *capsule, const char *range);
struct upstream_request *api_stats(const char *range);
struct upstream_request *api_usage(const char *from, const char *to);

#endif
