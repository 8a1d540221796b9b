/*
 * The credentials: one API key and one token (JWT), for one base URL. The
 * secrets live in OpenSSL's secure heap and leave this module only as the
 * header line of a request.
 *
 * Where they come from, first hit wins: set over the protocol (kept in
 * STATE_DIR/{api_key,token}, mode 0600);
 * $CREDENTIALS_DIRECTORY/{api_key,token}; api_key_file and token_file;
 * api_key_command; WRENN_API_KEY and WRENN_TOKEN, whose bytes in the
 * environment are overwritten.
 */
#ifndef DAEMON_CRED_H
#define DAEMON_CRED_H

#include <stdbool.h>
#include <stdint.h>

struct cred;
struct json_object;
struct loop;
struct rpc_error;
struct settings;

enum cred_kind { CRED_API_KEY, CRED_TOKEN, CRED_KINDS };

#define CRED_FINGERPRINT 12 /* hexadecimal digits shown to people */
#define CRED_IDENTITY    64 /* hexadecimal digits of the whole SHA-256 */

/* No core, not dumpable, secure heap up. Before any secret is read. */
int cred_process_init(void);

/*
 * Reads every source but the command, which cred_reload() runs on the loop.
 * NULL after having said on stderr what is wrong (a file that others can
 * read, or that is empty).
 */
struct cred *cred_new(struct loop *l, const struct settings *s);
void cred_free(struct cred *c);

/*
 * Reads the files and runs the command anew; `done` is called on the loop
 * with whether anything changed. At most one at a time; -EBUSY.
 */
int cred_reload(struct cred *c, const struct settings *s,
    void (*done)(void *arg, bool changed), void *arg);

/* NULL when there is none of that kind; else NUL-terminated. */
const char *cred_secret(const struct cred *c, enum cred_kind kind);

/*
 * SHA-256 in hexadecimal of the credential that capsules are made with: the
 * API key, else the token; "" when there is neither.
 */
const char *cred_identity(const struct cred *c);

/* Grows whenever a secret changes. */
uint64_t cred_generation(const struct cred *c);

/* 0, or -EINVAL / -EIO with *ret filled. Wipes nothing of the caller's. */
int cred_set(struct cred *c, enum cred_kind kind, const char *secret,
    bool persist, struct rpc_error *ret);

/* Forgets what was set over the protocol, then reads the sources again. */
int cred_logout(
    struct cred *c, const struct settings *s, struct rpc_error *ret);

/*
 * When the token in force ends, in seconds since 1970, as it says itself; 0
 * when it does not say, or there is none.
 */
int64_t cred_token_expiry(const struct cred *c);

/*
 * Whether a key file is another one than was read: by its time of change,
 * number and size.
 */
bool cred_files_changed(struct cred *c, const struct settings *s);

/* {source, fingerprint, expires_at?} of one kind, or NULL. */
struct json_object *cred_describe(const struct cred *c, enum cred_kind kind);

#endif
