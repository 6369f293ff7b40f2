/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_HUB_H
#define GPTQFS_HUB_H

#include <stdbool.h>

/* The Hugging Face cache, where models are kept by name: models--org--name for "org/name". */

/* True for "org/name", as far as that can be told from the letters. */
bool hub_is_name(const char *text);

/* The path of that model's entry, whether it exists or not: below $HF_HUB_CACHE, $HF_HOME/hub or
 * ~/.cache/huggingface/hub. The caller frees it; NULL if out of memory. */
char *hub_entry(const char *name);

#endif
