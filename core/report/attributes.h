/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ATTRIBUTES_H
#define GPTQFS_ATTRIBUTES_H

/* Facts about a virtual file, as keys and values: its extended attributes. */

#include "view/view.h"

struct fact_sink {
	gptqfs_fact_fn *fn;
	void *ctx;
};

/*
 * Calls fn for each fact about an inode other than the root: its view, and for weights their kind and source. `root` is
 * the view shown as the root, or NULL. Returns 0 or -ENOMEM.
 */
int attributes_of_file(const struct tree *tree, const struct view *root, uint32_t ino, const struct fact_sink *sink);

#endif
