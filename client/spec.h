/*
 * What a capsule should be like: the options that `create` and `run` share,
 * and the parameters of capsule.create they become.
 */
#ifndef CLIENT_SPEC_H
#define CLIENT_SPEC_H

#include "client/opt.h"

struct json_object;
struct wrenn_error;

struct spec {
	const char *template;
	const char *name;
	struct opt_int cpus;
	struct opt_int memory;
	struct opt_list labels;
};

/* The rows of a table whose values have a struct spec named `spec`. */
/* clang-format off */
#define SPEC_OPTS(type) \
	{ "template", 't', OPT_TEXT, "NAME", "template or snapshot to start from", offsetof(type, spec.template) }, \
	{ "cpus", 0, OPT_COUNT, "N", "virtual CPUs", offsetof(type, spec.cpus) }, \
	{ "memory", 0, OPT_MEMORY, "SIZE", "memory, such as 512M or 2G", offsetof(type, spec.memory) }, \
	{ "name", 0, OPT_TEXT, "NAME", "your name for it, unique among your capsules", offsetof(type, spec.name) }, \
	{ "label", 0, OPT_LIST, "KEY=VALUE", "a label of yours; may be given several times", offsetof(type, spec.labels) }
/* clang-format on */

/* A new object of parameters; NULL with a usage error. */
struct json_object *spec_params(const struct spec *s, struct wrenn_error *err);

#endif
