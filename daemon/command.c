#include "daemon/command.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include <json-c/json.h>

#include "proto/jx.h"

#include "proto/banned.h"

/* Names that a shell can export; the values may be anything. */
int
command_check(struct json_object *params, struct rpc_error *why)
{
	struct json_object *envs = jx_obj(params, "envs");
	const char *s;

	if (envs == NULL)
		return 0;
	json_object_object_foreach(envs, name, value) {
		(void)value;
		s = name;
		if (isalpha((unsigned char)*s) || *s == '_')
			while (isalnum((unsigned char)*s) || *s == '_')
				s++;
		if (s != name && *s == '\0')
			continue;
		rpc_error_set_param(why, "envs",
		    "parameter envs: \"%.64s\" is no name of a variable", name);
		return -EINVAL;
	}
	return 0;
}

struct api_command
command_of(struct json_object *params)
{
	return (struct api_command){
		.cmd = jx_str(params, "cmd"),
		.args = jx_arr(params, "args"),
		.cwd = jx_str(params, "cwd"),
		.envs = jx_obj(params, "envs"),
	};
}

/*
 * Upstream has one error for all that goes wrong with a program's start; its
 * message tells what a shell would tell by 126 and 127.
 */
void
command_explain(struct rpc_error *e)
{
	size_t n = strlen(e->message);
	static const char gone[] = "no such file or directory";

	if (e->kind != RPC_AGENT)
		return;
	if (strstr(e->message, "executable file not found") != NULL)
		e->kind = RPC_CMD_NOT_FOUND;
	else if (strncmp(e->message, "chdir ", 6) == 0)
		return; /* about the folder, not the program */
	else if (n >= sizeof(gone) - 1 &&
		 strcmp(e->message + n - (sizeof(gone) - 1), gone) == 0)
		e->kind = RPC_CMD_NOT_FOUND;
	else if (strstr(e->message, "permission denied") != NULL)
		e->kind = RPC_CMD_NOT_EXEC;
	else if (strstr(e->message, "deadline exceeded") != NULL)
		e->kind = RPC_TIMEOUT;
}
