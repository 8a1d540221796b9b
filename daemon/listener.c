#include "daemon/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/peer.h"
#include "daemon/settings.h"
#include "proto/buf.h"
#include "proto/limits.h"
#include "proto/queue.h"
#include "proto/rpc_error.h"
#include "proto/rpc_msg.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define BACKLOG        256
#define ACCEPTS_A_TURN 64
#define LOOK_MS        5000 /* whether the socket's path is still there */
#define EXHAUSTED_MS   100  /* without descriptors: accepting pauses so long */

/* A client as the listener keeps it. */
struct client {
	struct peer *peer;
	struct user *user;
	LIST_ENTRY(client) entry;
};

/* All clients of one user id. */
struct user {
	struct peer_user shared; /* what peers see of it */
	LIST_ENTRY(user) entry;
};

static void accept_ready(void *arg, int events);

struct listener {
	struct loop *loop;
	char *path;
	dev_t dev; /* of our socket, to unlink no other */
	ino_t ino;
	int fd;
	struct io *io;
	struct timer *again;
	struct timer *look;
	const struct settings *settings;
	int max_per_uid;
	bool system_wide;
	int count;
	LIST_HEAD(, client) clients;
	LIST_HEAD(, user) users;
	const struct peer_ops *ops;
	void *arg;
};

/* ---- the socket ---- */

static int
fill_address(struct sockaddr_un *a, const char *path)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(a->sun_path)) {
		log_error("socket path is %zu bytes long, and %zu are the "
			  "most: %s (choose a shorter one with --socket)",
		    strlen(path), sizeof(a->sun_path) - 1, path);
		return -1;
	}
	memcpy(a->sun_path, path, strlen(path));
	return 0;
}

/* Makes the socket's folder, for its owner only. */
static int
make_folder(const char *path)
{
	char *dir = xstrdup(path);
	char *slash = strrchr(dir, '/');
	int r = 0;

	if (slash != NULL && slash != dir) {
		*slash = '\0';
		r = mkdir(dir, 0700);
		if (r < 0 && errno == EEXIST)
			r = 0;
		if (r < 0)
			log_error("%s: %m", dir);
	}
	free(dir);
	return r;
}

/* Whether somebody listens there; a stale socket is removed. */
static int
clear_path(const struct sockaddr_un *a)
{
	struct stat st;
	int fd, r;

	if (lstat(a->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -1;
	if (!S_ISSOCK(st.st_mode)) {
		log_error("%s is there and is no socket: move it away, or "
			  "choose another path with --socket",
		    a->sun_path);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	r = connect(fd, (const struct sockaddr *)a, sizeof(*a));
	close(fd);
	if (r == 0 || errno == EAGAIN) {
		log_error("another wrennd listens at %s already", a->sun_path);
		return -1;
	}
	if (errno != ECONNREFUSED) {
		log_error("%s: %m", a->sun_path);
		return -1;
	}
	return unlink(a->sun_path);
}

static int
set_owner_and_mode(const struct listener *l, const struct settings *s)
{
	struct group *g;

	if (s->socket_group != NULL) {
		g = getgrnam(s->socket_group);
		if (g == NULL) {
			log_error("socket_group: there is no group %s",
			    s->socket_group);
			return -1;
		}
		if (chown(l->path, (uid_t)-1, g->gr_gid) < 0) {
			log_error("%s: %m", l->path);
			return -1;
		}
	}
	if (chmod(l->path, (mode_t)s->socket_mode) < 0) {
		log_error("%s: %m", l->path);
		return -1;
	}
	return 0;
}

/* The lock on the state folder keeps a second wrennd from coming this far. */
static int
bind_socket(struct listener *l, const struct settings *s)
{
	struct sockaddr_un a;
	struct stat st;
	mode_t mask;
	int r;

	if (fill_address(&a, l->path) < 0 || make_folder(l->path) < 0 ||
	    clear_path(&a) < 0)
		return -1;
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0) {
		log_error("socket: %m");
		return -1;
	}
	/* Nobody may connect before mode and group are right. */
	mask = umask(0177);
	r = bind(l->fd, (struct sockaddr *)&a, sizeof(a));
	umask(mask);
	if (r < 0) {
		log_error("%s: %m", l->path);
		return -1;
	}
	if (stat(l->path, &st) == 0) {
		l->dev = st.st_dev;
		l->ino = st.st_ino;
	}
	if (set_owner_and_mode(l, s) < 0)
		return -1;
	if (listen(l->fd, BACKLOG) < 0) {
		log_error("%s: %m", l->path);
		return -1;
	}
	return 0;
}

/* One that the service manager opened, and will keep. */
static int
take_over(struct listener *l, int fd)
{
	struct sockaddr_un a = { 0 };
	socklen_t len = sizeof(a);

	l->fd = fd;
	if (getsockname(fd, (struct sockaddr *)&a, &len) < 0 ||
	    fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		log_error("the inherited socket: %m");
		return -1;
	}
	free(l->path);
	l->path = xstrndup(a.sun_path, sizeof(a.sun_path));
	return 0;
}

static void
unlink_own(const struct listener *l)
{
	struct stat st;

	if (l->ino != 0 && stat(l->path, &st) == 0 && st.st_dev == l->dev &&
	    st.st_ino == l->ino)
		unlink(l->path);
}

/*
 * Somebody who cleans up /run may remove the path under a daemon that runs:
 * then it listens anew, and those connected stay.
 */
static void
look(void *arg)
{
	struct listener *l = arg;
	struct io *old = l->io;
	int fd = l->fd;

	timer_set(l->look, LOOK_MS);
	if (access(l->path, F_OK) == 0 || errno != ENOENT)
		return;
	l->fd = -1;
	if (bind_socket(l, l->settings) < 0) {
		if (l->fd >= 0) {
			unlink_own(l);
			close(l->fd);
		}
		l->fd = fd;
		return;
	}
	log_warn(
	    "the socket's path had vanished; listening anew path=%s", l->path);
	io_free(old);
	close(fd);
	l->io = io_new(l->loop, l->fd, accept_ready, l);
	io_want(l->io, IO_READ);
}

/* ---- clients ---- */

/* Frees users without clients: their last peer has freed itself by now. */
static void
sweep_users(struct listener *l)
{
	struct user *u, *next;

	LIST_FOREACH_SAFE(u, &l->users, entry, next) {
		if (u->shared.peers > 0)
			continue;
		LIST_REMOVE(u, entry);
		free(u);
	}
}

static struct user *
user_get(struct listener *l, uid_t uid)
{
	struct user *u;

	sweep_users(l);
	LIST_FOREACH(u, &l->users, entry)
		if (u->shared.uid == uid)
			return u;
	u = xcalloc(1, sizeof(*u));
	u->shared.uid = uid;
	LIST_INSERT_HEAD(&l->users, u, entry);
	return u;
}

/* Tells a client why it is not served, as far as one write goes. */
static void
refuse(int fd, enum rpc_errno kind, const char *message)
{
	struct rpc_error e;
	struct buf line;

	rpc_error_set(&e, kind, "%s", message);
	buf_init(&line, LIMIT_OUTPUT_SOFT);
	if (rpc_print_error(&line, "null", &e, NULL) == 0 &&
	    buf_add(&line, "\n", 1) == 0 &&
	    send(fd, buf_head(&line), line.len, MSG_DONTWAIT | MSG_NOSIGNAL) <
		0)
		log_debug("a refused client was not told why: %m");
	buf_release(&line);
	close(fd);
}

static void
take_client(struct listener *l, int fd, const struct ucred *cred)
{
	struct user *u = user_get(l, cred->uid);
	struct client *c;

	if (l->count >= LIMIT_PEERS || u->shared.peers >= l->max_per_uid) {
		refuse(fd, RPC_BUSY, "too many clients are connected");
		return;
	}
	c = xcalloc(1, sizeof(*c));
	c->user = u;
	u->shared.peers++;
	l->count++;
	LIST_INSERT_HEAD(&l->clients, c, entry);
	c->peer = peer_new(l->loop, fd, cred->pid, &u->shared, l->ops, l->arg);
	log_debug("client connected pid=%d uid=%u", cred->pid, cred->uid);
}

/*
 * A user's own daemon serves that user, and root. The machine's serves all
 * whom the socket's mode and group let in.
 */
static void
admit(struct listener *l, int fd)
{
	socklen_t len = sizeof(struct ucred);
	struct ucred cred;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0) {
		close(fd);
		return;
	}
	if (!l->system_wide && cred.uid != geteuid() && cred.uid != 0) {
		log_warn("client refused: another user pid=%d uid=%u", cred.pid,
		    cred.uid);
		refuse(
		    fd, RPC_ACCESS_DENIED, "this wrennd serves another user");
		return;
	}
	take_client(l, fd, &cred);
}

/* Without descriptors a level-triggered accept would spin. */
static void
pause_accepting(struct listener *l)
{
	log_warn("no descriptors left: accepting pauses clients=%d", l->count);
	io_want(l->io, 0);
	timer_set(l->again, EXHAUSTED_MS);
}

static void
accept_again(void *arg)
{
	struct listener *l = arg;

	io_want(l->io, IO_READ);
}

static void
accept_ready(void *arg, int events)
{
	struct listener *l = arg;
	int fd, n;

	(void)events;
	for (n = 0; n < ACCEPTS_A_TURN; n++) {
		fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			admit(l, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
		    errno == ENOMEM)
			pause_accepting(l);
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

void
listener_forget(struct listener *l, struct peer *p)
{
	struct client *c;

	LIST_FOREACH(c, &l->clients, entry)
		if (c->peer == p)
			break;
	if (c == NULL)
		return;
	LIST_REMOVE(c, entry);
	l->count--;
	c->user->shared.peers--;
	free(c);
}

/* ---- the whole ---- */

struct listener *
listener_new(struct loop *l, const struct settings *s, int inherited,
    const struct peer_ops *ops, void *arg)
{
	struct listener *li = xcalloc(1, sizeof(*li));

	li->loop = l;
	li->path = xstrdup(s->socket);
	li->fd = -1;
	li->ops = ops;
	li->arg = arg;
	LIST_INIT(&li->clients);
	LIST_INIT(&li->users);
	listener_settings_changed(li, s);
	if ((inherited >= 0 ? take_over(li, inherited) : bind_socket(li, s)) <
	    0) {
		listener_free(li);
		return NULL;
	}
	li->again = timer_new(l, accept_again, li);
	li->io = io_new(l, li->fd, accept_ready, li);
	io_want(li->io, IO_READ);
	li->look = timer_new(l, look, li);
	if (inherited < 0)
		timer_set(li->look, LOOK_MS);
	return li;
}

void
listener_stop(struct listener *l)
{
	if (l->fd < 0)
		return;
	timer_set(l->again, -1);
	timer_set(l->look, -1);
	io_free(l->io);
	l->io = NULL;
	unlink_own(l);
	close(l->fd);
	l->fd = -1;
}

void
listener_free(struct listener *l)
{
	struct client *c;

	if (l == NULL)
		return;
	while ((c = LIST_FIRST(&l->clients)) != NULL) {
		struct peer *p = c->peer;

		l->ops->gone(p, l->arg); /* which forgets it here */
		peer_free(p);
	}
	sweep_users(l);
	if (l->io != NULL)
		listener_stop(l);
	else if (l->fd >= 0)
		close(l->fd);
	timer_free(l->again);
	timer_free(l->look);
	free(l->path);
	free(l);
}

void
listener_settings_changed(struct listener *l, const struct settings *s)
{
	l->max_per_uid = (int)s->clients_per_uid;
	l->system_wide = s->system_wide;
	l->settings = s;
}

int
listener_clients(const struct listener *l)
{
	return l->count;
}

const char *
listener_path(const struct listener *l)
{
	return l->path;
}
