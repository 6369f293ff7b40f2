/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum bench_bnb_kind { NF4, NF4_NESTED, INT8, BNB_KINDS };

static const char *const kind_names[BNB_KINDS] = {"nf4", "nf4 nested", "int8"};

struct bnb_inputs {
	struct bnb4_tensor four;
	struct bnb8_tensor eight;
};

static double bench_bnb_rows(struct bench *b, const struct bnb_dsp *dsp, const struct bnb_inputs *in,
    enum bench_bnb_kind kind, enum dtype out)
{
	const uint32_t rows = in->four.rows;
	struct kernel_rect r = {0, BENCH_BLOCK / BENCH_K / 4, 0, BENCH_K};
	double start;

	bench_flush(b);
	start = bench_seconds();
	for (; r.row0 + r.rows <= rows; r.row0 += r.rows) {
		if (kind == INT8)
			dsp->rows8[out](b->block, &in->eight, &r);
		else
			dsp->rows4[out](b->block, &in->four, &r);
	}
	return (bench_seconds() - start) / r.row0;
}

static void bench_bnb_kernel(struct check *c, struct bench *b, struct bnb_inputs *in, enum bench_bnb_kind kind,
    enum cpu_level level, enum dtype out)
{
	const size_t row_bytes = BENCH_K * dtype_bytes(out);
	double copy = 1e9, kernel = 1e9, seconds;

	in->four.rows = in->eight.rows = level == CPU_C ? 64 : BENCH_N;
	for (int i = 0; i < BENCH_REPEAT; i++) {
		seconds = bench_memcpy(b, BENCH_N * row_bytes) / BENCH_N;
		copy = seconds < copy ? seconds : copy;
		seconds = bench_bnb_rows(b, &c->kernels[level].bnb, in, kind, out);
		kernel = seconds < kernel ? seconds : kernel;
	}
	printf("%-10s bitsandbytes %-24s %-4s %8.2f %8.2f %7.3f\n", cpu_name(level), kind_names[kind], dtype_name(out),
	    row_bytes / kernel / 1e9, row_bytes / copy / 1e9, copy / kernel);
	fflush(stdout);
}

void bench_bnb(struct check *c, struct bench *b)
{
	const size_t n = (size_t)BENCH_N * BENCH_K;
	unsigned char *codes = need(malloc(n)), *absmax = need(malloc(n / 64)),
		      *nested = need(malloc(n / 64 / 256 * 4));
	float *scales = need(malloc(n / 64 * sizeof(*scales)));
	struct bnb_inputs in = {.four = {.columns = BENCH_K, .table = bnb_nf4, .block_log2 = 6, .codes = codes},
	    .eight = {.columns = BENCH_K, .codes = codes, .scales = (unsigned char *)scales}};

	fill(c, codes, n);
	fill(c, absmax, n / 64);
	for (size_t i = 0; i < n / 64; i++)
		scales[i] = 0x1p-6f + (float)(i % 97) * 0x1p-9f;
	memcpy(nested, scales, n / 64 / 256 * 4);
	for (enum bench_bnb_kind kind = 0; kind < BNB_KINDS; kind++) {
		in.four.absmax = kind == NF4 ? (unsigned char *)scales : absmax;
		in.four.nested_map = kind == NF4 ? NULL : (unsigned char *)scales;
		in.four.nested_absmax = nested;
		in.four.nested_log2 = 8;
		for (enum cpu_level level = CPU_C; level <= c->max; level++)
			for (enum dtype out = 0; out < DTYPE_VIEWS; out++)
				if (!level || c->kernels[level].bnb.rows4[out] != c->kernels[level - 1].bnb.rows4[out])
					bench_bnb_kernel(c, b, &in, kind, level, out);
	}
	free(codes);
	free(absmax);
	free(nested);
	free(scales);
}
