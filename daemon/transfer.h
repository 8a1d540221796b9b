/*
 * A file's bytes between a capsule and a data socket, of any size in flat
 * memory: each end waits for the other.
 */
#ifndef DAEMON_TRANSFER_H
#define DAEMON_TRANSFER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/rpc_error.h"

struct loop;
struct transfer;
struct uses;

struct transfer_spec {
	struct uses *uses;
	struct loop *loop;
	uid_t uid;
	const char *capsule; /* what the client wrote */
	const char *path;
	int auto_resume; /* as for use_spec */
	int64_t size;    /* of an upload; -1: until transfer_end() */
	/* Once: error is NULL when all `size` bytes went through. */
	void (*done)(void *arg, int64_t size, struct rpc_error *error);
	void *arg;
};

/*
 * Takes fd over in any case. NULL, with *why filled and done not called, when
 * there is no such capsule. done is never called before this returns.
 */
struct transfer *transfer_download(
    const struct transfer_spec *spec, int fd, struct rpc_error *why);
struct transfer *transfer_upload(
    const struct transfer_spec *spec, int fd, struct rpc_error *why);

/* The client says that the bytes before the socket's end are all. */
void transfer_end(struct transfer *t);

/* done is not called any more; upstream sees the transfer break off. */
void transfer_cancel(struct transfer *t);

#endif
