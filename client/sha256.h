/*
 * SHA-256 (FIPS 180-4) of a short text. Here, and not from OpenSSL, because
 * wrennctl links nothing but libc and json-c; it names keys, it guards none.
 */
#ifndef CLIENT_SHA256_H
#define CLIENT_SHA256_H

#include <stddef.h>

#define SHA256_HEX 64

/* The digest as lower-case hexadecimal digits and a NUL. */
void sha256_hex(const void *data, size_t n, char ret_hex[SHA256_HEX + 1]);

#endif
