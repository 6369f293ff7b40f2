/* SPDX-License-Identifier: MIT */

/*
 * Merges for 16-bit outputs in fp32, where that decides. After lora_tile.h, over vectors `floats` of 2 * LANES; a file
 * for an instruction set defines, before it includes this, SPAN (such vectors side by side in a block of BLOCK_ROWS
 * rows) and
 *
 *     floats_load, floats_all, floats_multiply, floats_add, floats_subtract, floats_magnitude
 *     floats_multiply_add(a, b, c)            one rounding
 *     store_if_equal(dst, low, high, out)     rounds both to `out` and, if they are the same and finite as floats,
 *                                             stores them and returns true
 *
 * Let u = 2^-24, and norms and s be moderate. d is summed in fp32 as chunks of 8 terms, each by
 * fused multiply-adds, and the sums of those. A term goes through at most 8 roundings in its chunk and rank / 8 after
 * it, so |d' - d| <= (8 + rank / 8) u (1 + small) sum |L_i R_i|, and that sum is at most |L row| |R column|, the
 * Euclidean norms. v' = s' d' + w, with s rounded to fp32, adds u |s d'| and u |v'|. Rounding v' - e and v' + e takes
 * another u |v'| (1 + small). So with
 *
 *     e = (8 + rank / 8 + 3) u |s| |L row| |R column| + 3 u |v'|
 *
 * v lies between the two, as do the roundings of fp64 in the contract (rank 2^-53 of the same sum) and those of e and
 * of the norms themselves, for which there is 1 u |s| |L row| |R column| and 1 u |v'| to spare. Rounding to 16 bits is
 * monotonic: if both ends round to the same number, so does v. If not, or if something is not finite, the vector is
 * computed by the contract: 1 to 9 % of them with the factors of real adapters.
 *
 * Nothing is lost to underflow: norms other than 0 are at least 2^-40 and |s| is at least 2^-16, so e is at least
 * 2^-117 where anything is added, while all roundings among subnormal numbers err by less than 2^-126 together. Where a
 * norm is 0, all steps but the last are exact.
 */

#define MODERATE_LEAST 0x1p-40f
#define MODERATE_MOST 0x1p40f

/* Norms of the rows or columns of one block of a panel, not less than they are. False if one is not moderate. */
ALWAYS_INLINE bool block_norms(const float *block, uint32_t rank, uint32_t width, float *norm)
{
	double sum[LORA_COLUMNS] = {0};
	bool moderate = true;

	for (uint32_t i = 0; i < rank; i++)
		for (uint32_t k = 0; k < width; k++)
			sum[k] += (double)block[i * width + k] * block[i * width + k];
	for (uint32_t k = 0; k < width; k++) {
		norm[k] = (float)(sqrt(sum[k]) * (1 + 0x1p-22));
		moderate &= norm[k] == 0 || (norm[k] >= MODERATE_LEAST && norm[k] <= MODERATE_MOST);
	}
	return moderate;
}

/* One vector by the contract. */
static __attribute__((noinline)) void lora_vector(const struct lora_tile *t, uint32_t n, uint32_t k, enum dtype out)
{
	const float *l = (const float *)t->l + (size_t)(n / LORA_ROWS) * t->rank * LORA_ROWS + n % LORA_ROWS;
	const float *r = (const float *)t->r + (size_t)(k / LORA_COLUMNS) * t->rank * LORA_COLUMNS + k % LORA_COLUMNS;
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

/* Rows [n, n + BLOCK_ROWS) and SPAN vectors from column k on: sums of products. */
ALWAYS_INLINE void bounded_sums(const struct lora_tile *t, uint32_t n, uint32_t k, floats sum[BLOCK_ROWS][SPAN])
{
	const float *l = (const float *)t->l + (size_t)(n / LORA_ROWS) * t->rank * LORA_ROWS + n % LORA_ROWS;
	const float *r = (const float *)t->r + (size_t)(k / LORA_COLUMNS) * t->rank * LORA_COLUMNS;

	UNROLL
	for (int row = 0; row < BLOCK_ROWS; row++)
		UNROLL
	for (int j = 0; j < SPAN; j++)
		sum[row][j] = floats_all(0);
	for (uint32_t first = 0; first < t->rank; first += 8) {
		const uint32_t terms = t->rank - first < 8 ? t->rank - first : 8;
		floats chunk[BLOCK_ROWS][SPAN];

		UNROLL
		for (int row = 0; row < BLOCK_ROWS; row++)
			UNROLL
		for (int j = 0; j < SPAN; j++)
			chunk[row][j] = floats_all(0);
		for (uint32_t i = 0; i < terms; i++, l += LORA_ROWS, r += LORA_COLUMNS) {
			UNROLL
			for (int row = 0; row < BLOCK_ROWS; row++) {
				const floats factor = floats_all(l[row]);

				UNROLL
				for (int j = 0; j < SPAN; j++)
					chunk[row][j] =
					    floats_multiply_add(factor, floats_load(r + j * WIDTH), chunk[row][j]);
			}
		}
		UNROLL
		for (int row = 0; row < BLOCK_ROWS; row++)
			UNROLL
		for (int j = 0; j < SPAN; j++)
			sum[row][j] = first ? floats_add(sum[row][j], chunk[row][j]) : chunk[row][j];
	}
}

/* What a run of columns has in common: e = row * l_norm * r_norm + 3 u |v|. */
struct bounds {
	float scale, row;
	float l_norm[LORA_ROWS];
	const float *r_norm; /* from the tile's first column on */
};

/* One vector of the result; false if it takes more. */
ALWAYS_INLINE bool bounded_vector(const struct lora_tile *t, const struct bounds *b, uint32_t n, uint32_t k, floats sum,
    enum dtype out)
{
	const floats w = floats_load((const float *)t->w + n * t->w_step + k);
	const floats v = floats_multiply_add(floats_all(b->scale), sum, w);
	const floats part = floats_multiply(floats_all(b->row * b->l_norm[n % LORA_ROWS]), floats_load(b->r_norm + k));
	const floats e = floats_multiply_add(floats_all(3 * 0x1p-24f), floats_magnitude(v), part);
	char *dst = (char *)t->dst + n * t->dst_step + (size_t)k * 2;

	return t->columns - k >= WIDTH && store_if_equal(dst, floats_subtract(v, e), floats_add(v, e), out);
}

ALWAYS_INLINE void bounded_block(const struct lora_tile *t, const struct bounds *b, uint32_t n, uint32_t k,
    enum dtype out)
{
	floats sum[BLOCK_ROWS][SPAN];

	bounded_sums(t, n, k, sum);
	UNROLL
	for (int row = 0; row < BLOCK_ROWS; row++)
		UNROLL
	for (int j = 0; j < SPAN; j++)
		if (n + row < t->rows && k + j * WIDTH < t->columns &&
		    !bounded_vector(t, b, n + row, k + j * WIDTH, sum[row][j], out))
			lora_vector(t, n + row, k + j * WIDTH, out);
}

/* Where norms are not moderate. */
static void lora_vectors(const struct lora_tile *t, uint32_t row0, uint32_t rows, enum dtype out)
{
	for (uint32_t n = row0; n < row0 + rows && n < t->rows; n++)
		for (uint32_t k = 0; k < t->columns; k += WIDTH)
			lora_vector(t, n, k, out);
}

ALWAYS_INLINE void bounded_rows(const struct lora_tile *t, struct bounds *b, enum dtype out)
{
	for (uint32_t row0 = 0; row0 < t->rows; row0 += LORA_ROWS) {
		if (!block_norms((const float *)t->l + (size_t)row0 * t->rank, t->rank, LORA_ROWS, b->l_norm)) {
			lora_vectors(t, row0, LORA_ROWS, out);
			continue;
		}
		for (uint32_t n = row0; n < row0 + LORA_ROWS && n < t->rows; n += BLOCK_ROWS)
			for (uint32_t k = 0; k < t->columns; k += SPAN * WIDTH)
				bounded_block(t, b, n, k, out);
	}
}

#define BOUNDED_COLUMNS 256 /* norms at a time */

ALWAYS_INLINE void lora_bounded(const struct lora_tile *t, enum dtype out)
{
	const bool moderate = fabs(t->scale) >= 0x1p-16 && fabs(t->scale) <= 0x1p16;
	float norms[BOUNDED_COLUMNS];
	struct bounds b = {.scale = (float)t->scale, .r_norm = norms};

	b.row = (float)((8 + t->rank / 8.0 + 3) * 0x1p-24 * fabs(t->scale));
	for (uint32_t k = 0; k < t->columns; k += BOUNDED_COLUMNS) {
		struct lora_tile run = *t;
		bool known = moderate;

		run.columns = t->columns - k < BOUNDED_COLUMNS ? t->columns - k : BOUNDED_COLUMNS;
		run.w = (const float *)t->w + k;
		run.r = (const float *)t->r + (size_t)k * t->rank;
		run.dst = (char *)t->dst + (size_t)k * 2;
		for (uint32_t x = 0; x < run.columns; x += LORA_COLUMNS)
			known &=
			    block_norms((const float *)run.r + (size_t)x * t->rank, t->rank, LORA_COLUMNS, norms + x);
		if (known)
			bounded_rows(&run, &b, out);
		else
			lora_vectors(&run, 0, run.rows, out);
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
