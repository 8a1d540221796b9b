/*
 * The WebSockets of the fake upstream: what is sent is written down, and the
 * test says what comes. Streams are counted from 0.
 */
#ifndef TESTS_UNIT_FAKES_FAKE_WS_H
#define TESTS_UNIT_FAKES_FAKE_WS_H

#include <stdbool.h>

#include "daemon/ws.h"

/* How many were opened. The pointer stays good, for fake_loop_until(). */
const int *fake_ws_count(void);

const char *fake_ws_path(int i);
/* The messages, each with a newline behind it; "" for none. */
const char *fake_ws_sent(int i);
bool fake_ws_is_paused(int i);
/* Neither ended nor freed. */
bool fake_ws_is_alive(int i);

void fake_ws_accept(int i);
void fake_ws_tell(int i, const char *message);
/* Of `end`, why and body may be NULL. */
void fake_ws_end(int i, const struct ws_end *end);

/* Forgets them all; for the teardown of a test. */
void fake_ws_reset(void);
/* The next ones to be opened find no credential. */
void fake_ws_refuse(bool refuse);

#endif
