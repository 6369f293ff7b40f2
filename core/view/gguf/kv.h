/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GGUF_KV_H
#define GPTQFS_GGUF_KV_H

/* The tokenizer of another GGUF file, for models whose own cannot be read here: -o gguf_kv=FILE. */

#include "base/arena.h"
#include "gptqfs.h"

struct gguf_kv {
	const char *keys; /* keys tokenizer.* as they are in the file; arena */
	size_t len;
	uint64_t count;
	size_t tokens; /* where the strings of tokenizer.ggml.tokens begin */
	uint64_t token_count;
};

/*
 * Finds the keys in the first `len` bytes of an untrusted GGUF file. Returns 0, -EINVAL if these bytes are not its
 * beginning or have no tokens, or -ENOMEM.
 */
int gguf_kv_parse(const unsigned char *bytes, size_t len, struct arena *arena, struct gguf_kv *out);

/* Reads them from a file. Returns 0, -EINVAL if it cannot be read or has none, or -ENOMEM, with a message. */
int gguf_kv_read(const char *path, struct arena *arena, struct gguf_kv *out, struct gptqfs_error *err);

/* True if one of the tokens has this text. */
bool gguf_kv_has(const struct gguf_kv *kv, const char *text);

#endif
