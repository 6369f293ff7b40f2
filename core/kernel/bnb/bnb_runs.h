/* SPDX-License-Identifier: MIT */

/*
 * The part of bitsandbytes kernels common to all instruction sets. A file bnb_<isa>.c defines struct bnb_outputs,
 * includes this, defines the three functions that are declared below, and calls bnb_install().
 *
 * 4 bits: a rectangle is a few runs of the flat weight; whole rows are a single one. A run is cut at the ends of
 * blocks. For each block the outputs of the 16 codes are computed once, and codes are looked up among them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernel/bnb/bnb.h"
#include "kernel/element.h"
#include "kernel/simd/inline.h"

enum { BNB_SCALES = 256 }; /* scales kept at a time */

/* Computes the outputs of the 16 codes in a block. */
ALWAYS_INLINE struct bnb_outputs bnb4_outputs(const float *table, float absmax, enum dtype out);

/* Looks up n codes; the first is the high nibble of codes[0]. */
ALWAYS_INLINE void bnb4_look_up(char *dst, const unsigned char *codes, size_t n, const struct bnb_outputs *outputs,
    enum dtype out);

/* Decodes n codes that share a scale. */
ALWAYS_INLINE void bnb8_decode(char *dst, const unsigned char *codes, size_t n, float scale, enum dtype out);

/* Codes `first` to first + n of one block. */
ALWAYS_INLINE void bnb4_part(char *dst, const struct bnb4_tensor *t, uint64_t first, size_t n, float absmax,
    enum dtype out)
{
	const unsigned char *codes = t->codes + first / 2;
	const struct bnb_outputs outputs = bnb4_outputs(t->table, absmax, out);

	if (first % 2) { /* only the first part of a row of odd length */
		element_store(dst, 0, t->table[*codes++ & 15] * absmax, out);
		dst += out_bytes(out);
		n--;
	}
	for (size_t i = 0; i < n; i += 128)
		prefetch_ahead(codes + i / 2);
	bnb4_look_up(dst, codes, n, &outputs, out);
}

/* As bnb4_absmax, which is the contract; what blocks share is loaded once. */
static __attribute__((noinline)) void bnb4_load_scales(float *scales, const struct bnb4_tensor *t, uint64_t block,
    size_t count)
{
	const unsigned char *u = t->absmax + block;
	const float offset = t->nested_offset;

	if (!t->nested_map) {
		memcpy(scales, t->absmax + block * sizeof(float), count * sizeof(float));
		return;
	}
	for (size_t i = 0; i < count;) {
		const uint64_t outer = (block + i) >> t->nested_log2, left = ((outer + 1) << t->nested_log2) - block;
		const float nested = element_load(t->nested_absmax, outer, DTYPE_F32);

		for (const size_t stop = left < count ? (size_t)left : count; i < stop; i++)
			scales[i] = element_load(t->nested_map, u[i], DTYPE_F32) * nested + offset;
	}
}

ALWAYS_INLINE void bnb4_run(char *dst, const struct bnb4_tensor *t, uint64_t first, uint64_t n, enum dtype out)
{
	const uint64_t end = first + n, blocks = ((end - 1) >> t->block_log2) + 1;
	float scales[BNB_SCALES];

	for (uint64_t block = first >> t->block_log2; block < blocks; block += BNB_SCALES) {
		const size_t count = blocks - block < BNB_SCALES ? (size_t)(blocks - block) : BNB_SCALES;

		bnb4_load_scales(scales, t, block, count);
		for (size_t i = 0; i < count; i++) {
			const uint64_t stop = (block + i + 1) << t->block_log2;
			const size_t here = (size_t)((stop < end ? stop : end) - first);

			bnb4_part(dst, t, first, here, scales[i], out);
			dst += here * out_bytes(out);
			first += here;
		}
	}
}

ALWAYS_INLINE void bnb4_rows(char *dst, const struct bnb4_tensor *t, const struct kernel_rect *r, enum dtype out)
{
	const uint64_t first = (uint64_t)r->row0 * t->columns + r->column0;
	const bool whole = r->columns == t->columns;
	const uint64_t n = whole ? (uint64_t)r->rows * r->columns : r->columns;
	const uint32_t runs = whole ? 1 : r->rows;

	for (uint32_t i = 0; i < runs; i++)
		bnb4_run(dst + i * n * out_bytes(out), t, first + (uint64_t)i * t->columns, n, out);
}

ALWAYS_INLINE void bnb8_rows(char *dst, const struct bnb8_tensor *t, const struct kernel_rect *r, enum dtype out)
{
	for (uint32_t i = 0; i < r->rows; i++) {
		const uint64_t row = (uint64_t)r->row0 + i;

		bnb8_decode(dst, t->codes + row * t->columns + r->column0, r->columns,
		    element_load(t->scales, row, DTYPE_F32), out);
		dst += r->columns * out_bytes(out);
	}
}

#define DEFINE_BNB(out, type)                                                                          \
	static void bnb4_to_##out(void *dst, const struct bnb4_tensor *t, const struct kernel_rect *r) \
	{                                                                                              \
		bnb4_rows(dst, t, r, type);                                                            \
	}                                                                                              \
	static void bnb8_to_##out(void *dst, const struct bnb8_tensor *t, const struct kernel_rect *r) \
	{                                                                                              \
		bnb8_rows(dst, t, r, type);                                                            \
	}

DEFINE_BNB(f16, DTYPE_F16)
DEFINE_BNB(bf16, DTYPE_BF16)
DEFINE_BNB(f32, DTYPE_F32)

static void bnb_install(struct bnb_dsp *dsp)
{
	*dsp = (struct bnb_dsp){{bnb4_to_f16, bnb4_to_bf16, bnb4_to_f32}, {bnb8_to_f16, bnb8_to_bf16, bnb8_to_f32}};
}
