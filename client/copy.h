/*
 * One copied file: between a descriptor or path here and a path in a
 * capsule. All return the exit status and have printed what went wrong.
 */
#ifndef CLIENT_COPY_H
#define CLIENT_COPY_H

#include <stdbool.h>

struct ctl;
struct place;

/* Exactly one of the two is remote. */
int copy_place(
    struct ctl *ctl, struct place *src, struct place *dst, bool quiet);

/* The bytes of a remote file to standard output. */
int copy_to_stdout(struct ctl *ctl, const struct place *src);

#endif
