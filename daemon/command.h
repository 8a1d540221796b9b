/*
 * A command as the parameters of exec.run and process.start have it: cmd,
 * args, cwd and envs.
 */
#ifndef DAEMON_COMMAND_H
#define DAEMON_COMMAND_H

#include "daemon/api.h"

struct json_object;

/* What the table of methods does not check. 0, or -EINVAL with *why filled. */
int command_check(struct json_object *params, struct rpc_error *why);

/* The command itself; it lends what the parameters own. */
struct api_command command_of(struct json_object *params);

/* Tells a program that is missing or cannot be run from other failures. */
void command_explain(struct rpc_error *e);

#endif
