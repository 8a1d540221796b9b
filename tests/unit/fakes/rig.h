/*
 * All of the daemon below its protocol, over the fake loop and the fake
 * upstream, with a real store in a folder of its own.
 */
#ifndef TESTS_UNIT_FAKES_RIG_H
#define TESTS_UNIT_FAKES_RIG_H

#include "daemon/api.h"
#include "daemon/capsules.h"
#include "daemon/cred.h"
#include "daemon/keepalive.h"
#include "daemon/reaper.h"
#include "daemon/settings.h"
#include "daemon/store.h"
#include "daemon/tracker.h"
#include "daemon/use.h"
#include "daemon/wake.h"
#include "daemon/watch.h"
#include "tests/unit/fakes/fake_loop.h"
#include "tests/unit/fakes/fake_upstream.h"

#define RIG_UID 1000
#define RIG_KEY "wrn_0123456789abcdef0123456789abcdef"

/* Two capsule IDs. */
#define ID_A "cl-aaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "cl-bbbbbbbbbbbbbbbbbbbbbbbbb"

struct rig {
	char dir[32];
	struct settings settings;
	struct loop *loop;
	struct cred *cred;
	struct store *store;
	struct tracker *tracker;
	struct upstream *upstream;
	struct keepalive *keepalive;
	struct watches *watches;
	struct wakes *wakes;
	struct reaper *reaper;
	struct capsules *capsules;
	struct uses *uses;
	int commits; /* writes of the store that rig_sync() has seen */
};

/* For cmocka_unit_test_setup_teardown: *state is the rig. */
int rig_setup(void **state);
int rig_teardown(void **state);

/* As a restart of the daemon, over the same folder. */
void rig_restart(struct rig *r);

/* Until the store has answered all that was asked of it. */
void rig_sync(struct rig *r);

/* A capsule in the store, live, with that ID. */
struct capsule *rig_capsule(struct rig *r, const char *id);

/* The text of what was sent as request i is `text`, and it is the last. */
void rig_expect_sent(const struct rig *r, int i, const char *text);

/* Removes a folder with the files in it. */
void rig_remove_folder(const char *dir);

#endif
