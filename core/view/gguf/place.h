/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GGUF_PLACE_H
#define GPTQFS_GGUF_PLACE_H

/* Which tensors of a model become which of the GGUF file, in the order in which llama.cpp's converter has them. */

#include "tensor/tensor.h"
#include "view/gguf/hparams.h"

/* A tensor of the file. */
struct gguf_tensor {
	char name[GGUF_NAME_MAX + 1];
	enum gguf_kind kind;
	uint32_t head;     /* rows of a head where they are permuted, else 0 */
	uint64_t shape[3]; /* innermost first */
	uint8_t ndim;
	const struct tensor **parts; /* [count] their rows, one after the other */
	size_t count;
	struct text made; /* where count is 0: the data, F32 */
};

struct gguf_tensors {
	struct gguf_tensor *list; /* [count] */
	size_t count, room;
	struct arena arena;
};

/*
 * Places every tensor of the model. Returns 0; -ENOTSUP or -EBADMSG if one has no place, is missing or has a shape that
 * does not fit, which err names; -ENOMEM. gguf_tensors_free must be called in any case.
 */
int gguf_place_all(struct checkpoint *c, const struct tensors *ts, const struct gguf_hparams *h,
    struct gguf_tensors *out, struct gptqfs_error *err);
void gguf_tensors_free(struct gguf_tensors *ts);

#endif
