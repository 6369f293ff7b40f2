/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

double bench_seconds(void)
{
	return seconds_of(CLOCK_THREAD_CPUTIME_ID);
}

double bench_wall_seconds(void)
{
	return seconds_of(CLOCK_MONOTONIC);
}

void bench_flush(struct bench *b)
{
	static const int anything = 1;

	for (size_t i = 0; i < BENCH_FLUSH; i += 64)
		b->flush[i] += anything;
}

double bench_memcpy(struct bench *b, size_t bytes)
{
	double start;

	bench_flush(b);
	start = bench_seconds();
	memcpy(b->to, b->from, bytes);
	return bench_seconds() - start;
}

void bench_init(struct check *c, struct bench *b)
{
	const size_t bytes = (size_t)BENCH_N * BENCH_K * 4;

	*b = (struct bench){.from = need(malloc(bytes)), .to = need(malloc(bytes))};
	b->block = need(aligned_alloc(64, BENCH_BLOCK));
	b->flush = need(calloc(1, BENCH_FLUSH));
	fill(c, b->from, bytes);
	memset(b->to, 0, bytes);
	printf("K=%u N=%u, one thread, blocks of %u KiB, cold input; output and memcpy in GB/s, and their ratio\n",
	    BENCH_K, BENCH_N, BENCH_BLOCK >> 10);
}

void bench_free(struct bench *b)
{
	free(b->from);
	free(b->to);
	free(b->block);
	free(b->flush);
}

/* --- Casts --- */

static void bench_cast(struct check *c, struct bench *b, enum dtype from, enum dtype to)
{
	const size_t n = BENCH_BLOCK / dtype_bytes(to), count = (size_t)BENCH_N * BENCH_K / n;

	for (enum cpu_level level = CPU_C; level <= c->max; level++) {
		cast_fn *cast = c->kernels[level].cast[from][to];
		double start, t;

		if (level && cast == c->kernels[level - 1].cast[from][to])
			continue;
		bench_flush(b);
		start = bench_seconds();
		for (size_t i = 0; i < count; i++)
			cast(b->block, b->from + i * n * dtype_bytes(from), n);
		t = bench_seconds() - start;
		printf("%-10s cast %s to %-25s %8.2f\n", cpu_name(level), dtype_name(from), dtype_name(to),
		    count * BENCH_BLOCK / t / 1e9);
	}
}

void bench_casts(struct check *c, struct bench *b)
{
	static const enum dtype from[] = {DTYPE_F16, DTYPE_BF16, DTYPE_F32, DTYPE_F8_E4M3};

	for (size_t i = 0; i < ARRAY_SIZE(from); i++)
		for (enum dtype to = 0; to < DTYPE_VIEWS; to++)
			bench_cast(c, b, from[i], to);
}

/* --- FP8 --- */

static double bench_fp8_rows(struct bench *b, fp8_fn *kernel, const struct fp8_tensor *t, struct kernel_rect r)
{
	const uint32_t rows = r.rows;
	double start;

	bench_flush(b);
	start = bench_seconds();
	for (; r.row0 < rows; r.row0 += r.rows) {
		r.rows = BENCH_BLOCK / BENCH_K / 4;
		r.rows = rows - r.row0 < r.rows ? rows - r.row0 : r.rows;
		kernel(b->block, t, &r);
	}
	return bench_seconds() - start;
}

static void bench_fp8_kernel(struct check *c, struct bench *b, const struct fp8_tensor *t, enum cpu_level level,
    enum dtype out)
{
	const struct kernel_rect r = {0, level == CPU_C ? 32 : BENCH_N, 0, BENCH_K};
	const size_t row_bytes = BENCH_K * dtype_bytes(out);
	double copy = 1e9, kernel = 1e9, seconds;

	for (int i = 0; i < BENCH_REPEAT; i++) {
		seconds = bench_memcpy(b, BENCH_N * row_bytes) / BENCH_N;
		copy = seconds < copy ? seconds : copy;
		seconds = bench_fp8_rows(b, c->kernels[level].fp8.rows[out], t, r) / r.rows;
		kernel = seconds < kernel ? seconds : kernel;
	}
	printf("%-10s %s %-4s %ux%-6u%-8s %-4s %8.2f %8.2f %7.3f\n", cpu_name(level), dtype_name(t->code_dtype),
	    dtype_name(t->scale_dtype), t->block_rows, t->block_columns, t->divide ? "divided" : "", dtype_name(out),
	    row_bytes / kernel / 1e9, row_bytes / copy / 1e9, copy / kernel);
	fflush(stdout);
}

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
		codes[i] = (rnd(c) & 0x80) + below(c, 0x7f); /* no NaN, as in real models */
	for (size_t i = 0; i < ARRAY_SIZE(grids); i++) {
		struct fp8_tensor t = grids[i];

		t.rows = BENCH_N;
		t.columns = BENCH_K;
		t.codes = codes;
		t.scales = scales;
		bench_fp8_scales(scales, t.scale_dtype);
		for (enum cpu_level level = CPU_C; level <= c->max; level++)
			for (enum dtype out = 0; out < DTYPE_VIEWS; out++)
				if (!level || c->kernels[level].fp8.rows[out] != c->kernels[level - 1].fp8.rows[out])
					bench_fp8_kernel(c, b, &t, level, out);
	}
	free(codes);
	free(scales);
}
