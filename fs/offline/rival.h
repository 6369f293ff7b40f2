/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_RIVAL_H
#define GPTQFS_RIVAL_H

#include <stdbool.h>
#include <stdint.h>

#include "gptqfs.h"

/*
 * True for a file that programs may load instead of weights of a directory of the model, or with them: the same NAME of
 * NAME.safetensors, split in another way, or the index of such. Some programs prefer the single file, some the index,
 * and some load whatever there is.
 */
bool rival_of(const struct gptqfs *model, uint64_t dir, const char *file);

#endif
