/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FS_STATS_TABLE_H
#define GPTQFS_FS_STATS_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "gptqfs.h"

/*
 * Writes statistics as tables of at most 100 columns: a row for each kind of projection, or with `all` for each module;
 * then the worst modules, tensors without a counterpart, and totals. Returns 0 or -errno.
 */
int stats_table(const struct gptqfs_stats *stats, bool all, FILE *out);

#endif
