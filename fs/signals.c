/* SPDX-License-Identifier: MIT */
#include "signals.h"

#include <pthread.h>

static void signals_to_exit(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

void signals_of_server(sigset_t *set)
{
	signals_to_exit(set);
	sigaddset(set, SIGUSR1);
}

void signals_hold(void)
{
	sigset_t set;

	signals_of_server(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void signals_release(void)
{
	sigset_t set;

	signals_to_exit(&set);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
