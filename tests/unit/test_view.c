#include <stdbool.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "daemon/tracker.h"
#include "daemon/view.h"
#include "proto/json_check.h"
#include "proto/json_out.h"

#include "proto/banned.h"

#define OURS                                                          \
	"\"tracked\":true,\"name\":\"web\",\"labels\":{\"a\":\"b\"}," \
	"\"lease\":{\"type\":\"none\"},\"record\":\"live\"}"

static char labels[] = "{\"a\":\"b\"}";

static const struct capsule web = { .row = { .record = "rec-1",
					.id = "cl-1",
					.state = CAPSULE_LIVE,
					.name = "web",
					.labels = labels,
					.template = "minimal",
					.timeout_s = 300 } };

/* What clients see of upstream's text, which is NULL if it was not asked. */
static void
assert_view(const struct capsule *c, const char *text, const char *wanted)
{
	struct json_check_fault fault;
	struct json_out out;
	struct shown s;
	struct buf b;

	buf_init(&b, 1000);
	json_out_init(&out, &b);
	if (text != NULL)
		assert_true(shown_init(&s, text, strlen(text)));
	view_print(&out, c, text ? &s : NULL);
	assert_int_equal(out.error, 0);
	assert_string_equal(buf_str(&b), wanted);
	assert_int_equal(json_check(buf_head(&b), b.len, &fault), 0);
	buf_release(&b);
}

static void
upstreams_bytes_come_first_and_as_they_were(void **state)
{
	(void)state;
	assert_view(&web,
	    "{\"id\":\"cl-1\",\"cpu\":1.50,\"big\":123456789012345678901,"
	    "\"s\":\"\\u0061\\/\"}",
	    "{\"id\":\"cl-1\",\"cpu\":1.50,\"big\":123456789012345678901,"
	    "\"s\":\"\\u0061\\/\"," OURS);
	assert_view(
	    &web, " {\n  \"id\": \"cl-1\"\n}\n", "{\"id\": \"cl-1\" ," OURS);
	assert_view(&web, "{ }", "{" OURS);
}

static void
where_both_have_a_member_ours_counts(void **state)
{
	(void)state;
	assert_view(&web,
	    "{\"name\":\"x\",\"id\":\"cl-1\",\"l\\u0061bels\":[\n],"
	    "\"lease\":1,\"record\":\"\",\"tracked\":false,\"z\" : [\n2]}",
	    "{\"id\":\"cl-1\",\"z\":[ 2]," OURS);
	assert_view(&web, "{\"name\":{\"id\":1}}", "{" OURS);
}

/* Of one that is not on record all but one member are upstream's. */
static void
what_is_not_on_record_is_passed_on(void **state)
{
	(void)state;
	assert_view(NULL, "{\"id\":\"cl-2\",\"status\":\"running\"}",
	    "{\"id\":\"cl-2\",\"status\":\"running\",\"tracked\":false}");
	assert_view(NULL, "{\"name\":\"x\",\"tracked\":1,\"record\":2}",
	    "{\"name\":\"x\",\"record\":2,\"tracked\":false}");
	assert_view(NULL, "{}", "{\"tracked\":false}");
}

static void
a_record_is_shown_without_upstream(void **state)
{
	struct capsule c = web;

	(void)state;
	assert_view(&c, NULL,
	    "{\"id\":\"cl-1\",\"status\":\"unlisted\",\"template\":"
	    "\"minimal\",\"timeout_sec\":300," OURS);
	c.row.state = CAPSULE_UNCERTAIN;
	c.row.id[0] = c.row.name[0] = '\0';
	c.row.labels = NULL;
	c.row.vcpus = 2;
	c.row.memory_mb = 512;
	assert_view(&c, "",
	    "{\"id\":\"rec-1\",\"status\":\"uncertain\",\"template\":"
	    "\"minimal\",\"vcpus\":2,\"memory_mb\":512,\"timeout_sec\":300,"
	    "\"tracked\":true,\"name\":null,\"labels\":{},"
	    "\"lease\":{\"type\":\"none\"},\"record\":\"uncertain\"}");
	c.row.state = CAPSULE_GONE;
	assert_true(web.row.state == CAPSULE_LIVE);
}

/* The ID and the status of an object, or that it is none. */
static void
assert_shown(const char *text, const char *id, const char *status)
{
	struct shown s;
	bool ok = shown_init(&s, text, strlen(text));

	assert_int_equal(ok, id != NULL);
	if (!ok)
		return;
	assert_string_equal(s.id, id);
	assert_string_equal(s.status, status);
}

static void
id_and_status_are_taken_from_the_text(void **state)
{
	(void)state;
	assert_shown(
	    "{\"id\":\"cl-1\",\"status\":\"running\"}", "cl-1", "running");
	assert_shown("{\"st\\u0061tus\":\"p\\u0061used\",\"i\\u0064\":\"c\"}",
	    "c", "paused");
	assert_shown("{\"a\":{\"id\":\"c\",\"status\":\"s\"}}", "", "");
	assert_shown("{\"id\":1,\"status\":[\"running\"]}", "", "");
	assert_shown("{\"id\":null,\"status\":\"\"}", "", "");
	assert_shown("{\"status\":\"runn\\u0000ng\"}", "", "");
	/* Too long for any that there is. */
	assert_shown("{\"status\":\"running, and a lot more\",\"id\":"
		     "\"cl-0123456789012345678901234567890\"}",
	    "", "");
	assert_shown("{\"status\":\"fifteen letters\",\"id\":"
		     "\"cl-0123456789012345678901234567\"}",
	    "cl-0123456789012345678901234567", "fifteen letters");
	assert_shown("", "", "");
	assert_shown("[{\"id\":\"c\"}]", NULL, NULL);
	assert_shown("\"{\"", NULL, NULL);
	assert_shown(" null", NULL, NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(upstreams_bytes_come_first_and_as_they_were),
		cmocka_unit_test(where_both_have_a_member_ours_counts),
		cmocka_unit_test(what_is_not_on_record_is_passed_on),
		cmocka_unit_test(a_record_is_shown_without_upstream),
		cmocka_unit_test(id_and_status_are_taken_from_the_text),
	};

	return cmocka_run_group_tests_name("view", tests, NULL, NULL);
}
