/*
 * Runs a fuzz target once for each file named: the corpus as a test, with any
 * compiler.
 */
#include <errno.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#include "proto/banned.h"

/* Just the file's bytes on the heap, so that a read behind them is seen. */
static uint8_t *
read_file(const char *path, size_t *ret_size)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = NULL;
	long size = -1;

	if (f != NULL && fseek(f, 0, SEEK_END) == 0)
		size = ftell(f);
	if (size >= 0) {
		rewind(f);
		data = malloc(size > 0 ? (size_t)size : 1);
	}
	if (data == NULL || fread(data, 1, (size_t)size, f) != (size_t)size) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	fclose(f);
	*ret_size = (size_t)size;
	return data;
}

int
main(int argc, char **argv)
{
	uint8_t *data;
	size_t size;
	int i;

	if (argc < 2) {
		fprintf(stderr, "usage: %s FILE...\n", argv[0]);
		return 1;
	}
	for (i = 1; i < argc; i++) {
		data = read_file(argv[i], &size);
		LLVMFuzzerTestOneInput(data, size);
		free(data);
	}
	printf("%d files replayed\n", argc - 1);
	return 0;
}
