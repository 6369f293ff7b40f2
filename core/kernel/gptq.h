/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GPTQ_H
#define GPTQFS_GPTQ_H

/*
 * GPTQ: the numeric contract, and the kernels that keep it.
 *
 *     w[n][k] = round_to_nearest_even( fp32(scale[g][n]) * (float)(q[k][n] - zero[g][n]) )
 *
 * with g = g_idx[k], or k / group_size where there is no g_idx. One integer subtraction, one fp32 multiplication (which
 * for F16 and BF16 scales is exact up to 8 bits), one rounding to the output type. -0.0, subnormals and inf are kept. A
 * NaN is always the canonical one: fp16 0x7e00, bf16 0x7fc0, fp32 0x7fc00000. bf16 is rounded from the product, never
 * by way of fp16. Every kernel gives the same bits as the C reference; nothing is compared with a tolerance.
 *
 * Output is [out_features, in_features], row-major, without padding: row n holds out_feature n, as nn.Linear keeps it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"

/* How codes lie in pack words. All words are little-endian and unsigned. */
enum packing {
	/* Codes of `bits` bits follow one another as one bit stream, lowest bit first: 2, 3, 4 and 8 bits. For 32-bit
	 * words any 32 codes take `bits` words; 3-bit codes straddle words. */
	PACKING_STREAM,
	/* "gptq_p": per 32 codes, planes of 4, 2 and 1 bits, low plane first (3 = 2+1, 5 = 4+1, 6 = 4+2, 7 = 4+2+1). A
	 * plane of width w takes w words; word i holds codes [i*32/w, (i+1)*32/w) at shifts w*j. 3, 5, 6 and 7 bits. */
	PACKING_PLANAR,
};

/* What a field of qzeros means. */
enum zeros {
	/* "gptq", v1: the field is zero - 1. For 2, 4 and 8 bits a constant with 1 in every field is added to the
	 * whole word, modulo the word, before fields are taken (the writers subtracted it that way, borrows and all);
	 * for 3 bits each field is (field + 1) & 7. */
	ZEROS_V1,
	ZEROS_V2,     /* "gptq_v2", "gptq_p": the field is the zero */
	ZEROS_MIDDLE, /* there is no qzeros: every zero is 1 << (bits - 1) */
};

/*
 * One quantized matrix. Pointers into checkpoint files have no alignment at all (safetensors promises none): read
 * them by memcpy or unaligned loads. Sizes were checked when the struct was filled; kernels check nothing.
 */
struct qtensor {
	uint32_t in_features;  /* K, at least 1 */
	uint32_t out_features; /* N, at least 1 */
	uint32_t groups;       /* G, at least 1 */
	uint32_t group_size;   /* at least 1; for g_idx == NULL, (in_features - 1) / group_size < groups */
	uint8_t bits;          /* 2 to 8 */
	uint8_t word_bits;     /* 32; the packers' configuration also knows 8, 16 and 64 (2, 4, 8 bits only) */
	enum packing packing;
	enum zeros zeros;
	enum dtype scale_dtype;       /* F16, BF16 or F32 */
	const unsigned char *qweight; /* words [ceil(in_features * bits / word_bits), out_features] */
	const unsigned char *qzeros; /* words [groups, ceil(out_features * bits / word_bits)], NULL with ZEROS_MIDDLE */
	const unsigned char *scales; /* scale_dtype [groups, out_features] */
	const uint32_t *g_idx;       /* [in_features], each < groups; aligned private memory, or NULL */
};

/* True if the codes are in planes. 2, 4 and 8 bits are one plane, and one plane is a stream. */
static inline bool qtensor_is_planar(const struct qtensor *q)
{
	return q->packing == PACKING_PLANAR && (q->bits & (q->bits - 1));
}

/*
 * Writes rows [row0, row0 + nrows) to dst, nrows * in_features elements of the kernel's output type, and not a byte
 * beyond. dst need not be aligned, but 64-byte-aligned rows are faster. Allocates nothing, cannot fail, runs in any
 * number of threads. Reads only what the rows need; a fault in mapped memory may end it anywhere, so it holds no lock.
 */
typedef void gptq_fn(void *dst, const struct qtensor *q, uint32_t row0, uint32_t nrows);

/* The C reference. */
extern gptq_fn *const gptq_reference[DTYPE_VIEWS];

/* The kernels of one CPU level. Slots that no level overrides hold the reference. */
struct gptq_dsp {
	/* [bits][packing][g_idx != NULL][output type], for 32-bit words */
	gptq_fn *rows[9][2][2][DTYPE_VIEWS];
	gptq_fn *inputs[DTYPE_VIEWS]; /* for 32-bit words */
};

/* Fills the table with the C reference. */
void gptq_init(struct gptq_dsp *dsp);

/* Each overrides what its instruction set does faster. Call only where cpu_detect() allows it. */
void gptq_init_vector(struct gptq_dsp *dsp);
void gptq_init_avx2(struct gptq_dsp *dsp);
void gptq_init_avx512(struct gptq_dsp *dsp);

/* The kernel for this matrix and output type (F16, BF16 or F32). Never NULL. */
gptq_fn *gptq_rows(const struct gptq_dsp *dsp, const struct qtensor *q, enum dtype out);

/*
 * The same for the matrix as it is packed, [in_features, out_features]: a kernel that writes rows [k0, k0 + nk) of
 * out_features elements each. For the few weights that are kept that way (Conv1D, embeddings).
 */
gptq_fn *gptq_inputs(const struct gptq_dsp *dsp, const struct qtensor *q, enum dtype out);

/*
 * The same matrix with the inputs [k0, k0 + nk) alone, for which any kernel of the whole one will do. k0 must be a
 * multiple of qtensor_step, and nk too unless it goes up to the last one. The step is 32 codes, which are whole words
 * in every layout, or a whole group; 0 if groups and words do not end together.
 */
struct qtensor qtensor_inputs(const struct qtensor *q, uint32_t k0, uint32_t nk);
uint32_t qtensor_step(const struct qtensor *q);

/* Code k of column n, before any zero is subtracted; zero of group g, column n. The formats in their plainest form. */
uint32_t qtensor_code(const struct qtensor *q, uint32_t k, uint32_t n);
uint32_t qtensor_zero(const struct qtensor *q, uint32_t g, uint32_t n);

#endif
