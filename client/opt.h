/*
 * Options of the command line from tables. A verb has a table of its own
 * and a struct that the values go to; the global options are parsed with it.
 */
#ifndef CLIENT_OPT_H
#define CLIENT_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct wrenn_error;

enum opt_type {
	OPT_FLAG,     /* bool */
	OPT_TEXT,     /* const char *, of argv */
	OPT_LIST,     /* struct opt_list; may be given several times */
	OPT_COUNT,    /* struct opt_int, from 1 on */
	OPT_DURATION, /* struct opt_int, seconds */
	OPT_MEMORY,   /* struct opt_int, MiB */
};

/* One option; a row without a name ends the table. */
struct opt {
	const char *name;
	char letter; /* 0 for none */
	enum opt_type type;
	const char *arg; /* what help calls the value; NULL for flags */
	const char *help;
	size_t offset; /* of the value in the verb's struct */
};

struct opt_int {
	bool set;
	int64_t n;
};

/* Texts of argv. */
struct opt_list {
	const char **items;
	size_t count;
};

/* Where the values of one table go. */
struct opt_target {
	const struct opt *table; /* NULL for none */
	void *values;
};

/*
 * Parses argv[1..argc) into the targets and returns the index of the first
 * operand, or -1 with a usage error. With `strict` the first operand ends
 * the options; otherwise operands are moved behind them.
 */
int opt_parse(const struct opt_target targets[2], bool strict, int argc,
    char **argv, struct wrenn_error *err);

/* Drops the lists in a verb's values. */
void opt_release(const struct opt *table, void *values);

/* Texts to values; 0 or -EINVAL. */
int opt_duration(const char *text, int64_t *ret_sec); /* 30s 5m 1h30m 0 */
int opt_memory(const char *text, int64_t *ret_mb);    /* 512M 2G */
int opt_count(const char *text, int64_t *ret);

/* The lines of help for a table. */
void opt_print_help(const struct opt *table);

#endif
