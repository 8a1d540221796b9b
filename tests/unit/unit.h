/*
 * What every unit test includes: cmocka with the headers it wants before
 * itself, and comparisons that it lacks.
 */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/buf.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A string literal as pointer and length, NUL bytes inside it included. */
#define LITERAL(s) (s), (sizeof(s) - 1)

/* The bytes in use are exactly those of the string literal. */
#define assert_buf_equal(b, literal)                             \
	do {                                                     \
		assert_int_equal((b)->len, sizeof(literal) - 1); \
		assert_memory_equal(                             \
		    buf_head(b), literal, sizeof(literal) - 1);  \
	} while (0)

#endif
