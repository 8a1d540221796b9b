/*
 * A table for people: a header and rows, columns as wide as they need. On a
 * terminal that is too narrow, columns are left out from the right; the
 * first one always stays whole.
 */
#ifndef CLIENT_TABLE_H
#define CLIENT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct out;

struct column {
	const char *head;
	bool right; /* numbers */
};

struct table {
	const struct column *columns;
	size_t width; /* how many columns */
	char **cells; /* row after row; escaped text */
	size_t count; /* of cells */
};

/* table_init, then cells in the order of reading, table_print, _release. */
void table_init(struct table *t, const struct column *columns, size_t width);
void table_release(struct table *t);
void table_add(struct table *t, const char *text); /* escapes it */
/* max_width in columns; 0 for no limit. */
void table_print(const struct table *t, struct out *out, size_t max_width);

/* Columns that text takes on a terminal. */
size_t table_text_width(const char *text);

/* The width of standard output's terminal; 0 when it is none. */
size_t table_terminal_width(void);

#endif
