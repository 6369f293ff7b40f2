/* SPDX-License-Identifier: MIT */
#include "gptq_matrix.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const zeros_name[3] = {"v1", "v2", "middle"};
const char *const packing_name[2] = {"stream", "planar"};
const char *const indices_name[INDICES_COUNT] = {"none", "random", "act-order", "trivial"};

/* --- Formats --- */

/* Returns word i of a run of words `stride` bytes apart. */
struct run {
	unsigned char *first;
	size_t stride;
	unsigned word_bits;
};

static void set_bits(const struct run *run, uint64_t bit, unsigned value, unsigned count)
{
	for (unsigned i = 0; i < count; i++, bit++) {
		unsigned char *word = run->first + bit / run->word_bits * run->stride;
		unsigned in_word = bit % run->word_bits;

		word[in_word / 8] &= ~(1 << in_word % 8);
		word[in_word / 8] |= (value >> i & 1) << in_word % 8;
	}
}

/* Returns value i of a run: a stream, or planes of 4, 2 and 1 bits for every 32 values. */
static void pack(const struct run *run, const struct spec *s, uint64_t i, unsigned value)
{
	static const unsigned char planes[9][4] = {
	    [2] = {2}, [3] = {2, 1}, [4] = {4}, [5] = {4, 1}, [6] = {4, 2}, [7] = {4, 2, 1}, [8] = {8}};
	uint64_t bit = i / 32 * 32 * s->bits;

	if (s->packing == PACKING_STREAM) {
		set_bits(run, i * s->bits, value, s->bits);
		return;
	}
	for (unsigned p = 0; planes[s->bits][p]; p++) {
		const unsigned width = planes[s->bits][p];

		set_bits(run, bit + i % 32 * width, value, width);
		value >>= width;
		bit += 32 * width;
	}
}

static uint64_t word_count(uint64_t values, const struct spec *s)
{
	return (values * s->bits + s->word_bits - 1) / s->word_bits;
}

void pack_weights(struct matrix *m, unsigned char *qweight)
{
	const size_t bytes = m->spec.word_bits / 8, columns = m->spec.out_features;

	for (uint32_t n = 0; n < columns; n++) {
		const struct run column = {qweight + n * bytes, columns * bytes, m->spec.word_bits};

		for (uint32_t k = 0; k < m->spec.in_features; k++)
			pack(&column, &m->spec, k, m->codes[(size_t)k * columns + n]);
	}
}

/* v1 of 2, 4 and 8 bits: subtracts 1 from every field of the finished word, with borrows. */
static void subtract_ones(unsigned char *word, unsigned word_bits, unsigned bits)
{
	for (unsigned bit = 0; bit < word_bits; bit += bits) {
		unsigned at = bit / 8, take = 1u << bit % 8;

		while (at < word_bits / 8) {
			const bool borrow = word[at] < take;

			word[at++] -= take;
			if (!borrow)
				break;
			take = 1;
		}
	}
}

void pack_zeros(struct matrix *m, unsigned char *qzeros)
{
	const struct spec *s = &m->spec;
	const size_t bytes = s->word_bits / 8, per_row = word_count(s->out_features, s);
	const bool words = s->zeros == ZEROS_V1 && s->bits != 3;

	for (uint32_t g = 0; g < m->q.groups; g++) {
		const struct run row = {qzeros + g * per_row * bytes, bytes, s->word_bits};

		for (uint32_t n = 0; n < s->out_features; n++) {
			const unsigned zero = m->zeros[(size_t)g * s->out_features + n];

			pack(&row, s, n, s->zeros == ZEROS_V1 && !words ? zero + 7 : zero);
		}
		for (size_t i = 0; words && i < per_row; i++)
			subtract_ones(row.first + i * bytes, s->word_bits, s->bits);
	}
}

/* --- Numbers --- */

static double scale_at(const struct qtensor *q, size_t i)
{
	const size_t bytes = q->scale_dtype == DTYPE_F32 ? 4 : 2;
	uint32_t bits = 0;

	memcpy(&bits, q->scales + i * bytes, bytes);
	return number_decode(bits, q->scale_dtype);
}

/* The contract again: an exact product, rounded to fp32 (needed only for F32 scales), then to the output. */
uint64_t naive_weight(const struct matrix *m, uint32_t k, uint32_t n, enum dtype out)
{
	const size_t columns = m->spec.out_features;
	const uint32_t g = m->q.g_idx ? m->q.g_idx[k] : k / m->spec.group_size;
	const int zero = m->spec.zeros == ZEROS_MIDDLE ? 1 << (m->spec.bits - 1) : m->zeros[g * columns + n];
	const double product = scale_at(&m->q, g * columns + n) * (m->codes[k * columns + n] - zero);

	return number_encode(number_fp32(product), out);
}

/* --- Matrices --- */

static uint32_t group_of(struct check *c, const struct spec *s, uint32_t k, uint32_t groups)
{
	/* As for desc_act: groups of the rank of k in some order, here multiplication by a number coprime to K. */
	uint32_t step = s->in_features / 2 + 1, a, b, t;

	if (s->indices == INDICES_RANDOM)
		return below(c, groups);
	if (s->indices == INDICES_TRIVIAL)
		return k / s->group_size;
	for (;; step++) {
		for (a = step, b = s->in_features; b; t = a % b, a = b, b = t)
			;
		if (a == 1)
			return (uint64_t)k * step % s->in_features / s->group_size;
	}
}

static void random_scales(struct check *c, unsigned char *scales, size_t n, enum dtype dtype)
{
	const size_t bytes = dtype_bytes(dtype);

	fill(c, scales, n * bytes);
	if (below(c, 2))
		return;
	/* Like real ones: from 2^-12 to 2^-4, of either sign. */
	for (size_t i = 0; i < n; i++) {
		const double value = ldexp(below(c, 2) ? 1 : -1, -(int)below(c, 8) - 5) * (1 + below(c, 1000) / 1024.0);
		const uint64_t bits = number_encode(value, dtype);

		memcpy(scales + i * bytes, &bits, bytes);
	}
}

void matrix_init(struct check *c, struct matrix *m, const struct spec *s)
{
	const uint32_t groups = (s->in_features - 1) / s->group_size + 1;
	const size_t weights = (size_t)s->in_features * s->out_features, scales = (size_t)groups * s->out_features;
	const size_t word = s->word_bits / 8, weight_bytes = word_count(s->in_features, s) * s->out_features * word;
	const size_t zero_bytes = groups * word_count(s->out_features, s) * word;
	unsigned char *qweight = place(c, CODES, weight_bytes, 1), *qzeros = place(c, ZEROS, zero_bytes, 1);
	unsigned char *scale = place(c, SCALES, scales * dtype_bytes(s->scale_dtype), 1);
	uint32_t *g_idx = (uint32_t *)place(c, G_IDX, s->in_features * 4, 4);

	*m = (struct matrix){.spec = *s, .codes = need(malloc(weights)), .zeros = need(malloc(scales))};
	m->q = (struct qtensor){s->in_features, s->out_features, groups, s->group_size, s->bits, s->word_bits,
	    s->packing, s->zeros, s->scale_dtype, qweight, s->zeros == ZEROS_MIDDLE ? NULL : qzeros, scale,
	    s->indices ? g_idx : NULL};
	fill(c, qweight, weight_bytes); /* the tails of words must not matter */
	fill(c, qzeros, zero_bytes);
	random_scales(c, scale, scales, s->scale_dtype);
	for (size_t i = 0; i < weights; i++)
		m->codes[i] = below(c, 1u << s->bits);
	for (size_t i = 0; i < scales; i++)
		m->zeros[i] = below(c, 1u << s->bits);
	for (uint32_t k = 0; s->indices && k < s->in_features; k++)
		g_idx[k] = group_of(c, s, k, groups);
	pack_weights(m, qweight);
	if (s->zeros != ZEROS_MIDDLE)
		pack_zeros(m, qzeros);
}

void matrix_free(struct matrix *m)
{
	free(m->codes);
	free(m->zeros);
}
