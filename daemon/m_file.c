#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "daemon/api.h"
#include "daemon/dispatch.h"
#include "daemon/transfer.h"
#include "daemon/upstream.h"
#include "daemon/use.h"
#include "proto/base64.h"
#include "proto/buf.h"
#include "proto/json_check.h"
#include "proto/jx.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

/* As base64, which is a third longer, it still fits an answer. */
#define READ_MAX (LIMIT_ANSWER_LINE / 4 * 3 - 4096)

static const char too_large[] =
    "the file is too large for an answer; pass a data socket";

/*
 * One file call that is a request, or two. Freed with the answer or the
 * cancel.
 */
struct file_call {
	struct call *call;
	struct use *use;
	char *path;         /* of what is asked for */
	char *listed;       /* the folder to look for it in */
	struct buf content; /* of a write */
	struct api_upload upload;
	bool finishes_mkdir; /* a stat on behalf of file.mkdir */
	struct upstream_request *(*request)(
	    struct file_call *f, const char *id);
	void (*answered)(struct file_call *f, const struct upstream_answer *);
};

/* ---- the frame that all share ---- */

static void
file_call_free(struct file_call *f)
{
	buf_release(&f->content);
	api_upload_release(&f->upload);
	free(f->path);
	free(f->listed);
	free(f);
}

static void
end_call(struct file_call *f, struct json_object *result, struct rpc_error *e)
{
	call_done(f->call, result, e);
	file_call_free(f);
}

static void
cancel(void *arg)
{
	struct file_call *f = arg;

	use_cancel(f->use);
	file_call_free(f);
}

static struct upstream_request *
make_request(void *arg, const char *id)
{
	struct file_call *f = arg;

	return f->request(f, id);
}

static void start_use(struct file_call *f);
static bool is_existing_folder(
    const struct file_call *f, const struct rpc_error *e);
static void start_stat(struct file_call *f);
static void name_remedy(const struct file_call *f, struct rpc_error *e);

static void
use_done(void *arg, const struct upstream_answer *a, bool resumed,
    struct rpc_error *e)
{
	struct file_call *f = arg;

	(void)resumed;
	f->use = NULL;
	f->call->cancel = NULL;
	if (e != NULL)
		name_remedy(f, e);
	if (e == NULL)
		f->answered(f, a);
	else if (is_existing_folder(f, e))
		start_stat(f);
	else
		end_call(f, NULL, e);
}

static void
start_use(struct file_call *f)
{
	struct call *c = f->call;
	struct rpc_error why;
	struct use_spec spec = {
		.uid = c->uid,
		.ref = jx_str(c->params, "capsule"),
		.auto_resume = use_auto_resume(c->params),
		.request = make_request,
		.done = use_done,
		.arg = f,
	};

	f->use = use_start(c->svc->uses, &spec, &why);
	if (f->use == NULL)
		end_call(f, NULL, &why);
	else
		call_on_cancel(c, cancel, f);
}

/* The path without slashes at its end; NULL and answered when not absolute. */
static char *
take_path(struct call *c)
{
	const char *path = jx_str(c->params, "path");
	struct rpc_error why;
	char *copy;
	size_t n;

	if (path[0] != '/') {
		rpc_error_set_param(&why, "path",
		    "parameter path must be absolute: %.128s", path);
		call_fail(c, &why);
		return NULL;
	}
	copy = xstrdup(path);
	for (n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
		copy[n - 1] = '\0';
	return copy;
}

/* NULL when the call was answered already. */
static struct file_call *
file_call_new(struct call *c)
{
	char *path = take_path(c);
	struct file_call *f;

	if (path == NULL)
		return NULL;
	f = xcalloc(1, sizeof(*f));
	f->call = c;
	f->path = path;
	buf_init(&f->content, LIMIT_REQUEST_LINE);
	return f;
}

/* ---- read ---- */

static struct upstream_request *
request_read(struct file_call *f, const char *id)
{
	struct upstream_request *r = api_file(id, "read", f->path, 0);

	r->max_answer = READ_MAX;
	return r;
}

static void
name_remedy(const struct file_call *f, struct rpc_error *e)
{
	if (f->request == request_read && e->kind == RPC_TOO_LARGE)
		rpc_error_set(e, RPC_TOO_LARGE, "%s", too_large);
}

/*
 * {"size":…,"encoding":"utf-8","text":…} where the bytes are text and it
 * fits, else base64 in "data". Printed by hand: json-c takes three times as
 * long for large strings.
 */
static int
print_content(struct buf *out, const char *data, size_t n, bool text)
{
	int r;

	buf_clear(out);
	if ((r = buf_addf(out, "{\"size\":%zu,\"encoding\":\"%s\",\"%s\":", n,
		 text ? "utf-8" : "base64", text ? "text" : "data")) < 0)
		return r;
	if (text)
		r = jx_print_string(out, data, n);
	else if ((r = buf_adds(out, "\"")) == 0 &&
		 (r = base64_encode(out, data, n)) == 0)
		r = buf_adds(out, "\"");
	return r < 0 ? r : buf_adds(out, "}");
}

static void
answered_read(struct file_call *f, const struct upstream_answer *a)
{
	bool text = utf8_valid_prefix(a->body, a->len) == a->len;
	struct buf out;

	buf_init(&out, LIMIT_ANSWER_LINE);
	if ((!text || print_content(&out, a->body, a->len, true) < 0) &&
	    print_content(&out, a->body, a->len, false) < 0)
		call_failf(f->call, RPC_TOO_LARGE, "%s", too_large);
	else
		call_reply_text(f->call, &out);
	buf_release(&out);
	file_call_free(f);
}

/* ---- transfers over a data socket ---- */

static void
transfer_done(void *arg, int64_t size, struct rpc_error *e)
{
	struct call *c = arg;
	struct json_object *o;

	if (e != NULL) {
		call_fail(c, e);
		return;
	}
	o = json_object_new_object();
	jx_add_int(o, "size", size);
	call_reply(c, o);
}

static void
cancel_transfer(void *arg)
{
	transfer_cancel(arg);
}

static void
end_transfer(void *arg)
{
	transfer_end(arg);
}

static void
start_transfer(struct call *c, int fd, bool upload)
{
	struct transfer_spec spec = {
		.uses = c->svc->uses,
		.loop = c->svc->loop,
		.uid = c->uid,
		.capsule = jx_str(c->params, "capsule"),
		.auto_resume = use_auto_resume(c->params),
		.size = -1,
		.done = transfer_done,
		.arg = c,
	};
	char *path = take_path(c);
	struct rpc_error why;
	struct transfer *t;

	if (path == NULL) {
		close(fd);
		return;
	}
	spec.path = path;
	jx_int(c->params, "size", 0, INT64_MAX, &spec.size);
	t = upload ? transfer_upload(&spec, fd, &why)
		   : transfer_download(&spec, fd, &why);
	free(path);
	if (t == NULL) {
		call_fail(c, &why);
		return;
	}
	call_on_cancel(c, cancel_transfer, t);
	if (upload)
		call_on_end(c, end_transfer);
}

void
m_file_read(struct call *c)
{
	int fd = call_take_fd(c);
	struct file_call *f;

	if (fd >= 0) {
		start_transfer(c, fd, false);
		return;
	}
	f = file_call_new(c);
	if (f == NULL)
		return;
	f->request = request_read;
	f->answered = answered_read;
	start_use(f);
}

/* ---- write ---- */

static struct upstream_request *
request_write(struct file_call *f, const char *id)
{
	struct upstream_request *r = api_file_write(id, &f->upload);

	if (buf_adds(&r->body, f->upload.head) < 0 ||
	    buf_add(&r->body, buf_head(&f->content), f->content.len) < 0 ||
	    buf_adds(&r->body, f->upload.tail) < 0)
		abort(); /* a request line is far below the maximum */
	return r;
}

static void
answered_write(struct file_call *f, const struct upstream_answer *a)
{
	struct json_object *o = json_object_new_object();

	(void)a;
	jx_add_int(o, "size", (int64_t)f->content.len);
	end_call(f, o, NULL);
}

/* The content comes in exactly one of its three forms. */
static int
check_content(const struct call *c, struct rpc_error *why)
{
	struct json_object *v;
	int forms = jx_get(c->params, "text", &v) +
		    jx_get(c->params, "data", &v) + (c->fds[0] >= 0);

	if (forms == 1)
		return 0;
	rpc_error_set(why, RPC_INVALID_PARAMS,
	    "file.write takes one of text, data and a data socket");
	return -EINVAL;
}

/* Takes the content from `text` or `data`. */
static int
take_content(struct file_call *f, struct rpc_error *why)
{
	struct json_object *p = f->call->params;
	const char *text = jx_str(p, "text"), *data = jx_str(p, "data");

	if (text != NULL)
		return buf_add(&f->content, text, strlen(text));
	if (base64_decode(&f->content, data, strlen(data)) == 0)
		return 0;
	rpc_error_set_param(
	    why, "data", "parameter data must be base64 with its padding");
	return -EINVAL;
}

void
m_file_write(struct call *c)
{
	struct file_call *f;
	struct rpc_error why;

	if (check_content(c, &why) < 0) {
		call_fail(c, &why);
		return;
	}
	if (c->fds[0] >= 0) {
		start_transfer(c, call_take_fd(c), true);
		return;
	}
	f = file_call_new(c);
	if (f == NULL)
		return;
	if (take_content(f, &why) < 0) {
		end_call(f, NULL, &why);
		return;
	}
	api_upload_init(&f->upload, f->path);
	f->request = request_write;
	f->answered = answered_write;
	start_use(f);
}

/* ---- list and stat ---- */

static struct upstream_request *
request_list(struct file_call *f, const char *id)
{
	int64_t depth = 1;

	jx_int(f->call->params, "depth", 1, INT32_MAX, &depth);
	return api_file(id, "list", f->listed ? f->listed : f->path, depth);
}

/* The array of entries, lent by *ret_answer; NULL with *e filled. */
static struct json_object *
entries_of(const struct upstream_answer *a, struct json_object **ret_answer,
    struct rpc_error *e)
{
	struct json_object *entries;

	*ret_answer = api_json(a, true, e);
	if (*ret_answer == NULL)
		return NULL;
	entries = jx_arr(*ret_answer, "entries");
	if (entries == NULL)
		rpc_error_set(e, RPC_BAD_ANSWER,
		    "upstream's list of the folder holds no entries");
	return entries;
}

static void
answered_list(struct file_call *f, const struct upstream_answer *a)
{
	struct json_object *answer, *entries, *o = NULL;
	struct rpc_error e;

	entries = entries_of(a, &answer, &e);
	if (entries != NULL) {
		o = json_object_new_object();
		jx_add(o, "entries", json_object_get(entries));
	}
	json_object_put(answer);
	end_call(f, o, o ? NULL : &e);
}

void
m_file_list(struct call *c)
{
	struct file_call *f = file_call_new(c);

	if (f == NULL)
		return;
	f->request = request_list;
	f->answered = answered_list;
	start_use(f);
}

static struct json_object *
entry_named(struct json_object *entries, const char *name)
{
	struct json_object *one;
	const char *have;
	size_t i;

	for (i = 0; i < json_object_array_length(entries); i++) {
		one = json_object_array_get_idx(entries, i);
		have = jx_str(one, "name");
		if (have != NULL && strcmp(have, name) == 0)
			return one;
	}
	return NULL;
}

static struct json_object *
root_entry(void)
{
	struct json_object *o = json_object_new_object();

	jx_add_str(o, "name", "/");
	jx_add_str(o, "path", "/");
	jx_add_str(o, "type", "directory");
	return o;
}

static void
answered_stat(struct file_call *f, const struct upstream_answer *a)
{
	const char *name = strrchr(f->path, '/') + 1;
	struct json_object *answer, *entries, *entry = NULL, *o = NULL;
	struct rpc_error e;

	entries = entries_of(a, &answer, &e);
	if (entries != NULL && name[0] == '\0')
		entry = root_entry();
	else if (entries != NULL)
		entry = json_object_get(entry_named(entries, name));
	if (entry != NULL) {
		o = json_object_new_object();
		jx_add(o, "entry", entry);
		if (f->finishes_mkdir)
			jx_add_bool(o, "created", false);
	} else if (entries != NULL) {
		rpc_error_set(&e, RPC_NOT_FOUND, "there is no %.256s", f->path);
	}
	json_object_put(answer);
	end_call(f, o, o ? NULL : &e);
}

/* Upstream has no stat: the folder around it is listed. */
static void
start_stat(struct file_call *f)
{
	const char *slash = strrchr(f->path, '/');
	size_t n = (size_t)(slash - f->path);

	free(f->listed);
	f->listed = n == 0 ? xstrdup("/") : xstrndup(f->path, n);
	f->finishes_mkdir = f->call->method == method_by_id(METHOD_file_mkdir);
	f->request = request_list;
	f->answered = answered_stat;
	start_use(f);
}

void
m_file_stat(struct call *c)
{
	struct file_call *f = file_call_new(c);

	if (f != NULL)
		start_stat(f);
}

/* ---- mkdir and remove ---- */

static struct upstream_request *
request_mkdir(struct file_call *f, const char *id)
{
	return api_file(id, "mkdir", f->path, 0);
}

static void
answered_mkdir(struct file_call *f, const struct upstream_answer *a)
{
	struct rpc_error e;
	struct json_object *o = api_json(a, false, &e);

	if (o != NULL)
		jx_add_bool(o, "created", true);
	end_call(f, o, o ? NULL : &e);
}

/* mkdir of what exists answers the entry that is there, as the SDK does. */
static bool
is_existing_folder(const struct file_call *f, const struct rpc_error *e)
{
	return f->request == request_mkdir &&
	       strcmp(e->upstream_code, "conflict") == 0;
}

void
m_file_mkdir(struct call *c)
{
	struct file_call *f = file_call_new(c);

	if (f == NULL)
		return;
	f->request = request_mkdir;
	f->answered = answered_mkdir;
	start_use(f);
}

static struct upstream_request *
request_remove(struct file_call *f, const char *id)
{
	return api_file(id, "remove", f->path, 0);
}

static void
answered_remove(struct file_call *f, const struct upstream_answer *a)
{
	(void)a;
	end_call(f, json_object_new_object(), NULL);
}

void
m_file_remove(struct call *c)
{
	struct file_call *f = file_call_new(c);

	if (f == NULL)
		return;
	f->request = request_remove;
	f->answered = answered_remove;
	start_use(f);
}
