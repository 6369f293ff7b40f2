/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "gptq_matrix.h"

struct gptq_bench {
	struct bench *b;
	struct qtensor q;
	bool as_packed; /* rows are inputs */
};

/* Decodes the first rows of the matrix into one buffer repeatedly, like reads of a mount. */
static double bench_dequant(struct gptq_bench *b, gptq_fn *kernel, uint32_t rows, size_t row_bytes)
{
	const uint32_t step = BENCH_BLOCK / row_bytes;
	double start;

	bench_flush(b->b);
	start = bench_seconds();
	for (uint32_t row = 0; row < rows; row += step)
		kernel(b->b->block, &b->q, row, rows - row < step ? rows - row : step);
	return bench_seconds() - start;
}

static gptq_fn *bench_choice(const struct check *c, const struct gptq_bench *b, enum cpu_level level, enum dtype out)
{
	return b->as_packed ? gptq_inputs(&c->kernels[level].gptq, &b->q, out)
	                    : gptq_rows(&c->kernels[level].gptq, &b->q, out);
}

/* Best times of memcpy and kernel in turn, because the speed of memory changes from second to second. */
static void bench_kernel(struct check *c, struct gptq_bench *b, enum cpu_level level, enum dtype out)
{
	const uint32_t all = b->as_packed ? BENCH_K : BENCH_N, rows = level == CPU_C ? 32 : all;
	const size_t row_bytes = (size_t)BENCH_K * BENCH_N / all * dtype_bytes(out);
	double copy = 1e9, kernel = 1e9, t;

	for (int i = 0; i < BENCH_REPEAT; i++) {
		t = bench_memcpy(b->b, all * row_bytes) / all;
		copy = t < copy ? t : copy;
		t = bench_dequant(b, bench_choice(c, b, level, out), rows, row_bytes) / rows;
		kernel = t < kernel ? t : kernel;
	}
	printf("%-10s %u-bit %-6s g=%-5u %-9s %-4s %8.2f %8.2f %7.3f\n", cpu_name(level), b->q.bits,
	    packing_name[b->q.packing], b->q.group_size,
	    b->as_packed ? "as packed"
	    : b->q.g_idx ? "act-order"
			 : "",
	    dtype_name(out), row_bytes / kernel / 1e9, row_bytes / copy / 1e9, copy / kernel);
	fflush(stdout);
}

/* The same for the plugin, which may keep the matrix: from memory to memory, including transfers. */
static void bench_plugin(struct check *c, struct gptq_bench *b, enum dtype out)
{
	const size_t row_bytes = BENCH_K * dtype_bytes(out);
	const uint32_t step = BENCH_BLOCK / row_bytes;
	struct accel_job job = {ACCEL_GPTQ, &b->q, out, 0, step, row_bytes, b->b->block, true, copy_plainly, NULL};
	struct accel_text why = {""};
	double best = 1e9;
	int rc = 0;

	for (int i = 0; rc == 0 && i <= BENCH_REPEAT; i++) { /* the first call sends it to the device */
		const double start = bench_wall_seconds();

		for (job.row0 = 0; rc == 0 && job.row0 + step <= BENCH_N; job.row0 += step)
			rc = c->plugin->dequant(c->plugin_state, &job, &why);
		if (i && bench_wall_seconds() - start < best)
			best = bench_wall_seconds() - start;
	}
	c->plugin->forget(c->plugin_state, &b->q);
	printf("plugin     %u-bit %-6s g=%-5u %-9s %-4s %8.2f %s\n", b->q.bits, packing_name[b->q.packing],
	    b->q.group_size, b->q.g_idx ? "act-order" : "", dtype_name(out),
	    (double)(BENCH_N / step) * BENCH_BLOCK / best / 1e9, rc ? why.text : "");
	fflush(stdout);
}

static void bench_matrix(struct check *c, struct gptq_bench *b, const struct spec *s)
{
	const uint32_t groups = BENCH_K / s->group_size;
	uint32_t *g_idx = need(malloc(BENCH_K * sizeof(*g_idx)));
	unsigned char *qweight = need(malloc((size_t)BENCH_K * s->bits / 8 * BENCH_N));
	unsigned char *qzeros = need(malloc((size_t)groups * s->bits * BENCH_N / 8));
	unsigned char *scales = need(malloc((size_t)groups * BENCH_N * 2));

	fill(c, qweight, (size_t)BENCH_K * s->bits / 8 * BENCH_N);
	fill(c, qzeros, (size_t)groups * s->bits * BENCH_N / 8);
	for (size_t i = 0; i < (size_t)groups * BENCH_N; i++)
		memcpy(scales + i * 2, &(uint16_t){0x2000 + i % 0x400}, 2);
	for (uint32_t k = 0; k < BENCH_K; k++)
		g_idx[k] = below(c, groups);
	b->q = (struct qtensor){BENCH_K, BENCH_N, groups, s->group_size, s->bits, 32, s->packing, ZEROS_V2, DTYPE_F16,
	    qweight, qzeros, scales, s->indices ? g_idx : NULL};
	for (enum dtype out = 0; c->plugin && !b->as_packed && out < DTYPE_VIEWS; out++)
		bench_plugin(c, b, out);
	for (enum cpu_level level = CPU_C; level <= c->max; level++)
		for (enum dtype out = 0; out < DTYPE_VIEWS; out++)
			if (!level || bench_choice(c, b, level, out) != bench_choice(c, b, level - 1, out))
				bench_kernel(c, b, level, out);
	free(g_idx);
	free(qweight);
	free(qzeros);
	free(scales);
}

void bench_gptq(struct check *c, struct bench *shared)
{
	static const struct spec specs[] = {
	    {.bits = 4, .group_size = 128},
	    {.bits = 4, .group_size = 128, .indices = INDICES_RANDOM},
	    {.bits = 4, .group_size = 64},
	    {.bits = 4, .group_size = 32},
	    {.bits = 2, .group_size = 128},
	    {.bits = 3, .group_size = 128},
	    {.bits = 3, .group_size = 128, .indices = INDICES_RANDOM},
	    {.bits = 8, .group_size = 128},
	    {.bits = 8, .group_size = 128, .indices = INDICES_RANDOM},
	    {.bits = 3, .group_size = 128, .packing = PACKING_PLANAR},
	    {.bits = 5, .group_size = 128, .packing = PACKING_PLANAR},
	    {.bits = 6, .group_size = 128, .packing = PACKING_PLANAR},
	    {.bits = 7, .group_size = 128, .packing = PACKING_PLANAR},
	    {.bits = 7, .group_size = 128, .packing = PACKING_PLANAR, .indices = INDICES_RANDOM},
	};
	struct gptq_bench b = {.b = shared};

	for (size_t i = 0; i < ARRAY_SIZE(specs); i++)
		bench_matrix(c, &b, &specs[i]);
	b.as_packed = true;
	bench_matrix(c, &b, &specs[0]);
}
