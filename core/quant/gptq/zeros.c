/* SPDX-License-Identifier: MIT */
#include "quant/gptq/zeros.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define BASE_FAULT "zeros were shifted by the constant of the model's base width (GPTQModel before 7.3.2)"

static const struct zeros_shift shifts[] = {
    {"zeros are stored as gptq_v2 under the label gptq", 0, 0, {0, 0, 0}},
    {"3-bit zeros were shifted by reversed constants (GPTQModel before 7.0)", 0, 3,
	{0x24924924, 0x92492492, 0x49249249}},
    {BASE_FAULT, 2, 0, {0x55555555, 0x55555555, 0x55555555}},
    {BASE_FAULT, 3, 0, {0x24924924, 0x92492492, 0x49249249}},
    {BASE_FAULT, 3, 0, {0x49249249, 0x92492492, 0x24924924}},
    {BASE_FAULT, 4, 0, {0x11111111, 0x11111111, 0x11111111}},
    {BASE_FAULT, 8, 0, {0x01010101, 0x01010101, 0x01010101}},
};

/* True if all zeros of the only row of `q` are the middle value. */
static bool is_middle(const struct qtensor *q)
{
	uint32_t n = 0;

	while (n < q->out_features && qtensor_zero(q, 0, n) == 1u << (q->bits - 1))
		n++;
	return n == q->out_features;
}

static bool applies(const struct zeros_shift *s, const struct qtensor *q, int64_t base_bits)
{
	return (!s->bits || s->bits == q->bits) &&
	       (!s->base_bits || (s->base_bits == base_bits && base_bits != q->bits));
}

void zeros_unshift(unsigned char *row, size_t words, const struct zeros_shift *shift)
{
	for (size_t i = 0; i < words; i++) {
		uint32_t word;

		memcpy(&word, row + i * 4, 4);
		word += shift->words[i % 3];
		memcpy(row + i * 4, &word, 4);
	}
}

int zeros_examine(const struct qtensor *q, const unsigned char *row, int64_t base_bits, struct zeros_finding *out)
{
	const size_t words = (size_t)div_up((uint64_t)q->out_features * q->bits, 32);
	struct qtensor shifted = *q;
	unsigned char *copy;

	shifted.qzeros = row;
	*out = (struct zeros_finding){.middle = is_middle(&shifted)};
	if (out->middle || q->zeros != ZEROS_V1 || q->word_bits != 32)
		return 0;
	copy = malloc(words * 4);
	if (!copy)
		return -ENOMEM;
	shifted.zeros = ZEROS_V2;
	shifted.qzeros = copy;
	for (size_t i = 0; !out->fault && i < sizeof(shifts) / sizeof(*shifts); i++) {
		if (!applies(&shifts[i], q, base_bits))
			continue;
		memcpy(copy, row, words * 4);
		zeros_unshift(copy, words, &shifts[i]);
		if (is_middle(&shifted))
			out->fault = shifts[i].fault;
	}
	free(copy);
	return 0;
}

/* The first versions that wrote asymmetric v1 zeros; that may have either kind of 3 bits; that have no fault. */
#define ASYMMETRIC 900
#define UNSURE_3_BITS 60100
#define CURED_3_BITS 70000

int zeros_find_shift(uint32_t gptqmodel, int64_t base_bits, int bits, const struct zeros_shift **out)
{
	*out = NULL;
	if (gptqmodel < ASYMMETRIC || gptqmodel >= ZEROS_CURED)
		return 0;
	if (base_bits == 3 && gptqmodel >= UNSURE_3_BITS)
		return bits == 3 && gptqmodel >= CURED_3_BITS ? 0 : -ENOTSUP;
	for (size_t i = 0; !*out && i < sizeof(shifts) / sizeof(*shifts); i++) {
		const struct zeros_shift *s = &shifts[i];

		if (base_bits == bits ? s->bits == bits : s->base_bits && s->base_bits == base_bits)
			*out = s;
	}
	return 0;
}
