#include "client/opt.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wrenn_priv.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define OPT_MAX 40 /* options of one verb, the global ones included */

/* Rows of both tables, in the order that getopt_long() knows them by. */
struct known {
	const struct opt *rows[OPT_MAX];
	void *values[OPT_MAX];
	struct option longs[OPT_MAX + 1];
	char letters[2 * OPT_MAX + 3];
	size_t count;
};

static void
list_add(struct opt_list *list, const char *item)
{
	list->items =
	    xrealloc(list->items, (list->count + 1) * sizeof(*list->items));
	list->items[list->count++] = item;
}

/* Digits at *p as a number of at most 15 of them; *p moves behind. */
static int
take_number(const char **p, int64_t *ret)
{
	int64_t n = 0;
	int digits = 0;

	for (; isdigit((unsigned char)**p); (*p)++) {
		if (++digits > 15)
			return -EINVAL;
		n = n * 10 + (**p - '0');
	}
	*ret = n;
	return digits > 0 ? 0 : -EINVAL;
}

int
opt_count(const char *text, int64_t *ret)
{
	int64_t n;

	if (take_number(&text, &n) < 0 || *text != '\0' || n < 1)
		return -EINVAL;
	*ret = n;
	return 0;
}

/* Each unit once, from the largest to the smallest; bare digits: seconds. */
int
opt_duration(const char *text, int64_t *ret_sec)
{
	static const char units[] = "dhms";
	static const int64_t seconds[] = { 86400, 3600, 60, 1 };
	const char *unit, *from = units;
	int64_t n, sum = 0;

	do {
		if (take_number(&text, &n) < 0)
			return -EINVAL;
		if (*text == '\0' && from == units) {
			*ret_sec = n;
			return 0;
		}
		unit = *text != '\0' ? strchr(from, *text) : NULL;
		if (unit == NULL)
			return -EINVAL;
		from = unit + 1;
		text++;
		if (n > INT32_MAX)
			return -EINVAL;
		sum += n * seconds[unit - units];
	} while (*text != '\0');
	*ret_sec = sum;
	return 0;
}

/* A unit is required: docker reads bare digits as bytes, others as MiB. */
int
opt_memory(const char *text, int64_t *ret_mb)
{
	int64_t n, factor;

	if (take_number(&text, &n) < 0 || n < 1)
		return -EINVAL;
	switch (toupper((unsigned char)*text)) {
	case 'M':
		factor = 1;
		break;
	case 'G':
		factor = 1024;
		break;
	case 'T':
		factor = 1024 * 1024;
		break;
	default:
		return -EINVAL;
	}
	text++;
	if (*text != '\0' && strcasecmp(text, "B") != 0 &&
	    strcasecmp(text, "iB") != 0)
		return -EINVAL;
	if (n > INT32_MAX)
		return -EINVAL;
	*ret_mb = n * factor;
	return 0;
}

/* What the value of each type must look like. */
static const char *
wanted(enum opt_type type)
{
	switch (type) {
	case OPT_DURATION:
		return "a time such as 30s, 5m or 1h30m";
	case OPT_MEMORY:
		return "a size such as 512M or 2G";
	default:
		return "a whole number from 1 on";
	}
}

static int
set_int(const struct opt *o, struct opt_int *value, const char *text,
    struct wrenn_error *err)
{
	int r;

	if (o->type == OPT_DURATION)
		r = opt_duration(text, &value->n);
	else if (o->type == OPT_MEMORY)
		r = opt_memory(text, &value->n);
	else
		r = opt_count(text, &value->n);
	if (r < 0)
		return wrenn_error_set(err, RPC_USAGE,
		    "--%s wants %s, not \"%s\"", o->name, wanted(o->type),
		    text);
	value->set = true;
	return 0;
}

static int
set_value(const struct opt *o, void *values, const char *text,
    struct wrenn_error *err)
{
	void *value = (char *)values + o->offset;

	switch (o->type) {
	case OPT_FLAG:
		*(bool *)value = true;
		return 0;
	case OPT_TEXT:
		*(const char **)value = text;
		return 0;
	case OPT_LIST:
		list_add(value, text);
		return 0;
	default:
		return set_int(o, value, text, err);
	}
}

/* Adds a table's rows. Long options are known to getopt by 256 + index. */
static void
learn(struct known *k, const struct opt_target *target, size_t *ret_letters)
{
	const struct opt *o;

	for (o = target->table; o != NULL && o->name != NULL; o++) {
		if (k->count == OPT_MAX)
			abort(); /* a table outgrew OPT_MAX */
		k->rows[k->count] = o;
		k->values[k->count] = target->values;
		k->longs[k->count] = (struct option){ .name = o->name,
			.has_arg = o->type == OPT_FLAG ? no_argument
						       : required_argument,
			.val = 256 + (int)k->count };
		k->count++;
		if (o->letter == 0)
			continue;
		k->letters[(*ret_letters)++] = o->letter;
		if (o->type != OPT_FLAG)
			k->letters[(*ret_letters)++] = ':';
	}
}

/* The row getopt_long() means. */
static size_t
row_of(const struct known *k, int c)
{
	size_t i;

	if (c >= 256)
		return (size_t)c - 256;
	for (i = 0; i < k->count; i++)
		if (k->rows[i]->letter == c)
			break;
	return i;
}

/* Words for what getopt_long() refused; it moved on to the next word. */
static int
refuse(int c, char **argv, struct wrenn_error *err)
{
	const char *word = argv[optind - 1];

	if (c == ':')
		return wrenn_error_set(
		    err, RPC_USAGE, "%s wants a value", word);
	/* A byte above 127 is negative where char is signed. */
	if (optopt != 0 && optopt < 256)
		return wrenn_error_set(
		    err, RPC_USAGE, "there is no option -%c", optopt);
	if (optopt >= 256)
		return wrenn_error_set(
		    err, RPC_USAGE, "%s takes no value", word);
	return wrenn_error_set(err, RPC_USAGE, "there is no option %s", word);
}

int
opt_parse(const struct opt_target targets[2], bool strict, int argc,
    char **argv, struct wrenn_error *err)
{
	struct known k = { .count = 0 };
	struct wrenn_error later;
	size_t letters = 0, row;
	int c, r;

	if (strict)
		k.letters[letters++] = '+';
	k.letters[letters++] = ':';
	learn(&k, &targets[0], &letters);
	learn(&k, &targets[1], &letters);
	err->code = 0;
	opterr = 0;
	optind = 0; /* glibc: starts over, with the flags of this optstring */
	while ((c = getopt_long(argc, argv, k.letters, k.longs, NULL)) != -1) {
		/* After the first fault it goes on, to see -o json. */
		later.code = 0;
		row = row_of(&k, c);
		if (c == ':' || c == '?' || row >= k.count)
			r = refuse(c, argv, &later);
		else
			r = set_value(
			    k.rows[row], k.values[row], optarg, &later);
		if (r < 0 && err->code == 0)
			*err = later;
		else if (r < 0)
			wrenn_error_release(&later);
	}
	return err->code == 0 ? optind : -1;
}

void
opt_release(const struct opt *table, void *values)
{
	struct opt_list *list;

	for (; table != NULL && table->name != NULL; table++) {
		if (table->type != OPT_LIST)
			continue;
		list = (void *)((char *)values + table->offset);
		free(list->items);
		*list = (struct opt_list){ 0 };
	}
}

void
opt_print_help(const struct opt *table)
{
	char left[80];
	int n;

	for (; table != NULL && table->name != NULL; table++) {
		n = table->letter != 0
			? snprintf(left, sizeof(left), "-%c, --%s",
			      table->letter, table->name)
			: snprintf(left, sizeof(left), "    --%s", table->name);
		if (table->arg != NULL)
			snprintf(left + n, sizeof(left) - (size_t)n, " %s",
			    table->arg);
		printf("  %-24s %s\n", left, table->help);
	}
}
