/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GGUF_READER_H
#define GPTQFS_GGUF_READER_H

/*
 * Reads the container (see keys.h) from untrusted bytes. All functions return false at the end of the bytes, or
 * where they are not GGUF.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is left of the bytes. */
struct gguf_reader {
	const unsigned char *at, *end;
};

bool gguf_skip(struct gguf_reader *r, uint64_t bytes);
bool gguf_take(struct gguf_reader *r, void *out, size_t bytes);
bool gguf_take_string(struct gguf_reader *r, const unsigned char **text, uint64_t *len);

/* Reads the beginning of a file: how many tensors and keys it has. */
bool gguf_take_head(struct gguf_reader *r, uint64_t *tensors, uint64_t *keys);

/* Skips a value of the type that follows its key. */
bool gguf_skip_value(struct gguf_reader *r, uint32_t type);

#endif
