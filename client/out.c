#include "client/out.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "client/wrenn_escape.h"
#include "client/wrenn_priv.h"
#include "proto/json_check.h"
#include "proto/jx.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define KEY_WIDTH 16 /* of out_pair */

/* What to do about an error, where there is something to do. */
static const struct {
	enum rpc_errno kind;
	const char *hint;
} hints[] = {
	{ RPC_METHOD_NOT_FOUND,
	    "`wrennctl rpc rpc.discover` lists the methods" },
	{ RPC_FORBIDDEN, "`wrennctl whoami` shows which credential is used" },
	{ RPC_NO_CREDENTIAL,
	    "`wrennctl login` gives wrennd a credential; with --with-token "
	    "it takes an API key from standard input" },
	{ RPC_UNREACHABLE, "`wrennctl status` shows the connection" },
};

/* The rest after a write that failed is not tried: the disk is full. */
void
out_bytes(struct out *out, const void *data, size_t n)
{
	if (n == 0 || out->write_errno != 0)
		return;
	errno = 0;
	if (fwrite(data, 1, n, stdout) != n)
		out->write_errno = errno ? errno : EIO;
}

void
out_printf(struct out *out, const char *fmt, ...)
{
	va_list ap;

	if (out->write_errno != 0)
		return;
	errno = 0;
	va_start(ap, fmt);
	if (vfprintf(stdout, fmt, ap) < 0)
		out->write_errno = errno ? errno : EIO;
	va_end(ap);
}

void
out_flush(struct out *out)
{
	errno = 0;
	if ((fflush(stdout) != 0 || ferror(stdout)) && out->write_errno == 0)
		out->write_errno = errno ? errno : EIO;
}

/* Appends escaped text; running out of memory for output ends the program. */
static void
add_escaped(struct buf *to, const char *s, size_t n)
{
	if (wrenn_escape(to, s, n) < 0)
		abort();
}

void
out_text(struct out *out, const char *text)
{
	struct buf b;

	buf_init(&b, OUT_TEXT_MAX);
	add_escaped(&b, text, strlen(text));
	out_bytes(out, buf_head(&b), b.len);
	buf_release(&b);
}

void
out_json(struct out *out, struct json_object *value)
{
	struct buf b;

	buf_init(&b, OUT_TEXT_MAX);
	if (jx_print(&b, value) < 0)
		abort();
	out_bytes(out, buf_head(&b), b.len);
	out_bytes(out, "\n", 1);
	buf_release(&b);
}

void
out_pair(struct out *out, const char *key, const char *value)
{
	int pad = KEY_WIDTH - (int)strlen(key) - 1;

	out_text(out, key);
	out_printf(out, ":%*s", pad > 1 ? pad : 1, "");
	out_text(out, value);
	out_bytes(out, "\n", 1);
}

void
out_value(struct buf *to, struct json_object *value)
{
	struct buf b;
	const char *s;
	size_t n;

	s = jx_text_of(value, &n);
	if (s != NULL) {
		add_escaped(to, s, n);
		return;
	}
	if (value == NULL) {
		add_escaped(to, "-", 1);
		return;
	}
	buf_init(&b, OUT_TEXT_MAX);
	if (jx_print(&b, value) < 0)
		abort();
	add_escaped(to, buf_head(&b), b.len);
	buf_release(&b);
}

/*
 * Escaped text to standard error. Line breaks are kept, but what follows one
 * is set in, so that no text can pass for a message of wrennctl's own.
 */
static void
complain(const char *prefix, const char *text)
{
	struct buf b;
	const char *end;

	buf_init(&b, OUT_TEXT_MAX);
	for (;;) {
		end = strchrnul(text, '\n');
		add_escaped(&b, text, (size_t)(end - text));
		if (*end == '\0')
			break;
		if (buf_adds(&b, "\n    ") < 0)
			abort();
		text = end + 1;
	}
	fprintf(stderr, "%s%.*s\n", prefix, (int)b.len, buf_head(&b));
	buf_release(&b);
}

void
out_note(const char *fmt, ...)
{
	va_list ap;
	char *text;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	complain("wrennctl: ", text);
	free(text);
}

/* The row of an error's name or, where that is new, of its code. */
static enum rpc_errno
kind_of(const struct wrenn_error *err)
{
	enum rpc_errno kind = rpc_errno_by_name(err->name);

	return kind != RPC_OK ? kind : rpc_errno_by_code(err->code);
}

/*
 * Text as a JSON string. JSON carries UTF-8 alone, and a message may name a
 * file that is not, or end in the middle of a character.
 */
static void
add_utf8(struct json_object *o, const char *key, const char *text)
{
	size_t n = strlen(text);
	struct buf b;

	buf_init(&b, OUT_TEXT_MAX);
	if (utf8_valid_prefix(text, n) == n) {
		jx_add_str(o, key, text);
	} else {
		add_escaped(&b, text, n);
		jx_add_strn(o, key, buf_head(&b), b.len);
	}
	buf_release(&b);
}

/* {"error":{...}} as one line on standard error. */
static void
print_json_error(const struct wrenn_error *err)
{
	struct json_object *o = json_object_new_object();
	struct json_object *e = json_object_new_object();
	struct buf b;

	jx_add_int(e, "code", err->code);
	add_utf8(e, "message", err->message);
	jx_add(e, "data", json_object_get(err->data));
	jx_add(o, "error", e);
	buf_init(&b, OUT_TEXT_MAX);
	if (jx_print(&b, o) == 0)
		fprintf(stderr, "%.*s\n", (int)b.len, buf_head(&b));
	buf_release(&b);
	json_object_put(o);
}

/* What may have happened is seen by the `ls` of its own group. */
static void
print_look(const struct out *out, const char *before)
{
	const char *space = out->verb ? strchr(out->verb, ' ') : NULL;

	fprintf(stderr, "  %slook with `wrennctl ", before);
	if (out->look != NULL)
		fputs(out->look, stderr);
	else if (space != NULL)
		fprintf(stderr, "%.*s ls", (int)(space - out->verb), out->verb);
	else
		fputs("ls -a", stderr);
	fputs("` before trying again\n", stderr);
}

/* The line that says what can be done, where there is something. */
static void
print_hint(const struct out *out, enum rpc_errno kind)
{
	size_t i;

	if (kind == RPC_USAGE) {
		fprintf(stderr, "  `wrennctl help%s%s` shows how\n",
		    out->verb ? " " : "", out->verb ? out->verb : "");
		return;
	}
	if (kind == RPC_OUTCOME_UNKNOWN)
		print_look(out, "");
	if (kind == RPC_DAEMON_LOST)
		print_look(out, "it may have happened: ");
	if (kind == RPC_DAEMON_UNREACHABLE && out->hint != NULL)
		fprintf(stderr, "  %s\n", out->hint);
	for (i = 0; i < sizeof(hints) / sizeof(*hints); i++)
		if (hints[i].kind == kind)
			fprintf(stderr, "  %s\n", hints[i].hint);
}

/* The capsules that upstream named beside its message. */
static void
print_capsules(struct json_object *ids)
{
	size_t i, n = ids ? json_object_array_length(ids) : 0;
	const char *id;

	for (i = 0; i < n; i++) {
		id = jx_text_of(json_object_array_get_idx(ids, i), NULL);
		if (id != NULL)
			complain("  ", id);
	}
}

int
out_error(const struct out *out, const struct wrenn_error *err)
{
	enum rpc_errno kind = kind_of(err);

	if (out->json) {
		print_json_error(err);
		return (int)rpc_error_row(kind)->exit;
	}
	complain("wrennctl: ", err->message);
	print_capsules(jx_arr(err->data, "capsule_ids"));
	print_hint(out, kind);
	return (int)rpc_error_row(kind)->exit;
}

int
out_close(struct out *out, int status, int failed)
{
	struct wrenn_error err;

	out_flush(out);
	if (close(STDOUT_FILENO) < 0 && errno != EBADF && out->write_errno == 0)
		out->write_errno = errno;
	if (out->write_errno == 0)
		return status;
	wrenn_error_errno(
	    &err, out->write_errno, "cannot write to standard output");
	if (status == EXIT_OK)
		status = failed;
	out_error(out, &err);
	wrenn_error_release(&err);
	return status;
}
