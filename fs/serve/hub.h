/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_HUB_H
#define GPTQFS_HUB_H

#include <stdbool.h>

/* The Hugging Face cache, which stores models by name: models--org--name for "org/name". */

/* True if the argument has the form of "org/name". */
bool hub_is_name(const char *text);

/*
 * Returns the path of the model's entry, existing or not, in $HF_HUB_CACHE, $HF_HOME/hub or ~/.cache/huggingface/hub.
 * The caller frees it; NULL if out of memory.
 */
char *hub_entry(const char *name);

#endif
