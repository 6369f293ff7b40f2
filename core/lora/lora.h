/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LORA_H
#define GPTQFS_LORA_H

/*
 * Adapters merged into a model: its tensors become sums (tensor/adapted.h), others replaced ones. Every tensor of an
 * adapter must have a place, or the adapter is refused: silently left out, it would give the base model and not the one
 * that was trained.
 */

#include "lora/adapter.h"
#include "lora/tokenizer.h"
#include "tensor/tensor.h"

struct lora {
	struct tensors base;      /* the list before merging */
	struct adapter *adapters; /* [count] in the order given */
	size_t count;
	struct tokenizer tokenizer;              /* replaces the model's, if it has files */
	bool untied;                             /* embedding and head are one tensor in the base, and two now */
	const char *vocabulary, *old_vocabulary; /* rows of the embedding now and in the base, if changed; else NULL */
};

struct lora_options {
	const char *const *adapters; /* [count] "DIR" or "DIR:SCALE" */
	size_t count;
	bool base_tokenizer;   /* keep the model's */
	const char *directory; /* of adapters that are shown one at a time (variants.h), or NULL */
};

/*
 * Opens the adapters and replaces *ts by the list with them merged; the old one stays valid. Everything lives in the
 * checkpoint's arena, except what lora_close frees, which must be called in any case. Returns 0; -EBADMSG or -ENOTSUP
 * for what cannot be merged for certain; -EINVAL; -ENOMEM, -EIO, -EMFILE.
 */
int lora_open(struct lora *l, struct checkpoint *c, const struct lora_options *options, struct tensors *ts,
    struct gptqfs_error *err);
void lora_close(struct lora *l);

#endif
