/* SPDX-License-Identifier: MIT */
#include "signals.h"

#include <pthread.h>

void signals_of_server(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGUSR1);
}

void signals_hold(void)
{
	sigset_t set;

	signals_of_server(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}
