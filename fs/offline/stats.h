/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FS_STATS_H
#define GPTQFS_FS_STATS_H

/* --stats: figures about every quantized module, as a table or as JSON. */

#include "options.h"

/*
 * Computes and prints them, compared with the model in o->against if that is not NULL. If interrupted by a signal,
 * prints what was finished. Returns an exit code, after a message unless it is EXIT_OK.
 */
int stats_print(const struct options *o, struct gptqfs *model);

#endif
