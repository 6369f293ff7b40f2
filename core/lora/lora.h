/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LORA_H
#define GPTQFS_LORA_H

/*
 * Adapters merged into a model: its tensors become sums (tensor/adapted.h), others replaced ones. Every tensor of an
 * adapter has a place, or the whole is refused by name: what is left out without a word is the base, not the model that
 * was trained.
 */

#include "lora/adapter.h"
#include "lora/tokenizer.h"
#include "tensor/tensor.h"

struct lora {
	struct tensors base;      /* the list before */
	struct adapter *adapters; /* [count] in the order given */
	size_t count;
	struct tokenizer tokenizer; /* in place of the model's, if it has files */
	bool untied;                /* embedding and head, which the base has as one, are two */
	const char *vocabulary,
	    *old_vocabulary; /* rows of the embedding, and of the base's, if that changed; else NULL */
};

struct lora_options {
	const char *const *adapters; /* [count] "DIR" or "DIR:SCALE" */
	size_t count;
	bool base_tokenizer;   /* keep the model's */
	const char *directory; /* of adapters that are shown one at a time (variants.h), or NULL */
};

/*
 * Opens the adapters and replaces *ts by the list with them merged; the old one stays valid. Everything is the
 * checkpoint's memory, but for what lora_close gives back, which must be called in any case. Returns 0; -EBADMSG or
 * -ENOTSUP for what cannot be merged for certain; -EINVAL; -ENOMEM, -EIO, -EMFILE.
 */
int lora_open(struct lora *l, struct checkpoint *c, const struct lora_options *options, struct tensors *ts,
    struct gptqfs_error *err);
void lora_close(struct lora *l);

#endif
