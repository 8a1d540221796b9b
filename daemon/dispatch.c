#include "daemon/dispatch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "daemon/datasock.h"
#include "daemon/listener.h"
#include "daemon/log.h"
#include "daemon/peer.h"
#include "daemon/settings.h"
#include "proto/buf.h"
#include "proto/jx.h"
#include "proto/rpc_msg.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

struct dispatch {
	struct services *svc;
	uid_t euid; /* asked for once: each time is a system call */
	bool draining;
};

/* One row of methods.def each. */
static void (*const handlers[METHOD_COUNT])(struct call *) = {
#define METHOD(sym, name, access, hangup, fds, summary, result) \
	[METHOD_##sym] = m_##sym,
#include "proto/methods.def"
#undef METHOD
};

/* ---- answers without a call ---- */

static void
send_error(
    struct peer *p, const char *id, const struct rpc_error *e, struct batch *b)
{
	struct buf line;

	buf_init(&line, LIMIT_ANSWER_LINE);
	rpc_print_error(&line, id[0] ? id : "null", e, NULL);
	if (b != NULL)
		batch_add(b, &line);
	else if (peer_send(p, &line) < 0)
		peer_doom(p, "too many answers are waiting to be read");
	buf_release(&line);
}

/* ---- descriptors ---- */

static bool
is_fd_of(const struct method *m, const char *name)
{
	const char *at = m->fds;
	size_t n = strlen(name), len;

	while (*at != '\0') {
		len = strcspn(at, "|");
		if (len == n && strncmp(at, name, n) == 0)
			return true;
		at += len + (at[len] == '|');
	}
	return false;
}

static bool
is_named_twice(const struct rpc_msg *m, int which)
{
	int i;

	for (i = 0; i < which; i++)
		if (strcmp(m->fds[i], m->fds[which]) == 0)
			return true;
	return false;
}

static int
check_fds(const struct call *c, const struct rpc_msg *m, struct rpc_error *why)
{
	const char *fault;
	int i;

	for (i = 0; i < m->fd_count; i++) {
		if (!is_fd_of(c->method, m->fds[i]) || is_named_twice(m, i)) {
			rpc_error_set(why, RPC_INVALID_PARAMS,
			    "%s takes no descriptor named \"%.32s\" here",
			    c->method->name, m->fds[i]);
			return -1;
		}
		fault = datasock_fault(c->fds[i]);
		if (fault != NULL) {
			rpc_error_set(why, RPC_DATA_SOCKET,
			    "the descriptor \"%s\" is unfit: %s; pass a "
			    "connected AF_UNIX stream socket",
			    m->fds[i], fault);
			return -1;
		}
	}
	return 0;
}

/* ---- one request ---- */

/* What ends a call is not refused because there are too many. */
static bool
ends_a_call(const struct method *m)
{
	return m == method_by_id(METHOD_call_cancel) ||
	       m == method_by_id(METHOD_call_end);
}

/* In the order that tells a client most. */
static int
check(const struct dispatch *d, const struct call *c, const struct rpc_msg *m,
    struct rpc_error *why)
{
	struct client_calls *mine = peer_calls(c->peer);

	if (c->method->access > c->access) {
		rpc_error_set(why, RPC_ACCESS_DENIED,
		    "%s is for root and the user that wrennd runs as",
		    c->method->name);
		return -1;
	}
	if (method_check_params(c->method, m->params, why) < 0 ||
	    check_fds(c, m, why) < 0)
		return -1;
	if (d->draining && c->method->access != ACCESS_READ) {
		rpc_error_set(why, RPC_SHUTTING_DOWN,
		    "wrennd is stopping and takes no new work");
		return -1;
	}
	if (client_calls_count(mine) > d->svc->settings->calls_per_client &&
	    !ends_a_call(c->method)) {
		rpc_error_set(why, RPC_BUSY,
		    "this connection has %jd calls in flight; wait for some",
		    (intmax_t)d->svc->settings->calls_per_client);
		return -1;
	}
	return 0;
}

static void
log_call(const struct call *c)
{
	enum log_level level =
	    c->method->access == ACCESS_READ ? LOG_DEBUG : LOG_INFO;
	const char *capsule;

	if (!log_wants(level))
		return;
	capsule = jx_str(c->params, "capsule");
	log_at(level, "call method=%s request=%s pid=%d uid=%u%s%.64s",
	    c->method->name, c->request, c->pid, c->uid,
	    capsule ? " capsule=" : "", capsule ? capsule : "");
}

/*
 * A user's daemon has one owner, and root may act for them. In the machine's,
 * everybody sees their own; root and the service's user administer.
 */
static void
identify(const struct dispatch *d, struct call *c, const struct peer *p)
{
	uid_t uid = peer_uid(p);

	c->pid = peer_pid(p);
	c->access = uid == 0 || uid == d->euid ? ACCESS_ADMIN : ACCESS_USE;
	c->uid = d->svc->settings->system_wide ? uid : d->euid;
}

static struct call *
make_call(struct dispatch *d, struct peer *p, const struct rpc_msg *m,
    enum method_id id)
{
	struct call *c;
	int i;

	c = call_new(d->svc->calls, d->svc, p, peer_calls(p));
	call_set_method(c, method_by_id(id));
	if (m->kind == RPC_KIND_REQUEST)
		memcpy(c->id, m->id, sizeof(c->id));
	c->params = json_object_get(m->params);
	identify(d, c, p);
	peer_take_fds(p, c->fds, m->fd_count);
	for (i = 0; i < m->fd_count; i++)
		snprintf(
		    c->fd_names[i], sizeof(c->fd_names[i]), "%s", m->fds[i]);
	return c;
}

static void
run_request(struct dispatch *d, struct peer *p, const struct rpc_msg *m,
    struct batch *b)
{
	enum method_id id = method_by_name(m->method);
	struct rpc_error why;
	struct call *c;

	if (id == METHOD_COUNT) {
		rpc_error_set(&why, RPC_METHOD_NOT_FOUND,
		    "there is no method %.64s", m->method);
		if (m->kind == RPC_KIND_REQUEST)
			send_error(p, m->id, &why, b);
		else if (b != NULL)
			batch_add(b, NULL);
		return;
	}
	c = make_call(d, p, m, id);
	c->batch = b;
	if (check(d, c, m, &why) < 0) {
		call_fail(c, &why);
		return;
	}
	log_call(c);
	handlers[id](c);
}

static void
run_message(struct dispatch *d, struct peer *p, const struct rpc_msg *m,
    struct batch *b)
{
	struct rpc_error why;

	switch (m->kind) {
	case RPC_KIND_REQUEST:
	case RPC_KIND_NOTIFICATION:
		run_request(d, p, m, b);
		return;
	case RPC_KIND_BAD:
		send_error(p, m->id, &m->fault, b);
		return;
	case RPC_KIND_RESULT:
	case RPC_KIND_ERROR:
		rpc_error_set(&why, RPC_INVALID_REQUEST,
		    "wrennd asks nothing, so there is nothing to answer");
		send_error(p, m->id, &why, b);
		return;
	}
}

/* ---- what the peer brings ---- */

/* The rule of descriptors: one request, unbatched, that names as many. */
static bool
fds_match(const struct rpc_line *line, int fds)
{
	size_t i;
	int named = 0;

	for (i = 0; i < line->count; i++)
		named += line->msgs[i].fd_count;
	if (named != fds)
		return false;
	return fds == 0 || (!line->batch && line->msgs[0].method != NULL &&
			       line->msgs[0].kind != RPC_KIND_BAD);
}

static bool
on_line(struct peer *p, const char *text, size_t len, int fds, void *arg)
{
	struct dispatch *d = arg;
	struct batch *b = NULL;
	struct rpc_line line;
	size_t i;

	if (peer_calls(p) == NULL)
		peer_set_calls(p, client_calls_new());
	rpc_line_parse(&line, text, len);
	if (!fds_match(&line, fds) ||
	    (fds > 0 && method_by_name(line.msgs[0].method) == METHOD_COUNT)) {
		rpc_line_release(&line);
		return false;
	}
	if (line.fault.kind != RPC_OK)
		send_error(p, "", &line.fault, NULL);
	if (line.batch)
		b = batch_new(p, (int)line.count);
	for (i = 0; i < line.count; i++)
		run_message(d, p, &line.msgs[i], b);
	rpc_line_release(&line);
	return true;
}

static void
on_too_long(struct peer *p, void *arg)
{
	struct rpc_error e;

	(void)arg;
	rpc_error_set(&e, RPC_INVALID_REQUEST,
	    "a line is longer than %d bytes; the rest of it is skipped",
	    LIMIT_REQUEST_LINE);
	send_error(p, "", &e, NULL);
}

static bool
is_busy(struct peer *p, void *arg)
{
	(void)arg;
	return client_calls_count(peer_calls(p)) > 0;
}

static void
on_gone(struct peer *p, void *arg)
{
	struct dispatch *d = arg;
	struct client_calls *cc = peer_calls(p);

	if (cc != NULL) {
		peer_set_calls(p, NULL);
		client_calls_hang_up(cc);
	}
	log_debug("client gone pid=%d", peer_pid(p));
	listener_forget(d->svc->listener, p);
}

const struct peer_ops dispatch_peer_ops = {
	.line = on_line,
	.too_long = on_too_long,
	.busy = is_busy,
	.gone = on_gone,
};

struct dispatch *
dispatch_new(struct services *svc)
{
	struct dispatch *d = xcalloc(1, sizeof(*d));

	d->svc = svc;
	d->euid = geteuid();
	return d;
}

void
dispatch_free(struct dispatch *d)
{
	free(d);
}

void
dispatch_drain(struct dispatch *d)
{
	d->draining = true;
}
