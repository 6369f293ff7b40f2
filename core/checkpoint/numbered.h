/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_NUMBERED_H
#define GPTQFS_NUMBERED_H

/* Names of shards that count: model-00002-of-00003.safetensors. */

#include "file/listing.h"

/*
 * Whether the shards before and after this one are there, as far as its name has a number. Sets *missing to the name of
 * one that is not, or NULL; numbers may begin with 0 or 1. Returns 0 or -ENOMEM.
 */
int numbered_neighbours(const struct listing *listing, const char *name, struct arena *arena, const char **missing);

#endif
