/* The least that a program can do: what a process costs, whatever it is for. */
#include <stdio.h>

#include "proto/banned.h"

int
main(void)
{
	return puts("hello") < 0;
}
