/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_JOIN_H
#define GPTQFS_JOIN_H

/*
 * Joined tensors: the rows of several modules, one after the other, under one name. In [out_features, in_features]
 * that is all there is to joining, so a joined tensor is a list of its parts and costs nothing to read.
 */

#include "tensor/architecture.h"
#include "tensor/source.h"

/*
 * Replaces the parts by what they make, wherever all parts are there, have rows of the same length and a float type.
 * Biases are joined likewise; a missing one beside others counts as zeros. s->tensors is a new list afterwards; the
 * old one stays valid. Returns 0 or -ENOMEM.
 */
int join_tensors(struct arena *arena, struct source *s, const struct join_rule *rules);

/* Modules that are left apart, though they stand beside each other. */
struct join_refusal {
	const char *module; /* that they would have made: "model.layers.0.self_attn.qkv_proj" */
	const char *reason; /* "q_proj has 64 in_features, k_proj 32" */
	bool packed;        /* in the packed view alone; the fused ones join them */
};

/*
 * What the fused views show: *fused is *s with q_proj, k_proj and v_proj joined as self_attn.qkv_proj, gate_proj and
 * up_proj as mlp.gate_up_proj, whatever the class is. Experts stay apart, and so do modules that do not fit together:
 * s->apart tells which and why. Both sources share their modules. Returns 0 or -ENOMEM.
 */
int join_fused(struct arena *arena, struct source *s, struct source *fused);

/*
 * What the packed view shows: *packed is *fused without the joined tensors whose parts do not make one quantized module
 * (or one stored tensor, where none is quantized); of those it has the parts. Modules go together if they have the same
 * width, groups, g_idx, convention of zeros and type of scales. s->apart gets what is left apart here. Returns 0 or
 * -ENOMEM.
 */
int join_packed(struct arena *arena, struct source *s, const struct source *fused, struct source *packed);

/* The rule of the fused views that makes a module of this name (`len` bytes), or NULL. */
const struct join_rule *join_rule_of(const char *module, size_t len);

#endif
