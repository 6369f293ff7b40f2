/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_NUMBERED_H
#define GPTQFS_NUMBERED_H

/* Numbered shard names: model-00002-of-00003.safetensors. */

#include "file/listing.h"

/*
 * If the name of a shard has a number, sets *missing to the name before or after it if that should exist but does not,
 * else to NULL. Numbers may start at 0 or 1. Returns 0 or -ENOMEM.
 */
int numbered_neighbours(const struct listing *listing, const char *name, struct arena *arena, const char **missing);

#endif
