/*
 * Allocation for objects whose size the program itself chooses: running out
 * of memory there ends the process. Sizes that come from a peer or from the
 * network are allocated with malloc and checked by the caller.
 */
#ifndef PROTO_XALLOC_H
#define PROTO_XALLOC_H

#include <stdarg.h>
#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s); /* NULL stays NULL */
char *xstrndup(const char *s, size_t n);
/* One text of three; without the cost of a format. */
char *xjoin(const char *a, const char *b, const char *c);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
