#include "client/table.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "client/out.h"
#include "client/wrenn_escape.h"
#include "proto/buf.h"
#include "proto/xalloc.h"

#include "proto/banned.h"

#define GAP      2
#define CELL_MAX ((size_t)1024 * 1024)

void
table_init(struct table *t, const struct column *columns, size_t width)
{
	*t = (struct table){ .columns = columns, .width = width };
}

void
table_release(struct table *t)
{
	size_t i;

	for (i = 0; i < t->count; i++)
		free(t->cells[i]);
	free(t->cells);
	table_init(t, t->columns, t->width);
}

void
table_add(struct table *t, const char *text)
{
	struct buf b;

	buf_init(&b, CELL_MAX);
	if (wrenn_escape(&b, text, strnlen(text, CELL_MAX / 10)) < 0)
		abort();
	if (t->count % 64 == 0)
		t->cells =
		    xrealloc(t->cells, (t->count + 64) * sizeof(*t->cells));
	t->cells[t->count] = buf_steal(&b, NULL);
	if (t->cells[t->count] == NULL)
		abort();
	t->count++;
}

/*
 * Characters that are not ASCII are looked up in C.UTF-8, whatever LANG
 * says: the text is UTF-8 in any case. The locale is loaded when first
 * needed and stays for the rest of the run.
 */
static size_t
char_width(uint32_t c)
{
	int w;

	if (c < 0x80)
		return 1;
	if (uselocale((locale_t)0) == LC_GLOBAL_LOCALE) {
		locale_t utf8 =
		    newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);

		if (utf8 == (locale_t)0)
			return 1;
		uselocale(utf8);
	}
	w = wcwidth((wchar_t)c);
	return w < 0 ? 1 : (size_t)w;
}

size_t
table_text_width(const char *text)
{
	size_t n = strlen(text), i = 0, len, width = 0;
	uint32_t c;

	while (i < n) {
		len = wrenn_utf8_char(text + i, n - i, &c);
		width += len > 0 ? char_width(c) : 1;
		i += len > 0 ? len : 1;
	}
	return width;
}

size_t
table_terminal_width(void)
{
	struct winsize ws;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) < 0)
		return 0;
	return ws.ws_col;
}

/* How wide a column must be. */
static size_t
column_width(const struct table *t, size_t column)
{
	size_t i, w, max = strlen(t->columns[column].head);

	for (i = column; i < t->count; i += t->width) {
		w = table_text_width(t->cells[i]);
		if (w > max)
			max = w;
	}
	return max;
}

static void
print_cell(const struct table *t, struct out *out, size_t column,
    const char *text, size_t width, bool last)
{
	int pad = (int)(width - table_text_width(text));

	if (t->columns[column].right)
		out_printf(out, "%*s%s", pad, "", text);
	else
		out_printf(out, "%s%*s", text, last ? 0 : pad, "");
	out_printf(out, "%s", last ? "\n" : "  ");
}

void
table_print(const struct table *t, struct out *out, size_t max_width)
{
	size_t *widths = xcalloc(t->width, sizeof(*widths));
	size_t i, shown = 0, sum = 0;

	for (i = 0; i < t->width; i++) {
		widths[i] = column_width(t, i);
		sum += widths[i] + (i > 0 ? GAP : 0);
		if (i > 0 && max_width > 0 && sum > max_width)
			break;
		shown++;
	}
	for (i = 0; i < shown; i++)
		print_cell(
		    t, out, i, t->columns[i].head, widths[i], i == shown - 1);
	for (i = 0; i < t->count; i++)
		if (i % t->width < shown)
			print_cell(t, out, i % t->width, t->cells[i],
			    widths[i % t->width], i % t->width == shown - 1);
	free(widths);
}
