#include "client/place.h"

#include <stdlib.h>
#include <string.h>

#include "proto/xalloc.h"

#include "proto/banned.h"

void
place_init(struct place *p, const char *word)
{
	const char *colon = strchr(word, ':');

	*p = (struct place){ .kind = PLACE_LOCAL };
	if (strcmp(word, "-") == 0)
		p->kind = PLACE_STDIO;
	else if (colon != NULL && colon != word && word[0] != '/' &&
		 word[0] != '.' &&
		 memchr(word, '/', (size_t)(colon - word)) == NULL)
		p->kind = PLACE_REMOTE;
	if (p->kind == PLACE_REMOTE) {
		p->capsule = xstrndup(word, (size_t)(colon - word));
		word = colon + 1;
	}
	p->path = xstrdup(word);
}

void
place_release(struct place *p)
{
	free(p->capsule);
	free(p->path);
	*p = (struct place){ .kind = PLACE_LOCAL };
}

char *
place_base_name(const struct place *p)
{
	size_t n = strlen(p->path), from;

	while (n > 0 && p->path[n - 1] == '/')
		n--;
	for (from = n; from > 0 && p->path[from - 1] != '/'; from--)
		continue;
	if (from == n || (n - from == 1 && p->path[from] == '.') ||
	    (n - from == 2 && memcmp(p->path + from, "..", 2) == 0))
		return NULL;
	return xstrndup(p->path + from, n - from);
}

void
place_append(struct place *p, const char *name)
{
	char *path = xasprintf(
	    "%s%s%s", p->path, place_ends_in_slash(p) ? "" : "/", name);

	free(p->path);
	p->path = path;
}

bool
place_ends_in_slash(const struct place *p)
{
	size_t n = strlen(p->path);

	return n > 0 && p->path[n - 1] == '/';
}
