/* SPDX-License-Identifier: MIT */

/* The C reference: deliberately plain, since every kernel is compared with it. */

#include "kernel/gptq/gptq.h"

#include <string.h>

#include "kernel/element.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "checkpoints and views are little-endian, and so is gptqfs");

/* The words of a row of qzeros or a column of qweight. */
struct word_run {
	const unsigned char *first;
	size_t stride; /* bytes between words */
	unsigned word_bits;
	uint64_t add; /* added to every word, modulo its size, before fields are extracted */
};

static uint64_t run_word(const struct word_run *run, size_t i)
{
	uint64_t word = 0;

	memcpy(&word, run->first + i * run->stride, run->word_bits / 8);
	word += run->add;
	return run->word_bits == 64 ? word : word & ((1ull << run->word_bits) - 1);
}

static uint32_t stream_field(const struct word_run *run, uint32_t i, unsigned bits)
{
	uint64_t bit = (uint64_t)i * bits;
	size_t word = bit / run->word_bits;
	unsigned shift = bit % run->word_bits;
	uint64_t field = run_word(run, word) >> shift;

	if (shift + bits > run->word_bits)
		field |= run_word(run, word + 1) << (run->word_bits - shift);
	return field & ((1u << bits) - 1);
}

static uint32_t planar_field(const struct word_run *run, uint32_t i, unsigned bits)
{
	size_t word = (size_t)(i / 32) * bits;
	uint32_t field = 0;
	unsigned done = 0;

	for (unsigned width = 4; width; width /= 2) {
		unsigned bit = i % 32 * width;

		if (!(bits & width))
			continue;
		field |= (run_word(run, word + bit / 32) >> bit % 32 & ((1u << width) - 1)) << done;
		done += width;
		word += width;
	}
	return field;
}

static uint32_t packed_field(const struct qtensor *q, const struct word_run *run, uint32_t i)
{
	return qtensor_is_planar(q) ? planar_field(run, i, q->bits) : stream_field(run, i, q->bits);
}

uint32_t qtensor_code(const struct qtensor *q, uint32_t k, uint32_t n)
{
	const size_t bytes = q->word_bits / 8;
	const struct word_run column = {q->qweight + n * bytes, q->out_features * bytes, q->word_bits, 0};

	return packed_field(q, &column, k);
}

uint32_t qtensor_zero(const struct qtensor *q, uint32_t g, uint32_t n)
{
	const size_t bytes = q->word_bits / 8;
	const size_t columns = ((uint64_t)q->out_features * q->bits + q->word_bits - 1) / q->word_bits;
	const bool packed_add = q->zeros == ZEROS_V1 && (q->bits & (q->bits - 1)) == 0;
	const uint32_t mask = (1u << q->bits) - 1;
	struct word_run row;

	if (q->zeros == ZEROS_MIDDLE)
		return 1u << (q->bits - 1);
	row = (struct word_run){q->qzeros + g * columns * bytes, bytes, q->word_bits, packed_add ? ~0ull / mask : 0};
	return (packed_field(q, &row, n) + (q->zeros == ZEROS_V1 && !packed_add)) & mask;
}

uint32_t qtensor_step(const struct qtensor *q)
{
	if (q->g_idx || q->group_size >= q->in_features)
		return 32;
	return q->group_size % 32 ? 0 : q->group_size;
}

struct qtensor qtensor_inputs(const struct qtensor *q, uint32_t k0, uint32_t nk)
{
	const uint32_t g = q->g_idx || q->group_size >= q->in_features ? 0 : k0 / q->group_size;
	const size_t words = (uint64_t)q->out_features * q->bits + q->word_bits - 1;
	struct qtensor part = *q;

	part.in_features = nk;
	part.groups -= g;
	part.qweight += (uint64_t)k0 * q->bits / q->word_bits * q->out_features * (q->word_bits / 8);
	part.scales += (size_t)g * q->out_features * dtype_bytes(q->scale_dtype);
	if (q->qzeros)
		part.qzeros += g * (words / q->word_bits) * (q->word_bits / 8);
	if (q->g_idx)
		part.g_idx += k0;
	return part;
}

struct weight {
	uint32_t k, n;
	enum dtype out;
};

/* Stores element i of dst: the weight of input k and output n. This is the contract. */
static void gptq_element(void *dst, size_t i, const struct qtensor *q, struct weight at)
{
	const uint32_t g = q->g_idx ? q->g_idx[at.k] : at.k / q->group_size;
	const int level = (int)qtensor_code(q, at.k, at.n) - (int)qtensor_zero(q, g, at.n);
	const float scale = element_load(q->scales, (size_t)g * q->out_features + at.n, q->scale_dtype);

	element_store(dst, i, scale * (float)level, at.out);
}

static void gptq_reference_rows(void *dst, const struct qtensor *q, uint32_t row0, uint32_t nrows, enum dtype out)
{
	size_t i = 0;

	for (uint32_t n = row0; n < row0 + nrows; n++)
		for (uint32_t k = 0; k < q->in_features; k++)
			gptq_element(dst, i++, q, (struct weight){k, n, out});
}

static void gptq_reference_inputs(void *dst, const struct qtensor *q, uint32_t k0, uint32_t nk, enum dtype out)
{
	size_t i = 0;

	for (uint32_t k = k0; k < k0 + nk; k++)
		for (uint32_t n = 0; n < q->out_features; n++)
			gptq_element(dst, i++, q, (struct weight){k, n, out});
}

#define DEFINE(name, all, out)                                                               \
	static void name(void *dst, const struct qtensor *q, uint32_t first, uint32_t count) \
	{                                                                                    \
		all(dst, q, first, count, out);                                              \
	}

DEFINE(reference_f16, gptq_reference_rows, DTYPE_F16)
DEFINE(reference_bf16, gptq_reference_rows, DTYPE_BF16)
DEFINE(reference_f32, gptq_reference_rows, DTYPE_F32)
DEFINE(inputs_f16, gptq_reference_inputs, DTYPE_F16)
DEFINE(inputs_bf16, gptq_reference_inputs, DTYPE_BF16)
DEFINE(inputs_f32, gptq_reference_inputs, DTYPE_F32)

gptq_fn *const gptq_reference[DTYPE_VIEWS] = {reference_f16, reference_bf16, reference_f32};
static gptq_fn *const gptq_inputs_reference[DTYPE_VIEWS] = {inputs_f16, inputs_bf16, inputs_f32};

void gptq_init(struct gptq_dsp *dsp)
{
	memcpy(dsp->inputs, gptq_inputs_reference, sizeof(dsp->inputs));
	for (unsigned bits = 0; bits < 9; bits++)
		for (unsigned i = 0; i < 4; i++)
			memcpy(dsp->rows[bits][i / 2][i % 2], gptq_reference, sizeof(gptq_reference));
}

gptq_fn *gptq_rows(const struct gptq_dsp *dsp, const struct qtensor *q, enum dtype out)
{
	if (q->word_bits != 32)
		return gptq_reference[out];
	return dsp->rows[q->bits][q->packing][q->g_idx != NULL][out];
}

gptq_fn *gptq_inputs(const struct gptq_dsp *dsp, const struct qtensor *q, enum dtype out)
{
	return q->word_bits != 32 ? gptq_inputs_reference[out] : dsp->inputs[out];
}
