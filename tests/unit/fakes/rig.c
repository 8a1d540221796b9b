#include "tests/unit/fakes/rig.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/unit.h"

#include "daemon/log.h"
#include "proto/rpc_error.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void
rig_remove_folder(const char *dir)
{
	assert_int_equal(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void
start(struct rig *r)
{
	struct capsules_parts parts;
	struct rpc_error e;

	r->loop = loop_new();
	r->cred = cred_new(r->loop, &r->settings);
	assert_non_null(r->cred);
	assert_int_equal(
	    cred_set(r->cred, CRED_API_KEY, RIG_KEY, false, &e), 0);
	r->store = store_open(r->loop, r->dir, false);
	assert_non_null(r->store);
	r->tracker = tracker_new(r->loop, r->store);
	assert_non_null(r->tracker);
	r->upstream = upstream_new(r->loop, &r->settings, r->cred);
	r->keepalive = keepalive_new(r->loop, r->upstream);
	r->watches = watches_new(r->loop, r->upstream);
	r->wakes = wakes_new(r->upstream, r->watches);
	r->reaper = reaper_new(r->loop, r->upstream, r->tracker, r->cred);
	parts = (struct capsules_parts){
		.loop = r->loop,
		.upstream = r->upstream,
		.tracker = r->tracker,
		.watches = r->watches,
		.reaper = r->reaper,
		.cred = r->cred,
	};
	r->capsules = capsules_new(&parts, &r->settings);
	r->uses =
	    uses_new(r->loop, r->capsules, r->upstream, r->keepalive, r->wakes);
}

/* In the order of daemon.c. */
static void
stop(struct rig *r)
{
	store_close(r->store);
	reaper_free(r->reaper);
	capsules_free(r->capsules);
	uses_free(r->uses);
	wakes_free(r->wakes);
	watches_free(r->watches);
	keepalive_free(r->keepalive);
	tracker_free(r->tracker);
	upstream_free(r->upstream);
	cred_free(r->cred);
	loop_free(r->loop);
}

int
rig_setup(void **state)
{
	struct rig *r = xcalloc(1, sizeof(*r));

	log_set_level(LOG_ERROR);
	snprintf(r->dir, sizeof(r->dir), "/tmp/test-rig-XXXXXX");
	if (mkdtemp(r->dir) == NULL)
		return -1;
	r->settings.state_dir = r->dir;
	r->settings.base_url = xstrdup("https://upstream.test");
	r->settings.default_timeout_s = 300;
	r->settings.auto_resume = true;
	r->settings.calls_per_client = 8;
	r->settings.clients_per_uid = 8;
	unsetenv("CREDENTIALS_DIRECTORY");
	start(r);
	*state = r;
	return 0;
}

int
rig_teardown(void **state)
{
	struct rig *r = *state;

	stop(r);
	free(r->settings.base_url);
	rig_remove_folder(r->dir);
	free(r);
	return 0;
}

void
rig_restart(struct rig *r)
{
	stop(r);
	start(r);
}

static void
committed(void *arg, int error)
{
	struct rig *r = arg;

	if (error != -ECANCELED)
		r->commits++;
}

void
rig_sync(struct rig *r)
{
	store_probe(r->store, committed, r);
	fake_loop_until(r->loop, &r->commits, r->commits + 1);
	fake_loop_settle(r->loop);
}

struct capsule *
rig_capsule(struct rig *r, const char *id)
{
	struct capsule_row row = {
		.state = CAPSULE_LIVE,
		.uid = RIG_UID,
		.base_url = r->settings.base_url,
		.template = "minimal",
		.timeout_s = 300,
		.keepalive = true,
		.auto_resume = -1,
	};
	struct capsule *c;

	snprintf(
	    row.identity, sizeof(row.identity), "%s", cred_identity(r->cred));
	c = tracker_add(r->tracker, &row);
	tracker_set_id(r->tracker, c, id);
	tracker_save(r->tracker, c, NULL, NULL);
	rig_sync(r);
	return c;
}

void
rig_expect_sent(const struct rig *r, int i, const char *text)
{
	assert_string_equal(fake_upstream_sent(r->upstream, i), text);
	assert_int_equal(*fake_upstream_count(r->upstream), i + 1);
}
