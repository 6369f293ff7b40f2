/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_JOIN_H
#define GPTQFS_JOIN_H

/*
 * Joined tensors: the rows of several modules, one after the other, under one name. In [out_features, in_features]
 * that is all there is to joining, so a joined tensor is a list of its parts and costs nothing to read.
 */

#include "architecture.h"
#include "source.h"

/*
 * Replaces the parts by what they make, wherever all parts are there, have rows of the same length and a float type.
 * Biases are joined likewise; a missing one beside others counts as zeros. s->tensors is a new list afterwards; the
 * old one stays valid. Returns 0 or -ENOMEM.
 */
int join_tensors(struct arena *arena, struct source *s, const struct join_rule *rules);

#endif
