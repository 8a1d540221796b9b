#include "daemon/cred.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <json-c/json.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/settings.h"
#include "daemon/spawn.h"
#include "proto/base64.h"
#include "proto/json_check.h"
#include "proto/jx.h"
#include "proto/rpc_error.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define SECURE_HEAP     (64 * 1024)
#define SECURE_MIN      64
#define COMMAND_TIMEOUT 10000 /* ms */

/* One secret and where it came from. */
struct secret {
	char *text; /* in the secure heap, or NULL */
	const char *source;
	char fingerprint[CRED_IDENTITY + 1];
	int64_t expires_at; /* of a token; 0 when it does not say */
};

/* What tells one version of a file from the next. */
struct stamp {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed;
};

struct cred {
	struct loop *loop;
	char *saved[CRED_KINDS]; /* paths of what was set over the protocol */
	struct secret set[CRED_KINDS];   /* over the protocol */
	struct secret found[CRED_KINDS]; /* in files, command, environment */
	struct secret env[CRED_KINDS];   /* read once, then overwritten */
	struct stamp stamps[CRED_KINDS]; /* of the files last seen */
	uint64_t generation;
	struct spawn *command;
	void (*reload_done)(void *arg, bool changed);
	void *reload_arg;
};

static const char *const kind_names[] = { "api_key", "token" };

int
cred_process_init(void)
{
	struct rlimit none = { 0, 0 };

	/* RLIMIT_CORE does not hold for a core_pattern that is a pipe. */
	if (prctl(PR_SET_DUMPABLE, 0) < 0 ||
	    setrlimit(RLIMIT_CORE, &none) < 0) {
		log_error("core dumps cannot be switched off: %m");
		return -1;
	}
	/* 2: the heap works, but the pages could not be locked. */
	switch (CRYPTO_secure_malloc_init(SECURE_HEAP, SECURE_MIN)) {
	case 0:
		log_error("no secure memory for keys");
		return -1;
	case 2:
		log_warn("the memory for keys is not locked and may be "
			 "swapped; raise LimitMEMLOCK");
	}
	return 0;
}

static void
secret_clear(struct secret *s)
{
	if (s->text != NULL)
		OPENSSL_secure_clear_free(s->text, strlen(s->text) + 1);
	*s = (struct secret){ 0 };
}

/* The claims of a JWT, unverified: only to tell people when it ends. */
static struct json_object *
jwt_claims(const char *token)
{
	const char *dot = strchr(token, '.');
	size_t n = dot ? strcspn(dot + 1, ".") : 0, i;
	struct json_object *claims = NULL;
	struct buf b;
	char *text;

	if (n == 0)
		return NULL;
	text = xcalloc(1, base64_size(n) + 4);
	memcpy(text, dot + 1, n);
	for (i = 0; i < n; i++)
		text[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
	while (n % 4 != 0)
		text[n++] = '=';
	buf_init(&b, LIMIT_SECRET);
	if (base64_decode(&b, text, n) == 0)
		claims = jx_parse(
		    buf_head(&b), b.len, &(struct json_check_fault){ 0 });
	buf_release(&b);
	free(text);
	return claims;
}

static int64_t
token_expiry(const char *token)
{
	struct json_object *claims = jwt_claims(token);
	int64_t expires = 0;

	jx_int(claims, "exp", 0, INT64_MAX, &expires);
	json_object_put(claims);
	return expires;
}

static void
secret_put(struct secret *s, const char *text, size_t n, const char *source)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	int i;

	secret_clear(s);
	s->text = OPENSSL_secure_zalloc(n + 1);
	if (s->text == NULL)
		return;
	memcpy(s->text, text, n);
	s->source = source;
	s->expires_at = token_expiry(s->text);
	EVP_Digest(text, n, digest, NULL, EVP_sha256(), NULL);
	for (i = 0; i < SHA256_DIGEST_LENGTH; i++)
		snprintf(s->fingerprint + 2 * i, 3, "%02x", digest[i]);
}

/* Printable ASCII without blanks: what can stand in a header. */
static bool
is_header_safe(const char *text, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return n > 0;
}

/* Takes text without the white space around it. NULL, or what is wrong. */
static const char *
secret_take(struct secret *s, const char *text, size_t n, const char *source)
{
	while (n > 0 && isspace((unsigned char)*text)) {
		text++;
		n--;
	}
	while (n > 0 && isspace((unsigned char)text[n - 1]))
		n--;
	if (n == 0)
		return "it is empty";
	if (n > LIMIT_SECRET)
		return "it is too long for a key";
	if (!is_header_safe(text, n))
		return "it holds characters that no key has";
	secret_put(s, text, n, source);
	return s->text ? NULL : "there is no secure memory left for it";
}

/* Reads a file into a buffer that is wiped; NULL and errno, or the length. */
static char *
slurp(int fd, size_t *ret_len)
{
	char *text = OPENSSL_secure_zalloc(LIMIT_SECRET + 2);
	size_t n = 0;
	ssize_t r = 1;

	while (text != NULL && r > 0 && n <= LIMIT_SECRET) {
		r = read(fd, text + n, LIMIT_SECRET + 1 - n);
		if (r > 0)
			n += (size_t)r;
	}
	*ret_len = n;
	return text;
}

static const char *
mode_fault(const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return "it is not a regular file";
	if (st->st_uid != geteuid() && st->st_uid != 0)
		return "it belongs to another user";
	if ((st->st_mode & 077) != 0)
		return "others can read it; run chmod 600 on it";
	return NULL;
}

/*
 * Reads a key from a file. 0 also when a file that is not required is
 * missing; -1 after a log line.
 */
static int
read_secret(
    struct secret *s, const char *path, const char *source, bool required)
{
	const char *why = NULL;
	struct stat st;
	char *text;
	size_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		if (errno == ENOENT && !required)
			return 0;
		log_error("%s: %m", path);
		return -1;
	}
	if (fstat(fd, &st) < 0)
		why = "it cannot be examined";
	else
		why = mode_fault(&st);
	if (why == NULL) {
		text = slurp(fd, &n);
		why = text ? secret_take(s, text, n, source) : "no memory";
		OPENSSL_secure_clear_free(text, LIMIT_SECRET + 2);
	}
	close(fd);
	if (why != NULL)
		log_error("%s: %s", path, why);
	return why ? -1 : 0;
}

/* Takes a variable and overwrites it where everybody could read it. */
static void
take_env(struct secret *s, const char *name, const char *source)
{
	char *text = getenv(name);
	const char *why;

	if (text == NULL)
		return;
	why = text[0] ? secret_take(s, text, strlen(text), source) : NULL;
	if (why != NULL)
		log_error("%s in the environment: %s", name, why);
	explicit_bzero(text, strlen(text));
	unsetenv(name);
}

static int
read_from_dir(struct secret *s, enum cred_kind kind, const char *dir)
{
	char *path = xasprintf("%s/%s", dir, kind_names[kind]);
	int r = read_secret(s, path, "systemd", false);

	free(path);
	return r;
}

/* Whether the secret came from a command that is still configured. */
static bool
is_of_command(
    const struct cred *c, const struct settings *s, enum cred_kind kind)
{
	const struct secret *f = &c->found[kind];

	return s->api_key_command != NULL && f->text != NULL &&
	       strcmp(f->source, "command") == 0;
}

/*
 * Fills `found` from all places but the command, whose key stays until it is
 * run anew. Where one cannot be read, all stay as they are.
 */
static int
read_sources(struct cred *c, const struct settings *s)
{
	const char *const files[] = { s->api_key_file, s->token_file };
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	struct secret fresh[CRED_KINDS] = { 0 }, *f;
	int kind, r = 0;

	for (kind = 0; kind < CRED_KINDS && r == 0; kind++) {
		f = &fresh[kind];
		if (dir != NULL)
			r = read_from_dir(f, kind, dir);
		if (r == 0 && f->text == NULL && files[kind] != NULL)
			r = read_secret(f, files[kind], "file", true);
	}
	for (kind = 0; kind < CRED_KINDS; kind++) {
		f = &fresh[kind];
		if (r < 0 || (f->text == NULL && is_of_command(c, s, kind))) {
			secret_clear(f);
			continue;
		}
		secret_clear(&c->found[kind]);
		c->found[kind] = *f;
	}
	return r;
}

/* The one in force. */
static const struct secret *
in_force(const struct cred *c, enum cred_kind kind)
{
	if (c->set[kind].text != NULL)
		return &c->set[kind];
	if (c->found[kind].text != NULL)
		return &c->found[kind];
	return &c->env[kind];
}

struct cred *
cred_new(struct loop *l, const struct settings *s)
{
	struct cred *c = xcalloc(1, sizeof(*c));
	int kind;

	c->loop = l;
	take_env(&c->env[CRED_API_KEY], "WRENN_API_KEY", "environment");
	take_env(&c->env[CRED_TOKEN], "WRENN_TOKEN", "environment");
	for (kind = 0; kind < CRED_KINDS; kind++) {
		c->saved[kind] =
		    xasprintf("%s/%s", s->state_dir, kind_names[kind]);
		if (read_secret(&c->set[kind], c->saved[kind], "set", false) <
		    0) {
			cred_free(c);
			return NULL;
		}
	}
	cred_files_changed(c, s);
	if (read_sources(c, s) < 0) {
		cred_free(c);
		return NULL;
	}
	c->generation = 1;
	return c;
}

void
cred_free(struct cred *c)
{
	int kind;

	if (c == NULL)
		return;
	spawn_cancel(c->command);
	for (kind = 0; kind < CRED_KINDS; kind++) {
		secret_clear(&c->set[kind]);
		secret_clear(&c->found[kind]);
		secret_clear(&c->env[kind]);
		free(c->saved[kind]);
	}
	free(c);
}

/* What is compared to tell whether something changed. */
struct snapshot {
	char prints[CRED_KINDS][CRED_IDENTITY + 1];
};

static void
snapshot_take(const struct cred *c, struct snapshot *s)
{
	int kind;

	for (kind = 0; kind < CRED_KINDS; kind++)
		memcpy(s->prints[kind], in_force(c, kind)->fingerprint,
		    sizeof(s->prints[kind]));
}

/* Grows the generation when the secrets in force are not those before. */
static bool
note_change(struct cred *c, const struct snapshot *before)
{
	struct snapshot now;

	snapshot_take(c, &now);
	if (memcmp(&now, before, sizeof(now)) == 0)
		return false;
	c->generation++;
	return true;
}

static void
command_done(void *arg, const char *output, size_t len, const char *why)
{
	struct cred *c = arg;
	struct snapshot before;

	c->command = NULL;
	snapshot_take(c, &before);
	if (why == NULL)
		why = secret_take(
		    &c->found[CRED_API_KEY], output, len, "command");
	if (why != NULL)
		log_error("api_key_command: %s", why);
	c->reload_done(c->reload_arg, note_change(c, &before));
}

int
cred_reload(struct cred *c, const struct settings *s,
    void (*done)(void *arg, bool changed), void *arg)
{
	struct snapshot before;
	bool changed;

	if (c->command != NULL)
		return -EBUSY;
	snapshot_take(c, &before);
	if (read_sources(c, s) < 0)
		return -EIO;
	c->reload_done = done;
	c->reload_arg = arg;
	if (s->api_key_command != NULL &&
	    (c->found[CRED_API_KEY].text == NULL ||
		is_of_command(c, s, CRED_API_KEY))) {
		c->command = spawn_start(c->loop, s->api_key_command,
		    LIMIT_SECRET, COMMAND_TIMEOUT, command_done, c);
		if (c->command != NULL)
			return 0;
		log_error("api_key_command: %m");
	}
	changed = note_change(c, &before);
	done(arg, changed);
	return 0;
}

const char *
cred_secret(const struct cred *c, enum cred_kind kind)
{
	return in_force(c, kind)->text;
}

const char *
cred_identity(const struct cred *c)
{
	const struct secret *key = in_force(c, CRED_API_KEY);

	return key->text ? key->fingerprint
			 : in_force(c, CRED_TOKEN)->fingerprint;
}

uint64_t
cred_generation(const struct cred *c)
{
	return c->generation;
}

static int
write_all(int fd, const char *text, size_t n)
{
	ssize_t r;

	while (n > 0) {
		r = write(fd, text, n);
		if (r < 0)
			return -1;
		text += r;
		n -= (size_t)r;
	}
	return 0;
}

/* Replaces the file in one step, so that a crash leaves one or the other. */
static int
save(const char *path, const char *secret)
{
	char *temp = xasprintf("%s.new", path);
	int fd, r = -1;

	fd = open(
	    temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0) {
		if (write_all(fd, secret, strlen(secret)) == 0 &&
		    fsync(fd) == 0)
			r = 0;
		close(fd);
		if (r == 0)
			r = rename(temp, path);
		if (r < 0)
			unlink(temp);
	}
	free(temp);
	return r;
}

static const char *
format_fault(enum cred_kind kind, const char *secret)
{
	if (kind == CRED_API_KEY && strncmp(secret, "wrn_", 4) != 0)
		return "an API key starts with wrn_";
	if (kind == CRED_TOKEN && strncmp(secret, "eyJ", 3) != 0)
		return "a token (JWT) starts with eyJ";
	return NULL;
}

int
cred_set(struct cred *c, enum cred_kind kind, const char *secret, bool persist,
    struct rpc_error *ret)
{
	struct snapshot before;
	const char *why;

	why = format_fault(kind, secret);
	if (why == NULL) {
		snapshot_take(c, &before);
		why = secret_take(&c->set[kind], secret, strlen(secret), "set");
	}
	if (why != NULL) {
		rpc_error_set_param(ret, kind_names[kind], "parameter %s: %s",
		    kind_names[kind], why);
		return -EINVAL;
	}
	note_change(c, &before);
	if (persist && save(c->saved[kind], c->set[kind].text) < 0) {
		rpc_error_set(ret, RPC_STORE,
		    "the credential is in use now, but could not be kept in "
		    "%s: %m",
		    c->saved[kind]);
		return -EIO;
	}
	return 0;
}

int
cred_logout(struct cred *c, const struct settings *s, struct rpc_error *ret)
{
	struct snapshot before;
	int kind, r = 0;

	snapshot_take(c, &before);
	for (kind = 0; kind < CRED_KINDS; kind++) {
		secret_clear(&c->set[kind]);
		secret_clear(&c->env[kind]);
		if (unlink(c->saved[kind]) < 0 && errno != ENOENT) {
			rpc_error_set(ret, RPC_STORE, "%s: %m", c->saved[kind]);
			r = -EIO;
		}
	}
	read_sources(c, s);
	note_change(c, &before);
	return r;
}

int64_t
cred_token_expiry(const struct cred *c)
{
	return in_force(c, CRED_TOKEN)->expires_at;
}

static void
stamp_of(const char *path, struct stamp *ret)
{
	struct stat st;

	*ret = (struct stamp){ 0 };
	if (path == NULL || stat(path, &st) < 0)
		return;
	ret->dev = st.st_dev;
	ret->ino = st.st_ino;
	ret->size = st.st_size;
	ret->changed = st.st_ctim;
}

static bool
is_same_stamp(const struct stamp *a, const struct stamp *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       a->changed.tv_sec == b->changed.tv_sec &&
	       a->changed.tv_nsec == b->changed.tv_nsec;
}

bool
cred_files_changed(struct cred *c, const struct settings *s)
{
	const char *const files[] = { s->api_key_file, s->token_file };
	bool changed = false;
	struct stamp now;
	int kind;

	for (kind = 0; kind < CRED_KINDS; kind++) {
		stamp_of(files[kind], &now);
		if (!is_same_stamp(&now, &c->stamps[kind]))
			changed = true;
		c->stamps[kind] = now;
	}
	return changed;
}

struct json_object *
cred_describe(const struct cred *c, enum cred_kind kind)
{
	const struct secret *s = in_force(c, kind);
	struct json_object *o;

	if (s->text == NULL)
		return NULL;
	o = json_object_new_object();
	jx_add_str(o, "source", s->source);
	jx_add_strn(o, "fingerprint", s->fingerprint, CRED_FINGERPRINT);
	if (kind == CRED_TOKEN && s->expires_at != 0)
		jx_add_int(o, "expires_at", s->expires_at);
	return o;
}
