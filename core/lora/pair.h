/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LORA_PAIR_H
#define GPTQFS_LORA_PAIR_H

/* The tensors of one module in an adapter, and their product. */

#include "lora/adapter.h"
#include "lora/places.h"
#include "tensor/adapted.h"

struct pair {
	const struct adapter *adapter;
	const char *module;
	struct lora_entry *a, *b, *bias, *magnitude, *tokens; /* NULL if absent */
	uint32_t rank;                                        /* of the stored factors */
	uint64_t in, out;
	struct lora_factor fa, fb; /* by in_features, and by out_features */
	double scale;
};

/* Takes the entries [first, first + count), which are those of one module. Codes as adapter_open. */
int pair_read(struct pair *p, const struct adapter *a, struct lora_entry *first, size_t count,
    struct gptqfs_error *err);

/* A product, and the stored bytes that count towards the matrix it is added to. */
struct pair_term {
	struct adapted_term term;
	uint64_t bytes;
};

/* Returns the share of the pair's bytes for rows [first, first + count) of the `all` rows it has products for. */
uint64_t pair_share(const struct pair *p, uint64_t first, uint64_t count, uint64_t all);

/* Returns why the product cannot be added to a tensor of one matrix or several, or NULL. */
const char *pair_obstacle(const struct pair *p, const struct tensor *t);

/* Adds a term to a tensor of one matrix. Returns 0 or -ENOMEM. */
int pair_add_term(const struct pair *p, struct places *places, struct tensor *t, const struct pair_term *term,
    struct gptqfs_error *err);

/* Adds the product to the matrix it was made for, or to the parts of a joined one. Codes as adapter_open. */
int pair_add(const struct pair *p, struct places *places, struct tensor *t, struct gptqfs_error *err);

/* Adds lora_bias to the module's bias. */
int pair_add_bias(const struct pair *p, struct places *places, struct gptqfs_error *err);

/* Adds products of all experts of a layer, which are in one pair: target_parameters. */
int pair_add_experts(struct pair *p, struct places *places, struct gptqfs_error *err);

#endif
