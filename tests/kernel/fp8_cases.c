/* SPDX-License-Identifier: MIT */

/*
 * FP8: kernels against the reference, and the reference against an exact product of doubles, rounded to fp32 and then
 * to the output. Every code meets every 16-bit scale and every E8M0.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rects.h"

static const enum dtype fp8_codes[] = {DTYPE_F8_E4M3, DTYPE_F8_E5M2};
static const enum dtype fp8_scales[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16, DTYPE_F8_E8M0};

static double fp8_scale_at(const struct fp8_tensor *t, uint32_t n, uint32_t k)
{
	const size_t columns = ceil((double)t->columns / t->block_columns), bytes = dtype_bytes(t->scale_dtype);
	uint64_t bits = 0;

	memcpy(&bits, t->scales + ((n - n % t->block_rows) / t->block_rows * columns + k / t->block_columns) * bytes,
	    bytes);
	return number_decode(bits, t->scale_dtype);
}

/* Rounding a quotient of two floats to double first is harmless: it is never that close to the middle of two floats. */
static uint64_t naive_fp8(const void *matrix, uint32_t n, uint32_t k, enum dtype out)
{
	const struct fp8_tensor *t = matrix;
	const double value = number_decode(t->codes[(size_t)n * t->columns + k], t->code_dtype);
	const double scale = fp8_scale_at(t, n, k), exact = t->divide ? value / scale : value * scale;

	return number_encode(number_fp32(exact), out);
}

static void describe_fp8(char *text, size_t size, const void *matrix)
{
	const struct fp8_tensor *t = matrix;

	snprintf(text, size, "%s scales=%s blocks of %ux%u%s", dtype_name(t->code_dtype), dtype_name(t->scale_dtype),
	    t->block_rows, t->block_columns, t->divide ? " divided" : "");
}

static void run_fp8(const struct kernels *k, enum dtype out, void *dst, const void *matrix, const struct kernel_rect *r)
{
	k->fp8.rows[out](dst, matrix, r);
}

static bool same_fp8(const struct kernels *a, const struct kernels *b, const void *matrix, enum dtype out)
{
	(void)matrix;
	return a->fp8.rows[out] == b->fp8.rows[out];
}

static const struct rect_ops fp8_ops = {run_fp8, same_fp8, naive_fp8, describe_fp8};

static struct rect_case fp8_case(const struct fp8_tensor *t)
{
	return (struct rect_case){&fp8_ops, t, t->rows, t->columns};
}

/* ---- random shapes ---- */

static void random_blocks(struct check *c, struct fp8_tensor *t)
{
	static const uint16_t widths[] = {1, 2, 16, 31, 32, 33, 64, 128};

	switch (below(c, 6)) {
	case 0: /* the whole tensor */
		t->block_rows = t->rows + below(c, 2) * 1000;
		t->block_columns = t->columns;
		break;
	case 1: /* rows */
		t->block_rows = 1;
		t->block_columns = below(c, 2) ? UINT32_MAX : t->columns;
		break;
	case 2: /* columns */
		t->block_rows = below(c, 2) ? UINT32_MAX : t->rows;
		t->block_columns = 1;
		break;
	case 3: /* groups along rows */
		t->block_rows = 1;
		t->block_columns = 32;
		break;
	case 4:
		t->block_rows = t->block_columns = 128;
		break;
	default:
		t->block_rows = pick(c, widths, ARRAY_SIZE(widths), 50);
		t->block_columns = pick(c, widths, ARRAY_SIZE(widths), 200);
	}
}

static uint64_t random_scale(struct check *c, enum dtype dtype)
{
	static const float odd[] = {0, -0.0f, 0x1p-149f, 0x1p-126f, 0x1.fffffep-119f, -0x1p-118f, 0x1p119f,
	    0x1.fffffep119f, 0x1p120f, 0x1.fffffep127f, INFINITY, -INFINITY, NAN, 1};
	static const unsigned char exponents[] = {0, 1, 2, 8, 9, 126, 127, 128, 246, 247, 248, 253, 254, 255};
	const unsigned way = below(c, 4);

	if (dtype == DTYPE_F8_E8M0)
		return way ? 110 + below(c, 20) : exponents[below(c, ARRAY_SIZE(exponents))];
	if (way == 0)
		return number_encode(odd[below(c, ARRAY_SIZE(odd))], dtype);
	if (way == 1)
		return rnd(c) & (dtype == DTYPE_F32 ? ~0u : 0xffffu);
	return number_encode((below(c, 20) ? 1 : -1) * ldexp(1 + rnd(c) * 0x1p-32, -(int)below(c, 16)), dtype);
}

static void fp8_scales_fill(struct check *c, unsigned char *scales, size_t n, enum dtype dtype)
{
	const bool usual = below(c, 2); /* NaN, inf and the like slow kernels down; most real tensors have none */

	for (size_t i = 0; i < n; i++) {
		const uint64_t bits = usual && dtype != DTYPE_F8_E8M0 ? number_encode(0.001 * (1 + below(c, 99)), dtype)
		                                                      : random_scale(c, dtype);

		memcpy(scales + i * dtype_bytes(dtype), &bits, dtype_bytes(dtype));
	}
}

static void random_tensor(struct check *c, struct fp8_tensor *t)
{
	static const uint16_t columns[] = {1, 7, 15, 16, 17, 31, 32, 33, 63, 64, 96, 127, 128, 129, 160, 256, 384, 576};
	static const uint16_t rows[] = {1, 2, 3, 16, 31, 32, 127, 128, 129, 192};
	unsigned char *codes, *scales;
	size_t grid;

	t->rows = below(c, 3) ? 1 + below(c, 12) : pick(c, rows, ARRAY_SIZE(rows), 200);
	t->columns = below(c, 8) ? pick(c, columns, ARRAY_SIZE(columns), 700) : 1 + below(c, 20000);
	random_blocks(c, t);
	grid = ceil((double)t->rows / t->block_rows) * ceil((double)t->columns / t->block_columns);
	codes = place(c, CODES, (size_t)t->rows * t->columns, 1);
	scales = place(c, SCALES, grid * dtype_bytes(t->scale_dtype), 1);
	fill(c, codes, (size_t)t->rows * t->columns);
	for (size_t i = 0; below(c, 2) && i < (size_t)t->rows * t->columns; i++)
		codes[i] = (codes[i] & 0x7f) == 0x7f ? 0 : codes[i];
	fp8_scales_fill(c, scales, grid, t->scale_dtype);
	t->codes = codes;
	t->scales = scales;
}

static void check_fp8_shapes(struct check *c, const struct fp8_tensor *kind)
{
	char name[64];

	for (int i = 0; i < 60; i++) {
		struct fp8_tensor t = *kind;
		struct rect_case k;
		struct kernel_rect r;

		if (!sampled(c))
			continue;
		random_tensor(c, &t);
		k = fp8_case(&t);
		r = random_rect(c, t.rows, t.columns);
		check_rect_outputs(c, &k, &r);
	}
	snprintf(name, sizeof(name), "%s, scales %s%s", dtype_name(kind->code_dtype), dtype_name(kind->scale_dtype),
	    kind->divide ? ", divided" : "");
	group_end(c, name);
}

/* ---- every code and scale ---- */

/* A row for each of 256 scales, with all codes in it. */
static void check_fp8_scales_from(struct check *c, struct fp8_tensor *t, uint32_t first)
{
	const size_t bytes = dtype_bytes(t->scale_dtype);
	const struct kernel_rect all = {0, 256, 0, 256}, some = {below(c, 256), 1, 0, 256};
	unsigned char *codes = place(c, CODES, 65536, 1), *scales = place(c, SCALES, 256 * bytes, 1);
	const struct rect_case k = fp8_case(t);

	for (uint32_t i = 0; i < 65536; i++)
		codes[i] = i % 256 * 37 + i / 256; /* 37 is odd, so all of them, mixed */
	for (uint32_t i = 0; i < 256; i++)
		memcpy(scales + i * bytes, &(uint32_t){first + i}, bytes);
	t->codes = codes;
	t->scales = scales;
	for (enum dtype out = 0; out < DTYPE_VIEWS; out++)
		check_rect_levels(c, &k, &all, out);
	check_rect(c, &k, &some, below(c, DTYPE_VIEWS));
}

static void check_fp8_scales(struct check *c, struct fp8_tensor kind)
{
	const uint32_t count = kind.scale_dtype == DTYPE_F8_E8M0 ? 256 : 65536;
	/* All of them for common formats, else a sixteenth. */
	const uint32_t step = kind.code_dtype == DTYPE_F8_E4M3 && !kind.divide ? 256 : 4096;

	kind.rows = kind.columns = 256;
	kind.block_rows = 1;
	kind.block_columns = 256;
	for (uint32_t first = 0; first < count; first += step)
		if (sampled(c))
			check_fp8_scales_from(c, &kind, first);
}

void check_fp8(struct check *c)
{
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(fp8_codes) * ARRAY_SIZE(fp8_scales); i++) {
		const struct fp8_tensor kind = {
		    .code_dtype = fp8_codes[i / 2 % 2], .scale_dtype = fp8_scales[i / 4], .divide = i % 2};

		check_fp8_shapes(c, &kind);
		if (kind.scale_dtype != DTYPE_F32)
			check_fp8_scales(c, kind);
	}
	group_end(c, "every FP8 code and 16-bit scale");
}

/* ---- timing ---- */

/* As in real models: 2^-13 and a few times as much. */
static void bench_fp8_scales(unsigned char *scales, enum dtype dtype)
{
	const size_t bytes = dtype_bytes(dtype);

	for (size_t i = 0; i < (size_t)BENCH_N * BENCH_K / 32; i++) {
		const unsigned step = i % 7;
		const uint64_t bits = dtype == DTYPE_F8_E8M0 ? 114 + step : number_encode((1 + step) * 0x1p-13, dtype);

		memcpy(scales + i * bytes, &bits, bytes);
	}
}

void bench_fp8(struct check *c, struct bench *b)
{
	const struct fp8_tensor grids[] = {
	    {.block_rows = 128, .block_columns = 128, .code_dtype = DTYPE_F8_E4M3, .scale_dtype = DTYPE_F32},
	    {.block_rows = 1, .block_columns = BENCH_K, .code_dtype = DTYPE_F8_E4M3, .scale_dtype = DTYPE_BF16},
	    {.block_rows = 1, .block_columns = 32, .code_dtype = DTYPE_F8_E4M3, .scale_dtype = DTYPE_F8_E8M0},
	    {.block_rows = BENCH_N, .block_columns = 1, .code_dtype = DTYPE_F8_E4M3, .scale_dtype = DTYPE_F32},
	    {.block_rows = 128,
		.block_columns = 128,
		.code_dtype = DTYPE_F8_E4M3,
		.scale_dtype = DTYPE_F32,
		.divide = true},
	    {.block_rows = 128, .block_columns = 128, .code_dtype = DTYPE_F8_E5M2, .scale_dtype = DTYPE_F32},
	};
	unsigned char *codes = need(malloc((size_t)BENCH_N * BENCH_K));
	unsigned char *scales = need(malloc((size_t)BENCH_N * BENCH_K / 32 * sizeof(float)));

	for (size_t i = 0; i < (size_t)BENCH_N * BENCH_K; i++)
		codes[i] = (rnd(c) & 0x80) + below(c, 0x7c); /* neither NaN nor inf, as in real models */
	for (size_t i = 0; i < ARRAY_SIZE(grids); i++) {
		struct fp8_tensor t = grids[i];
		struct rect_case k;
		char label[64];

		t.rows = BENCH_N;
		t.columns = BENCH_K;
		t.codes = codes;
		t.scales = scales;
		bench_fp8_scales(scales, t.scale_dtype);
		k = fp8_case(&t);
		snprintf(label, sizeof(label), "%s %-4s %ux%u%s", dtype_name(t.code_dtype), dtype_name(t.scale_dtype),
		    t.block_rows, t.block_columns, t.divide ? " divided" : "");
		bench_rects(c, b, &k, label);
	}
	free(codes);
	free(scales);
}
