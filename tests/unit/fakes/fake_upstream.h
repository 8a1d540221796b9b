/*
 * daemon/upstream.h without a network: each request is written down and
 * waits until the test answers it. Linked in place of daemon/upstream.c: list
 * its object before libdaemon.a. Requests are counted from 0.
 */
#ifndef TESTS_UNIT_FAKES_FAKE_UPSTREAM_H
#define TESTS_UNIT_FAKES_FAKE_UPSTREAM_H

#include <stdbool.h>

#include "daemon/upstream.h"

/* How many were sent. The pointer stays good, for fake_loop_until(). */
const int *fake_upstream_count(const struct upstream *u);

/* "METHOD path" or "METHOD path body"; "" when so many were not sent. */
const char *fake_upstream_sent(const struct upstream *u, int i);

/* Whether it was neither answered nor cancelled. */
bool fake_upstream_is_pending(const struct upstream *u, int i);

/* Answers it; a body that begins with '{' or '[' is said to be JSON. */
void fake_upstream_answer(
    struct upstream *u, int i, int status, const char *body);
/* It ends without an answer. */
void fake_upstream_lose(struct upstream *u, int i, enum http_outcome outcome,
    enum rpc_errno error, const char *why);

/* How often upstream_renew() and upstream_resume() were called. */
int fake_upstream_renewals(const struct upstream *u);
int fake_upstream_resumes(const struct upstream *u);

#endif
