/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LORA_KERNEL_H
#define GPTQFS_LORA_KERNEL_H

/*
 * LoRA: the numeric contract of a merged weight and its kernels.
 *
 *     v[n][k] = (double)w[n][k];   for each term, in the order given:
 *     v[n][k] += s * d[n][k],      d[n][k] = 0.0 + L[n][0] R[0][k] + L[n][1] R[1][k] + ... + L[n][r - 1] R[r - 1][k]
 *     out[n][k] = round_to_nearest_even(v[n][k]), once, from fp64 to the type of the output
 *
 * w is the fp32 value of the base, L and R are a term's factors (F32, F16, BF16), s is a double: the product of two of
 * fp32's numbers is exact in fp64, so fused and separate multiply-adds give the same sum. The last step, s * d and then
 * the addition, is not fused, and nothing is reassociated. -0.0, subnormals and inf follow IEEE 754; a NaN is always
 * the canonical one.
 *
 * DoRA: v as above, q = the sum of v[n][k]^2 over a row, f = m[n] / sqrt(q), out[n][k] = round(f * v[n][k]). The sum is
 * made of 16 partial ones p[k mod 16], from 0.0, k ascending, multiplied and then added; then p[j] += p[j + 8] for all
 * j < 8, p[j] += p[j + 4], and so on.
 *
 * This is, bit for bit, what PEFT computes in float64 on the fp32 weights.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/cast.h"

#define LORA_RANK_MAX 4096

/*
 * Factors are packed into panels, filled up with zeros: L as [rows / 8][rank][8] doubles, R as [columns /
 * 16][rank][16]. Bounded kernels take floats, each block with a line of norms (lora_bounded.h) at its end.
 */
#define LORA_ROWS 8
#define LORA_COLUMNS 16

/* A factor as stored, in either orientation; it may be part of a larger one, or one of several interleaved. */
struct lora_factor {
	const unsigned char *data;
	enum dtype dtype;       /* F32, F16 or BF16 */
	uint64_t across, along; /* elements from a row of L, or a column of R, to the next one; and from i to i + 1 */
};

/* The rows of L, or columns of R, that go into one panel. */
struct lora_piece {
	const struct lora_factor *factor;
	uint64_t first;
	uint32_t count;
	uint32_t rank;
	uint32_t width; /* LORA_ROWS or LORA_COLUMNS */
	bool floats;    /* the panel is of floats */
};

/* Returns the bytes of its panel; not more if it is of floats. */
size_t lora_panel_bytes(const struct lora_piece *p);

/* Packs a piece into a panel. `to_float` are the casts of F16, BF16 and F32 to F32. Reads mapped memory. */
void lora_pack(void *panel, const struct lora_piece *p, cast_fn *const to_float[DTYPE_VIEWS]);

/* One term over a rectangle in private memory, and its result. */
struct lora_tile {
	const void *w;     /* floats or doubles; rows can be read up to a multiple of LORA_COLUMNS */
	size_t w_step;     /* elements from one row to the next */
	const void *l, *r; /* panels of doubles; of floats for a bounded kernel */
	double scale;
	uint32_t rank, rows, columns;
	void *dst;
	size_t dst_step; /* bytes from one row to the next */
};

/* Up to this rank a bounded kernel pays. */
#define LORA_BOUNDED_RANK 128

/* A bounded kernel adds up this many products at a time, and then their sums. */
#define LORA_CHUNK 16

/* dst = round(w + scale * L R), exactly rows x columns elements. Nothing need be aligned. */
typedef void lora_fn(const struct lora_tile *t);

/* dst = round(f * v) of one row of n elements, f as above. */
typedef void dora_fn(void *dst, const double *v, size_t n, double magnitude);

#define LORA_OUTS (DTYPE_F64 + 1) /* F16, BF16, F32; and F64, with any NaN, where further terms follow */

/* The kernels of one CPU level. */
struct lora_dsp {
	lora_fn *merge[2][LORA_OUTS]; /* [w is of doubles][type of dst] */
	/*
	 * [F16 or BF16] The same for w of floats, with panels of floats, by arithmetic that is faster where rounding
	 * hides its errors (lora_bounded.h); NULL where there is none.
	 */
	lora_fn *bounded[2];
	dora_fn *dora[DTYPE_VIEWS];
};

/* Fills the table with the C reference. */
void lora_init(struct lora_dsp *dsp);

/* Each overrides the slots that its instruction set speeds up. Call only if cpu_detect() allows it. */
void lora_init_vector(struct lora_dsp *dsp);
void lora_init_avx2(struct lora_dsp *dsp);
void lora_init_avx512(struct lora_dsp *dsp);

#endif
