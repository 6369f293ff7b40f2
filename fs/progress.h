/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PROGRESS_H
#define GPTQFS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* The progress of a long task, on stderr: a bar on a terminal, elsewhere one line for every tenth. */

struct progress;

/* The caller keeps what ctx points to until progress_stop. */
struct progress_task {
	const char *doing; /* "exported" */
	uint64_t total;    /* bytes */
	/* Returns the bytes done. Called from a thread of its own. */
	uint64_t (*done)(const void *ctx);
	const void *ctx;
};

/* Returns the seconds of a clock that is never set. */
double progress_now(void);

/*
 * Starts showing the progress of a task, which is copied. Returns NULL if nothing will be shown: with `quiet`, or if no
 * thread can be started.
 */
struct progress *progress_start(const struct progress_task *task, bool quiet);

/* Stops, and shows the last state if any was shown. NULL is allowed. */
void progress_stop(struct progress *p);

#endif
