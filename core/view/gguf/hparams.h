/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GGUF_HPARAMS_H
#define GPTQFS_GGUF_HPARAMS_H

/* Translates config.json to GGUF: architecture, sizes, rope, experts. */

#include "base/arena.h"
#include "base/json.h"
#include "view/gguf/arch.h"
#include "view/gguf/keys.h"

enum gguf_rope {
	GGUF_ROPE_PLAIN,
	GGUF_ROPE_LINEAR,
	GGUF_ROPE_YARN,
	GGUF_ROPE_LLAMA3, /* as factors in a tensor */
	GGUF_ROPE_LONG,   /* as factors in two tensors */
};

struct gguf_hparams {
	const struct gguf_arch *arch;
	const struct json *root, *text; /* config.json, and its text_config or NULL */
	uint32_t context, embedding, blocks, feed_forward, heads, kv_heads, head_dim, vocabulary;
	double eps, theta;
	const struct json *scaling; /* of rope; may be NULL */
	enum gguf_rope rope;
	uint32_t rope_dims, original; /* original: context of rope's scaling */
	uint32_t experts;             /* 0 if none */
	bool untied;                  /* its head is not its embedding, though the class may tie them */
	const char *warning;          /* what GGUF cannot express of this model, or NULL */
};

/* Reads the configuration. Returns 0, or -ENOTSUP or -EBADMSG with the reason why there is no GGUF file. */
int gguf_hparams_read(const struct json *config, struct gguf_hparams *out, struct gptqfs_error *err);

/*
 * Writes the keys from general.architecture up to those of the tokenizer. `name` is the model's name, file_type ggml's
 * number.
 */
int gguf_hparams_put(const struct gguf_hparams *h, const char *name, uint32_t file_type, struct gguf_keys *k,
    struct gptqfs_error *err);

/* Computes the factors of rope, `rope_dims` / 2 doubles. Only for LLAMA3 and LONG. Returns 0 or -ENOTSUP. */
int gguf_rope_llama3(const struct gguf_hparams *h, struct text *out, struct gptqfs_error *err);
int gguf_rope_long(const struct gguf_hparams *h, const char *key, struct text *out, struct gptqfs_error *err);

#endif
