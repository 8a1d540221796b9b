/*
 * What the configuration file, the environment and the command line decide.
 * Read once at start and again on reload; a value, passed down by pointer.
 */
#ifndef DAEMON_SETTINGS_H
#define DAEMON_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "daemon/log.h"

struct settings {
	char *file;       /* the configuration file, NULL when there is none */
	bool system_wide; /* serves several users, each with their own */

	char *socket; /* path */
	int64_t socket_mode;
	char *socket_group; /* name, NULL for the process's own */
	char *state_dir;
	enum log_level log_level;

	char *base_url; /* without a slash at the end */
	char *api_key_file;
	char *token_file;
	char *api_key_command; /* run by /bin/sh -c */
	char *ca_file;
	char *client_cert;
	char *client_key;
	char *proxy;
	bool allow_plain_http;

	int64_t default_timeout_s;
	bool auto_resume;

	int64_t connect_timeout_ms;
	int64_t drain_timeout_ms;
	int64_t idle_timeout_ms;
	int64_t max_connections;
	int64_t ping_after_ms;
	int64_t ping_timeout_ms;

	int64_t calls_per_client;
	int64_t clients_per_uid;
};

/* What the command line says; NULL where it says nothing. */
struct settings_args {
	const char *file;
	const char *socket;
	const char *state_dir;
	const char *log_level;
	bool system_wide; /* the machine's paths instead of the user's */
};

/*
 * Defaults, then the environment's WRENN_BASE_URL, then the file, then the
 * environment's WRENND_SOCKET, then the arguments. NULL
 * after having said on stderr what is wrong: file, line and remedy. A missing
 * file is fine unless the arguments name it.
 */
struct settings *settings_load(const struct settings_args *args);
void settings_free(struct settings *s);

/* Every key, one `section.key` a line, for the check of the manual page. */
void settings_print_keys(FILE *out);

#endif
