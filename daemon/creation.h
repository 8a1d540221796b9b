/*
 * Creating a capsule: its row is on disk before the request leaves, and an
 * answer that is lost leaves the row `uncertain` instead of nothing.
 */
#ifndef DAEMON_CREATION_H
#define DAEMON_CREATION_H

#include "daemon/capsules.h"

struct creations;
struct watches;

struct creations *creations_new(struct capsules *cs, struct upstream *u,
    struct tracker *t, struct watches *w, const struct cred *c);
void creations_free(struct creations *all);
void creations_settings_changed(
    struct creations *all, const struct settings *s);

/* See capsules_create(). */
void creation_start(struct creations *all, uid_t uid,
    struct json_object *params, capsules_fn *fn, void *arg);

#endif
