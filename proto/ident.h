/*
 * How Wrenn writes what names things: what passes here may stand in a path
 * or a query as it is.
 */
#ifndef PROTO_IDENT_H
#define PROTO_IDENT_H

#include <stdbool.h>

/* prefix, a hyphen and 25 characters of base 36, such as those of "cl". */
bool ident_is_id(const char *text, const char *prefix);

/*
 * A template, a snapshot or a capsule: letters, digits, dots, dashes and
 * underscores, up to 64, with a letter or digit first.
 */
bool ident_is_name(const char *text);

/* YYYY-MM-DD, a day that there is. */
bool ident_is_date(const char *text);

#endif
