/*
 * The Unix socket: made safely or inherited, accepting clients, and who they
 * are.
 */
#ifndef DAEMON_LISTENER_H
#define DAEMON_LISTENER_H

#include <stdbool.h>

struct listener;
struct loop;
struct peer_ops;
struct settings;

/*
 * Listens on `inherited`, which it takes over, unless that is -1. Else binds
 * s->socket: the folder is made (0700) when it is missing, a stale
 * socket is replaced, a live one is left alone. NULL after a log line with
 * the remedy. Clients go to ops from the next turn on.
 */
struct listener *listener_new(struct loop *l, const struct settings *s,
    int inherited, const struct peer_ops *ops, void *arg);

/* Takes no new clients; those there stay. */
void listener_stop(struct listener *l);
/* Each client is gone() first; removes the socket if it is still its own. */
void listener_free(struct listener *l);

/* The front layer has seen gone() of one of its clients. */
struct peer;
void listener_forget(struct listener *l, struct peer *p);

void listener_settings_changed(struct listener *l, const struct settings *s);
int listener_clients(const struct listener *l);
const char *listener_path(const struct listener *l);

#endif
