/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LOOK_H
#define GPTQFS_LOOK_H

#include "gptqfs.h"

/*
 * A model's tree on standard output, without a mount. All return an exit code, after a message unless it is EXIT_OK.
 * Paths are relative to the root of the tree.
 */

/* Lists a directory, or a single file: sizes in bytes, and names, with a slash after directories. */
int look_list(const struct gptqfs *model, const char *path);

/* Writes the bytes of a file. */
int look_cat(struct gptqfs *model, const char *path, unsigned threads);

/* Writes the whole tree as a tar archive. */
int look_tar(struct gptqfs *model, unsigned threads, bool quiet);

#endif
