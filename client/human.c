#include "client/human.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/banned.h"

const char *
human_bytes(struct human *to, uint64_t bytes)
{
	static const char units[] = "KMGTPE";
	double n = (double)bytes;
	int i = -1;

	if (bytes < 1024) {
		snprintf(to->text, sizeof(to->text), "%u B", (unsigned)bytes);
		return to->text;
	}
	/* 1023.95 and more would print as 1024.0. */
	while (n >= 1023.95 && i < 5) {
		n /= 1024;
		i++;
	}
	if (i < 0) {
		n /= 1024;
		i = 0;
	}
	snprintf(to->text, sizeof(to->text), "%.1f %ciB", n, units[i]);
	return to->text;
}

const char *
human_mib(struct human *to, int64_t mib)
{
	if (mib > 0 && mib % 1024 == 0)
		snprintf(
		    to->text, sizeof(to->text), "%jdG", (intmax_t)(mib / 1024));
	else
		snprintf(to->text, sizeof(to->text), "%jdM", (intmax_t)mib);
	return to->text;
}

/* Exact, in at most two units: 331 is 5m31s. */
const char *
human_seconds(struct human *to, int64_t s)
{
	intmax_t d = s / 86400, h = s / 3600 % 24, m = s / 60 % 60;
	int n = 0;

	to->text[0] = '\0';
	if (d > 0)
		n += snprintf(to->text, sizeof(to->text), "%jdd", d);
	if (h > 0)
		n += snprintf(
		    to->text + n, sizeof(to->text) - (size_t)n, "%jdh", h);
	if (m > 0)
		n += snprintf(
		    to->text + n, sizeof(to->text) - (size_t)n, "%jdm", m);
	if (s % 60 > 0 || n == 0)
		snprintf(to->text + n, sizeof(to->text) - (size_t)n, "%jds",
		    (intmax_t)(s % 60));
	return to->text;
}

/* Rounded down to one unit; clocks that disagree give 0s. */
const char *
human_age(struct human *to, int64_t s)
{
	static const struct {
		int64_t from, unit;
		char letter;
	} steps[] = {
		{ 2 * 86400, 86400, 'd' },
		{ 2 * 3600, 3600, 'h' },
		{ 2 * 60, 60, 'm' },
		{ 0, 1, 's' },
	};
	size_t i = 0;

	if (s < 0)
		s = 0;
	while (s < steps[i].from)
		i++;
	snprintf(to->text, sizeof(to->text), "%jd%c",
	    (intmax_t)(s / steps[i].unit), steps[i].letter);
	return to->text;
}

const char *
human_time(struct human *to, time_t t)
{
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL ||
	    strftime(to->text, sizeof(to->text), "%Y-%m-%d %H:%M", &tm) == 0)
		snprintf(to->text, sizeof(to->text), "%jd", (intmax_t)t);
	return to->text;
}

/* The offset that ends a time: Z or +hh:mm, in seconds. */
static int
parse_offset(const char *s, long *ret)
{
	int h, m, n = 0;
	char sign;

	if ((s[0] == 'Z' || s[0] == 'z') && s[1] == '\0') {
		*ret = 0;
		return 0;
	}
	if (sscanf(s, "%c%2d:%2d%n", &sign, &h, &m, &n) != 3 || s[n] != '\0' ||
	    (sign != '+' && sign != '-') || h < 0 || m < 0)
		return -EINVAL;
	*ret = (sign == '-' ? -1L : 1L) * (h * 3600L + m * 60L);
	return 0;
}

int
human_parse_time(const char *text, time_t *ret)
{
	struct tm tm = { 0 };
	int n = 0;
	long offset;

	if (sscanf(text, "%4d-%2d-%2d%*1[Tt]%2d:%2d:%2d%n", &tm.tm_year,
		&tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec,
		&n) != 6 ||
	    n == 0)
		return -EINVAL;
	text += n;
	if (*text == '.')
		for (text++; isdigit((unsigned char)*text);)
			text++;
	if (parse_offset(text, &offset) < 0)
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	*ret = timegm(&tm) - offset;
	return 0;
}
