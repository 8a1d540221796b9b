/*
 * The Wrenn API (docs: the server's openapi.yaml): requests out, answers into
 * JSON or errors. Pure: it neither sends nor waits.
 */
#ifndef DAEMON_API_H
#define DAEMON_API_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/buf.h"
#include "proto/rpc_error.h"

struct capsule_row;
struct json_object;
struct upstream_answer;
struct upstream_request;

/* A POST of that JSON; takes both over. */
struct upstream_request *api_post(char *path, struct json_object *body);

/* Exchanges e-mail address and password for a token. */
struct upstream_request *api_login(const char *email, const char *password);

/* Each is the caller's. Deadlines and idempotence are set. */
struct upstream_request *api_capsule_create(const struct capsule_row *row);
struct upstream_request *api_capsule_list(void);
struct upstream_request *api_capsule_get(const char *id);
struct upstream_request *api_capsule_destroy(const char *id);
/* action: "pause", "resume" or "ping". */
struct upstream_request *api_capsule_action(const char *id, const char *action);

/* What to run; args, cwd and envs may be NULL. */
struct api_command {
	const char *cmd;
	struct json_object *args; /* array of strings */
	const char *cwd;
	struct json_object *envs; /* object of strings */
	int64_t timeout_s;        /* in the foreground only */
};
/*
 * In the foreground. Upstream honours cwd and envs only in the background, so
 * a command with either is wrapped in a shell that takes the values as
 * arguments.
 */
struct upstream_request *api_exec(const char *id, const struct api_command *c);
/* The message that starts one on a stream; the caller's. */
char *api_start_message(const struct api_command *c);

/* In the background, where upstream knows it by its pid and this tag. */
struct upstream_request *api_process_start(
    const char *id, const struct api_command *c, const char *tag);
struct upstream_request *api_process_list(const char *id);
/* signal: "SIGKILL" or "SIGTERM"; upstream knows no other. */
struct upstream_request *api_process_kill(
    const char *id, int64_t pid, const char *signal);

/* read, list, stat and the like: a POST of {path, depth?} to files/verb. */
struct upstream_request *api_file(
    const char *id, const char *verb, const char *path, int64_t depth);

/*
 * What comes before and after the bytes of a file in the multipart body of
 * an upload; both the caller's.
 */
struct api_upload {
	char *head, *tail;
	char *content_type;
};
void api_upload_init(struct api_upload *u, const char *path);
void api_upload_release(struct api_upload *u);
struct upstream_request *api_file_write(
    const char *id, const struct api_upload *u);

/*
 * Whether the answer is a success (2xx). Else fills *ret and returns its
 * kind: of a request that is not idempotent an unknown outcome is
 * RPC_OUTCOME_UNKNOWN, also when a gateway answered in upstream's place.
 */
enum rpc_errno api_check(
    const struct upstream_answer *a, bool idempotent, struct rpc_error *ret);

/*
 * api_check, then the body as text that json_check() accepted: the answer's
 * own, which it lends, or written anew where clients would refuse it. "" for
 * an answer without a body (204). false with *ret filled; else to be released.
 */
struct api_text {
	const char *text;
	size_t len;
	struct buf anew;
};
bool api_text_init(struct api_text *t, const struct upstream_answer *a,
    bool idempotent, struct rpc_error *ret);
void api_text_release(struct api_text *t);

/* api_check, then the body as a tree; NULL with *ret filled. */
struct json_object *api_json(
    const struct upstream_answer *a, bool idempotent, struct rpc_error *ret);

/* What an error in a stream of upstream's says; its text is all there is. */
void api_stream_error(const char *text, struct rpc_error *ret);

/* Upstream said that the capsule is not running. */
bool api_is_not_running(const struct rpc_error *e);

#endif
