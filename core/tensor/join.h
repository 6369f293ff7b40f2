/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_JOIN_H
#define GPTQFS_JOIN_H

/*
 * Joined tensors: the rows of several modules in sequence, under one name. In [out_features, in_features] that is all
 * there is to joining: a joined tensor is a list of its parts, and reading it costs nothing extra.
 */

#include "tensor/architecture.h"
#include "tensor/tensor.h"

/*
 * Replaces parts by joined tensors where all parts exist, have rows of equal length and a float type. Biases are joined
 * likewise; one missing among others counts as zeros. Replaces ts->list; the old list stays valid. Returns 0 or
 * -ENOMEM.
 */
int join_tensors(struct arena *arena, struct tensors *ts, const struct join_rule *rules);

/* A module that is not joined although its parts exist. */
struct join_refusal {
	const char *module; /* the joined name: "model.layers.0.self_attn.qkv_proj" */
	const char *reason; /* "q_proj has 64 in_features, k_proj 32" */
	bool packed;        /* only in the packed view; the fused views join it */
};

/* A zeroed struct is an empty list. */
struct join_refusals {
	struct join_refusal *list; /* [count] arena */
	size_t count, room;
};

/* Adds a refusal; the strings must be in the arena. Returns 0, or -ENOMEM also if one of them is NULL. */
int join_refuse(struct join_refusals *refusals, struct arena *arena, struct join_refusal refusal);

/*
 * Makes the list for the fused views: *ts with q_proj, k_proj and v_proj joined as self_attn.qkv_proj, gate_proj and
 * up_proj as mlp.gate_up_proj, for any class. Experts are not joined. Modules that do not fit together are not either,
 * and are added to `refusals` with the reason. Both lists share their tensors. Returns 0 or -ENOMEM.
 */
int join_fused(struct arena *arena, const struct tensors *ts, struct tensors *fused, struct join_refusals *refusals);

/* Returns the rule of the fused views that makes a module of this name (`len` bytes), or NULL. */
const struct join_rule *join_rule_of(const char *module, size_t len);

#endif
