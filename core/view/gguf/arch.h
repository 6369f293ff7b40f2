/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GGUF_ARCH_H
#define GPTQFS_GGUF_ARCH_H

/* The classes of transformers supported by llama.cpp, and their names of a layer's modules. */

#include <stdbool.h>
#include <stdint.h>

enum gguf_kind {
	GGUF_MATRIX,
	GGUF_ROUTER, /* a matrix in F32 */
	GGUF_NORM,
	GGUF_BIAS,
};

/* A module of a layer. '#' in a name is the number of an expert. */
struct gguf_place {
	const char *from, *to; /* "self_attn.q_proj", "attn_q"; from == NULL ends a list */
	enum gguf_kind kind;
	enum { GGUF_ROWS, GGUF_ROPE_Q, GGUF_ROPE_K } rows; /* permuted if the architecture has rope_order */
	bool qkv;                                          /* the bias of GGUF_BIAS_QKV */
	const char *halves[2]; /* modules it may be stored as instead, in sequence; or NULL */
};

enum gguf_biases {
	GGUF_BIAS_NEVER,  /* zero biases are left out, others refused */
	GGUF_BIAS_LINEAR, /* of all attention layers, and of gate, up and down; zero biases are left out */
	GGUF_BIAS_QKV,    /* of q, k and v, zero or not */
};

/* A class of transformers, and its architecture in llama.cpp. */
struct gguf_arch {
	const char *class, *name; /* "MistralForCausalLM", "llama" */
	uint32_t context;         /* defaults if config.json has none */
	double eps;
	uint32_t head_dim; /* 0: hidden_size / heads */
	enum gguf_biases biases;
	bool rope_order;                       /* rows of q and k are permuted */
	bool plus_one;                         /* norms are stored minus one */
	bool experts;                          /* it is a mixture of experts */
	const struct gguf_place *const *layer; /* modules of a layer, up to NULL */
};

/* Returns the architecture of a class, or NULL. */
const struct gguf_arch *gguf_arch_find(const char *class);

#endif
