/* SPDX-License-Identifier: MIT */

/*
 * HQQ: matrices packed as hqq's bitpack.py does, kernels against the reference, and the reference against exact
 * arithmetic of doubles, rounded to fp32 after each step and then to the output.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rects.h"

enum { HQQ_ELEMENTS_MAX = 1 << 18 };

static const struct hqq_kind {
	unsigned bits, lanes, word_bytes;
} hqq_kinds[] = {{8, 1, 1}, {4, 2, 1}, {3, 10, 4}, {2, 4, 1}, {1, 8, 1}};

/* A matrix before it is packed: codes of the grid, row after row. */
struct hqq_matrix {
	struct hqq_tensor t;
	uint64_t grid_rows, groups;
	uint8_t *codes;
};

/* The first slice is in the highest bits. */
static void hqq_pack(const struct hqq_matrix *m, unsigned char *words)
{
	const struct hqq_tensor *t = &m->t;

	for (uint64_t i = 0; i < t->slice * t->width; i++) {
		uint32_t word = 0;

		for (unsigned lane = 0; lane < t->lanes; lane++) {
			const uint64_t at = lane * t->slice * t->width + i;

			word = word << t->bits | (at < m->grid_rows * t->width ? m->codes[at] : 0);
		}
		memcpy(words + i * t->word_bytes, &word, t->word_bytes);
	}
}

static uint64_t hqq_param(struct check *c, enum dtype dtype, bool usual, bool zero)
{
	static const float odd[] = {
	    0, -0.0f, 0x1p-149f, 0x1p-126f, 0x1p-24f, 7.5f, 8, 0x1.fffffep127f, INFINITY, -INFINITY, NAN};

	if (usual)
		return number_encode(zero ? 15 * (rnd(c) * 0x1p-32) : 0.001 * (1 + below(c, 99)), dtype);
	if (below(c, 3) == 0)
		return number_encode(odd[below(c, ARRAY_SIZE(odd))], dtype);
	if (below(c, 2))
		return number_encode(number_awkward(c), dtype);
	return rnd(c) & (dtype == DTYPE_F32 ? ~0u : 0xffffu);
}

static unsigned char *hqq_params(struct check *c, enum operand operand, size_t n, enum dtype dtype)
{
	const size_t bytes = dtype_bytes(dtype);
	unsigned char *params = place(c, operand, n * bytes, 1);
	const bool usual = below(c, 2); /* most tensors have no NaN, inf and the like */

	for (size_t i = 0; i < n; i++) {
		const uint64_t bits = hqq_param(c, dtype, usual, operand == ZEROS);

		memcpy(params + i * bytes, &bits, bytes);
	}
	return params;
}

/* Draws a matrix of any shape of which a grid with this many lanes is left: K is free, and so are groups. */
static void hqq_matrix_make(struct check *c, struct hqq_matrix *m, const struct hqq_kind *kind)
{
	static const uint16_t sizes[] = {8, 16, 32, 33, 64, 64, 64, 128, 256};
	static const uint16_t ins[] = {1, 7, 31, 32, 48, 64, 96, 100, 128, 160, 192, 512, 513};
	const uint32_t lanes = kind->lanes == 10 ? 1 : kind->lanes;
	struct hqq_tensor *t = &m->t;
	uint64_t elements, size;
	unsigned char *words;

	do {
		size = pick(c, sizes, ARRAY_SIZE(sizes), 300);
		t->columns = pick(c, ins, ARRAY_SIZE(ins), 700);
		t->rows = 1 + below(c, 200);
		t->by_columns = below(c, 3) == 0;
		elements = (uint64_t)t->rows * t->columns;
		m->grid_rows = t->by_columns ? size : elements / size;
	} while (elements % size || m->grid_rows % lanes || elements > HQQ_ELEMENTS_MAX);
	t->width = elements / m->grid_rows;
	t->slice = (m->grid_rows + kind->lanes - 1) / kind->lanes;
	t->bits = (uint8_t)kind->bits;
	t->lanes = (uint8_t)kind->lanes;
	t->word_bytes = (uint8_t)kind->word_bytes;
	m->groups = elements / size;
	m->codes = need(malloc(elements));
	for (uint64_t i = 0; i < elements; i++)
		m->codes[i] = (uint8_t)below(c, 1u << kind->bits);
	t->codes = words = place(c, CODES, t->slice * t->width * t->word_bytes, 1);
	hqq_pack(m, words);
	t->scales = hqq_params(c, SCALES, m->groups, t->param_dtype);
	t->zeros = hqq_params(c, ZEROS, m->groups, t->param_dtype);
}

static double hqq_param_at(const struct hqq_tensor *t, const unsigned char *params, uint64_t i)
{
	uint64_t bits = 0;

	memcpy(&bits, params + i * dtype_bytes(t->param_dtype), dtype_bytes(t->param_dtype));
	return number_decode(bits, t->param_dtype);
}

static uint64_t naive_hqq(const void *matrix, uint32_t n, uint32_t k, enum dtype out)
{
	const struct hqq_matrix *m = matrix;
	const uint64_t i = (uint64_t)n * m->t.columns + k, g = m->t.by_columns ? i % m->t.width : i / m->t.width;
	const double level = number_fp32(m->codes[i] - hqq_param_at(&m->t, m->t.zeros, g));

	return number_encode(number_fp32(level * hqq_param_at(&m->t, m->t.scales, g)), out);
}

/* ---- comparing ---- */

static void describe_hqq(char *text, size_t size, const void *matrix)
{
	const struct hqq_tensor *t = &((const struct hqq_matrix *)matrix)->t;

	snprintf(text, size, "%u bits params=%s by %s, grid of %llu", t->bits, dtype_name(t->param_dtype),
	    t->by_columns ? "columns" : "rows", (unsigned long long)t->width);
}

static void run_hqq(const struct kernels *k, enum dtype out, void *dst, const void *matrix, const struct kernel_rect *r)
{
	k->hqq.rows[out](dst, &((const struct hqq_matrix *)matrix)->t, r);
}

static bool same_hqq(const struct kernels *a, const struct kernels *b, const void *matrix, enum dtype out)
{
	(void)matrix;
	return a->hqq.rows[out] == b->hqq.rows[out];
}

static const struct rect_ops hqq_ops = {run_hqq, same_hqq, naive_hqq, describe_hqq};

static void check_hqq_kind(struct check *c, const struct hqq_kind *kind, enum dtype dtype)
{
	char name[64];

	for (int i = 0; i < 60; i++) {
		struct hqq_matrix m = {.t = {.param_dtype = dtype}};
		struct kernel_rect r;

		if (!sampled(c))
			continue;
		hqq_matrix_make(c, &m, kind);
		r = random_rect(c, m.t.rows, m.t.columns);
		check_rect_outputs(c, &(struct rect_case){&hqq_ops, &m, m.t.rows, m.t.columns}, &r);
		free(m.codes);
	}
	snprintf(name, sizeof(name), "HQQ %u bits, parameters %s", kind->bits, dtype_name(dtype));
	group_end(c, name);
}

void check_hqq(struct check *c)
{
	static const enum dtype dtypes[] = {DTYPE_F16, DTYPE_BF16, DTYPE_F32};

	for (size_t i = 0; i < ARRAY_SIZE(hqq_kinds); i++)
		for (size_t k = 0; k < ARRAY_SIZE(dtypes); k++)
			check_hqq_kind(c, &hqq_kinds[i], dtypes[k]);
}

/* ---- speed ---- */

void bench_hqq(struct check *c, struct bench *b)
{
	const size_t elements = (size_t)BENCH_N * BENCH_K;
	unsigned char *codes = need(malloc(elements)), *params = need(malloc(elements / 64 * 2));

	fill(c, codes, elements);
	for (size_t i = 0; i < elements / 64; i++)
		memcpy(params + i * 2, &(uint16_t){(uint16_t)(0x3f00 + i % 0x100)}, 2);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(hqq_kinds); i++) {
		const struct hqq_kind *kind = &hqq_kinds[i / 2];
		const bool columns = i % 2;
		const size_t width = columns ? elements / 64 : 64, grid_rows = elements / width;
		const struct hqq_matrix m = {.t = {.rows = BENCH_N,
						 .columns = BENCH_K,
						 .width = width,
						 .slice = (grid_rows + kind->lanes - 1) / kind->lanes,
						 .by_columns = columns,
						 .bits = (uint8_t)kind->bits,
						 .lanes = (uint8_t)kind->lanes,
						 .word_bytes = (uint8_t)kind->word_bytes,
						 .param_dtype = DTYPE_BF16,
						 .codes = codes,
						 .scales = params,
						 .zeros = params}};
		char label[64];

		if (kind->bits < 3)
			continue; /* as 4 */
		snprintf(label, sizeof(label), "HQQ %u bits, groups of 64%s", kind->bits, columns ? ", axis 0" : "");
		bench_rects(c, b, &(struct rect_case){&hqq_ops, &m, BENCH_N, BENCH_K}, label);
	}
	free(codes);
	free(params);
}
