/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_WORKERS_H
#define GPTQFS_WORKERS_H

#define WORKERS_MAX 256

/* Returns how many threads to use: `wanted`, or if that is 0 one per CPU, at most 12. */
unsigned workers_count(unsigned wanted);

/*
 * Runs a function in `count` threads, of which the caller's is one, and waits for all of them. Uses fewer if threads
 * cannot be started.
 */
void workers_run(unsigned count, void *(*work)(void *), void *arg);

#endif
