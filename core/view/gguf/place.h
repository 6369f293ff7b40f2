/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GGUF_PLACE_H
#define GPTQFS_GGUF_PLACE_H

/* Maps the tensors of a model to those of the GGUF file, in the order of llama.cpp's converter. */

#include "tensor/tensor.h"
#include "view/gguf/hparams.h"

/* A tensor of the file. */
struct gguf_tensor {
	char name[GGUF_NAME_MAX + 1];
	enum gguf_kind kind;
	uint32_t head;     /* rows of a head if they are permuted, else 0 */
	uint64_t shape[3]; /* innermost first */
	uint8_t ndim;
	const struct tensor **parts; /* [count] tensors whose rows it has, in sequence */
	size_t count;
	struct text made; /* if count is 0: the data, F32 */
};

struct gguf_tensors {
	struct gguf_tensor *list; /* [count] */
	size_t count, room;
	struct arena arena;
};

/*
 * Maps all tensors of the model. Returns 0; -ENOTSUP or -EBADMSG, with the name, if a tensor has no counterpart, is
 * missing or has the wrong shape; -ENOMEM. Call gguf_tensors_free in any case.
 */
int gguf_place_all(struct checkpoint *c, const struct tensors *ts, const struct gguf_hparams *h,
    struct gguf_tensors *out, struct gptqfs_error *err);
void gguf_tensors_free(struct gguf_tensors *ts);

#endif
