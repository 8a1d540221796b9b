#include "daemon/transfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/api.h"
#include "daemon/datasock.h"
#include "daemon/http.h"
#include "daemon/loop.h"
#include "daemon/upstream.h"
#include "daemon/use.h"
#include "proto/buf.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define STALL_MS    120000        /* upstream moves nothing for so long */
#define PENDING_MAX (1024 * 1024) /* above any piece of libcurl's */
#define ERROR_BODY  65536

/* What an upload sends next. */
enum upload_stage { UPLOAD_HEAD, UPLOAD_DATA, UPLOAD_TAIL, UPLOAD_END };

/*
 * One transfer, up or down. It ends in finish(), or by transfer_cancel();
 * either way the data socket is closed, which is how its client sees the
 * end of a download.
 */
struct transfer {
	struct transfer_spec spec;
	char *path;
	struct datasock *sock;
	struct use *use;
	int64_t moved; /* bytes of the file */

	/* A download: what the socket did not take yet. */
	struct http_sink sink;
	struct buf pending;
	bool answered; /* upstream is done, the socket not */

	/* An upload. */
	struct http_source source;
	struct api_upload upload;
	enum upload_stage stage;
	size_t stage_off; /* bytes of the head or tail already sent */
	bool socket_ended, input_ended;
	const char *fault; /* why the source aborted */
};

static void
transfer_free(struct transfer *t)
{
	datasock_free(t->sock);
	buf_release(&t->pending);
	api_upload_release(&t->upload);
	free(t->path);
	free(t);
}

static void
finish(struct transfer *t, struct rpc_error *e)
{
	/* The socket's end comes before the answer. */
	datasock_free(t->sock);
	t->sock = NULL;
	t->spec.done(t->spec.arg, t->moved, e);
	transfer_free(t);
}

void
transfer_cancel(struct transfer *t)
{
	if (t->use != NULL)
		use_cancel(t->use);
	transfer_free(t);
}

static struct transfer *
transfer_new(const struct transfer_spec *spec, int fd, loop_fn *ready)
{
	struct transfer *t = xcalloc(1, sizeof(*t));

	t->spec = *spec;
	t->path = xstrdup(spec->path);
	t->sock = datasock_new(spec->loop, fd, ready, t);
	buf_init(&t->pending, PENDING_MAX);
	return t;
}

static struct transfer *
transfer_start(
    struct transfer *t, const struct use_spec *spec, struct rpc_error *why)
{
	t->use = use_start(t->spec.uses, spec, why);
	if (t->use == NULL) {
		transfer_free(t);
		return NULL;
	}
	return t;
}

/* ---- download ---- */

/* Sends what is pending. 0 when all is gone, or a negative errno. */
static int
flush_pending(struct transfer *t)
{
	ssize_t n;

	while (t->pending.len > 0) {
		n = datasock_write(
		    t->sock, buf_head(&t->pending), t->pending.len);
		if (n < 0)
			return (int)n;
		buf_consume(&t->pending, (size_t)n);
	}
	return 0;
}

static int
sink_write(void *arg, const char *data, size_t n)
{
	struct transfer *t = arg;
	ssize_t sent = 0;

	if (t->pending.len > 0)
		return -EAGAIN;
	while (n > 0) {
		sent = datasock_write(t->sock, data, n);
		if (sent < 0)
			break;
		t->moved += sent;
		data += sent;
		n -= (size_t)sent;
	}
	if (n == 0)
		return 0;
	if (sent != -EAGAIN)
		return (int)sent;
	if (buf_add(&t->pending, data, n) < 0)
		return -ENOMEM;
	t->moved += (int64_t)n;
	datasock_want(t->sock, IO_WRITE);
	return 0;
}

static void
fail_socket(struct transfer *t, int error)
{
	struct rpc_error e;

	rpc_error_set(
	    &e, RPC_DATA_SOCKET, "the data socket failed: %s", strerror(error));
	if (t->use != NULL)
		use_cancel(t->use);
	t->use = NULL;
	finish(t, &e);
}

static void
download_ready(void *arg)
{
	struct transfer *t = arg;
	int r = flush_pending(t);

	if (r == -EAGAIN)
		return;
	if (r < 0) {
		fail_socket(t, -r);
		return;
	}
	datasock_want(t->sock, 0);
	if (t->answered)
		finish(t, NULL);
	else
		use_resume(t->use);
}

static struct upstream_request *
download_request(void *arg, const char *id)
{
	struct transfer *t = arg;
	struct upstream_request *r;

	r = api_file(id, "stream/read", t->path, 0);
	r->sink = &t->sink;
	r->bulk = true;
	r->timeout_ms = 0;
	r->stall_ms = STALL_MS;
	r->max_answer = ERROR_BODY;
	return r;
}

static void
download_done(void *arg, const struct upstream_answer *a, bool resumed,
    struct rpc_error *e)
{
	struct transfer *t = arg;

	(void)a;
	(void)resumed;
	t->use = NULL;
	if (e == NULL && t->pending.len > 0) {
		t->answered = true; /* download_ready() goes on */
		return;
	}
	finish(t, e);
}

struct transfer *
transfer_download(
    const struct transfer_spec *spec, int fd, struct rpc_error *why)
{
	struct transfer *t = transfer_new(spec, fd, download_ready);
	struct use_spec use = {
		.uid = spec->uid,
		.ref = spec->capsule,
		.auto_resume = spec->auto_resume,
		.request = download_request,
		.done = download_done,
		.arg = t,
	};

	t->sink = (struct http_sink){ sink_write, t };
	return transfer_start(t, &use, why);
}

/* ---- upload ---- */

static ssize_t
stage_text(struct transfer *t, const char *text, char *data, size_t n)
{
	size_t left = strlen(text) - t->stage_off;

	n = n < left ? n : left;
	memcpy(data, text + t->stage_off, n);
	t->stage_off += n;
	if (n == left) {
		t->stage++;
		t->stage_off = 0;
	}
	return (ssize_t)n;
}

/* The socket is at its end: is that all, or did the client break off? */
static ssize_t
socket_end(struct transfer *t)
{
	t->socket_ended = true;
	datasock_want(t->sock, 0);
	if (t->spec.size >= 0) {
		t->fault = "the data socket ended before all of the announced "
			   "bytes came";
		return -ECONNRESET;
	}
	/* call.end tells a whole input from one whose sender died. */
	return t->input_ended ? 0 : -EAGAIN;
}

/* Bytes of the file; 0 when it is complete. */
static ssize_t
stage_data(struct transfer *t, char *data, size_t n)
{
	int64_t left = t->spec.size - t->moved;
	ssize_t r;

	if (t->spec.size >= 0 && (int64_t)n > left)
		n = (size_t)left;
	if (n == 0)
		return 0;
	if (t->socket_ended)
		return socket_end(t);
	r = datasock_read(t->sock, data, n);
	if (r == 0)
		return socket_end(t);
	if (r == -EAGAIN)
		datasock_want(t->sock, IO_READ);
	if (r > 0)
		t->moved += r;
	return r;
}

static ssize_t
source_read(void *arg, char *data, size_t n)
{
	struct transfer *t = arg;
	ssize_t r;

	if (t->stage == UPLOAD_HEAD)
		return stage_text(t, t->upload.head, data, n);
	if (t->stage == UPLOAD_DATA) {
		r = stage_data(t, data, n);
		if (r != 0)
			return r;
		t->stage = UPLOAD_TAIL;
	}
	if (t->stage == UPLOAD_TAIL)
		return stage_text(t, t->upload.tail, data, n);
	return 0;
}

static void
upload_ready(void *arg)
{
	struct transfer *t = arg;

	datasock_want(t->sock, 0);
	if (t->use != NULL)
		use_resume(t->use);
}

void
transfer_end(struct transfer *t)
{
	t->input_ended = true;
	if (t->socket_ended && t->use != NULL)
		use_resume(t->use);
}

static struct upstream_request *
upload_request(void *arg, const char *id)
{
	struct transfer *t = arg;
	struct upstream_request *r = api_file_write(id, &t->upload);

	r->source = &t->source;
	r->bulk = true;
	r->timeout_ms = 0;
	r->stall_ms = STALL_MS;
	r->max_answer = ERROR_BODY;
	return r;
}

static void
upload_done(void *arg, const struct upstream_answer *a, bool resumed,
    struct rpc_error *e)
{
	struct transfer *t = arg;
	struct rpc_error broken;

	(void)resumed;
	t->use = NULL;
	if (e == NULL && t->stage != UPLOAD_END)
		t->fault = "upstream answered before it had all of it";
	if ((e == NULL && t->fault != NULL) ||
	    (e != NULL && a != NULL && a->outcome != HTTP_ANSWERED &&
		t->stage != UPLOAD_HEAD && t->stage != UPLOAD_END)) {
		rpc_error_set(&broken, RPC_TRUNCATED,
		    "the upload broke off after %jd bytes: %s; what is at the "
		    "target now may be incomplete",
		    (intmax_t)t->moved, t->fault ? t->fault : a->why);
		e = &broken;
	}
	finish(t, e);
}

static int64_t
upload_length(const struct transfer *t)
{
	if (t->spec.size < 0)
		return -1;
	return (int64_t)strlen(t->upload.head) + t->spec.size +
	       (int64_t)strlen(t->upload.tail);
}

struct transfer *
transfer_upload(const struct transfer_spec *spec, int fd, struct rpc_error *why)
{
	struct transfer *t = transfer_new(spec, fd, upload_ready);
	struct use_spec use = {
		.uid = spec->uid,
		.ref = spec->capsule,
		.auto_resume = spec->auto_resume,
		.look_first = true,
		.request = upload_request,
		.done = upload_done,
		.arg = t,
	};

	api_upload_init(&t->upload, spec->path);
	t->source = (struct http_source){ upload_length(t), source_read, t };
	return transfer_start(t, &use, why);
}
