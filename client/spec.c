#include "client/spec.h"

#include <json-c/json.h>

#include "client/cmd.h"
#include "proto/jx.h"

#include "proto/banned.h"

struct json_object *
spec_params(const struct spec *s, struct wrenn_error *err)
{
	struct json_object *params = json_object_new_object();

	if (s->template != NULL)
		jx_add_str(params, "template", s->template);
	if (s->cpus.set)
		jx_add_int(params, "vcpus", s->cpus.n);
	if (s->memory.set)
		jx_add_int(params, "memory_mb", s->memory.n);
	if (s->name != NULL)
		jx_add_str(params, "name", s->name);
	if (ctl_add_map(params, "labels", &s->labels, false, err) < 0) {
		json_object_put(params);
		return NULL;
	}
	return params;
}
