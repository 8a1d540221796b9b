/*
 * What wrennctl says: data on standard output, talk on standard error.
 * Text that came from elsewhere is escaped, but for the bytes of commands
 * and files (out_bytes).
 */
#ifndef CLIENT_OUT_H
#define CLIENT_OUT_H

#include <stdbool.h>
#include <stddef.h>

/* The largest text; what stands in an answer line, with all of it escaped. */
#define OUT_TEXT_MAX ((size_t)64 * 1024 * 1024)

struct buf;
struct json_object;
struct wrenn_error;

/* Standard output; a failed write is remembered until out_close(). */
struct out {
	bool json;        /* -o json */
	int write_errno;  /* of the first write that failed */
	const char *verb; /* for the hint to its help; NULL for none */
	const char *hint; /* when wrennd cannot be reached; NULL for none */
	const char *look; /* the verb that shows whether it happened; NULL for
			     the `ls` of its group */
};

void out_bytes(struct out *out, const void *data, size_t n);
void out_printf(struct out *out, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void out_text(struct out *out, const char *text); /* escaped */
void out_flush(struct out *out);

/* The value as one line of JSON. */
void out_json(struct out *out, struct json_object *value);

/* "key: value" with the values in one column; the value is escaped. */
void out_pair(struct out *out, const char *key, const char *value);

/* Prints the error on standard error and returns the exit status for it. */
int out_error(const struct out *out, const struct wrenn_error *err);

/* "wrennctl: ..." on standard error; the text is escaped. */
void out_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Writes what is buffered. Returns status, but `failed` instead of 0 when
 * some of it could not be written, which is then said.
 */
int out_close(struct out *out, int status, int failed);

/*
 * A value as escaped text for people: "-" for null and what is absent. The
 * buffer's maximum is OUT_TEXT_MAX.
 */
void out_value(struct buf *to, struct json_object *value);

#endif
