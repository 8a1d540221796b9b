#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cmd.h"
#include "client/wrenn_priv.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

/*
 * Whoever starts us with 0, 1 or 2 closed would have a socket take its
 * number and output go there. The stand-ins fail when they are used.
 */
static void
fill_standard_fds(void)
{
	int fd, filler;

	for (fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		filler = open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
		if (filler != fd)
			_exit(EXIT_FAILED);
	}
}

/* What the global options say, once all are read. */
static int
settle_globals(struct ctl *ctl, struct wrenn_error *err)
{
	if (ctl->format != NULL) {
		ctl->out.json = strcmp(ctl->format, "json") == 0;
		if (!ctl->out.json && strcmp(ctl->format, "table") != 0)
			return wrenn_error_set(err, RPC_USAGE,
			    "--output knows json and table, not \"%s\"",
			    ctl->format);
	}
	if (ctl->socket != NULL && ctl->system_wide)
		return wrenn_error_set(
		    err, RPC_USAGE, "--socket and --system exclude each other");
	return 0;
}

/* The number of words must be what the verb takes. */
static int
check_args(const struct cmd *c, int n, struct wrenn_error *err)
{
	if (n >= c->min_args && (c->max_args < 0 || n <= c->max_args))
		return 0;
	return wrenn_error_set(err, RPC_USAGE, "%s: usage: wrennctl %s %s",
	    n < c->min_args ? "something is missing" : "too many words",
	    c->name, c->usage);
}

static int
usage_failure(struct ctl *ctl, const struct cmd *c, struct wrenn_error *err)
{
	int status;

	/* The format is known even where another option was wrong. */
	if (ctl->format != NULL)
		ctl->out.json = strcmp(ctl->format, "json") == 0;
	status = ctl_fail(ctl, err);
	return c != NULL && (c->flags & CMD_STATUS) ? EXIT_OWN_FAILURE : status;
}

static int
print_version(struct ctl *ctl)
{
	out_printf(&ctl->out, "wrennctl %s\n", PACKAGE_VERSION);
	return EXIT_OK;
}

/*
 * The words, with the first -SIGNAL of kill(1) spelled out; to be freed. No
 * option of ours begins with a digit or a capital letter.
 */
static char **
spell_out_signal(int *argc, char **argv)
{
	static char option[] = "-s";
	char **words = xcalloc((size_t)*argc + 2, sizeof(*words));
	bool done = false;
	int i, n = 0;

	for (i = 0; i < *argc; i++) {
		if (!done && argv[i][0] == '-' &&
		    (isdigit((unsigned char)argv[i][1]) ||
			isupper((unsigned char)argv[i][1]))) {
			words[n++] = option;
			words[n++] = argv[i] + 1;
			done = true;
			continue;
		}
		done = done || strcmp(argv[i], "--") == 0;
		words[n++] = argv[i];
	}
	*argc = n;
	return words;
}

/* Parses what follows the verb and does it. */
static int
run_cmd(struct ctl *ctl, const struct cmd *c, int argc, char **argv)
{
	char **words = NULL;
	void *values = xcalloc(1, c->opts_size);
	const struct opt_target targets[2] = { { c->opts, values },
		{ cmd_globals, ctl } };
	struct wrenn_error err;
	int first, status;

	ctl->out.verb = c->name;
	ctl->uses_server = c->flags & CMD_SERVER;
	if (c->flags & CMD_SIGNAL)
		argv = words = spell_out_signal(&argc, argv);
	first = opt_parse(targets, c->flags & CMD_STRICT, argc, argv, &err);
	if (first >= 0 && ctl->help) {
		help_cmd(c);
		status = EXIT_OK;
	} else if (first >= 0 && ctl->version) {
		status = print_version(ctl);
	} else if (first < 0 || settle_globals(ctl, &err) < 0 ||
		   check_args(c, argc - first, &err) < 0) {
		status = usage_failure(ctl, c, &err);
	} else {
		status = c->run(ctl, values, argv + first);
	}
	opt_release(c->opts, values);
	free(values);
	free(words);
	if (interrupt_signal() != 0 && status != EXIT_OK)
		status = 128 + interrupt_signal();
	return out_close(&ctl->out, status,
	    c->flags & CMD_STATUS ? EXIT_OWN_FAILURE : EXIT_FAILED);
}

/* A word that is no verb: maybe the first half of one. */
static int
no_such_verb(struct ctl *ctl, char **words)
{
	struct wrenn_error err;

	if (settle_globals(ctl, &err) < 0)
		return usage_failure(ctl, NULL, &err);
	if (cmd_is_group(words[0]))
		ctl->out.verb = words[0];
	if (ctl->out.verb != NULL && words[1] != NULL &&
	    (strcmp(words[1], "--help") == 0 || strcmp(words[1], "-h") == 0))
		return out_close(
		    &ctl->out, help_topic(ctl, words), EXIT_FAILED);
	if (ctl->out.verb == NULL)
		wrenn_error_set(
		    &err, RPC_USAGE, "there is no verb \"%s\"", words[0]);
	else if (words[1] == NULL)
		wrenn_error_set(
		    &err, RPC_USAGE, "%s needs a second word", words[0]);
	else
		wrenn_error_set(&err, RPC_USAGE, "there is no verb \"%s %s\"",
		    words[0], words[1]);
	return usage_failure(ctl, NULL, &err);
}

/* Finds the verb behind the global options. */
static int
run(struct ctl *ctl, int argc, char **argv)
{
	const struct opt_target targets[2] = { { cmd_globals, ctl },
		{ NULL, NULL } };
	const struct cmd *c;
	struct wrenn_error err;
	int first, words;

	first = opt_parse(targets, true, argc, argv, &err);
	if (first < 0)
		return usage_failure(ctl, NULL, &err);
	if (ctl->version)
		return out_close(&ctl->out, print_version(ctl), EXIT_FAILED);
	if (argv[first] == NULL && ctl->help) {
		help_overview();
		return out_close(&ctl->out, EXIT_OK, EXIT_FAILED);
	}
	if (argv[first] == NULL) {
		wrenn_error_set(&err, RPC_USAGE, "no verb was given");
		return usage_failure(ctl, NULL, &err);
	}
	c = cmd_find(argv + first, &words);
	if (c == NULL)
		return no_such_verb(ctl, argv + first);
	/* The verb's last word stands where getopt_long() wants a name. */
	first += words - 1;
	return run_cmd(ctl, c, argc - first, argv + first);
}

int
main(int argc, char **argv)
{
	struct ctl ctl = { .socket = NULL };
	int status;

	fill_standard_fds();
	signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error, with words */
	status = run(&ctl, argc, argv);
	ctl_close(&ctl);
	return status;
}
