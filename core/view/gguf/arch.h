/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GGUF_ARCH_H
#define GPTQFS_GGUF_ARCH_H

/* The classes of transformers that llama.cpp has a graph for, and how each calls the modules of a layer. */

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
	enum { GGUF_ROWS, GGUF_ROPE_Q, GGUF_ROPE_K } rows; /* their order where the architecture has rope_order */
	bool qkv;                                          /* what GGUF_BIAS_QKV means */
	const char *halves[2]; /* what the module may be stored as instead, one after the other; or NULL */
};

enum gguf_biases {
	GGUF_BIAS_NEVER,  /* those that are zero are left out, others refused */
	GGUF_BIAS_LINEAR, /* of any layer of attention, of gate, up and down; those that are zero are left out */
	GGUF_BIAS_QKV,    /* of q, k and v, zero or not */
};

/* A class of transformers, and what llama.cpp takes it for. */
struct gguf_arch {
	const char *class, *name; /* "MistralForCausalLM", "llama" */
	uint32_t context;         /* and so on: where config.json does not say it */
	double eps;
	uint32_t head_dim; /* 0: hidden_size / heads */
	enum gguf_biases biases;
	bool rope_order;                       /* rows of q and k are permuted */
	bool plus_one;                         /* norms are stored less one */
	bool experts;                          /* it is a mixture of them */
	const struct gguf_place *const *layer; /* places of one layer, up to NULL */
};

/* Returns the architecture of a class, or NULL. */
const struct gguf_arch *gguf_arch_find(const char *class);

#endif
