/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CREW_H
#define GPTQFS_CREW_H

/*
 * Runs work(ctx) in one thread per CPU, at most 64, of which the caller's is one, and waits for all of them. Uses fewer
 * if threads cannot be started.
 */
void crew_run(void *(*work)(void *ctx), void *ctx);

#endif
