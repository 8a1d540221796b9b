#include <string.h>

#include <json-c/json.h>

#include "client/cmd.h"
#include "client/input.h"
#include "client/wrenn_priv.h"
#include "proto/jx.h"

#include "proto/banned.h"

/* --- login */

struct login_opts {
	const char *email;
	bool with_token;
	bool no_persist;
};

/* clang-format off */
static const struct opt login_opts[] = {
	{ "email", 0, OPT_TEXT, "ADDRESS", "of the account (default: asked for)", offsetof(struct login_opts, email) },
	{ "with-token", 0, OPT_FLAG, NULL, "read an API key or a token from standard input instead", offsetof(struct login_opts, with_token) },
	{ "no-persist", 0, OPT_FLAG, NULL, "forget it when wrennd ends", offsetof(struct login_opts, no_persist) },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};

static const struct opt logout_opts[] = {
	{ "force", 'f', OPT_FLAG, NULL, "even while capsules are recorded that only this credential can destroy", 0 },
	{ NULL, 0, OPT_FLAG, NULL, NULL, 0 }
};
/* clang-format on */

/* Adds the answer as a string; it is wiped here, and by json-c's owner. */
static void
add_answer(struct json_object *params, const char *key, struct buf *b)
{
	jx_add_strn(params, key, b->len > 0 ? buf_head(b) : "", b->len);
	buf_release(b);
}

static int
ask_into(struct json_object *params, const char *key, const char *prompt,
    bool hidden, struct wrenn_error *err)
{
	struct buf b;
	int r;

	buf_init(&b, LIMIT_SECRET);
	r = input_ask(prompt, hidden, &b, err);
	if (r == 0)
		add_answer(params, key, &b);
	buf_release(&b);
	return r;
}

/* The parameters of auth.login, asked for at the terminal. */
static struct json_object *
ask_account(const struct login_opts *o, struct wrenn_error *err)
{
	struct json_object *params = json_object_new_object();

	if (o->email != NULL)
		jx_add_str(params, "email", o->email);
	else if (ask_into(params, "email", "E-mail address: ", false, err) < 0)
		goto fail;
	if (ask_into(params, "password", "Password: ", true, err) == 0)
		return params;
fail:
	json_object_put(params);
	return NULL;
}

/* The parameters of auth.set: what stdin holds, told by how it begins. */
static struct json_object *
read_token(struct wrenn_error *err)
{
	struct json_object *params = NULL;
	struct buf b;

	buf_init(&b, LIMIT_REQUEST_LINE);
	if (input_stdin(&b, err) < 0)
		goto out;
	while (b.len > 0 && strchr(" \t\r\n", buf_head(&b)[b.len - 1]))
		b.len--;
	if (b.len == 0) {
		wrenn_error_set(err, RPC_USAGE,
		    "standard input holds neither an API key nor a token");
		goto out;
	}
	params = json_object_new_object();
	add_answer(params,
	    b.len >= 3 && memcmp(buf_head(&b), "eyJ", 3) == 0 ? "token"
							      : "api_key",
	    &b);
out:
	buf_release(&b);
	return params;
}

static int
login_run(struct ctl *ctl, const void *opts, char **args)
{
	const struct login_opts *o = opts;
	struct json_object *params, *result;
	struct wrenn_error err;
	const char *url;
	int r;

	(void)args;
	params = o->with_token ? read_token(&err) : ask_account(o, &err);
	if (params == NULL)
		return ctl_fail(ctl, &err);
	jx_add_bool(params, "persist", !o->no_persist);
	r = ctl_call(ctl, o->with_token ? "auth.set" : "auth.login", params,
	    &result, &err);
	if (r < 0)
		return ctl_fail(ctl, &err);
	url = jx_str(result, "base_url");
	if (ctl->out.json)
		out_json(&ctl->out, result);
	else
		out_note("logged in at %s", url ? url : "the server");
	json_object_put(result);
	return EXIT_OK;
}

static int
logout_run(struct ctl *ctl, const void *opts, char **args)
{
	const bool *force = opts;
	struct json_object *params = json_object_new_object(), *result;
	struct wrenn_error err;

	(void)args;
	jx_add_bool(params, "force", *force);
	if (ctl_call(ctl, "auth.logout", params, &result, &err) < 0)
		return ctl_fail(ctl, &err);
	if (ctl->out.json)
		out_json(&ctl->out, result);
	else if (jx_obj(result, "api_key") || jx_obj(result, "token"))
		out_note(
		    "forgotten; wrennd still has one from its configuration "
		    "(wrennctl whoami)");
	json_object_put(result);
	return EXIT_OK;
}

/* clang-format off */
const struct cmd cmd_auth[] = {
	{ "login", "[OPTION...]", "Give wrennd a credential, and keep it over restarts",
	  "Asks for e-mail address and password at the terminal and holds the token that\n"
	  "the server gives for them. With --with-token an API key or token is read from\n"
	  "standard input, so that it never stands on a command line.",
	  login_opts, sizeof(struct login_opts),
	  "  wrennctl login\n"
	  "  wrennctl login --with-token < key.txt\n",
	  0, 0, 0, login_run },
	{ "logout", "[--force]", "Make wrennd forget the credential, on disk too", NULL,
	  logout_opts, sizeof(bool),
	  "  wrennctl logout\n",
	  0, 0, 0, logout_run },
	{ NULL, NULL, NULL, NULL, NULL, 0, NULL, 0, 0, 0, NULL }
};
/* clang-format on */
