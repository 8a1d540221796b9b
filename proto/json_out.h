/*
 * Writes JSON member by member, where a tree would only be built to be
 * printed. Names are written as they are given: they need no escapes. The
 * first failure of the buffer sticks and shows in `error`.
 *
 * Embedded in its owner, needs no release.
 */
#ifndef PROTO_JSON_OUT_H
#define PROTO_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct json_member;

struct json_out {
	struct buf *buf; /* the caller's */
	int error;       /* 0, or a negative errno */
	bool comma;      /* something stands before what comes next */
};

void json_out_init(struct json_out *o, struct buf *b);

/* What each adds has that name, or none (NULL) in an array and at the top. */
void json_out_object(struct json_out *o, const char *name);
void json_out_end_object(struct json_out *o);
void json_out_array(struct json_out *o, const char *name);
void json_out_end_array(struct json_out *o);
void json_out_str(struct json_out *o, const char *name, const char *s);
void json_out_strn(
    struct json_out *o, const char *name, const char *s, size_t n);
void json_out_int(struct json_out *o, const char *name, int64_t n);
void json_out_bool(struct json_out *o, const char *name, bool b);
void json_out_null(struct json_out *o, const char *name);
/* Infinity and NaN become null. */
void json_out_double(struct json_out *o, const char *name, double n);
/* Text that json_check() accepted, on one line. */
void json_out_text(
    struct json_out *o, const char *name, const char *text, size_t len);
/* A member of such a text, and all members of an object that is one. */
void json_out_member(struct json_out *o, const struct json_member *m);
void json_out_members(struct json_out *o, const char *text, size_t len);

#endif
