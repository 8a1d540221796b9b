#include <stdio.h>
#include <string.h>

#include "client/cmd.h"
#include "client/wrenn_priv.h"
#include "proto/methods.h"

#include "proto/banned.h"

/* One line per verb: name and summary. */
static void
print_row(const struct cmd *c)
{
	printf("  %-16s %s\n", c->name, c->summary);
}

void
help_overview(void)
{
	const struct cmd *const *group, *c;

	printf("usage: wrennctl [OPTION...] VERB [ARGUMENT...]\n\n"
	       "Runs and looks after Wrenn capsules through wrennd, which is "
	       "started when needed.\n");
	for (group = cmd_groups; *group != NULL; group++) {
		printf("\n");
		for (c = *group; c->name != NULL; c++)
			print_row(c);
	}
	printf("\nOptions, before or after the verb:\n");
	opt_print_help(cmd_globals);
	printf(
	    "\nA CAPSULE is named by its ID, an unambiguous beginning of it, "
	    "or the name you\ngave it. `wrennctl help VERB` says more about "
	    "a verb, `wrennctl help METHOD`\n(such as capsule.create) about "
	    "a method of the protocol.\n");
}

/* The verbs of a group such as fs. */
static void
help_group(const char *word)
{
	const struct cmd *const *group, *c;
	size_t n = strlen(word);

	for (group = cmd_groups; *group != NULL; group++)
		for (c = *group; c->name != NULL; c++)
			if (strncmp(c->name, word, n) == 0 && c->name[n] == ' ')
				print_row(c);
}

void
help_cmd(const struct cmd *c)
{
	printf("usage: wrennctl %s%s%s\n\n%s.\n", c->name,
	    c->usage[0] != '\0' ? " " : "", c->usage, c->summary);
	if (c->details != NULL)
		printf("\n%s\n", c->details);
	if (c->opts != NULL) {
		printf("\nOptions:\n");
		opt_print_help(c->opts);
	}
	if (c->examples != NULL)
		printf("\nExamples:\n%s", c->examples);
}

/* A parameter's type in words. */
static const char *
type_name(const struct param *p)
{
	switch (p->type) {
	case PARAM_INT:
		return "whole number";
	case PARAM_BOOL:
		return "true or false";
	case PARAM_CAPSULE:
		return "capsule";
	case PARAM_NAME:
		return "name";
	case PARAM_IDENT:
		return "ID";
	case PARAM_DATE:
		return "day, YYYY-MM-DD";
	case PARAM_ENUM:
		return p->choices;
	case PARAM_STRINGS:
		return "array of strings";
	case PARAM_MAP:
		return "object of strings";
	case PARAM_OBJECT:
		return "object";
	case PARAM_ID:
		return "string or number";
	default:
		return "string";
	}
}

static void
help_method(const struct method *m)
{
	const struct param *p;

	printf("%s: %s.\n\nParameters:%s\n", m->name, m->summary,
	    m->params->name != NULL ? "" : " none");
	for (p = m->params; p->name != NULL; p++) {
		printf("  %-12s %s%s\n  %-12s %s\n", p->name, type_name(p),
		    p->flags & PARAM_REQUIRED ? ", required" : "", "", p->help);
	}
	if (m->fds[0] != '\0')
		printf("\nDescriptors that may be passed: %s\n", m->fds);
	printf("\nAnswers %s.\nAccess class: %s. When its client goes: %s.\n",
	    m->result, access_name(m->access),
	    m->hangup == HANGUP_ABORT ? "it is aborted" : "it runs to its end");
}

int
help_topic(struct ctl *ctl, char **words)
{
	const struct cmd *c;
	enum method_id id;
	int n;

	if (words[0] == NULL) {
		help_overview();
		return EXIT_OK;
	}
	c = cmd_find(words, &n);
	id = method_by_name(words[0]);
	if (c != NULL)
		help_cmd(c);
	else if (cmd_is_group(words[0]))
		help_group(words[0]);
	else if (id != METHOD_COUNT)
		help_method(method_by_id(id));
	else
		return ctl_usage(
		    ctl, "there is no verb or method \"%s\"", words[0]);
	return EXIT_OK;
}
