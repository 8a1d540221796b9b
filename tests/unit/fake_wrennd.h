/*
 * The other end of libwrenn's socket for unit tests: one thread that accepts
 * one client and runs a function with it.
 */
#ifndef TESTS_UNIT_FAKE_WRENND_H
#define TESTS_UNIT_FAKE_WRENND_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct fake_wrennd {
	char dir[32];
	char path[64]; /* of the socket */
	int listener;
	pthread_t thread;
	void (*serve)(struct fake_wrennd *);
	int fd; /* the client's connection */
	char line[4096];
	int passed_fd; /* that came with the last line; -1 for none */
};

/* fake_start, then fake_stop, which waits for serve() to return. */
void fake_start(struct fake_wrennd *f, void (*serve)(struct fake_wrennd *));
void fake_stop(struct fake_wrennd *f);

/* For serve(): the next line without its newline; false when it hung up. */
bool fake_read_line(struct fake_wrennd *f);

/* The next line; it must contain the text. */
void fake_expect(struct fake_wrennd *f, const char *text);

void fake_send(struct fake_wrennd *f, const char *text);

/* Ends the program where a test in another thread cannot fail. */
void fake_must(bool ok, const char *what);

#endif
