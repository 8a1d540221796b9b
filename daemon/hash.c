#include "daemon/hash.h"

#include <stdlib.h>
#include <string.h>

#include "proto/xalloc.h"

#include "proto/banned.h"

#define SIZE_FIRST 16
#define MIX        UINT64_C(0x9e3779b97f4a7c15)

void
hash_release(struct hash *h)
{
	free(h->slots);
	*h = (struct hash){ 0 };
}

/* Eight bytes at a time; the high bits of a product know of all of them. */
static uint64_t
mix(uint64_t value, uint64_t word)
{
	value = (value ^ word) * MIX;
	return value ^ value >> 32;
}

uint64_t
hash_text(const char *text, size_t len, uint64_t seed)
{
	uint64_t value = mix(seed, len), word;

	for (; len >= sizeof(word); len -= sizeof(word)) {
		memcpy(&word, text, sizeof(word));
		value = mix(value, word);
		text += sizeof(word);
	}
	word = 0;
	memcpy(&word, text, len);
	return mix(value, word);
}

static struct hash_entry **
slot_of(const struct hash *h, uint64_t value)
{
	return &h->slots[value & (h->size - 1)];
}

static void
grow(struct hash *h)
{
	struct hash bigger = { .size = h->size ? 2 * h->size : SIZE_FIRST };
	struct hash_entry *e, **to;
	size_t i;

	bigger.slots = xcalloc(bigger.size, sizeof(struct hash_entry *));
	for (i = 0; i < h->size; i++) {
		while ((e = h->slots[i]) != NULL) {
			h->slots[i] = e->next;
			to = slot_of(&bigger, e->value);
			e->next = *to;
			*to = e;
		}
	}
	free(h->slots);
	h->slots = bigger.slots;
	h->size = bigger.size;
}

void
hash_add(struct hash *h, struct hash_entry *e, uint64_t value)
{
	struct hash_entry **slot;

	if (h->count == h->size)
		grow(h);
	slot = slot_of(h, value);
	e->value = value;
	e->next = *slot;
	e->linked = true;
	*slot = e;
	h->count++;
}

void
hash_remove(struct hash *h, struct hash_entry *e)
{
	struct hash_entry **at;

	if (!e->linked)
		return;
	for (at = slot_of(h, e->value); *at != e;)
		at = &(*at)->next;
	*at = e->next;
	e->linked = false;
	h->count--;
}

static struct hash_entry *
skip_others(struct hash_entry *e, uint64_t value)
{
	while (e != NULL && e->value != value)
		e = e->next;
	return e;
}

struct hash_entry *
hash_first(const struct hash *h, uint64_t value)
{
	return h->size ? skip_others(*slot_of(h, value), value) : NULL;
}

struct hash_entry *
hash_next(const struct hash_entry *e)
{
	return skip_others(e->next, e->value);
}
