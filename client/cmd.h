/*
 * A verb of wrennctl is one row: what it is called, how it is used, its
 * options and the function that does it. Help and usage errors are made
 * from the rows; cmd_table.c lists the groups.
 */
#ifndef CLIENT_CMD_H
#define CLIENT_CMD_H

#include <signal.h>

#include "client/opt.h"
#include "client/out.h"
#include "client/wrenn.h"
#include "proto/rpc_error.h"

/* The deadline of calls that have none of their own: pausing takes minutes. */
#define CALL_TIMEOUT_MS 600000

/* The deadline of what wrennd answers out of its memory. */
#define ASK_TIMEOUT_MS 10000

/* What wrennd gets on top of a deadline that it keeps itself. */
#define CALL_SLACK_MS 60000

/* How many calls are under way at once when several capsules are named. */
#define CMD_PIPELINE 32

/* One run of wrennctl: the global options and the connection. */
struct ctl {
	struct out out;
	const char *socket;
	const char *format;
	bool system_wide;
	bool no_autostart;
	bool help;
	bool version;
	bool uses_server; /* CMD_SERVER of the verb that runs */
	struct wrenn *w;  /* opened by the first call */
};

enum {
	CMD_STRICT = 1, /* the first operand ends the options */
	CMD_STATUS = 2, /* exits with a command's status; failing is 125 */
	CMD_SERVER = 4, /* uses the server: for whom must be certain */
	CMD_SIGNAL = 8, /* takes -TERM and -15 for -s TERM and -s 15 */
};

/* A row without a name ends the table. */
struct cmd {
	const char *name;  /* of a group, two words: "fs ls" */
	const char *usage; /* what follows the name */
	const char *summary;
	const char *details; /* paragraphs for help, or NULL */
	const struct opt *opts;
	size_t opts_size; /* of the struct of values; 0 for none */
	const char *examples;
	unsigned flags;
	int min_args, max_args; /* operands; max -1: any number */
	/* args ends with NULL. Returns the exit status. */
	int (*run)(struct ctl *ctl, const void *opts, char **args);
};

extern const struct cmd cmd_capsule[];
extern const struct cmd cmd_exec[];
extern const struct cmd cmd_process[];
extern const struct cmd cmd_file[];
extern const struct cmd cmd_snapshot[];
extern const struct cmd cmd_host[];
extern const struct cmd cmd_key[];
extern const struct cmd cmd_auth[];
extern const struct cmd cmd_watch[];
extern const struct cmd cmd_stats[];
extern const struct cmd cmd_daemon[];

/* All groups, in the order of help; NULL ends them. */
extern const struct cmd *const cmd_groups[];

/* The global options; their values are members of struct ctl. */
extern const struct opt cmd_globals[];

/* The row that words[0], or words[0] and words[1], name; or NULL. */
const struct cmd *cmd_find(char **words, int *ret_words);

/* Whether the word begins a group of two-word verbs, such as fs. */
bool cmd_is_group(const char *word);

/* help.c */
void help_overview(void);
void help_cmd(const struct cmd *c);
int help_topic(struct ctl *ctl, char **words); /* the exit status */

/* ctl.c: calls on the connection, which is opened when needed. */

int ctl_open(struct ctl *ctl, struct wrenn_error *err);
void ctl_close(struct ctl *ctl);

/* A usage error of the verb that runs; the exit status. */
int ctl_usage(const struct ctl *ctl, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Prints and releases the error; the exit status. */
int ctl_fail(const struct ctl *ctl, struct wrenn_error *err);

/* Puts what the error is about before its message. */
void ctl_name_in_error(struct wrenn_error *err, const char *name);

/* A call that takes params over. 0, or -1 with the error. */
int ctl_call(struct ctl *ctl, const char *method, struct json_object *params,
    struct json_object **ret_result, struct wrenn_error *err);

/* As ctl_call, with the time that wrennd itself may take. */
int ctl_call_within(struct ctl *ctl, const char *method,
    struct json_object *params, int64_t timeout_sec,
    struct json_object **ret_result, struct wrenn_error *err);

/* As ctl_call, for what wrennd answers at once, or it is stuck. */
int ctl_ask(struct ctl *ctl, const char *method,
    struct json_object **ret_result, struct wrenn_error *err);

/* Prints an object: as JSON, or as a line per member. */
void ctl_print_object(struct ctl *ctl, struct json_object *o);

/* {"capsule": NAME} */
struct json_object *ctl_capsule(const char *name);

/*
 * The member `key` of params from a list of K=V; -1 with a usage error. With
 * `inherit`, K alone takes its value from the environment.
 */
int ctl_add_map(struct json_object *params, const char *key,
    const struct opt_list *list, bool inherit, struct wrenn_error *err);

/* interrupt.c: SIGINT, SIGTERM and SIGHUP as a flag. */

/* Notes the first signal; a second one ends the program as by default. */
void interrupt_catch(void);

/* The flag to watch, and the number of the signal that came, or 0. */
const volatile sig_atomic_t *interrupt_flag(void);
int interrupt_signal(void);

#endif
