#include "daemon/settings.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ini.h>

#include "daemon/url.h"
#include "proto/limits.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define DEFAULT_BASE_URL "https://app.wrenn.dev/api"

enum key_type {
	KEY_TEXT,
	KEY_PATH,  /* absolute */
	KEY_URL,   /* a base URL */
	KEY_BOOL,  /* yes, no */
	KEY_INT,   /* min..max */
	KEY_SECS,  /* duration in seconds, min..max */
	KEY_MSECS, /* duration in milliseconds, min..max */
	KEY_MODE,  /* octal */
	KEY_LEVEL,
};

/* One key of the file. `at` is the member of struct settings it sets. */
struct key {
	const char *section, *name;
	enum key_type type;
	size_t at;
	int64_t min, max;
};

#define AT(member) offsetof(struct settings, member)

/* clang-format off */
static const struct key keys[] = {
	{ "daemon",    "socket",           KEY_PATH,  AT(socket), 0, 0 },
	{ "daemon",    "socket_mode",      KEY_MODE,  AT(socket_mode), 0, 0777 },
	{ "daemon",    "socket_group",     KEY_TEXT,  AT(socket_group), 0, 0 },
	{ "daemon",    "state_dir",        KEY_PATH,  AT(state_dir), 0, 0 },
	{ "daemon",    "log_level",        KEY_LEVEL, AT(log_level), 0, 0 },
	{ "daemon",    "drain_timeout",    KEY_MSECS, AT(drain_timeout_ms), 0, 3600000 },
	{ "daemon",    "idle_timeout",     KEY_MSECS, AT(idle_timeout_ms), 100, 86400000 },
	{ "profile",   "base_url",         KEY_URL,   AT(base_url), 0, 0 },
	{ "profile",   "api_key_file",     KEY_PATH,  AT(api_key_file), 0, 0 },
	{ "profile",   "token_file",       KEY_PATH,  AT(token_file), 0, 0 },
	{ "profile",   "api_key_command",  KEY_TEXT,  AT(api_key_command), 0, 0 },
	{ "profile",   "ca_file",          KEY_PATH,  AT(ca_file), 0, 0 },
	{ "profile",   "client_cert",      KEY_PATH,  AT(client_cert), 0, 0 },
	{ "profile",   "client_key",       KEY_PATH,  AT(client_key), 0, 0 },
	{ "profile",   "proxy",            KEY_TEXT,  AT(proxy), 0, 0 },
	{ "profile",   "allow_plain_http", KEY_BOOL,  AT(allow_plain_http), 0, 0 },
	{ "profile",   "connect_timeout",  KEY_MSECS, AT(connect_timeout_ms), 100, 600000 },
	{ "profile",   "max_connections",  KEY_INT,   AT(max_connections), 1, 64 },
	{ "profile",   "ping_after",       KEY_MSECS, AT(ping_after_ms), 100, 3600000 },
	{ "profile",   "ping_timeout",     KEY_MSECS, AT(ping_timeout_ms), 100, 600000 },
	{ "ownership", "default_timeout",  KEY_SECS,  AT(default_timeout_s), 1, 31536000 },
	{ "ownership", "auto_resume",      KEY_BOOL,  AT(auto_resume), 0, 0 },
	{ "limits",    "calls_per_client", KEY_INT,   AT(calls_per_client), 1, 65536 },
	{ "limits",    "clients_per_user", KEY_INT,   AT(clients_per_uid), 1, LIMIT_PEERS },
};
/* clang-format on */

#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

/* One reading of the file. */
struct parse {
	struct settings *s;
	FILE *in;
	const char *file;
	int line;
	bool seen[KEY_COUNT];
	bool failed; /* and said so */
};

static void *
member(struct settings *s, const struct key *k)
{
	return (char *)s + k->at;
}

static void
set_text(char **member, const char *value)
{
	free(*member);
	*member = value[0] != '\0' ? xstrdup(value) : NULL;
}

static const char *
set_url(struct settings *s, const char *value)
{
	const char *why;
	struct url u;

	if (url_parse(&u, value, &why) < 0)
		return why;
	set_text(&s->base_url, u.text);
	url_release(&u);
	return NULL;
}

/* A whole number and its unit; the unit of `5` is seconds. */
static bool
parse_duration(const char *text, int64_t *ret_ms)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = { { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 },
		{ "h", 3600000 }, { "d", 86400000 } };
	char *end;
	long long n;
	size_t i;

	errno = 0;
	n = strtoll(text, &end, 10);
	if (end == text || errno != 0 || n < 0 || n > INT32_MAX)
		return false;
	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit) == 0) {
			*ret_ms = n * units[i].ms;
			return true;
		}
	}
	return false;
}

static const char *
set_number(const struct key *k, int64_t *member, const char *value)
{
	int64_t n;
	char *end;

	errno = 0;
	if (k->type == KEY_SECS || k->type == KEY_MSECS) {
		if (!parse_duration(value, &n))
			return "it must be a duration such as 30s, 5m or 1h";
		if (k->type == KEY_SECS)
			n /= 1000;
	} else {
		n = strtoll(value, &end, k->type == KEY_MODE ? 8 : 10);
		if (end == value || *end != '\0' || errno != 0)
			return k->type == KEY_MODE
				   ? "it must be an octal mode such as 0600"
				   : "it must be a whole number";
	}
	if (n < k->min || n > k->max)
		return "it is out of range (see wrennd.conf(5))";
	*member = n;
	return NULL;
}

static const char *
set_bool(bool *member, const char *value)
{
	if (strcmp(value, "yes") == 0)
		*member = true;
	else if (strcmp(value, "no") == 0)
		*member = false;
	else
		return "it must be yes or no";
	return NULL;
}

/* NULL, or what is wrong with the value. */
static const char *
set_key(struct settings *s, const struct key *k, const char *value)
{
	switch (k->type) {
	case KEY_PATH:
		if (value[0] != '/')
			return "it must be an absolute path";
		set_text(member(s, k), value);
		return NULL;
	case KEY_TEXT:
		set_text(member(s, k), value);
		return NULL;
	case KEY_URL:
		return set_url(s, value);
	case KEY_BOOL:
		return set_bool(member(s, k), value);
	case KEY_LEVEL:
		return log_level_by_name(value, member(s, k)) < 0
			   ? "it must be error, warn, info or debug"
			   : NULL;
	case KEY_INT:
	case KEY_SECS:
	case KEY_MSECS:
	case KEY_MODE:
		return set_number(k, member(s, k), value);
	}
	return NULL;
}

static int
complain(struct parse *p, const char *what, const char *name)
{
	if (!p->failed)
		fprintf(stderr, "wrennd: %s:%d: %s: %s\n", p->file, p->line,
		    name, what);
	p->failed = true;
	return 0;
}

/* The section that keys are filed under: "profile default" is "profile". */
static const char *
section_name(const char *section)
{
	return strcmp(section, "profile default") == 0 ? "profile" : section;
}

/* inih's handler: 1 to go on, 0 for a fault. */
static int
take(void *arg, const char *section, const char *name, const char *value)
{
	struct parse *p = arg;
	const char *why;
	size_t i;

	for (i = 0; i < KEY_COUNT; i++)
		if (strcmp(keys[i].section, section_name(section)) == 0 &&
		    strcmp(keys[i].name, name) == 0 &&
		    strcmp(section, "profile") != 0)
			break;
	if (i == KEY_COUNT)
		return complain(p,
		    "no such key in this section; wrennd.conf(5) lists them",
		    name);
	if (p->seen[i])
		return complain(p, "it is set twice; remove one", name);
	p->seen[i] = true;
	why = set_key(p->s, &keys[i], value);
	return why ? complain(p, why, name) : 1;
}

/* fgets() that counts lines and refuses those that inih would cut. */
static char *
read_line(char *text, int size, void *arg)
{
	struct parse *p = arg;

	if (p->failed || fgets(text, size, p->in) == NULL)
		return NULL;
	p->line++;
	if (strchr(text, '\n') == NULL && !feof(p->in)) {
		complain(p, "the line is too long", "syntax");
		return NULL;
	}
	return text;
}

static int
read_file(struct settings *s, const char *file, bool required)
{
	struct parse p = { .s = s, .file = file };
	int r;

	p.in = fopen(file, "re");
	if (p.in == NULL) {
		if (errno == ENOENT && !required)
			return 0;
		fprintf(stderr, "wrennd: %s: %m\n", file);
		return -1;
	}
	s->file = xstrdup(file);
	r = ini_parse_stream(read_line, &p, take, &p);
	if (r > 0 && !p.failed) {
		p.line = r;
		complain(
		    &p, "it is neither [section] nor key = value", "syntax");
	}
	fclose(p.in);
	return p.failed ? -1 : 0;
}

/* $var, or $HOME/rest, or NULL when neither is set. */
static char *
user_dir(const char *var, const char *rest)
{
	const char *dir = getenv(var), *home = getenv("HOME");

	if (dir != NULL && dir[0] == '/')
		return xasprintf("%s/wrennd", dir);
	if (rest == NULL || home == NULL || home[0] != '/')
		return NULL;
	return xasprintf("%s/%s/wrennd", home, rest);
}

static char *
default_file(bool system_wide)
{
	char *dir, *file;

	if (system_wide)
		return xstrdup("/etc/wrennd/wrennd.conf");
	dir = user_dir("XDG_CONFIG_HOME", ".config");
	if (dir == NULL)
		return NULL;
	file = xasprintf("%s/wrennd.conf", dir);
	free(dir);
	return file;
}

static void
fill_text(char **member, const char *value)
{
	if (*member == NULL && value != NULL)
		set_text(member, value);
}

/* Paths that nobody set: those of DESIGN's section Names. */
static int
fill_paths(struct settings *s, bool system_wide)
{
	char *dir;

	fill_text(&s->state_dir, getenv("STATE_DIRECTORY"));
	if (s->state_dir == NULL)
		s->state_dir = system_wide
				   ? xstrdup("/var/lib/wrennd")
				   : user_dir("XDG_STATE_HOME", ".local/state");
	if (s->state_dir == NULL) {
		fprintf(stderr, "wrennd: neither XDG_STATE_HOME nor HOME is "
				"set; name a folder with --state-dir\n");
		return -1;
	}
	if (s->socket != NULL)
		return 0;
	dir = system_wide ? xstrdup("/run/wrennd")
			  : user_dir("XDG_RUNTIME_DIR", NULL);
	s->socket = xasprintf("%s/wrennd.sock", dir ? dir : s->state_dir);
	free(dir);
	return 0;
}

/* Also brings one from the environment into its normal form. */
static int
check_url(struct settings *s)
{
	const char *why;
	struct url u;
	int r = 0;

	if (url_parse(&u, s->base_url, &why) < 0) {
		fprintf(stderr, "wrennd: base URL %s: %s\n", s->base_url, why);
		return -1;
	}
	if (!u.tls && !u.loopback && !s->allow_plain_http) {
		fprintf(stderr,
		    "wrennd: base URL %s: plain http would send the key "
		    "readable over the network; use https, or set "
		    "allow_plain_http = yes in [profile default]\n",
		    s->base_url);
		r = -1;
	}
	set_text(&s->base_url, u.text);
	url_release(&u);
	return r;
}

/* An empty variable counts as none. */
static void
take_env(char **member, const char *name)
{
	const char *value = getenv(name);

	if (value != NULL && value[0] != '\0')
		set_text(member, value);
}

static int
apply_args(struct settings *s, const struct settings_args *args)
{
	/*
	 * What the file says of the server holds: its key must not go to one
	 * that a variable names.
	 */
	if (s->base_url == NULL)
		take_env(&s->base_url, "WRENN_BASE_URL");
	fill_text(&s->base_url, DEFAULT_BASE_URL);
	take_env(&s->socket, "WRENND_SOCKET");
	if (args->socket != NULL)
		set_text(&s->socket, args->socket);
	if (args->state_dir != NULL)
		set_text(&s->state_dir, args->state_dir);
	if (args->log_level != NULL &&
	    log_level_by_name(args->log_level, &s->log_level) < 0) {
		fprintf(stderr, "wrennd: --log-level must be error, warn, "
				"info or debug\n");
		return -1;
	}
	return 0;
}

struct settings *
settings_load(const struct settings_args *args)
{
	struct settings *s = xcalloc(1, sizeof(*s));
	char *file;
	int r;

	*s = (struct settings){
		.system_wide = args->system_wide,
		.socket_mode = 0600,
		.log_level = LOG_INFO,
		.default_timeout_s = 300,
		.auto_resume = true,
		.connect_timeout_ms = 10000,
		.drain_timeout_ms = 10000,
		.idle_timeout_ms = 300000,
		.max_connections = 6,
		.ping_after_ms = 15000,
		.ping_timeout_ms = 10000,
		.calls_per_client = LIMIT_CALLS_PER_PEER,
		.clients_per_uid = LIMIT_PEERS_PER_UID,
	};
	file =
	    args->file ? xstrdup(args->file) : default_file(args->system_wide);
	r = file ? read_file(s, file, args->file != NULL) : 0;
	free(file);
	if (r < 0 || apply_args(s, args) < 0 ||
	    fill_paths(s, args->system_wide) < 0 || check_url(s) < 0) {
		settings_free(s);
		return NULL;
	}
	return s;
}

void
settings_free(struct settings *s)
{
	size_t i;

	if (s == NULL)
		return;
	for (i = 0; i < KEY_COUNT; i++)
		if (keys[i].type == KEY_TEXT || keys[i].type == KEY_PATH ||
		    keys[i].type == KEY_URL)
			free(*(char **)member(s, &keys[i]));
	free(s->file);
	free(s);
}

void
settings_print_keys(FILE *out)
{
	size_t i;

	for (i = 0; i < KEY_COUNT; i++)
		fprintf(out, "%s.%s\n", keys[i].section, keys[i].name);
}
