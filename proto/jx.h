/*
 * Typed, range-checked access to JSON, and its building. json-c clamps and
 * coerces in silence (4294967296 becomes INT_MAX, "12abc" becomes 12, null
 * becomes 0); everything that reads JSON goes through here instead.
 *
 * Lookups lend: what they return belongs to the object asked. A NULL object
 * has no members. jx_add() and the like take the value over.
 */
#ifndef PROTO_JX_H
#define PROTO_JX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct json_check_fault;
struct json_object;

/*
 * Parses text that json_check() accepts. NULL when it does not, with the
 * fault set; or when there is no memory, with the fault's reason saying so.
 */
struct json_object *jx_parse(
    const char *text, size_t len, struct json_check_fault *ret_fault);

/*
 * The same of text that json_check() accepted already, or a value in it. 0, or
 * -ENOMEM.
 */
int jx_read(const char *text, size_t len, struct json_object **ret);

/* Whether the member exists; a JSON null exists with *ret NULL. */
bool jx_get(struct json_object *o, const char *key, struct json_object **ret);

/* NULL when absent, of another type or with a NUL inside. */
const char *jx_str(struct json_object *o, const char *key);
struct json_object *jx_obj(struct json_object *o, const char *key);
struct json_object *jx_arr(struct json_object *o, const char *key);

/*
 * 0, -ENOENT when absent, -EINVAL when no whole number (1.0 is none), -ERANGE.
 * INT64_MIN itself is out of range: json-c cannot tell it from what is below.
 */
int jx_int(struct json_object *o, const char *key, int64_t min, int64_t max,
    int64_t *ret);

/* `absent` when there is no such boolean. */
bool jx_bool(struct json_object *o, const char *key, bool absent);

/* The value itself: a string without NUL, or NULL; its length with it. */
const char *jx_text_of(struct json_object *value, size_t *ret_len);
/* A string's bytes, which may be NUL; NULL when it is no string. */
const char *jx_bytes_of(struct json_object *value, size_t *ret_len);
int jx_int_of(
    struct json_object *value, int64_t min, int64_t max, int64_t *ret);

/* A number as a double; `absent` when it is none or too large for one. */
double jx_double(struct json_object *o, const char *key, double absent);

void jx_add(struct json_object *o, const char *key, struct json_object *value);
void jx_add_str(struct json_object *o, const char *key, const char *s);
void jx_add_strn(
    struct json_object *o, const char *key, const char *s, size_t n);
void jx_add_int(struct json_object *o, const char *key, int64_t n);
/* Infinity and NaN become null. */
void jx_add_double(struct json_object *o, const char *key, double n);
void jx_add_bool(struct json_object *o, const char *key, bool b);
void jx_add_null(struct json_object *o, const char *key);

/* The compact text of a value, appended as a whole or not at all. */
int jx_print(struct buf *out, struct json_object *value);

/* A string as JSON text with its quotes, appended. It must be UTF-8. */
int jx_print_string(struct buf *out, const char *s, size_t n);

#endif
