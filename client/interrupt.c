#include <string.h>

#include "client/cmd.h"

#include "proto/banned.h"

/* The one variable a signal handler can reach. */
static volatile sig_atomic_t caught;

/* SA_RESETHAND: whoever asks twice does not want to wait. */
static void
note(int sig)
{
	caught = sig;
}

void
interrupt_catch(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction sa = { .sa_handler = note }, old;
	size_t i;

	sa.sa_flags = (int)SA_RESETHAND;
	sigemptyset(&sa.sa_mask);
	for (i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
		/* nohup and background jobs of a shell ignore some. */
		sigaction(signals[i], NULL, &old);
		if (old.sa_handler != SIG_IGN)
			sigaction(signals[i], &sa, NULL);
	}
}

const volatile sig_atomic_t *
interrupt_flag(void)
{
	return &caught;
}

int
interrupt_signal(void)
{
	return caught;
}
