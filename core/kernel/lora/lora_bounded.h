/* SPDX-License-Identifier: MIT */

/*
 * Merges for 16-bit outputs in fp32, where that decides. After lora_tile.h, over vectors `floats` of 2 * LANES; a file
 * for an instruction set defines, before it includes this, SPAN (such vectors side by side in a block of BLOCK_ROWS
 * rows) and
 *
 *     floats_load, floats_all, floats_multiply, floats_add, floats_subtract, floats_magnitude
 *     floats_multiply_add(a, b, c)            one rounding
 *     store_low(dst, low, high, out)          stores low, rounded to `out`, and returns true if high rounds to the same
 *                                             numbers; a NaN is the same as nothing
 *
 * Let u = 2^-24. The sum d is computed in fp32: chunks of LORA_CHUNK products by fused multiply-adds, and the sums of
 * those. Product i goes through n_i roundings on its way, so, with Cauchy and Schwarz,
 *
 *     |d' - d| <= u (1 + small) sum n_i |L_i R_i| <= u (1 + small) |L| |R|,   |x| = sqrt(sum n_i x_i^2)
 *
 * These norms, weighted by n_i, stand in the panels. v' = w + s' d' by one multiply-add adds u |v'|. If s is no number
 * of fp32's, s' adds u |s d|, which is at most u |s| |L| |R| because every n_i is at least 1. Rounding v' - e and v' +
 * e takes another u (|v'| + e). So with
 *
 *     e = (1 + 2^-10) u |s| |L| |R| + (1 + 2^-10) 2 u |v'|      (and twice the first if s is no number of fp32's)
 *
 * v lies between the two. 2^-10 is more than what else there is, all of it relative to one of both: the powers of 1 + u
 * (64 of them are 2^-18), the roundings of e, and those of fp64 in the contract. Rounding to 16 bits is monotonic: if
 * both ends round to the same number, so does v. If not, the vector is computed by the contract: with random factors of
 * the size of real ones 1 % of vectors of 16 at rank 8, 7 % at 64.
 *
 * All this is for norms and s that are moderate: norms of 0, or from 2^-40 to 2^40, and |s| from 2^-16 to 2^16. Others
 * count as infinite, and then e is infinite or a NaN and nothing equal. Moderate ones cannot overflow. Underflow is
 * hidden too: each of at most 512 roundings among subnormal numbers errs by 2^-150, which is |s| 2^-141 in v', but
 * 2^-10 of e is at least |s| 2^-114. Where a norm is 0, v' is w.
 */

#define ALL_VECTORS ((uint32_t)((1ULL << BLOCK_ROWS * SPAN) - 1))

/* Where block n / LORA_ROWS of L begins: its products' factors and then its norms. */
ALWAYS_INLINE const float *bounded_left(const struct lora_tile *t, uint32_t n)
{
	return (const float *)t->l + (size_t)(n / LORA_ROWS) * (t->rank + 1) * LORA_ROWS + n % LORA_ROWS;
}

ALWAYS_INLINE const float *bounded_right(const struct lora_tile *t, uint32_t k)
{
	return (const float *)t->r + (size_t)(k / LORA_COLUMNS) * (t->rank + 1) * LORA_COLUMNS + k % LORA_COLUMNS;
}

/* One vector by the contract. */
static void lora_vector(const struct lora_tile *t, uint32_t n, uint32_t k, enum dtype out)
{
	const float *l = bounded_left(t, n), *r = bounded_right(t, k);
	const doubles scale = doubles_all(t->scale);
	struct pair sum = {doubles_all(0), doubles_all(0)}, v = lora_base(t, n * t->w_step + k, DTYPE_F32);

	for (uint32_t i = 0; i < t->rank; i++, l += LORA_ROWS, r += LORA_COLUMNS) {
		sum.low = multiply_add(doubles_all(*l), doubles_widen(r), sum.low);
		sum.high = multiply_add(doubles_all(*l), doubles_widen(r + LANES), sum.high);
	}
	v.low = doubles_add(v.low, doubles_multiply(scale, sum.low));
	v.high = doubles_add(v.high, doubles_multiply(scale, sum.high));
	lora_store((char *)t->dst + n * t->dst_step + (size_t)k * 2, v, t->columns - k, out);
}

/*
 * Computes the vectors of a block that bounded_block returned, by the contract; those outside of the tile are left out.
 */
static __attribute__((noinline)) void lora_vectors(const struct lora_tile *t, uint32_t n, uint32_t k, uint32_t which,
    enum dtype out)
{
	for (; which; which &= which - 1) {
		const uint32_t i = (uint32_t)__builtin_ctz(which), row = n + i / SPAN, column = k + i % SPAN * WIDTH;

		if (row < t->rows && column < t->columns)
			lora_vector(t, row, column, out);
	}
}

/* Adds up to LORA_CHUNK products of a block from i on. */
ALWAYS_INLINE void bounded_chunk(const float *l, const float *const r[SPAN], uint32_t terms,
    floats sum[BLOCK_ROWS][SPAN])
{
	UNROLL
	for (int row = 0; row < BLOCK_ROWS; row++)
		UNROLL
	for (int j = 0; j < SPAN; j++)
		sum[row][j] = floats_all(0);
	for (uint32_t i = 0; i < terms; i++) {
		floats right[SPAN];

		UNROLL
		for (int j = 0; j < SPAN; j++)
			right[j] = floats_load(r[j] + i * LORA_COLUMNS);
		UNROLL
		for (int row = 0; row < BLOCK_ROWS; row++) {
			const floats left = floats_all(l[i * LORA_ROWS + row]);

			UNROLL
			for (int j = 0; j < SPAN; j++)
				sum[row][j] = floats_multiply_add(left, right[j], sum[row][j]);
		}
	}
}

/* Rows [n, n + BLOCK_ROWS) and SPAN vectors from column k on: sums of products. */
ALWAYS_INLINE void bounded_sums(const struct lora_tile *t, uint32_t n, uint32_t k, floats sum[BLOCK_ROWS][SPAN])
{
	const float *l = bounded_left(t, n), *r[SPAN];
	const uint32_t first = t->rank < LORA_CHUNK ? t->rank : LORA_CHUNK;

	UNROLL
	for (int j = 0; j < SPAN; j++)
		r[j] = bounded_right(t, k + j * WIDTH);
	bounded_chunk(l, r, first, sum);
	for (uint32_t i = first; i < t->rank; i += LORA_CHUNK) {
		floats chunk[BLOCK_ROWS][SPAN];

		l += LORA_CHUNK * LORA_ROWS;
		UNROLL
		for (int j = 0; j < SPAN; j++)
			r[j] += LORA_CHUNK * LORA_COLUMNS;
		bounded_chunk(l, r, t->rank - i < LORA_CHUNK ? t->rank - i : LORA_CHUNK, chunk);
		UNROLL
		for (int row = 0; row < BLOCK_ROWS; row++)
			UNROLL
		for (int j = 0; j < SPAN; j++)
			sum[row][j] = floats_add(sum[row][j], chunk[row][j]);
	}
}

/* What all vectors of a tile have in common. It is kept in registers, unlike the tile, which a store might change. */
struct bounds {
	floats scale;
	floats share; /* what a product of norms is multiplied by */
};

/* A sum of products, and how far the result may be off because of it. */
struct estimate {
	floats sum, error;
};

/* Stores one vector of the result; false if it takes more. */
ALWAYS_INLINE bool bounded_vector(char *dst, const float *w, floats scale, struct estimate x, enum dtype out)
{
	const floats v = floats_multiply_add(scale, x.sum, floats_load(w));
	const floats e = floats_multiply_add(floats_all(0x1.004p-23f), floats_magnitude(v), x.error);

	return store_low(dst, floats_subtract(v, e), floats_add(v, e), out);
}

/* Returns which vectors of the block take more: bit row * SPAN + j for each. All of its columns are there. */
ALWAYS_INLINE uint32_t bounded_block(const struct lora_tile *t, struct bounds b, uint32_t n, uint32_t k, enum dtype out)
{
	const float *l_norm = bounded_left(t, n) + (size_t)t->rank * LORA_ROWS;
	const float *w = (const float *)t->w + n * t->w_step + k;
	const size_t w_step = t->w_step, dst_step = t->dst_step;
	const uint32_t rows = t->rows - n;
	char *dst = (char *)t->dst + n * dst_step + (size_t)k * 2;
	floats sum[BLOCK_ROWS][SPAN], share[SPAN];
	uint32_t again = 0;

	bounded_sums(t, n, k, sum);
	UNROLL
	for (int j = 0; j < SPAN; j++)
		share[j] = floats_multiply(b.share,
		    floats_load(bounded_right(t, k + j * WIDTH) + (size_t)t->rank * LORA_COLUMNS));
	UNROLL
	for (int row = 0; row < BLOCK_ROWS; row++) {
		UNROLL
		for (int j = 0; j < SPAN; j++) {
			const floats error = floats_multiply(floats_all(l_norm[row]), share[j]);
			const struct estimate x = {sum[row][j], error};
			const bool done = bounded_vector(dst + j * WIDTH * 2, w + j * WIDTH, b.scale, x, out);

			again |= (uint32_t)!done << (row * SPAN + j);
		}
		if (row + 1U >= rows)
			break;
		w += w_step;
		dst += dst_step;
	}
	return again;
}

ALWAYS_INLINE void lora_bounded(const struct lora_tile *t, enum dtype out)
{
	const double scale = fabs(t->scale), roundings = (float)scale == scale ? 1 : 2;
	const bool moderate = scale >= 0x1p-16 && scale <= 0x1p16;
	const struct bounds b = {
	    floats_all((float)t->scale),
	    floats_all(moderate ? (float)(roundings * 0x1.004p-24 * scale) : HUGE_VALF),
	};

	for (uint32_t n = 0; n < t->rows; n += BLOCK_ROWS)
		for (uint32_t k = 0; k < t->columns; k += SPAN * WIDTH) {
			const bool whole = t->columns - k >= SPAN * WIDTH;
			const uint32_t again = whole ? bounded_block(t, b, n, k, out) : ALL_VECTORS;

			if (again)
				lora_vectors(t, n, k, again, out);
		}
}

static void lora_bounded_f16(const struct lora_tile *t)
{
	lora_bounded(t, DTYPE_F16);
}

static void lora_bounded_bf16(const struct lora_tile *t)
{
	lora_bounded(t, DTYPE_BF16);
}

static void lora_bounded_install(struct lora_dsp *dsp)
{
	dsp->bounded[DTYPE_F16] = lora_bounded_f16;
	dsp->bounded[DTYPE_BF16] = lora_bounded_bf16;
}
