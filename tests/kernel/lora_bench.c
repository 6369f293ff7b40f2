/* SPDX-License-Identifier: MIT */

/* LoRA as a mount computes it: a 4-bit matrix of groups of 128 to fp32 tiles, and the merge of those. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { GROUPS = BENCH_K / 128, TILE_COLUMNS = 256, LORA_BENCH_ROWS = BENCH_BLOCK / BENCH_K / 2 };

struct lora_bench {
	struct qtensor base;
	struct lora_factor l, r;
	uint32_t rank;
	bool bounded; /* by the kernel that takes floats */
	float *tile;
	double *l_panel, *r_panel;
};

static void merge_block(const struct kernels *k, const struct lora_bench *m, unsigned char *dst, uint32_t row0,
    enum dtype out)
{
	gptq_fn *dequant = gptq_rows(&k->gptq, &m->base, DTYPE_F32);
	cast_fn *const to_float[] = {
	    k->cast[DTYPE_F16][DTYPE_F32], k->cast[DTYPE_BF16][DTYPE_F32], k->cast[DTYPE_F32][DTYPE_F32]};
	lora_fn *bounded = m->bounded ? k->lora.bounded[out] : NULL;
	const struct lora_piece l = {&m->l, row0, LORA_BENCH_ROWS, m->rank, LORA_ROWS, bounded != NULL};
	const size_t width = dtype_bytes(out);

	lora_pack(m->l_panel, &l, to_float);
	for (uint32_t column = 0; column < BENCH_K; column += TILE_COLUMNS) {
		const struct lora_piece r = {&m->r, column, TILE_COLUMNS, m->rank, LORA_COLUMNS, bounded != NULL};
		const struct qtensor q = qtensor_inputs(&m->base, column, TILE_COLUMNS);
		const struct lora_tile tile = {m->tile, TILE_COLUMNS, m->l_panel, m->r_panel, 2.0, m->rank,
		    LORA_BENCH_ROWS, TILE_COLUMNS, dst + column * width, BENCH_K * width};

		lora_pack(m->r_panel, &r, to_float);
		dequant(m->tile, &q, row0, LORA_BENCH_ROWS);
		(bounded ? bounded : k->lora.merge[0][out])(&tile);
	}
}

static void bench_rank(struct check *c, struct bench *b, struct lora_bench *m, enum cpu_level level)
{
	const size_t bytes = (size_t)BENCH_N * BENCH_K * 2;
	const uint32_t rows = level < CPU_AVX2 ? LORA_BENCH_ROWS : BENCH_N / LORA_BENCH_ROWS * LORA_BENCH_ROWS;
	double copy = 1e9, merge = 1e9, seconds;

	for (int i = 0; i < BENCH_REPEAT; i++) {
		seconds = bench_memcpy(b, bytes) / BENCH_N;
		copy = seconds < copy ? seconds : copy;
		bench_flush(b);
		seconds = bench_seconds();
		for (uint32_t row = 0; row < rows; row += LORA_BENCH_ROWS)
			merge_block(&c->kernels[level], m, b->block, row, DTYPE_F16);
		seconds = (bench_seconds() - seconds) / rows;
		merge = seconds < merge ? seconds : merge;
	}
	printf("%-10s lora rank %-4u %-8s F16 %8.2f %8.2f %7.3f\n", cpu_name(level), m->rank,
	    m->bounded ? "bounded" : "", BENCH_K * 2 / merge / 1e9, BENCH_K * 2 / copy / 1e9, copy / merge);
	fflush(stdout);
}

void bench_lora(struct check *c, struct bench *b)
{
	static const uint32_t ranks[] = {8, 16, 32, 64, 128};
	const size_t factors = (size_t)(BENCH_N + BENCH_K) * 128;
	unsigned char *qweight = need(malloc((size_t)BENCH_K / 2 * BENCH_N));
	uint16_t *scales = need(malloc((size_t)GROUPS * BENCH_N * sizeof(*scales)));
	float *factor = need(malloc(factors * sizeof(*factor)));
	struct lora_bench m = {.tile = need(malloc(LORA_BENCH_ROWS * TILE_COLUMNS * sizeof(*m.tile)))};

	m.l_panel = need(malloc(LORA_BENCH_ROWS * 128 * sizeof(double)));
	m.r_panel = need(malloc(TILE_COLUMNS * 128 * sizeof(double)));
	for (size_t i = 0; i < factors; i++)
		factor[i] = (float)(((double)rnd(c) / 0x1p31 - 1) * 0.02);
	fill(c, qweight, (size_t)BENCH_K / 2 * BENCH_N);
	for (size_t i = 0; i < (size_t)GROUPS * BENCH_N; i++)
		scales[i] = 0x2000 + i % 0x400;
	m.base = (struct qtensor){BENCH_K, BENCH_N, GROUPS, BENCH_K / GROUPS, 4, 32, PACKING_STREAM, ZEROS_MIDDLE,
	    DTYPE_F16, qweight, NULL, (unsigned char *)scales, NULL};
	for (size_t i = 0; i < ARRAY_SIZE(ranks); i++) {
		m.rank = ranks[i];
		m.l = (struct lora_factor){(unsigned char *)factor, DTYPE_F32, m.rank, 1};
		m.r = (struct lora_factor){(unsigned char *)(factor + (size_t)BENCH_N * m.rank), DTYPE_F32, 1, BENCH_K};
		for (enum cpu_level level = CPU_C; level <= c->max; level++) {
			m.bounded = false;
			bench_rank(c, b, &m, level);
			m.bounded = true;
			if (c->kernels[level].lora.bounded[DTYPE_F16])
				bench_rank(c, b, &m, level);
		}
	}
	free(m.tile);
	free(m.l_panel);
	free(m.r_panel);
	free(factor);
	free(qweight);
	free(scales);
}
