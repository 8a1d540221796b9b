/*
 * The daemon as a whole: what is started in which order, and stopped in
 * which.
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include <stdbool.h>

#include "daemon/settings.h"

struct daemon_options {
	struct settings_args args; /* also for every reload */
	bool new_store;            /* accept an unexpectedly empty one */
	bool on_demand;            /* leave when idle, with nothing to guard */
};

/* Runs until it is told to stop. The exit status; what failed was logged. */
int daemon_run(const struct daemon_options *o);

#endif
