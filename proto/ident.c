#include "proto/ident.h"

#include <string.h>

#include "proto/limits.h"

#include "proto/banned.h"

#define DIGITS "0123456789"
#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

#define ID_CHARS 25 /* behind the hyphen */

bool
ident_is_id(const char *text, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(text, prefix, n) == 0 && text[n] == '-' &&
	       strlen(text) == n + 1 + ID_CHARS &&
	       strspn(text + n + 1, DIGITS LOWER) == ID_CHARS;
}

bool
ident_is_name(const char *text)
{
	size_t n = strspn(text, DIGITS LOWER UPPER "._-");

	return n > 0 && n <= LIMIT_NAME && text[n] == '\0' &&
	       strspn(text, "._-") == 0;
}

static int
number(const char *text, int digits)
{
	int n = 0;

	while (digits-- > 0)
		n = 10 * n + *text++ - '0';
	return n;
}

static int
days_of(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30,
		31 };
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (month == 2 && leap);
}

bool
ident_is_date(const char *text)
{
	int month, day;

	if (strlen(text) != 10 || strspn(text, DIGITS) != 4 || text[4] != '-' ||
	    strspn(text + 5, DIGITS) != 2 || text[7] != '-' ||
	    strspn(text + 8, DIGITS) != 2)
		return false;
	month = number(text + 5, 2);
	day = number(text + 8, 2);
	return month >= 1 && month <= 12 && day >= 1 &&
	       day <= days_of(number(text, 4), month);
}
