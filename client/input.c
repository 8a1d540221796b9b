#include "client/input.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <json-c/json.h>

#include "client/wrenn_priv.h"
#include "proto/json_check.h"
#include "proto/jx.h"

#include "proto/banned.h"

#define CTRL_C '\003'

int
input_stdin(struct buf *b, struct wrenn_error *err)
{
	char *space;
	ssize_t n;

	for (;;) {
		if (buf_reserve(b, 4096, &space) < 0)
			return wrenn_error_set(err, RPC_TOO_LARGE,
			    "standard input is longer than %d bytes",
			    LIMIT_REQUEST_LINE);
		n = read(STDIN_FILENO, space, 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return wrenn_error_errno(
			    err, errno, "cannot read standard input");
		if (n == 0)
			return 0;
		buf_commit(b, (size_t)n);
	}
}

/* The text as an object of parameters. */
static int
parse_params(const char *text, size_t len, struct json_object **ret,
    struct wrenn_error *err)
{
	struct json_check_fault fault;
	struct json_object *params = jx_parse(text, len, &fault);

	if (fault.reason != NULL)
		return wrenn_error_set(err, RPC_USAGE,
		    "the parameters are not JSON: %s at byte %zu", fault.reason,
		    fault.offset);
	if (!json_object_is_type(params, json_type_object)) {
		json_object_put(params);
		return wrenn_error_set(
		    err, RPC_USAGE, "the parameters must be a JSON object");
	}
	*ret = params;
	return 0;
}

int
input_params(
    const char *word, struct json_object **ret, struct wrenn_error *err)
{
	struct buf b;
	int r;

	if (word == NULL) {
		*ret = NULL;
		return 0;
	}
	if (strcmp(word, "-") != 0)
		return parse_params(word, strlen(word), ret, err);
	buf_init(&b, LIMIT_REQUEST_LINE + 4096);
	r = input_stdin(&b, err);
	if (r == 0)
		r = parse_params(buf_head(&b), b.len, ret, err);
	buf_release(&b); /* wiped: it may hold a key */
	return r;
}

/* One line from the terminal; Ctrl-C comes as a character or not at all. */
static int
read_answer(int tty, struct buf *answer)
{
	char c = '\0';
	ssize_t n;

	while ((n = read(tty, &c, 1)) == 1 && c != '\n' && c != CTRL_C)
		if (answer->len < LIMIT_SECRET)
			buf_add(answer, &c, 1);
	if (n == 1 && c == CTRL_C)
		return -EINTR;
	return n < 0 ? -errno : n == 0 ? -ENODATA : 0;
}

/*
 * ISIG is off while the answer is hidden, so that Ctrl-C cannot leave the
 * terminal without its echo: it ends the line instead, as its last character,
 * and the signals that end us from elsewhere wait meanwhile.
 */
static int
ask_hidden(int tty, struct buf *answer)
{
	struct termios was, quiet;
	sigset_t stop, before;
	int r;

	if (tcgetattr(tty, &was) < 0)
		return -errno;
	sigemptyset(&stop);
	sigaddset(&stop, SIGTSTP);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGHUP);
	sigprocmask(SIG_BLOCK, &stop, &before);
	quiet = was;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	quiet.c_cc[VEOL] = CTRL_C;
	tcsetattr(tty, TCSAFLUSH, &quiet);
	r = read_answer(tty, answer);
	tcsetattr(tty, TCSAFLUSH, &was);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}

int
input_ask(const char *prompt, bool hidden, struct buf *answer,
    struct wrenn_error *err)
{
	int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	int r;

	if (tty < 0)
		return wrenn_error_set(
		    err, RPC_USAGE, "there is no terminal to ask at");
	r = write(tty, prompt, strlen(prompt)) < 0 ? -errno : 0;
	if (r == 0)
		r = hidden ? ask_hidden(tty, answer) : read_answer(tty, answer);
	if (hidden && write(tty, "\n", 1) < 0)
		r = r < 0 ? r : -errno;
	close(tty);
	if (r == -EINTR) {
		raise(SIGINT); /* as the terminal would have done */
		return wrenn_error_set(err, RPC_CANCELLED, "interrupted");
	}
	if (r < 0)
		return wrenn_error_errno(err, -r, "no answer");
	return 0;
}
