#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <json-c/json.h>

#include "tests/unit/unit.h"

#include "client/wrenn.h"
#include "proto/jx.h"
#include "tests/unit/fake_wrennd.h"

#include "proto/banned.h"

#define SIZE      3000000 /* more than any socket buffer holds */
#define SIZE_TEXT "3000000"

static const struct wrenn_transfer quick = { .timeout_ms = 10000 };

/* One connection, a local file and the parameters of a transfer. */
struct fixture {
	struct fake_wrennd f;
	struct wrenn *w;
	struct json_object *params;
	FILE *file;
	struct wrenn_error err;
	uint64_t size; /* what the transfer says has passed */
};

/* The n-th byte of every file here. */
static char
byte_at(size_t n)
{
	return (char)(n * 31 % 251);
}

static void
begin(struct fixture *x, void (*serve)(struct fake_wrennd *))
{
	struct wrenn_options o = { .socket = x->f.path };

	fake_start(&x->f, serve);
	assert_int_equal(wrenn_open(&o, &x->w, &x->err), 0);
	x->params = json_object_new_object();
	jx_add_str(x->params, "capsule", "c");
	jx_add_str(x->params, "path", "/p");
	x->file = tmpfile();
	assert_non_null(x->file);
	x->size = 0;
}

static void
end(struct fixture *x)
{
	json_object_put(x->params);
	fclose(x->file);
	wrenn_close(x->w);
	fake_stop(&x->f);
}

static void
assert_error(struct wrenn_error *err, const char *name)
{
	assert_string_equal(err->name, name);
	wrenn_error_release(err);
}

/* Takes file.read and writes n bytes to the descriptor that came along. */
static void
serve_bytes(struct fake_wrennd *f, size_t n)
{
	size_t i;
	char *bytes = malloc(n + 1);

	fake_must(bytes != NULL, "malloc");
	for (i = 0; i < n; i++)
		bytes[i] = byte_at(i);
	fake_expect(f, "\"method\":\"file.read\",\"params\":{\"capsule\":\"c\","
		       "\"path\":\"/p\"},\"fds\":[\"data\"]}");
	fake_must(f->passed_fd >= 0, "no descriptor came");
	for (i = 0; i < n;) {
		ssize_t r = send(f->passed_fd, bytes + i, n - i, MSG_NOSIGNAL);

		if (r <= 0)
			break;
		i += (size_t)r;
	}
	free(bytes);
	close(f->passed_fd);
}

static void
serve_file(struct fake_wrennd *f)
{
	serve_bytes(f, SIZE);
	fake_send(f,
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"size\":" SIZE_TEXT
	    "}}\n");
}

static void
note_progress(uint64_t bytes, void *arg)
{
	*(uint64_t *)arg = bytes;
}

static void
test_read(void **state)
{
	struct wrenn_transfer t = quick;
	struct fixture x;
	uint64_t seen = 0;
	char *bytes = malloc(SIZE + 1);
	size_t i;

	(void)state;
	assert_non_null(bytes);
	begin(&x, serve_file);
	t.progress = note_progress;
	t.arg = &seen;
	assert_int_equal(wrenn_file_read_to_fd(x.w, x.params, fileno(x.file),
			     &t, &x.size, &x.err),
	    0);
	assert_int_equal(x.size, SIZE);
	assert_int_equal(seen, SIZE);
	rewind(x.file);
	assert_int_equal(fread(bytes, 1, SIZE + 1, x.file), SIZE);
	for (i = 0; i < SIZE && bytes[i] == byte_at(i); i++)
		continue;
	assert_int_equal(i, SIZE);
	free(bytes);
	end(&x);
}

static void
serve_too_few(struct fake_wrennd *f)
{
	serve_bytes(f, 1000);
	fake_send(
	    f, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"size\":1001}}\n");
}

static void
serve_without_size(struct fake_wrennd *f)
{
	serve_bytes(f, 1000);
	fake_send(f, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n");
}

static void
serve_read_error(struct fake_wrennd *f)
{
	serve_bytes(f, 1000);
	fake_send(f,
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32020,"
	    "\"message\":\"cut\",\"data\":{\"name\":\"truncated\"}}}\n");
}

static void
serve_read_hang_up(struct fake_wrennd *f)
{
	serve_bytes(f, 1000);
}

/* The end of the bytes alone never counts as success. */
static void
test_read_that_breaks_off(void **state)
{
	static const struct {
		void (*serve)(struct fake_wrennd *);
		const char *name;
	} cases[] = {
		{ serve_too_few, "truncated" },
		{ serve_without_size, "protocol" },
		{ serve_read_error, "truncated" },
		{ serve_read_hang_up, "daemon_lost" },
	};
	struct fixture x;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		begin(&x, cases[i].serve);
		assert_int_equal(wrenn_file_read_to_fd(x.w, x.params,
				     fileno(x.file), &quick, &x.size, &x.err),
		    -1);
		assert_error(&x.err, cases[i].name);
		end(&x);
	}
}

static void
serve_until_cancel(struct fake_wrennd *f)
{
	serve_bytes(f, SIZE);
	fake_expect(f, "\"method\":\"call.cancel\",\"params\":{\"call\":1}");
}

/* Raises no SIGPIPE either, which would end this program. */
static void
test_read_into_a_closed_pipe(void **state)
{
	struct fixture x;
	int ends[2];

	(void)state;
	begin(&x, serve_until_cancel);
	assert_int_equal(pipe(ends), 0);
	close(ends[0]);
	assert_int_equal(wrenn_file_read_to_fd(
			     x.w, x.params, ends[1], &quick, &x.size, &x.err),
	    -1);
	assert_string_equal(x.err.message, "cannot write: Broken pipe");
	assert_error(&x.err, "local");
	close(ends[1]);
	end(&x);
}

static void
test_read_interrupted(void **state)
{
	volatile sig_atomic_t flag = 1;
	struct fixture x;

	(void)state;
	begin(&x, serve_until_cancel);
	wrenn_set_interrupt(x.w, &flag);
	assert_int_equal(wrenn_file_read_to_fd(x.w, x.params, fileno(x.file),
			     &quick, &x.size, &x.err),
	    -1);
	assert_error(&x.err, "cancelled");
	end(&x);
}

/* Takes file.write with the members given; the number of bytes to the end. */
static size_t
serve_input(struct fake_wrennd *f, const char *members)
{
	char chunk[4096];
	size_t n = 0, i;
	ssize_t r;

	fake_expect(f, members);
	fake_must(f->passed_fd >= 0, "no descriptor came");
	while ((r = recv(f->passed_fd, chunk, sizeof(chunk), 0)) > 0)
		for (i = 0; i < (size_t)r; i++, n++)
			fake_must(chunk[i] == byte_at(n), "another byte came");
	return n;
}

static void
serve_sized_input(struct fake_wrennd *f)
{
	fake_must(serve_input(f, "\"size\":" SIZE_TEXT "}") == SIZE, "size");
	close(f->passed_fd);
	fake_send(f,
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"size\":" SIZE_TEXT
	    "}}\n");
	/* Nothing follows where the size said enough. */
	fake_must(!fake_read_line(f), "another line came");
}

static void
serve_open_input(struct fake_wrennd *f)
{
	fake_must(serve_input(f, "\"path\":\"/p\"}") == SIZE, "size");
	close(f->passed_fd);
	fake_expect(f, "{\"jsonrpc\":\"2.0\",\"method\":\"call.end\","
		       "\"params\":{\"call\":1}}");
	fake_send(f,
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"size\":" SIZE_TEXT
	    "}}\n");
}

static void
fill(struct fixture *x, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		putc(byte_at(i), x->file);
	rewind(x->file);
}

static void
test_write_of_known_size(void **state)
{
	struct fixture x;

	(void)state;
	begin(&x, serve_sized_input);
	fill(&x, SIZE);
	jx_add_int(x.params, "size", SIZE);
	assert_int_equal(wrenn_file_write_from_fd(x.w, x.params, fileno(x.file),
			     &quick, &x.size, &x.err),
	    0);
	assert_int_equal(x.size, SIZE);
	end(&x);
}

static void
test_write_of_unknown_size(void **state)
{
	struct fixture x;

	(void)state;
	begin(&x, serve_open_input);
	fill(&x, SIZE);
	assert_int_equal(wrenn_file_write_from_fd(x.w, x.params, fileno(x.file),
			     &quick, &x.size, &x.err),
	    0);
	assert_int_equal(x.size, SIZE);
	end(&x);
}

/* All that comes for a file that is then found to be of another length. */
static void
serve_cancelled_input(struct fake_wrennd *f)
{
	fake_must(serve_input(f, "\"size\":") <= 1000, "too many bytes");
	close(f->passed_fd);
	fake_expect(f, "\"method\":\"call.cancel\",\"params\":{\"call\":1}");
}

/* A file that is not as long as was said is never sent as if it were. */
static void
test_write_of_a_file_that_changed(void **state)
{
	static const struct {
		int64_t announced;
		const char *word;
	} cases[] = { { 500, "grew" }, { 0, "grew" }, { 1500, "shrank" } };
	struct fixture x;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		begin(&x, serve_cancelled_input);
		fill(&x, 1000);
		jx_add_int(x.params, "size", cases[i].announced);
		assert_int_equal(wrenn_file_write_from_fd(x.w, x.params,
				     fileno(x.file), &quick, &x.size, &x.err),
		    -1);
		assert_non_null(strstr(x.err.message, cases[i].word));
		assert_error(&x.err, "local");
		end(&x);
	}
}

/* Refuses the call without reading a byte of what is sent. */
static void
serve_refusal(struct fake_wrennd *f)
{
	fake_expect(f, "file.write");
	fake_send(f,
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32003,"
	    "\"message\":\"no\",\"data\":{\"name\":\"forbidden\"}}}\n");
	fake_must(!fake_read_line(f), "another line came");
	close(f->passed_fd);
}

static void
serve_refusal_closed(struct fake_wrennd *f)
{
	fake_expect(f, "file.write");
	close(f->passed_fd);
	fake_send(f,
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32003,"
	    "\"message\":\"no\",\"data\":{\"name\":\"forbidden\"}}}\n");
}

static void
serve_write_hang_up(struct fake_wrennd *f)
{
	fake_expect(f, "file.write");
	close(f->passed_fd);
}

static void
test_write_that_is_refused(void **state)
{
	static const struct {
		void (*serve)(struct fake_wrennd *);
		const char *name;
	} cases[] = {
		{ serve_refusal, "forbidden" },
		{ serve_refusal_closed, "forbidden" },
		{ serve_write_hang_up, "daemon_lost" },
	};
	struct fixture x;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		begin(&x, cases[i].serve);
		fill(&x, SIZE);
		assert_int_equal(wrenn_file_write_from_fd(x.w, x.params,
				     fileno(x.file), &quick, &x.size, &x.err),
		    -1);
		assert_error(&x.err, cases[i].name);
		end(&x);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_read_that_breaks_off),
		cmocka_unit_test(test_read_into_a_closed_pipe),
		cmocka_unit_test(test_read_interrupted),
		cmocka_unit_test(test_write_of_known_size),
		cmocka_unit_test(test_write_of_unknown_size),
		cmocka_unit_test(test_write_of_a_file_that_changed),
		cmocka_unit_test(test_write_that_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
