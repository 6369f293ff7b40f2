/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GGUF_KEYS_H
#define GPTQFS_GGUF_KEYS_H

/* The container (ggml's docs/gguf.md): everything before the data of a GGUF file. Little-endian. */

#include "base/text.h"

#define GGUF_ALIGN 32    /* of the data and of each tensor; the default of general.alignment */
#define GGUF_NAME_MAX 63 /* longest name of a tensor, in bytes */

enum gguf_value { GGUF_U32 = 4, GGUF_I32 = 5, GGUF_FLOAT = 6, GGUF_BOOL = 7, GGUF_STRING = 8, GGUF_ARRAY = 9 };

/* A file being written, up to its keys. out.failed is set if out of memory. */
struct gguf_keys {
	struct text out;
	uint64_t count;     /* of keys */
	const char *prefix; /* prefix of keys that begin with a dot */
};

/* Begins a file with that many tensors; ends its keys. Then append the tensors' infos to k->out. */
void gguf_begin(struct gguf_keys *k, uint64_t tensors);
void gguf_end(struct gguf_keys *k);

void gguf_put_u32(struct text *out, uint32_t value);
void gguf_put_u64(struct text *out, uint64_t value);
void gguf_put_float(struct text *out, double value);
void gguf_put_string(struct text *out, const char *bytes, size_t len);

/* A string from base/json.h, where C0 80 is NUL. */
void gguf_put_json_string(struct text *out, const char *s);

void gguf_key_u32(struct gguf_keys *k, const char *key, uint32_t value);
void gguf_key_float(struct gguf_keys *k, const char *key, double value);
void gguf_key_bool(struct gguf_keys *k, const char *key, bool value);
void gguf_key_string(struct gguf_keys *k, const char *key, const char *bytes, size_t len);
void gguf_key_json_string(struct gguf_keys *k, const char *key, const char *s);

/* Begins an array; the caller then appends that many elements to k->out. */
void gguf_key_array(struct gguf_keys *k, const char *key, enum gguf_value of, uint64_t count);

#endif
