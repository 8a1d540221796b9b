/*
 * What happened, for those who watch: the last events are kept, numbered, so
 * that a watcher who was away can ask for what came since.
 */
#ifndef DAEMON_EVENTS_H
#define DAEMON_EVENTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;
struct events;
struct json_object;
struct loop;
struct subscription;

#define EVENTS_KEPT    1024
#define EVENTS_FOR_ALL ((uid_t)-1)

struct events *events_new(struct loop *l);
void events_free(struct events *ev); /* subscriptions too */

/*
 * Tells it: {seq, time (milliseconds since 1970), type, …fields}, to the
 * watchers of that user, or of all. fields is taken over and may be NULL; or
 * it is the text of an object, and lent.
 */
void events_emit(
    struct events *ev, const char *type, uid_t uid, struct json_object *fields);
void events_emit_text(
    struct events *ev, const char *type, uid_t uid, const struct buf *fields);

/* The number of the last event; 0 before the first. */
uint64_t events_last(const struct events *ev);

/*
 * Called for each event of that user with seq above `since`, kept ones first,
 * never before events_subscribe() returns; and with NULL each time it has seen
 * all there are. *missed events were dropped before this one, since the watcher
 * was away or slow; it is set to 0 once that is told. Returns false for "not
 * now": it is called again with the same event a little later. The event is
 * lent.
 */
typedef bool event_fn(void *arg, struct json_object *event, uint64_t *missed);
struct subscription *events_subscribe(
    struct events *ev, uid_t uid, uint64_t since, event_fn *fn, void *arg);
void events_unsubscribe(struct subscription *s);

#endif
