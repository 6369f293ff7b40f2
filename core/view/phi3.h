/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PHI3_H
#define GPTQFS_PHI3_H

/*
 * A Llama or Mistral without biases, its q, k, v and gate, up joined, is the graph of transformers' Phi3ForCausalLM:
 * the same sums in the same order. With that class's configuration its fused view loads in transformers as it is.
 */

#include "tensor/tensor.h"
#include "view/config_json.h"

#define PHI3_MEMBERS 10

/* The members of config.json that make it Phi-3's. Must not move while it is used. */
struct phi3 {
	struct config_member members[PHI3_MEMBERS];
	size_t count;
	char positions[24], head_dim[24];
};

/*
 * Returns NULL and fills *out if these tensors and this configuration are exactly what the class computes; else why
 * not, in the arena. "" if out of memory.
 */
const char *phi3_refusal(const struct tensors *fused, const struct json *config, struct arena *arena, struct phi3 *out);

#endif
