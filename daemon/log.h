/*
 * The log: one line an event on stderr,
 *
 *	2026-11-23T14:00:00.123Z info  capsule created id=cl-… uid=1000
 *
 * words first, then key=value pairs. Everything that looks like a key or a
 * token is replaced at this one place before it is written, and control
 * characters are made visible.
 */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level);
bool log_wants(enum log_level level);
/* 0, or -EINVAL for a word that is no level. */
int log_level_by_name(const char *name, enum log_level *ret);

/* Sends libevent's and sqlite's own messages here. Call once, first. */
void log_take_over(void);

void log_at(enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
/* What it tells is not worked out while nobody wants it. */
#define log_debug(...)                                  \
	do {                                            \
		if (log_wants(LOG_DEBUG))               \
			log_at(LOG_DEBUG, __VA_ARGS__); \
	} while (0)

/*
 * Overwrites with '*' in place what looks like an API key (wrn_…) or a JWT
 * (eyJ…). For every text that leaves the process and was not made by it:
 * log lines, error messages.
 */
void redact(char *text);

#endif
