/*
 * Figures as people read them. Each prints into `to` and returns it.
 */
#ifndef CLIENT_HUMAN_H
#define CLIENT_HUMAN_H

#include <stdint.h>
#include <time.h>

#define HUMAN_MAX 32

struct human {
	char text[HUMAN_MAX];
};

const char *human_bytes(struct human *to, uint64_t bytes); /* 1.5 MiB */
const char *human_mib(struct human *to, int64_t mib);      /* 512M, 2G */
const char *human_seconds(struct human *to, int64_t s);    /* 90s, 5m */
const char *human_age(struct human *to, int64_t s);        /* 3h, 12d */
const char *human_time(struct human *to, time_t t);        /* local */

/* Seconds since 1970 of an RFC 3339 time; 0 or -EINVAL. */
int human_parse_time(const char *text, time_t *ret);

#endif
