/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GPTQ_H
#define GPTQFS_GPTQ_H

/*
 * GPTQ: the numeric contract and its kernels.
 *
 *     w[n][k] = round_to_nearest_even( fp32(scale[g][n]) * (float)(q[k][n] - zero[g][n]) )
 *
 * with g = g_idx[k], or k / group_size if there is no g_idx. One integer subtraction, one fp32 multiplication (exact
 * for F16 and BF16 scales and up to 8 bits), one rounding to the output type. -0.0, subnormals and inf are kept. NaN is
 * always canonical: fp16 0x7e00, bf16 0x7fc0, fp32 0x7fc00000. bf16 is rounded from the product, never via fp16. Every
 * kernel produces the bits of the C reference; there are no tolerances.
 *
 * Output is [out_features, in_features], row-major, without padding: row n is out_feature n, as in nn.Linear.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"

/* The layout of codes in words. All words are little-endian and unsigned. */
enum packing {
	/*
	 * Codes form a bit stream, lowest bit first: 2, 3, 4 and 8 bits. With 32-bit words, 32 codes take `bits` words;
	 * 3-bit codes straddle words.
	 */
	PACKING_STREAM,
	/*
	 * "gptq_p": per 32 codes, planes of 4, 2 and 1 bits, low plane first (3 = 2+1, 5 = 4+1, 6 = 4+2, 7 = 4+2+1). A
	 * plane of width w takes w words; word i holds codes [i*32/w, (i+1)*32/w) at shifts w*j. 3, 5, 6 and 7 bits.
	 */
	PACKING_PLANAR,
};

/* The meaning of a field of qzeros. */
enum zeros {
	/*
	 * "gptq", v1: the field is zero - 1. For 2, 4 and 8 bits, a constant with 1 in every field is added to the
	 * word, modulo its size, before fields are extracted (writers subtracted it like that, with borrows); for 3
	 * bits, the zero is (field + 1) & 7.
	 */
	ZEROS_V1,
	ZEROS_V2,     /* "gptq_v2", "gptq_p": the field is the zero */
	ZEROS_MIDDLE, /* there is no qzeros: every zero is 1 << (bits - 1) */
};

/*
 * A quantized matrix. Pointers into checkpoint files may be unaligned (safetensors guarantees nothing): use memcpy or
 * unaligned loads. Sizes were checked when the struct was filled in; kernels check nothing.
 */
struct qtensor {
	uint32_t in_features;  /* K, at least 1 */
	uint32_t out_features; /* N, at least 1 */
	uint32_t groups;       /* G, at least 1 */
	uint32_t group_size;   /* at least 1; for g_idx == NULL, (in_features - 1) / group_size < groups */
	uint8_t bits;          /* 2 to 8 */
	uint8_t word_bits;     /* 32; configurations also allow 8, 16 and 64 (2, 4, 8 bits only) */
	enum packing packing;
	enum zeros zeros;
	enum dtype scale_dtype;       /* F16, BF16 or F32 */
	const unsigned char *qweight; /* words [ceil(in_features * bits / word_bits), out_features] */
	const unsigned char *qzeros; /* words [groups, ceil(out_features * bits / word_bits)]; NULL with ZEROS_MIDDLE */
	const unsigned char *scales; /* scale_dtype [groups, out_features] */
	const uint32_t *g_idx;       /* [in_features], each < groups; aligned private memory, or NULL */
};

/* True if the codes are in planes. 2, 4 and 8 bits are one plane, and one plane is a stream. */
static inline bool qtensor_is_planar(const struct qtensor *q)
{
	return q->packing == PACKING_PLANAR && (q->bits & (q->bits - 1));
}

/*
 * Writes rows [row0, row0 + nrows) to dst: exactly nrows * in_features elements of the kernel's output type. dst may be
 * unaligned, but 64-byte-aligned rows are faster. Thread-safe, cannot fail, allocates nothing. Reads only what the rows
 * need. A fault in mapped memory may abort it at any point, so it takes no locks.
 */
typedef void gptq_fn(void *dst, const struct qtensor *q, uint32_t row0, uint32_t nrows);

/* The C reference. */
extern gptq_fn *const gptq_reference[DTYPE_VIEWS];

/* The kernels of one CPU level. Slots that no level overrides have the reference. */
struct gptq_dsp {
	/* [bits][packing][g_idx != NULL][output type], for 32-bit words */
	gptq_fn *rows[9][2][2][DTYPE_VIEWS];
	gptq_fn *inputs[DTYPE_VIEWS]; /* for 32-bit words */
};

/* Fills the table with the C reference. */
void gptq_init(struct gptq_dsp *dsp);

/* Each overrides the slots that its instruction set speeds up. Call only if cpu_detect() allows it. */
void gptq_init_vector(struct gptq_dsp *dsp);
void gptq_init_avx2(struct gptq_dsp *dsp);
void gptq_init_avx512(struct gptq_dsp *dsp);

/* Returns the kernel for a matrix and output type (F16, BF16 or F32). Never NULL. */
gptq_fn *gptq_rows(const struct gptq_dsp *dsp, const struct qtensor *q, enum dtype out);

/*
 * Returns a kernel for output in the packed orientation, [in_features, out_features]: it writes rows [k0, k0 + nk) of
 * out_features elements each. For the few weights served like that (Conv1D, embeddings).
 */
gptq_fn *gptq_inputs(const struct gptq_dsp *dsp, const struct qtensor *q, enum dtype out);

/*
 * Returns the matrix restricted to inputs [k0, k0 + nk); the kernels of the whole matrix apply. k0 must be a multiple
 * of qtensor_step, and so must nk unless it reaches the last input. The step is 32 codes, which are whole words in
 * every layout, or a whole group; 0 if groups and words do not end together.
 */
struct qtensor qtensor_inputs(const struct qtensor *q, uint32_t k0, uint32_t nk);
uint32_t qtensor_step(const struct qtensor *q);

/*
 * Return code k of column n, before a zero is subtracted; the zero of group g and column n. These define the formats.
 */
uint32_t qtensor_code(const struct qtensor *q, uint32_t k, uint32_t n);
uint32_t qtensor_zero(const struct qtensor *q, uint32_t g, uint32_t n);

#endif
