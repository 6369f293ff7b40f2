/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GGUF_KEYS_H
#define GPTQFS_GGUF_KEYS_H

/* The container (ggml's docs/gguf.md): what is before the data of a GGUF file. Little-endian. */

#include "base/text.h"

#define GGUF_ALIGN 32    /* of data and of each tensor; general.alignment says the same where it is absent */
#define GGUF_NAME_MAX 63 /* bytes of a tensor's name */

enum gguf_value { GGUF_U32 = 4, GGUF_I32 = 5, GGUF_FLOAT = 6, GGUF_BOOL = 7, GGUF_STRING = 8, GGUF_ARRAY = 9 };

/* Keys and values while they are collected. A zeroed struct has none. out.failed tells of lack of memory. */
struct gguf_keys {
	struct text out;
	uint64_t count;
	const char *prefix; /* of keys that begin with a dot */
};

void gguf_put_u32(struct text *out, uint32_t value);
void gguf_put_u64(struct text *out, uint64_t value);
void gguf_put_float(struct text *out, double value);
void gguf_put_string(struct text *out, const char *bytes, size_t len);

/* A string of base/json.h, where C0 80 is NUL. */
void gguf_put_json_string(struct text *out, const char *s);

void gguf_key_u32(struct gguf_keys *k, const char *key, uint32_t value);
void gguf_key_float(struct gguf_keys *k, const char *key, double value);
void gguf_key_bool(struct gguf_keys *k, const char *key, bool value);
void gguf_key_string(struct gguf_keys *k, const char *key, const char *bytes, size_t len);
void gguf_key_json_string(struct gguf_keys *k, const char *key, const char *s);

/* Begins an array; the caller puts that many elements to k->out. */
void gguf_key_array(struct gguf_keys *k, const char *key, enum gguf_value of, uint64_t count);

#endif
