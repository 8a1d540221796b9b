#include <string.h>

#include "daemon/api_team.h"
#include "daemon/dispatch.h"
#include "daemon/relay.h"
#include "proto/jx.h"

#include "proto/banned.h"

static const struct relay_spec object = { .answer = RELAY_OBJECT };
static const struct relay_spec nothing = { .answer = RELAY_NOTHING };

static const char *
host_of(const struct call *c)
{
	return jx_str(c->params, "host");
}

void
m_host_create(struct call *c)
{
	relay(c, api_host_create(c->params), &object);
}

void
m_host_list(struct call *c)
{
	static const struct relay_spec hosts = { .answer = RELAY_LIST,
		.list = "hosts" };

	relay(c, api_host_list(), &hosts);
}

void
m_host_get(struct call *c)
{
	relay(c, api_host_get(host_of(c), ""), &object);
}

void
m_host_delete_preview(struct call *c)
{
	relay(c, api_host_get(host_of(c), "/delete-preview"), &object);
}

void
m_host_delete(struct call *c)
{
	relay(c,
	    api_host_delete(host_of(c), jx_bool(c->params, "force", false)),
	    &nothing);
}

void
m_host_regenerate_token(struct call *c)
{
	relay(c, api_host_token(host_of(c)), &object);
}

void
m_host_list_tags(struct call *c)
{
	static const struct relay_spec tags = { .answer = RELAY_LIST,
		.list = "tags" };

	relay(c, api_host_get(host_of(c), "/tags"), &tags);
}

/*
 * The tag, if it can be a segment of a path: ".." would climb to the host
 * itself, with a DELETE, and so might a slash, however it is encoded, where a
 * proxy decodes what it passes on. NULL when the call has failed for it.
 */
static const char *
tag_of(struct call *c)
{
	const char *tag = jx_str(c->params, "tag"), *s;
	struct rpc_error why;

	for (s = tag;
	     (unsigned char)*s >= ' ' && *s != 0x7f && *s != '/' && *s != '\\';
	     s++)
		;
	if (*s == '\0' && strcmp(tag, ".") != 0 && strcmp(tag, "..") != 0)
		return tag;
	rpc_error_set_param(&why, "tag",
	    "parameter tag must be without slashes and control characters, "
	    "and not . or ..");
	call_fail(c, &why);
	return NULL;
}

void
m_host_add_tag(struct call *c)
{
	const char *tag = tag_of(c);

	if (tag != NULL)
		relay(c, api_host_add_tag(host_of(c), tag), &nothing);
}

void
m_host_remove_tag(struct call *c)
{
	const char *tag = tag_of(c);

	if (tag != NULL)
		relay(c, api_host_remove_tag(host_of(c), tag), &nothing);
}
