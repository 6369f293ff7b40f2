/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LORA_NAMES_H
#define GPTQFS_LORA_NAMES_H

/* What the name of a tensor in an adapter says, as PEFT and mlx-lm spell it, with what wrappers leave in it. */

#include "base/arena.h"

enum lora_role {
	LORA_A,           /* [rank, in_features] */
	LORA_B,           /* [out_features, rank] */
	LORA_BIAS,        /* [out_features], added to the module's bias */
	LORA_MAGNITUDE,   /* DoRA's, [out_features] */
	LORA_EMBEDDING_A, /* [rank, vocabulary] */
	LORA_EMBEDDING_B, /* [width, rank] */
	LORA_MLX_A,       /* [in_features, rank] */
	LORA_MLX_B,       /* [rank, out_features] */
	LORA_TOKENS,      /* [tokens, width]: rows of an embedding */
	LORA_REPLACES,    /* replaces a tensor of the model */
	LORA_IGNORED,     /* the original of a replaced tensor */
	LORA_UNKNOWN,
};

struct lora_name {
	enum lora_role role;
	const char *module; /* "model.layers.0.mlp.up_proj", without what wrappers added */
	const char *leaf;   /* of a replacement: "weight"; else "" */
	const char *who;    /* the adapter's name within the file, or "" */
	unsigned depth;     /* number of "base_layer" parts removed */
};

/* Reads a name into the arena. Returns 0 or -ENOMEM. */
int lora_name_parse(const char *name, struct arena *arena, struct lora_name *out);

#endif
