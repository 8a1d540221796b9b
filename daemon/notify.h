/*
 * The service manager: readiness, state and signs of life by sd_notify(3),
 * and the socket it may have opened for us. Without libsystemd, or when no
 * manager asks, all of it does nothing.
 */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

struct loop;
struct notify;
struct store;

/*
 * The listening socket that was passed by socket activation: its descriptor,
 * -1 when none was, or -2 after a log line when what was passed is unfit.
 */
int notify_listen_fd(void);

/*
 * Signs of life go out twice in each WATCHDOG_USEC, and only after a whole
 * turn of the loop in which the store's thread has answered too.
 */
struct notify *notify_new(struct loop *l, struct store *s);
void notify_free(struct notify *n); /* NULL is fine */

void notify_ready(const char *status);
void notify_stopping(void);
/* A configuration is being read, and has been. */
void notify_reloading(void);
void notify_reloaded(void);

#endif
