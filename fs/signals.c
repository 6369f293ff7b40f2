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

static void change(int how)
{
	sigset_t set;

	signals_of_server(&set);
	pthread_sigmask(how, &set, NULL);
}

void signals_hold(void)
{
	change(SIG_BLOCK);
}

void signals_release(void)
{
	change(SIG_UNBLOCK);
}
