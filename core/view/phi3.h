/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PHI3_H
#define GPTQFS_PHI3_H

/*
 * A Llama or Mistral without biases, with q, k, v and gate, up joined, computes exactly what transformers'
 * Phi3ForCausalLM does: the same sums in the same order. With a Phi-3 configuration, transformers loads its fused view.
 */

#include "tensor/tensor.h"
#include "view/config_json.h"

#define PHI3_MEMBERS 10

/* The members of config.json that make it Phi-3's. Must not be moved or copied: members point into the struct. */
struct phi3 {
	struct config_member members[PHI3_MEMBERS];
	size_t count;
	char positions[24], head_dim[24];
};

/*
 * If Phi3ForCausalLM computes exactly what these tensors and this configuration mean, fills *out and returns NULL; else
 * returns the reason, in the arena, or "" if out of memory.
 */
const char *phi3_refusal(const struct tensors *fused, const struct json *config, struct arena *arena, struct phi3 *out);

#endif
