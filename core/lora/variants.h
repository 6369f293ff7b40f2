/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LORA_VARIANTS_H
#define GPTQFS_LORA_VARIANTS_H

/* A model with each of several adapters, one at a time: the sub-directories of a directory. */

#include "lora/lora.h"

struct variant {
	const char *name; /* of the sub-directory */
	struct lora lora;
	struct tensors tensors; /* with the adapter merged */
	const char *refusal;    /* why it cannot be merged; NULL if it is merged */
};

struct variants {
	const char *path;
	struct variant *list; /* [count] by name; arena */
	size_t count;
};

#define VARIANTS_MAX 1000

/*
 * Opens every sub-directory of options->directory that holds an adapter_config.json. One that cannot be merged is
 * listed with its refusal. variants_close must be called in any case. Returns 0; -EBADMSG if there are none, or too
 * many; -ENOMEM, -EIO, -EMFILE.
 */
int variants_open(struct variants *v, struct checkpoint *c, const struct lora_options *options,
    const struct tensors *base, struct gptqfs_error *err);
void variants_close(struct variants *v);

/* Returns the one of that name (`len` bytes), or NULL. */
struct variant *variants_find(const struct variants *v, const char *name, size_t len);

#endif
