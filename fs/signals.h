/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SIGNALS_H
#define GPTQFS_SIGNALS_H

#include <signal.h>

/*
 * Signals that a server reads from a descriptor: SIGTERM, SIGINT and SIGHUP to exit, SIGUSR1 for the counters. They are
 * blocked before mounting, because a process killed after that leaves a stale mount.
 */
void signals_of_server(sigset_t *set);

/* Blocks them for this thread and those it starts. */
void signals_hold(void);

/* Unblocks those to exit. */
void signals_release(void);

#endif
