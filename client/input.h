/*
 * What a person or a pipe gives to wrennctl besides its arguments.
 */
#ifndef CLIENT_INPUT_H
#define CLIENT_INPUT_H

#include <stdbool.h>

struct buf;
struct json_object;
struct wrenn_error;

/* All of standard input, up to the longest request. 0, or -1. */
int input_stdin(struct buf *b, struct wrenn_error *err);

/*
 * JSON parameters: the word itself, standard input for "-", or none for NULL;
 * *ret is then NULL. 0, or -1 with a usage error.
 */
int input_params(
    const char *word, struct json_object **ret, struct wrenn_error *err);

/*
 * Asks on the terminal, which need be neither stdin nor stdout; with `hidden`
 * the answer is not shown. At most LIMIT_SECRET bytes, without the newline.
 */
int input_ask(const char *prompt, bool hidden, struct buf *answer,
    struct wrenn_error *err);

#endif
