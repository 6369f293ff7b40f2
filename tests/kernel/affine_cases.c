/* SPDX-License-Identifier: MIT */

/*
 * Integer codes along rows: kernels against the reference, and the reference against doubles, which are rounded to fp32
 * after each step and then to the output. Codes and zeros are random numbers, packed here bit by bit; the second
 * implementation never sees the packed form.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rects.h"

/* A matrix and the numbers it was packed from. */
struct affine_case {
	struct affine_matrix m;
	unsigned char *code; /* [rows * columns] */
	int *zero;           /* [blocks of rows * groups], or of rows * groups if packed */
};

enum { CASE_CODES = 1 << 20, CASE_ZEROS = 1 << 19 };

static uint64_t load_bits(const unsigned char *array, size_t i, enum dtype dtype)
{
	uint64_t bits = 0;

	memcpy(&bits, array + i * dtype_bytes(dtype), dtype_bytes(dtype));
	return bits;
}

static uint64_t naive_affine(const void *matrix, uint32_t n, uint32_t k, enum dtype out)
{
	const struct affine_case *a = matrix;
	const struct affine_matrix *m = &a->m;
	const size_t g = m->g_idx ? m->g_idx[k] : k / m->block_columns;
	const size_t at = (n - n % m->block_rows) / m->block_rows * (size_t)m->groups + g;
	const double scale = number_decode(load_bits(m->scales, at, m->scale_dtype), m->scale_dtype);
	const double code = a->code[(size_t)n * m->columns + k];
	double value;

	if (m->offset == AFFINE_BIASES)
		value = number_fp32(scale * code) +
		        number_decode(load_bits(m->offsets, at, m->scale_dtype), m->scale_dtype);
	else if (m->offset == AFFINE_MIDDLE)
		value = scale * (code - pow(2, m->bits - 1));
	else
		value = scale * (code - a->zero[m->offset == AFFINE_ZEROS_PACKED ? (size_t)n * m->groups + g : at]);
	return number_encode(number_fp32(value), out);
}

/* ---- packing ---- */

/* Returns the bit of a run of words at which field i begins. */
static size_t field_begins(const struct affine_matrix *m, size_t i)
{
	size_t word = 0;

	if (m->packing != AFFINE_WORDS)
		return i * m->bits;
	for (; i >= 32u / m->bits; i -= 32u / m->bits)
		word++;
	return word * 32 + i * m->bits;
}

static size_t run_words(const struct affine_matrix *m, size_t fields)
{
	return (field_begins(m, fields - 1) + m->bits + 31) / 32;
}

/* Sets the bits of a field in words that are `stride` words apart. */
static void put_field(unsigned char *words, size_t stride, size_t begin, unsigned bits, unsigned value)
{
	for (unsigned i = 0; i < bits; i++) {
		unsigned char *byte = words + (begin + i) / 32 * stride * 4 + (begin + i) % 32 / 8;

		*byte = (*byte & ~(1 << (begin + i) % 8)) | (value >> i & 1) << (begin + i) % 8;
	}
}

static void pack_codes(struct check *c, struct affine_case *a)
{
	struct affine_matrix *m = &a->m;
	/* Rows of a stream may end with any byte. */
	const size_t bytes = m->packing == AFFINE_SIGNED                  ? m->columns
	                     : m->packing == AFFINE_STREAM && below(c, 2) ? ((size_t)m->columns * m->bits + 7) / 8
	                                                                  : run_words(m, m->columns) * 4;
	unsigned char *codes;

	m->row_bytes = bytes;
	codes = place(c, CODES, bytes * m->rows, 1);
	fill(c, codes, bytes * m->rows); /* random bits outside of fields */
	for (size_t n = 0; n < m->rows; n++) {
		for (size_t k = 0; k < m->columns; k++) {
			unsigned char *code = &a->code[n * m->columns + k];

			*code = rnd(c) & ((1u << m->bits) - 1);
			if (m->packing == AFFINE_SIGNED)
				codes[n * bytes + k] = (signed char)(*code - 128);
			else
				put_field(codes + n * bytes, 1, field_begins(m, k), m->bits, *code);
		}
	}
	m->codes = codes;
}

static void pack_zeros_down(struct check *c, struct affine_case *a)
{
	struct affine_matrix *m = &a->m;
	const size_t bytes = run_words(m, m->rows) * m->groups * 4;
	unsigned char *words = place(c, ZEROS, bytes, 1);

	fill(c, words, bytes);
	for (size_t n = 0; n < m->rows; n++)
		for (size_t g = 0; g < m->groups; g++) {
			int *zero = &a->zero[n * m->groups + g];

			*zero = (int)(rnd(c) & ((1u << m->bits) - 1));
			put_field(words + g * 4, m->groups, field_begins(m, n), m->bits, (unsigned)*zero);
		}
	m->offsets = words;
}

/* ---- random matrices ---- */

static uint64_t affine_odd_scale(struct check *c, enum dtype dtype)
{
	static const float odd[] = {0, -0.0f, 0x1p-149f, 0x1p-126f, -0x1p-24f, 0x1p-25f, 0x1p120f, 0x1.fffffep127f,
	    -0x1.fffffep127f, INFINITY, -INFINITY, NAN, 1, 65504, 256};
	const unsigned way = below(c, 4);

	if (way == 0)
		return number_encode(odd[below(c, ARRAY_SIZE(odd))], dtype);
	if (way == 1)
		return rnd(c) & (dtype == DTYPE_F32 ? ~0u : 0xffffu);
	if (way == 2)
		return number_encode(number_awkward(c), dtype);
	return number_encode((below(c, 3) ? 1 : -1) * ldexp(1 + rnd(c) * 0x1p-32, -(int)below(c, 20)), dtype);
}

static unsigned char *random_floats(struct check *c, enum operand operand, size_t n, enum dtype dtype)
{
	const unsigned odd = below(c, 3); /* every one, one in eight, none */
	unsigned char *p = place(c, operand, n * dtype_bytes(dtype), 1);

	for (size_t i = 0; i < n; i++) {
		const uint64_t bits = odd == 0 || (odd == 1 && !below(c, 8))
		                          ? affine_odd_scale(c, dtype)
		                          : number_encode((below(c, 4) ? 1 : -1) * 0.001 * (1 + below(c, 999)), dtype);

		memcpy(p + i * dtype_bytes(dtype), &bits, dtype_bytes(dtype));
	}
	return p;
}

static void random_grid(struct check *c, struct affine_matrix *m)
{
	static const uint16_t widths[] = {1, 2, 8, 16, 24, 31, 32, 33, 40, 48, 64, 128};
	const bool rows = m->offset != AFFINE_ZEROS_PACKED;

	m->block_rows = rows && below(c, 3) == 0 ? 1 + below(c, m->rows + 3) : 1;
	m->block_columns = pick(c, widths, ARRAY_SIZE(widths), 200);
	if (below(c, 4) == 0)
		m->block_columns = below(c, 2) ? m->columns : UINT32_MAX;
	m->groups = ceil((double)m->columns / m->block_columns);
}

static void random_g_idx(struct check *c, struct affine_matrix *m)
{
	uint32_t *g_idx = (uint32_t *)c->arena[G_IDX].start;

	m->g_idx = below(c, 4) ? NULL : g_idx;
	for (uint32_t k = 0; m->g_idx && k < m->columns; k++)
		g_idx[k] = below(c, m->groups);
}

static void random_offsets(struct check *c, struct affine_case *a)
{
	struct affine_matrix *m = &a->m;
	const size_t count = (size_t)ceil((double)m->rows / m->block_rows) * m->groups;
	unsigned char *offsets;

	if (m->offset == AFFINE_BIASES)
		m->offsets = random_floats(c, ZEROS, count, m->scale_dtype);
	if (m->offset == AFFINE_ZEROS_PACKED)
		pack_zeros_down(c, a);
	if (m->offset != AFFINE_ZEROS_SIGNED)
		return;
	m->offsets = offsets = place(c, ZEROS, count, 1);
	fill(c, offsets, count);
	for (size_t i = 0; i < count; i++)
		a->zero[i] = (signed char)offsets[i] + (1 << m->bits) / 2;
}

static void random_matrix(struct check *c, struct affine_case *a)
{
	static const uint16_t columns[] = {1, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 96, 127, 128, 129, 160, 256, 576};
	static const uint16_t rows[] = {1, 2, 3, 10, 11, 16, 31, 32, 33, 64};
	struct affine_matrix *m = &a->m;

	m->rows = below(c, 3) ? 1 + below(c, 12) : pick(c, rows, ARRAY_SIZE(rows), 70);
	m->columns = below(c, 10) ? pick(c, columns, ARRAY_SIZE(columns), 700) : 1 + below(c, 6000);
	random_grid(c, m);
	pack_codes(c, a);
	m->scales = random_floats(c, SCALES, (size_t)ceil((double)m->rows / m->block_rows) * m->groups, m->scale_dtype);
	random_offsets(c, a);
	random_g_idx(c, m);
}

/* ---- comparing ---- */

static void describe_affine(char *text, size_t size, const void *matrix)
{
	static const char *const packings[] = {"stream", "words", "signed"};
	static const char *const offsets[] = {"middle", "packed zeros", "signed zeros", "biases"};
	const struct affine_matrix *m = &((const struct affine_case *)matrix)->m;

	snprintf(text, size, "%u bits, %s, %s%s, %s in blocks of %ux%u", m->bits, packings[m->packing],
	    offsets[m->offset], m->g_idx ? ", g_idx" : "", dtype_name(m->scale_dtype), m->block_rows, m->block_columns);
}

static void run_affine(const struct kernels *k, enum dtype out, void *dst, const void *matrix,
    const struct kernel_rect *r)
{
	k->affine.rows[out](dst, &((const struct affine_case *)matrix)->m, r);
}

static bool same_affine(const struct kernels *a, const struct kernels *b, const void *matrix, enum dtype out)
{
	(void)matrix;
	return a->affine.rows[out] == b->affine.rows[out];
}

static const struct rect_ops affine_ops = {run_affine, same_affine, naive_affine, describe_affine};

static struct rect_case rects_of(const struct affine_case *a)
{
	return (struct rect_case){&affine_ops, a, a->m.rows, a->m.columns};
}

static void check_affine_shapes(struct check *c, struct affine_case *a)
{
	const struct affine_matrix kind = a->m;

	for (int i = 0; i < 12; i++) {
		struct rect_case k;
		struct kernel_rect r;

		if (!sampled(c))
			continue;
		a->m = kind;
		random_matrix(c, a);
		k = rects_of(a);
		r = random_rect(c, k.rows, k.columns);
		if (below(c, 2))
			r.column0 -= r.column0 % 64; /* as views cut rows */
		check_rect_outputs(c, &k, &r);
	}
	a->m = kind;
}

/* ---- every scale ---- */

/* A row for each of 256 scales; zeros or biases at random. */
static void check_affine_scales_from(struct check *c, struct affine_case *a, uint32_t first)
{
	struct affine_matrix *m = &a->m;
	const struct kernel_rect all = {0, 256, 0, 128}, some = {below(c, 256), 1, 0, 128};
	unsigned char *scales = place(c, SCALES, 512, 1);
	struct rect_case k;

	m->rows = 256;
	m->columns = 128;
	m->block_rows = m->groups = 1;
	m->block_columns = 128;
	for (uint32_t i = 0; i < 256; i++)
		memcpy(scales + i * 2, &(uint32_t){first + i}, 2);
	m->scales = scales;
	pack_codes(c, a);
	random_offsets(c, a);
	k = rects_of(a);
	for (enum dtype out = 0; out < DTYPE_VIEWS; out++)
		check_rect_levels(c, &k, &all, out);
	check_rect(c, &k, &some, first / 256 % DTYPE_VIEWS);
}

static void check_affine_scales(struct check *c, struct affine_case *a)
{
	static const enum affine_offset offsets[] = {AFFINE_MIDDLE, AFFINE_ZEROS_PACKED, AFFINE_BIASES};

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(offsets); i++) {
		a->m = (struct affine_matrix){.bits = i % 2 ? 4 : 8,
		    .packing = AFFINE_STREAM,
		    .offset = offsets[i / 2],
		    .scale_dtype = i % 2 ? DTYPE_F16 : DTYPE_BF16};
		for (uint32_t first = 0; first < 65536; first += 256)
			if (sampled(c))
				check_affine_scales_from(c, a, first);
	}
	group_end(c, "affine, every 16-bit scale");
}

static void check_affine_kind(struct check *c, struct affine_case *a, enum affine_packing packing, uint8_t bits)
{
	static const enum dtype scales[] = {DTYPE_F16, DTYPE_BF16, DTYPE_F32};
	static const char *const names[] = {"stream", "words", "signed bytes"};
	char name[64];

	for (unsigned i = 0; i < 4 * ARRAY_SIZE(scales); i++) {
		a->m = (struct affine_matrix){
		    .bits = bits, .packing = packing, .offset = i % 4, .scale_dtype = scales[i / 4]};
		/* Signed bytes are 8 bits whose zeros, where they are packed, are a stream. */
		if (packing != AFFINE_SIGNED || a->m.offset != AFFINE_ZEROS_PACKED)
			check_affine_shapes(c, a);
	}
	snprintf(name, sizeof(name), "affine, %s of %u bits", names[packing], bits);
	group_end(c, name);
}

void check_affine(struct check *c)
{
	struct affine_case a = {.code = need(malloc(CASE_CODES)), .zero = need(malloc(CASE_ZEROS * sizeof(*a.zero)))};

	for (uint8_t bits = 1; bits <= 8; bits++) {
		check_affine_kind(c, &a, AFFINE_STREAM, bits);
		check_affine_kind(c, &a, AFFINE_WORDS, bits);
	}
	check_affine_kind(c, &a, AFFINE_SIGNED, 8);
	check_affine_scales(c, &a);
	free(a.code);
	free(a.zero);
}

/* ---- timing ---- */

void bench_affine(struct check *c, struct bench *b)
{
	static const struct affine_matrix kinds[] = {
	    {.bits = 4, .block_columns = 128, .offset = AFFINE_MIDDLE, .scale_dtype = DTYPE_BF16},
	    {.bits = 4, .block_columns = 32, .offset = AFFINE_ZEROS_PACKED, .scale_dtype = DTYPE_F16},
	    {.bits = 4, .block_columns = 64, .offset = AFFINE_BIASES, .scale_dtype = DTYPE_BF16},
	    {.bits = 8, .block_columns = BENCH_K, .packing = AFFINE_SIGNED, .scale_dtype = DTYPE_BF16},
	    {.bits = 8, .block_columns = 64, .offset = AFFINE_BIASES, .scale_dtype = DTYPE_F16},
	    {.bits = 3, .block_columns = 64, .offset = AFFINE_BIASES, .scale_dtype = DTYPE_F16},
	    {.bits = 6, .block_columns = 64, .offset = AFFINE_BIASES, .scale_dtype = DTYPE_F16},
	    {.bits = 3, .block_columns = 128, .packing = AFFINE_WORDS, .scale_dtype = DTYPE_F16},
	};
	const size_t groups = BENCH_K / 32;
	unsigned char *codes = need(malloc((size_t)BENCH_N * BENCH_K * 2));
	unsigned char *scales = need(malloc(BENCH_N * groups * 2)), *offsets = need(malloc(BENCH_N * groups * 2));
	uint32_t *g_idx = need(malloc(BENCH_K * sizeof(*g_idx)));

	fill(c, codes, (size_t)BENCH_N * BENCH_K * 2);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(kinds); i++) {
		struct affine_case a = {.m = kinds[i / 2]};
		const struct rect_case k = {&affine_ops, &a, BENCH_N, BENCH_K};
		struct affine_matrix *m = &a.m;
		char label[256];

		if (i % 2 && i / 2 > 1)
			continue; /* with g_idx those alone */
		m->rows = BENCH_N;
		m->columns = BENCH_K;
		m->block_rows = 1;
		m->groups = BENCH_K / m->block_columns;
		m->row_bytes = m->packing == AFFINE_SIGNED ? BENCH_K : run_words(m, BENCH_K) * 4;
		m->codes = codes;
		m->scales = scales;
		m->offsets = offsets;
		m->g_idx = i % 2 ? g_idx : NULL;
		for (size_t at = 0; at < BENCH_K; at++)
			g_idx[at] = below(c, m->groups);
		for (size_t at = 0; at < BENCH_N * groups; at++) {
			const uint64_t scale = number_encode((1 + at % 7) * 0x1p-13, m->scale_dtype);

			memcpy(scales + at * 2, &scale, 2);
			memcpy(offsets + at * 2, &scale, 2);
		}
		describe_affine(label, sizeof(label), &a);
		bench_rects(c, b, &k, label);
	}
	free(codes);
	free(scales);
	free(offsets);
	free(g_idx);
}
