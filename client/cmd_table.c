#include <stdio.h>
#include <string.h>

#include "client/cmd.h"

#include "proto/banned.h"

const struct cmd *const cmd_groups[] = {
	cmd_capsule,
	cmd_exec,
	cmd_process,
	cmd_file,
	cmd_snapshot,
	cmd_host,
	cmd_key,
	cmd_auth,
	cmd_watch,
	cmd_stats,
	cmd_daemon,
	NULL,
};

/* clang-format off */
const struct opt cmd_globals[] = {
	{ "output",       'o', OPT_TEXT, "json|table", "how to print results and errors (default table)", offsetof(struct ctl, format) },
	{ "socket",       0,   OPT_TEXT, "PATH", "wrennd's socket (default $WRENND_SOCKET, else your own)", offsetof(struct ctl, socket) },
	{ "system",       0,   OPT_FLAG, NULL, "use the system's wrennd", offsetof(struct ctl, system_wide) },
	{ "no-autostart", 0,   OPT_FLAG, NULL, "do not start wrennd when none runs", offsetof(struct ctl, no_autostart) },
	{ "help",         'h', OPT_FLAG, NULL, "show help", offsetof(struct ctl, help) },
	{ "version",      0,   OPT_FLAG, NULL, "print the version", offsetof(struct ctl, version) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};
/* clang-format on */

/* Whether words[0], or the first two, are the row's name. */
static bool
is_named(const struct cmd *c, char **words, int *ret_words)
{
	size_t n = strcspn(c->name, " ");

	if (strncmp(c->name, words[0], n) != 0 || words[0][n] != '\0')
		return false;
	if (c->name[n] == '\0') {
		*ret_words = 1;
		return true;
	}
	*ret_words = 2;
	return words[1] != NULL && strcmp(c->name + n + 1, words[1]) == 0;
}

const struct cmd *
cmd_find(char **words, int *ret_words)
{
	const struct cmd *const *group, *c;

	for (group = cmd_groups; *group != NULL; group++)
		for (c = *group; c->name != NULL; c++)
			if (is_named(c, words, ret_words))
				return c;
	return NULL;
}

bool
cmd_is_group(const char *word)
{
	const struct cmd *const *group, *c;
	size_t n = strlen(word);

	for (group = cmd_groups; *group != NULL; group++)
		for (c = *group; c->name != NULL; c++)
			if (strncmp(c->name, word, n) == 0 && c->name[n] == ' ')
				return true;
	return false;
}
