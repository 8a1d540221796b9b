/*
 * Walks over text that json_check() accepted, without a tree: members,
 * elements and strings as they were written. Nothing here looks for faults.
 */
#ifndef PROTO_JSON_WALK_H
#define PROTO_JSON_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf;

/* A member of an object; all of it lies in the text. */
struct json_member {
	const char *name; /* between its quotes, escapes as written */
	size_t name_len;
	bool escaped;      /* there are some */
	const char *value; /* without white space around it */
	size_t len;
};

/* The first character of the value: '{', '[', '"', a digit, … */
char json_first(const char *text, size_t len);

/*
 * Sets *ret to the next member of an object and moves *pos behind it. *pos
 * starts at 0. false after the last one, and for what is no object.
 */
bool json_next_member(
    const char *text, size_t len, size_t *pos, struct json_member *ret);

/* Whether the inside of a string, as written, stands for that. */
bool json_stands_for(const char *inside, size_t len, const char *content);

/*
 * Whether its name is that, or its value a string of that content, in whatever
 * way they were written. What is asked for holds no quote and no backslash.
 */
static inline bool
json_member_is(const struct json_member *m, const char *name)
{
	/* Of a literal name this is a comparison of a word or two. */
	return m->escaped ? json_stands_for(m->name, m->name_len, name)
			  : m->name_len == strlen(name) &&
				memcmp(m->name, name, m->name_len) == 0;
}
bool json_member_equals(const struct json_member *m, const char *content);

/*
 * Walks an array: sets *ret_value to the text of the next element and moves
 * *pos behind it. *pos starts at 0. false after the last one.
 */
bool json_next_element(const char *text, size_t len, size_t *pos,
    const char **ret_value, size_t *ret_len);

/* The code point at *p inside a string; moves *p behind it. */
uint32_t json_code_point(const char **p);

/*
 * By code point, the insides of two strings without their quotes: less than,
 * equal to or greater than 0.
 */
int json_compare(
    const char *a, const char *a_end, const char *b, const char *b_end);

/*
 * Writes what the inside of a string stands for, which is never longer than
 * it, and returns its length. What has more than `size` bytes is cut in front
 * of the character that does not fit.
 */
size_t json_decode(char *out, size_t size, const char *p, const char *end);

/* Behind the string whose opening quote p stands on. */
const char *json_skip_string(const char *p, const char *end);

/*
 * Appends text on one line: what separates lines in it, which can only be
 * white space between values, becomes blanks. 0 or a negative errno.
 */
int json_print_line(struct buf *out, const char *text, size_t len);

#endif
