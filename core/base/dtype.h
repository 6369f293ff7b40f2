/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_DTYPE_H
#define GPTQFS_DTYPE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Element types of the safetensors format (its README, "Format", and the Dtype enum of its tensor.rs).
 * The three types a view can have come first, so that they index small tables.
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

#define DTYPE_VIEWS 3 /* F16, BF16, F32: what a dense view may consist of */
#define DTYPE_CASTS 6 /* those, F64, F8_E4M3 and F8_E5M2: what there are casts of */

/* The name as a safetensors header spells it ("BF16"). */
const char *dtype_name(enum dtype dtype);

/* The name as config.json and torch spell it ("bfloat16"); only for the DTYPE_VIEWS types. */
const char *dtype_torch_name(enum dtype dtype);

/* The name as views and options spell it ("bf16"); only for the DTYPE_VIEWS types. */
const char *dtype_view_name(enum dtype dtype);

/* Bits of one element: 4 to 64. */
unsigned dtype_bits(enum dtype dtype);

/* The type with that name (`len` bytes, no terminator needed), or DTYPE_COUNT if there is none. */
enum dtype dtype_parse(const char *name, size_t len);

/* Bytes of one element of a type of whole bytes. */
static inline size_t dtype_bytes(enum dtype dtype)
{
	return dtype_bits(dtype) / 8;
}

/* True for F16, BF16, F32 and F64, which views cast to their type. An F8 tensor is one only where nothing scales it. */
static inline bool dtype_is_cast(enum dtype dtype)
{
	return dtype <= DTYPE_F64;
}

#endif
