#include "daemon/url.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "proto/buf.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

static char *
part(CURLU *h, CURLUPart what)
{
	char *text = NULL, *copy = NULL;

	if (curl_url_get(h, what, &text, 0) == CURLUE_OK)
		copy = xstrdup(text);
	curl_free(text);
	return copy;
}

static bool
has_part(CURLU *h, CURLUPart what)
{
	char *text = part(h, what);
	bool has = text != NULL && text[0] != '\0';

	free(text);
	return has;
}

/* What makes it no base URL; NULL when nothing does. */
static const char *
fault_of(CURLU *h, const char *text)
{
	if (strncmp(text, "http://", 7) != 0 &&
	    strncmp(text, "https://", 8) != 0)
		return "it must start with https:// or http://";
	if (curl_url_set(h, CURLUPART_URL, text, 0) != CURLUE_OK)
		return "it is not a URL";
	if (has_part(h, CURLUPART_USER) || has_part(h, CURLUPART_PASSWORD))
		return "it must not hold a user name or password";
	if (has_part(h, CURLUPART_QUERY) || has_part(h, CURLUPART_FRAGMENT))
		return "it must not hold a query or fragment";
	return NULL;
}

static bool
is_loopback(const char *host)
{
	return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
	       (strncmp(host, "127.", 4) == 0 &&
		   strspn(host, "0123456789.") == strlen(host));
}

int
url_parse(struct url *u, const char *text, const char **ret_why)
{
	CURLU *h = curl_url();
	char *host, *port;
	size_t n;

	*u = (struct url){ 0 };
	*ret_why = fault_of(h, text);
	if (*ret_why != NULL) {
		curl_url_cleanup(h);
		return -EINVAL;
	}
	u->text = part(h, CURLUPART_URL);
	n = strlen(u->text);
	while (n > 0 && u->text[n - 1] == '/')
		u->text[--n] = '\0';
	u->tls = strncmp(u->text, "https:", 6) == 0;
	host = part(h, CURLUPART_HOST);
	port = part(h, CURLUPART_PORT);
	u->loopback = is_loopback(host);
	u->host = port ? xasprintf("%s:%s", host, port) : xstrdup(host);
	free(host);
	free(port);
	curl_url_cleanup(h);
	return 0;
}

void
url_release(struct url *u)
{
	free(u->text);
	free(u->host);
	*u = (struct url){ 0 };
}

int
url_add_encoded(struct buf *b, const char *text)
{
	const char *s;
	int r = 0;

	for (s = text; *s != '\0' && r == 0; s++) {
		if (isalnum((unsigned char)*s) || strchr("-._~", *s) != NULL)
			r = buf_add(b, s, 1);
		else
			r = buf_addf(b, "%%%02X", (unsigned char)*s);
	}
	return r;
}
