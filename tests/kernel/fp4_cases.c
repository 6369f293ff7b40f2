/* SPDX-License-Identifier: MIT */

/*
 * MXFP4, MXFP6 and NVFP4: kernels against the reference, and the reference against an exact product of doubles that is
 * rounded to fp32 and then to the output. Every code meets every scale, and global scales of any kind.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rects.h"

static const struct fp4_tensor fp4_kinds[] = {
    {.code_dtype = DTYPE_F4, .scale_dtype = DTYPE_F8_E8M0, .group = 32},
    {.code_dtype = DTYPE_F6_E2M3, .scale_dtype = DTYPE_F8_E8M0, .group = 32},
    {.code_dtype = DTYPE_F4, .scale_dtype = DTYPE_F8_E4M3, .group = 16},
    {.code_dtype = DTYPE_F4, .scale_dtype = DTYPE_F8_E4M3, .group = 16, .divide = true},
};

/* ---- the second implementation ---- */

/* The values of E2M1 without a sign, by code, and those of E2M3 in eighths. */
static const double e2m1[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
static const unsigned char e2m3[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 24, 26, 28,
    30, 32, 36, 40, 44, 48, 52, 56, 60};

static double fp4_code_at(const struct fp4_tensor *t, uint32_t n, uint32_t k)
{
	const unsigned char *row;
	uint32_t three;

	if (t->code_dtype == DTYPE_F4) {
		row = t->codes + (size_t)n * (t->columns / 2);
		three = k % 2 ? row[k / 2] / 16 : row[k / 2] % 16;
		return three < 8 ? e2m1[three] : -e2m1[three - 8];
	}
	row = t->codes + (size_t)n * (t->columns / 4 * 3) + k / 4 * 3;
	three = (row[0] + row[1] * 256u + row[2] * 65536u) / (1u << k % 4 * 6) % 64;
	return three < 32 ? e2m3[three] / 8.0 : -(e2m3[three - 32] / 8.0);
}

/* Rounding a quotient of two floats to double first is harmless: it is never that close to the middle of two floats. */
static uint64_t naive_fp4(const void *matrix, uint32_t n, uint32_t k, enum dtype out)
{
	const struct fp4_tensor *t = matrix;
	double scale = number_decode(t->scales[(size_t)n * (t->columns / t->group) + k / t->group], t->scale_dtype);
	uint32_t bits;

	if (t->global) {
		memcpy(&bits, t->global, sizeof(bits));
		scale = t->divide ? scale / number_decode(bits, DTYPE_F32) : scale * number_decode(bits, DTYPE_F32);
		scale = number_fp32(scale);
	}
	return number_encode(number_fp32(fp4_code_at(t, n, k) * scale), out);
}

static uint64_t naive_fp4_transposed(const void *matrix, uint32_t k, uint32_t n, enum dtype out)
{
	return naive_fp4(matrix, n, k, out);
}

/* ---- comparing ---- */

static void describe_fp4(char *text, size_t size, const void *matrix)
{
	const struct fp4_tensor *t = matrix;

	snprintf(text, size, "%s scales=%s%s groups of %u", dtype_name(t->code_dtype), dtype_name(t->scale_dtype),
	    t->divide ? " divided" : "", t->group);
}

static void describe_fp4_transposed(char *text, size_t size, const void *matrix)
{
	describe_fp4(text, size, matrix);
	snprintf(text + strlen(text), size - strlen(text), " transposed");
}

static void run_fp4(const struct kernels *k, enum dtype out, void *dst, const void *matrix, const struct kernel_rect *r)
{
	k->fp4.rows[out](dst, matrix, r);
}

static void run_fp4_transposed(const struct kernels *k, enum dtype out, void *dst, const void *matrix,
    const struct kernel_rect *r)
{
	k->fp4.transposed[out](dst, matrix, r);
}

static bool same_fp4(const struct kernels *a, const struct kernels *b, const void *matrix, enum dtype out)
{
	(void)matrix;
	return a->fp4.rows[out] == b->fp4.rows[out];
}

static bool same_fp4_transposed(const struct kernels *a, const struct kernels *b, const void *matrix, enum dtype out)
{
	(void)matrix;
	return a->fp4.transposed[out] == b->fp4.transposed[out];
}

static const struct rect_ops fp4_ops = {run_fp4, same_fp4, naive_fp4, describe_fp4};
static const struct rect_ops fp4_transposed_ops = {
    run_fp4_transposed, same_fp4_transposed, naive_fp4_transposed, describe_fp4_transposed};

static struct rect_case fp4_case(const struct fp4_tensor *t, bool transposed)
{
	if (transposed)
		return (struct rect_case){&fp4_transposed_ops, t, t->columns, t->rows};
	return (struct rect_case){&fp4_ops, t, t->rows, t->columns};
}

/* ---- random shapes ---- */

static void fp4_scales_fill(struct check *c, const struct fp4_tensor *t, unsigned char *scales, size_t n)
{
	static const unsigned char odd[] = {
	    0, 1, 2, 8, 104, 113, 114, 126, 127, 128, 142, 143, 247, 252, 253, 254, 255};
	const bool usual = below(c, 2); /* NaN, inf and the like slow kernels down; most real tensors have none */

	for (size_t i = 0; i < n; i++) {
		if (usual)
			scales[i] = t->scale_dtype == DTYPE_F8_E8M0 ? 115 + below(c, 8) : below(c, 0x7f);
		else
			scales[i] = below(c, 2) ? odd[below(c, ARRAY_SIZE(odd))] : rnd(c);
	}
}

static uint32_t random_global(struct check *c, bool divide)
{
	static const uint32_t odd[] = {0, 0x80000000, 1, 0x7fffff, 0x800000, 0x00800001, 0x7f7fffff, 0x7f800000,
	    0xff800000, 0x7fc00000, 0xffc00001, 0x3f800000, 0xbf800000};

	if (below(c, 4) == 0)
		return odd[below(c, ARRAY_SIZE(odd))];
	if (below(c, 3) == 0)
		return rnd(c);
	return number_encode((1 + rnd(c) * 0x1p-32) * (divide ? 4096 : 0x1p-13), DTYPE_F32);
}

static void random_fp4(struct check *c, struct fp4_tensor *t)
{
	static const uint16_t groups[] = {1, 2, 3, 4, 5, 8, 15, 16, 17, 90};
	static const uint16_t rows[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 160};
	unsigned char *codes, *scales, *global = NULL;
	size_t bytes;

	t->rows = pick(c, rows, ARRAY_SIZE(rows), 200);
	t->columns = pick(c, groups, ARRAY_SIZE(groups), 40) * t->group;
	bytes = (size_t)t->rows * (t->columns / 8 * dtype_bits(t->code_dtype));
	codes = place(c, CODES, bytes, 1);
	scales = place(c, SCALES, (size_t)t->rows * (t->columns / t->group), 1);
	fill(c, codes, bytes);
	fp4_scales_fill(c, t, scales, (size_t)t->rows * (t->columns / t->group));
	if (t->scale_dtype == DTYPE_F8_E4M3) {
		const uint32_t bits = random_global(c, t->divide);

		global = place(c, ZEROS, sizeof(bits), 1);
		memcpy(global, &bits, sizeof(bits));
	}
	t->codes = codes;
	t->scales = scales;
	t->global = global;
}

/* The whole, or a part of it, in steps of so many rows and columns. */
static struct kernel_rect random_part(struct check *c, uint32_t rows, uint32_t columns, uint32_t step)
{
	struct kernel_rect r = {0, rows, 0, columns / step};

	if (below(c, 2)) {
		r.row0 = below(c, rows);
		r.rows = 1 + below(c, rows - r.row0);
	}
	if (below(c, 2)) {
		r.column0 = below(c, columns / step);
		r.columns = 1 + below(c, columns / step - r.column0);
	}
	r.column0 *= step;
	r.columns *= step;
	return r;
}

static void check_fp4_shapes(struct check *c, const struct fp4_tensor *kind, bool transposed)
{
	char name[64];

	for (int i = 0; i < 200; i++) {
		struct fp4_tensor t = *kind;
		struct rect_case k;
		struct kernel_rect r;

		if (!sampled(c))
			continue;
		random_fp4(c, &t);
		r = transposed ? random_part(c, t.columns, t.rows, 1) : random_part(c, t.rows, t.columns, t.group);
		k = fp4_case(&t, transposed);
		check_rect_outputs(c, &k, &r);
	}
	snprintf(name, sizeof(name), "%s, scales %s%s%s", dtype_name(kind->code_dtype), dtype_name(kind->scale_dtype),
	    kind->divide ? ", divided" : "", transposed ? ", transposed" : "");
	group_end(c, name);
}

/* ---- every code and scale ---- */

/* A row for each of 256 scales, with all codes in it, and some global scale. */
static void check_fp4_all(struct check *c, struct fp4_tensor t)
{
	const bool transposed = below(c, 2);
	const uint32_t bits = random_global(c, t.divide);
	const size_t row = 8 * dtype_bits(t.code_dtype), groups = 64 / t.group;
	unsigned char *codes = place(c, CODES, 256 * row, 1), *scales = place(c, SCALES, 256 * groups, 1);
	unsigned char *global = place(c, ZEROS, sizeof(bits), 1);
	struct kernel_rect all;
	struct rect_case k;

	memset(codes, 0, 256 * row);
	for (size_t i = 0; i < 256 * 64 * dtype_bits(t.code_dtype); i++) {
		const unsigned code = i / dtype_bits(t.code_dtype) % 64;

		codes[i / 8] |= (code >> i % dtype_bits(t.code_dtype) & 1) << i % 8;
	}
	for (size_t i = 0; i < 256 * groups; i++)
		scales[i] = i / groups;
	memcpy(global, &bits, sizeof(bits));
	t.rows = 256;
	t.columns = 64;
	t.codes = codes;
	t.scales = scales;
	t.global = t.scale_dtype == DTYPE_F8_E4M3 ? global : NULL;
	k = fp4_case(&t, transposed);
	all = (struct kernel_rect){0, k.rows, 0, k.columns};
	for (enum dtype out = 0; out < DTYPE_VIEWS; out++)
		check_rect(c, &k, &all, out);
}

void check_fp4(struct check *c)
{
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(fp4_kinds); i++)
		check_fp4_shapes(c, &fp4_kinds[i / 2], i % 2);
	for (unsigned i = 0; i < 40 * ARRAY_SIZE(fp4_kinds); i++)
		if (sampled(c))
			check_fp4_all(c, fp4_kinds[i % ARRAY_SIZE(fp4_kinds)]);
	group_end(c, "every FP4 and FP6 code and scale");
}

/* ---- timing ---- */

/* A matrix of a Llama, and an expert of gpt-oss transposed. */
void bench_fp4(struct check *c, struct bench *b)
{
	static const unsigned char global[] = {0, 0, 0x80, 0x44}; /* 1024 */
	struct fp4_tensor kinds[] = {
	    {BENCH_N, BENCH_K, 32, DTYPE_F4, DTYPE_F8_E8M0, false, NULL, NULL, NULL},
	    {BENCH_N, BENCH_K, 16, DTYPE_F4, DTYPE_F8_E4M3, true, NULL, NULL, global},
	    {BENCH_N, BENCH_K, 32, DTYPE_F6_E2M3, DTYPE_F8_E8M0, false, NULL, NULL, NULL},
	    {5760, 2880, 32, DTYPE_F4, DTYPE_F8_E8M0, false, NULL, NULL, NULL},
	};
	const size_t all = (size_t)BENCH_N * BENCH_K;
	unsigned char *codes = need(malloc(all)), *scales = need(malloc(all / 16));

	fill(c, codes, all);
	for (size_t i = 0; i < all / 16; i++)
		scales[i] = 114 + below(c, 6);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const bool transposed = kinds[i].rows == 5760;
		struct rect_case k;
		char label[64];

		kinds[i].codes = codes;
		kinds[i].scales = scales;
		k = fp4_case(&kinds[i], transposed);
		k.ops->describe(label, sizeof(label), &kinds[i]);
		bench_rects(c, b, &k, label);
	}
	free(codes);
	free(scales);
}
