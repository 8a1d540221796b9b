#include "daemon/log.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <sqlite3.h>

#include "proto/banned.h"

#define LINE_MAX_BYTES 2048

static const char *const level_names[] = { "error", "warn", "info", "debug" };

/* The only mutable variable of file scope in the daemon. */
static enum log_level threshold = LOG_INFO;

void
log_set_level(enum log_level level)
{
	threshold = level;
}

bool
log_wants(enum log_level level)
{
	return level <= threshold;
}

int
log_level_by_name(const char *name, enum log_level *ret)
{
	int i;

	for (i = LOG_ERROR; i <= LOG_DEBUG; i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* Length of the run of characters that keys and tokens are made of. */
static size_t
token_span(const char *s)
{
	size_t n = 0;

	while (isalnum((unsigned char)s[n]) || s[n] == '_' || s[n] == '-' ||
	       s[n] == '.' || s[n] == '=')
		n++;
	return n;
}

void
redact(char *text)
{
	char *p = text;
	size_t n;

	while ((p = strpbrk(p, "we")) != NULL) {
		if (strncmp(p, "wrn_", 4) != 0 && strncmp(p, "eyJ", 3) != 0) {
			p++;
			continue;
		}
		n = token_span(p);
		/* Shorter than any secret: a word that happens to start so. */
		if (n >= 12)
			memset(p + 4, '*', n - 4);
		p += n;
	}
}

/* Makes control characters visible; returns the length. */
static size_t
escape(char *out, size_t size, const char *in)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	for (; *in != '\0' && n + 5 < size; in++) {
		unsigned char c = (unsigned char)*in;

		if (c >= 0x20 && c != 0x7f) {
			out[n++] = *in;
			continue;
		}
		out[n++] = '\\';
		out[n++] = 'x';
		out[n++] = hex[c >> 4];
		out[n++] = hex[c & 15];
	}
	out[n] = '\0';
	return n;
}

static size_t
stamp(char *out, size_t size, enum log_level level)
{
	struct timespec ts;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
	return n + (size_t)snprintf(out + n, size - n, ".%03ldZ %-5s ",
		       ts.tv_nsec / 1000000, level_names[level]);
}

void
log_at(enum log_level level, const char *fmt, ...)
{
	char text[LINE_MAX_BYTES], line[LINE_MAX_BYTES + 64];
	va_list ap;
	size_t n;

	if (level > threshold)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	redact(text);
	n = stamp(line, sizeof(line), level);
	n += escape(line + n, sizeof(line) - n - 1, text);
	line[n++] = '\n';
	/* One write a line: lines of two threads never mix. */
	if (write(STDERR_FILENO, line, n) < 0)
		return; /* nobody is left to tell */
}

static void
from_libevent(int severity, const char *msg)
{
	log_at(severity >= EVENT_LOG_ERR    ? LOG_ERROR
	       : severity == EVENT_LOG_WARN ? LOG_WARN
					    : LOG_DEBUG,
	    "libevent: %s", msg);
}

static void
from_sqlite(void *arg, int code, const char *msg)
{
	(void)arg;
	log_warn("sqlite: %s code=%d", msg, code);
}

void
log_take_over(void)
{
	event_set_log_callback(from_libevent);
	sqlite3_config(SQLITE_CONFIG_LOG, from_sqlite, NULL);
}
