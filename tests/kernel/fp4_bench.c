/* SPDX-License-Identifier: MIT */

/* Times the kernels of MXFP4, MXFP6 and NVFP4: a matrix of a Llama, and an expert of gpt-oss turned. */

#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

static double bench_fp4_blocks(struct bench *b, fp4_fn *kernel, const struct fp4_tensor *t, struct kernel_rect r,
    size_t row_bytes)
{
	const uint32_t rows = r.rows, block = BENCH_BLOCK / row_bytes;
	double start;

	bench_flush(b);
	start = bench_seconds();
	for (r.row0 = 0; r.row0 < rows; r.row0 += r.rows) {
		r.rows = rows - r.row0 < block ? rows - r.row0 : block;
		kernel(b->block, t, &r);
	}
	return bench_seconds() - start;
}

static void bench_fp4_kernel(struct check *c, struct bench *b, const struct fp4_tensor *t, bool turned,
    enum cpu_level level, enum dtype out)
{
	const struct fp4_dsp *dsp = &c->kernels[level].fp4;
	const uint32_t rows = turned ? t->columns : t->rows, columns = turned ? t->rows : t->columns;
	const size_t row_bytes = columns * dtype_bytes(out);
	const struct kernel_rect r = {0, level == CPU_C ? 32 : rows, 0, columns};
	double copy = 1e9, kernel = 1e9, seconds;

	for (int i = 0; i < BENCH_REPEAT; i++) {
		seconds = bench_memcpy(b, rows * row_bytes) / rows;
		copy = seconds < copy ? seconds : copy;
		seconds = bench_fp4_blocks(b, turned ? dsp->turned[out] : dsp->rows[out], t, r, row_bytes) / r.rows;
		kernel = seconds < kernel ? seconds : kernel;
	}
	printf("%-10s %-7s %s %-7s %-6s %-4s %8.2f %8.2f %7.3f\n", cpu_name(level), dtype_name(t->code_dtype),
	    dtype_name(t->scale_dtype), t->divide ? "divided" : "", turned ? "turned" : "", dtype_name(out),
	    row_bytes / kernel / 1e9, row_bytes / copy / 1e9, copy / kernel);
	fflush(stdout);
}

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
		const bool turned = kinds[i].rows == 5760;

		kinds[i].codes = codes;
		kinds[i].scales = scales;
		for (enum cpu_level level = CPU_C; level <= c->max; level++)
			for (enum dtype out = 0; out < DTYPE_VIEWS; out++) {
				const struct fp4_dsp *here = &c->kernels[level].fp4,
						     *before = &c->kernels[level ? level - 1 : 0].fp4;

				if (!level || (turned ? here->turned[out] != before->turned[out]
						      : here->rows[out] != before->rows[out]))
					bench_fp4_kernel(c, b, &kinds[i], turned, level, out);
			}
	}
	free(codes);
	free(scales);
}
