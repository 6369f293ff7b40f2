/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SIGNALS_H
#define GPTQFS_SIGNALS_H

#include <signal.h>

/*
 * Signals that a server takes from a descriptor: SIGTERM, SIGINT and SIGHUP ask it to leave, SIGUSR1 for the counters.
 * They are blocked from before there is a mount, which the death of the process would leave behind.
 */
void signals_of_server(sigset_t *set);

/* Blocks them, for this thread and those it starts. */
void signals_hold(void);

#endif
