/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_JOIN_H
#define GPTQFS_JOIN_H

/*
 * Joined tensors: the rows of several modules, one after the other, under one name. In [out_features, in_features]
 * that is all there is to joining, so a joined tensor is a list of its parts and costs nothing to read.
 */

#include "tensor/architecture.h"
#include "tensor/tensor.h"

/*
 * Replaces the parts by what they make, wherever all parts are there, have rows of the same length and a float type.
 * Biases are joined likewise; a missing one beside others counts as zeros. ts->list is a new list afterwards; the old
 * one stays valid. Returns 0 or -ENOMEM.
 */
int join_tensors(struct arena *arena, struct tensors *ts, const struct join_rule *rules);

/* A module that is not joined, though the parts for it are there. */
struct join_refusal {
	const char *module; /* that they would have made: "model.layers.0.self_attn.qkv_proj" */
	const char *reason; /* "q_proj has 64 in_features, k_proj 32" */
	bool packed;        /* in the packed view alone; the fused ones join them */
};

/* A zeroed struct is an empty list. */
struct join_refusals {
	struct join_refusal *list; /* [count] arena */
	size_t count, room;
};

/* Adds a refusal; the strings must be in the arena. Returns 0, or -ENOMEM also if one of them is NULL. */
int join_refuse(struct join_refusals *refusals, struct arena *arena, struct join_refusal refusal);

/*
 * What the fused views show: *fused is *ts with q_proj, k_proj and v_proj joined as self_attn.qkv_proj, gate_proj and
 * up_proj as mlp.gate_up_proj, whatever the class is. Experts are not joined, nor are modules that do not fit together:
 * `refusals` gets which and why. Both lists share their tensors. Returns 0 or -ENOMEM.
 */
int join_fused(struct arena *arena, const struct tensors *ts, struct tensors *fused, struct join_refusals *refusals);

/* The rule of the fused views that makes a module of this name (`len` bytes), or NULL. */
const struct join_rule *join_rule_of(const char *module, size_t len);

#endif
