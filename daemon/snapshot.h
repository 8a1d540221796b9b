/*
 * The taking of a snapshot. The capsule sleeps afterwards, as if paused by
 * hand, and a name that is taken can be made free first.
 */
#ifndef DAEMON_SNAPSHOT_H
#define DAEMON_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proto/rpc_error.h"

struct capsules;
struct snapshot;
struct tracker;
struct upstream;

/* What it works with; all outlive it. */
struct snapshot_parts {
	struct capsules *capsules;
	struct tracker *tracker;
	struct upstream *upstream;
};

/* Once: upstream's answer, which is JSON text, or an error; both lent. */
typedef void snapshot_fn(
    void *arg, const char *text, size_t len, struct rpc_error *error);

struct snapshot_spec {
	uid_t uid;
	const char *ref;  /* the capsule, as a person wrote it; lent */
	const char *name; /* or NULL; kept by the caller until the end */
	bool overwrite;   /* in place of an older one of that name */
	snapshot_fn *fn;
	void *arg;
};

/* NULL, with *why filled and fn not called, when there is no such capsule. */
struct snapshot *snapshot_start(const struct snapshot_parts *parts,
    const struct snapshot_spec *spec, struct rpc_error *why);

/* fn is not called any more. Only once the store has answered all it was
 * asked, at the end of the daemon: else a snapshot runs to its end. */
void snapshot_cancel(struct snapshot *s);

#endif
