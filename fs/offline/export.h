/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_EXPORT_H
#define GPTQFS_EXPORT_H

#include "offline/target.h"

/*
 * Writes a model's tree to an ordinary directory: one thread per CPU computes pieces of files and writes them. Called
 * again after an interruption, it continues that export.
 */

struct export_request {
	struct gptqfs *model;  /* opened with a view as its root */
	const char *view;      /* its name */
	struct target *target; /* its directory, by target_make */
	unsigned threads;      /* 0 for the default */
	bool verify;           /* read everything back and compare it with what is computed again */
	bool quiet;            /* no progress */
};

/*
 * Call signals_hold first. Returns an exit code, after a message unless it is EXIT_OK, or 128 + the signal that ended
 * the export.
 */
int export_run(const struct export_request *request);

#endif
