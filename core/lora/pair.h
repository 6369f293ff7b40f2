/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LORA_PAIR_H
#define GPTQFS_LORA_PAIR_H

/* The tensors of one module in an adapter, and the product that they are. */

#include "lora/adapter.h"
#include "lora/places.h"
#include "tensor/adapted.h"

struct pair {
	const struct adapter *adapter;
	const char *module;
	struct lora_entry *a, *b, *bias, *magnitude, *tokens; /* NULL where there is none */
	uint32_t rank;                                        /* of the stored factors */
	uint64_t in, out;
	struct lora_factor fa, fb; /* by in_features, and by out_features */
	double scale;
};

/* Takes the entries [first, first + count), which are those of one module. Codes as adapter_open. */
int pair_read(struct pair *p, const struct adapter *a, struct lora_entry *first, size_t count,
    struct gptqfs_error *err);

/* Adds the product to a matrix that it was made for, or to the parts of a joined one. Codes as adapter_open. */
int pair_add(const struct pair *p, struct places *places, struct tensor *t, struct gptqfs_error *err);

/* Adds lora_bias to the module's bias. */
int pair_add_bias(const struct pair *p, struct places *places, struct gptqfs_error *err);

/* Adds products of all experts of a layer, which are in one pair: target_parameters. */
int pair_add_experts(struct pair *p, struct places *places, struct gptqfs_error *err);

#endif
