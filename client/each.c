#include "client/each.h"

#include <json-c/json.h>

#include "client/cmd.h"
#include "client/wrenn_priv.h"
#include "proto/jx.h"

#include "proto/banned.h"

/* The answer about one of them. */
static int
take_one(struct ctl *ctl, const struct each *e, int64_t id, const char *name,
    bool many)
{
	struct json_object *result;
	struct wrenn_error err;
	const char *printed;

	if (wrenn_wait(ctl->w, id, CALL_TIMEOUT_MS, &result, &err) < 0) {
		if (many && !ctl->out.json)
			ctl_name_in_error(&err, name);
		return ctl_fail(ctl, &err);
	}
	printed = jx_str(result, "id");
	if (printed == NULL && e->print_name)
		printed = name;
	if (ctl->out.json) {
		out_json(&ctl->out, result);
	} else if (printed != NULL) {
		out_text(&ctl->out, printed);
		out_bytes(&ctl->out, "\n", 1);
	}
	json_object_put(result);
	return EXIT_OK;
}

static int64_t
send_one(struct ctl *ctl, const struct each *e, const char *name,
    struct wrenn_error *err)
{
	struct json_object *params = json_object_new_object();
	int64_t id;

	if (e->common != NULL) {
		json_object_object_foreach(e->common, key, value)
			jx_add(params, key, json_object_get(value));
	}
	jx_add_str(params, e->param, name);
	id = wrenn_send(ctl->w, e->method, params, err);
	json_object_put(params);
	return id;
}

int
each_call(struct ctl *ctl, const struct each *e, char **names)
{
	int64_t ids[CMD_PIPELINE];
	struct wrenn_error err;
	size_t sent = 0, taken = 0;
	int status = EXIT_OK, r;

	if (ctl_open(ctl, &err) < 0)
		return ctl_fail(ctl, &err);
	while (names[taken] != NULL) {
		if (names[sent] != NULL && sent - taken < CMD_PIPELINE) {
			r = EXIT_OK;
			ids[sent % CMD_PIPELINE] =
			    send_one(ctl, e, names[sent], &err);
			if (ids[sent++ % CMD_PIPELINE] < 0)
				r = ctl_fail(ctl, &err);
		} else if (ids[taken % CMD_PIPELINE] < 0) {
			taken++;
			continue;
		} else {
			r = take_one(ctl, e, ids[taken % CMD_PIPELINE],
			    names[taken], names[1] != NULL);
			taken++;
		}
		if (status == EXIT_OK)
			status = r;
	}
	return status;
}
