/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_DTYPE_H
#define GPTQFS_DTYPE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Element types of the safetensors format (its README, "Format", and enum Dtype of its tensor.rs). The three types a
 * view can have come first, so that they index small tables.
 */
enum dtype {
	DTYPE_F16,
	DTYPE_BF16,
	DTYPE_F32,
	DTYPE_F64,
	DTYPE_F8_E4M3,
	DTYPE_F8_E5M2,
	DTYPE_BOOL,
	DTYPE_U8,
	DTYPE_I8,
	DTYPE_U16,
	DTYPE_I16,
	DTYPE_U32,
	DTYPE_I32,
	DTYPE_U64,
	DTYPE_I64,
	DTYPE_C64,
	DTYPE_F8_E8M0,
	DTYPE_F8_E5M2FNUZ,
	DTYPE_F8_E4M3FNUZ,
	DTYPE_F6_E2M3,
	DTYPE_F6_E3M2,
	DTYPE_F4,
	DTYPE_COUNT,
};

#define DTYPE_VIEWS 3 /* F16, BF16, F32: the types of dense views */
#define DTYPE_CASTS 6 /* those, F64, F8_E4M3 and F8_E5M2: the types with casts */

/* Returns the name in safetensors headers ("BF16"). */
const char *dtype_name(enum dtype dtype);

/* Returns the name in config.json and torch ("bfloat16"); only for the DTYPE_VIEWS types. */
const char *dtype_torch_name(enum dtype dtype);

/* Returns the name in views and options ("bf16"); only for the DTYPE_VIEWS types. */
const char *dtype_view_name(enum dtype dtype);

/* Returns the bits of one element, 4 to 64. */
unsigned dtype_bits(enum dtype dtype);

/* Returns the type with that name (`len` bytes, not necessarily terminated), or DTYPE_COUNT. */
enum dtype dtype_parse(const char *name, size_t len);

/* Returns the bytes of one element; only for types of whole bytes. */
static inline size_t dtype_bytes(enum dtype dtype)
{
	return dtype_bits(dtype) / 8;
}

/* True for F16, BF16 and F32, the types that dense views and most scales have. */
static inline bool dtype_is_view(enum dtype dtype)
{
	return dtype < DTYPE_VIEWS;
}

/* True for F16, BF16, F32 and F64, which views cast. Not for F8: it may have scales. */
static inline bool dtype_is_cast(enum dtype dtype)
{
	return dtype <= DTYPE_F64;
}

#endif
