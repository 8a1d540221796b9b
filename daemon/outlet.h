/*
 * Where the output of a call's command goes: into data sockets that the
 * client passed, or into events. What the reader has no room for is held, and
 * the source is told to wait.
 */
#ifndef DAEMON_OUTLET_H
#define DAEMON_OUTLET_H

#include <stdbool.h>
#include <stddef.h>

struct call;
struct json_object;
struct outlet;

/*
 * Takes the call's descriptors "stdout" and "stderr". room() is called when
 * all that was held has gone.
 */
struct outlet *outlet_new(struct call *c, void (*room)(void *arg), void *arg);
/* Closes the sockets, whose readers see the end. NULL is fine. */
void outlet_free(struct outlet *o);

/* Takes all of it. false: the source is to wait until room() is called. */
bool outlet_put(struct outlet *o, bool is_stderr, const char *text, size_t n);
/* The same with an event of the call; fields is taken over. */
bool outlet_event(
    struct outlet *o, const char *type, struct json_object *fields);
bool outlet_is_empty(const struct outlet *o);

#endif
