/*
 * Every limit on what a peer may send or hold, with its reason. Both ends
 * use them; docs/PROTOCOL.md states them. Sizes are bytes.
 */
#ifndef PROTO_LIMITS_H
#define PROTO_LIMITS_H

/* One request line without its newline: room for a file of 700 kB in base64. */
#define LIMIT_REQUEST_LINE (1024 * 1024)

/*
 * One answer line: a whole text file or command output. Larger ones go
 * through a passed descriptor. The client library refuses longer lines.
 */
#define LIMIT_ANSWER_LINE (16 * 1024 * 1024)

/* Nesting of arrays and objects: our own messages need 5, json-c allows 32. */
#define LIMIT_JSON_DEPTH 32

/*
 * Values in one message: json-c spends about 100 bytes on each. Texts above
 * LIMIT_REQUEST_LINE, which only upstream and wrennd send, may hold more.
 */
#define LIMIT_JSON_VALUES 65536

/* Requests in one batch, as many as one client may have in flight at once. */
#define LIMIT_BATCH 64

/* Text of an id, echoed with every answer: a UUID is 38 bytes. */
#define LIMIT_ID 128

/* Descriptors with one request: stdin, stdout and stderr. */
#define LIMIT_FDS 3

/* Calls in flight of one client before it is told "busy". */
#define LIMIT_CALLS_PER_PEER 256

/* Clients of one user id: a machine full of editors and agents, not a flood. */
#define LIMIT_PEERS_PER_UID 256

/* Clients in all; each idle one costs some 3 kB. */
#define LIMIT_PEERS 1024

/*
 * Answers queued for a client that does not read. Above SOFT its requests are
 * no longer read; at HARD it is dropped, since every queued answer was asked
 * for while it was still below SOFT.
 */
#define LIMIT_OUTPUT_SOFT (256 * 1024)
#define LIMIT_OUTPUT_HARD (2 * LIMIT_ANSWER_LINE + LIMIT_OUTPUT_SOFT)

/*
 * Answers queued for all clients of one user id. Beyond it each of them still
 * gets what lies below its LIMIT_OUTPUT_SOFT: small answers are never lost
 * because other clients do not read theirs.
 */
#define LIMIT_OUTPUT_PER_UID (64 * 1024 * 1024)

/*
 * Answers of upstream that are being received into memory, all together. One
 * client may ask for hundreds of large ones before the first is there.
 */
#define LIMIT_BODIES (64 * 1024 * 1024)

/* A message of a stream upstream: its chunks are of some 32 KiB. */
#define LIMIT_STREAM_MESSAGE (4 * 1024 * 1024)

/* An answer of upstream up to here is received whatever else is. */
#define LIMIT_BODY_SMALL (256 * 1024)

/* A client above LIMIT_OUTPUT_SOFT that reads nothing so long is dropped. */
#define LIMIT_STALL_MS 60000

/* Requests of one client that are started in one turn of the loop. */
#define LIMIT_REQUESTS_PER_TURN 32

/* Strings: names and labels are for people, paths are PATH_MAX. */
#define LIMIT_NAME        64
#define LIMIT_LABELS      32
#define LIMIT_LABEL_KEY   64
#define LIMIT_LABEL_VALUE 256
#define LIMIT_PATH        4096
#define LIMIT_ARGS        4096
#define LIMIT_ARG         131072 /* MAX_ARG_STRLEN of Linux */
#define LIMIT_ENVS        1024
#define LIMIT_SECRET      8192 /* a JWT is about 1 kB */

/* Text of an error message, upstream's own included. */
#define LIMIT_ERROR_MESSAGE 512

#endif
