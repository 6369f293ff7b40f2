/* SPDX-License-Identifier: MIT */

/* The C reference: deliberately plain, since every kernel is compared with it. */

#include "kernel/awq/awq.h"

#include <string.h>

#include "kernel/reference.h"

static uint32_t awq_word(const unsigned char *words, size_t i)
{
	uint32_t word;

	memcpy(&word, words + i * 4, sizeof(word));
	return word;
}

/* A field of a row of words that are packed along it, and of one that are packed as columns are. */
static uint32_t awq_plain_field(const unsigned char *words, size_t i)
{
	return awq_word(words, i / 8) >> 4 * (i % 8) & 15;
}

static uint32_t awq_column_field(const unsigned char *words, size_t i)
{
	return awq_word(words, i / 8) >> 4 * awq_nibble(i % 8) & 15;
}

static uint32_t awq_fast_code(const struct awq_tensor *t, uint32_t n, uint32_t k)
{
	const size_t word = (size_t)(n / 4) * t->in_features + k / 64 * 64 + n % 4 * 16 + k / 32 % 2 * 8 + k % 8;
	uint16_t codes;

	memcpy(&codes, t->qweight + word * 2, sizeof(codes));
	return codes >> 4 * (k / 8 % 4) & 15;
}

uint32_t awq_code(const struct awq_tensor *t, uint32_t n, uint32_t k)
{
	switch (t->layout) {
	case AWQ_GEMM:
		return awq_column_field(t->qweight + (size_t)k * (t->out_features / 8) * 4, n);
	case AWQ_GEMV:
		return awq_plain_field(t->qweight + (size_t)n * (t->in_features / 8) * 4, k);
	default:
		return awq_fast_code(t, n, k);
	}
}

uint32_t awq_zero(const struct awq_tensor *t, uint32_t n, uint32_t g)
{
	if (!t->qzeros)
		return 8;
	if (t->layout == AWQ_GEMM)
		return awq_column_field(t->qzeros + (size_t)g * (t->out_features / 8) * 4, n);
	return awq_plain_field(t->qzeros + (size_t)n * (t->slots / 8) * 4, g);
}

size_t awq_scale_index(const struct awq_tensor *t, uint32_t n, uint32_t g)
{
	return t->layout == AWQ_GEMV ? (size_t)n * t->slots + g : (size_t)g * t->out_features + n;
}

/* The contract, except for the last rounding. */
static float awq_weight(const struct awq_tensor *t, uint32_t n, uint32_t k)
{
	const uint32_t g = k / t->group_size;
	const size_t at = awq_scale_index(t, n, g);
	const float scale = element_load(t->scales, at, t->scale_dtype);
	const int code = (int)awq_code(t, n, k);

	if (t->layout == AWQ_GEMV_FAST)
		return (float)code * scale + element_load(t->qzeros, at, t->scale_dtype);
	return scale * (float)(code - (int)awq_zero(t, n, g));
}

DEFINE_REFERENCE(awq, awq_tensor, awq_weight)

void awq_init(struct awq_dsp *dsp)
{
	static awq_fn *const rows[DTYPE_VIEWS] = {awq_f16, awq_bf16, awq_f32};

	for (int layout = 0; layout < AWQ_LAYOUTS; layout++)
		memcpy(dsp->rows[layout], rows, sizeof(rows));
}
