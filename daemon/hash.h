/*
 * A table of what is found by a text: each thing embeds an entry. Entries
 * with one value are told apart by the caller, who knows what they hash. Only
 * hash_release() frees memory, and not that of the entries.
 */
#ifndef DAEMON_HASH_H
#define DAEMON_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hash_entry {
	struct hash_entry *next;
	uint64_t value;
	bool linked; /* it is in a table */
};

/* Zeroed is empty. */
struct hash {
	struct hash_entry **slots; /* a power of two, or none yet */
	size_t size, count;
};

void hash_release(struct hash *h);

/* `seed` makes values of one text differ, such as a user's. */
uint64_t hash_text(const char *text, size_t len, uint64_t seed);

void hash_add(struct hash *h, struct hash_entry *e, uint64_t value);
void hash_remove(struct hash *h, struct hash_entry *e); /* if it is there */

/* Those with that value: the first, and the next; NULL when there is none. */
struct hash_entry *hash_first(const struct hash *h, uint64_t value);
struct hash_entry *hash_next(const struct hash_entry *e);

/* The struct of that type that has e as that member. */
#define hash_owner(e, type, member) \
	((type *)(void *)((char *)(e)-offsetof(type, member)))

#endif
