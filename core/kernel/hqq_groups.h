/* SPDX-License-Identifier: MIT */

/*
 * The part of an HQQ kernel that is the same for every instruction set. A file hqq_<isa>.c includes nibbles_<isa>.h and
 * this, defines hqq_codes(), and calls hqq_install().
 *
 * Codes of up to 4 bits of groups that are rows of the grid, which is what quantizers make by default: a group's codes
 * are neighbouring bytes, all of the same bits of them. All else is left to the reference.
 */

#include <string.h>

#include "kernel/hqq.h"
#include "kernel/inline.h"
#include "kernel/nibbles.h"

/* The codes in the bits under `mask` of NIBBLE_CODES bytes, after a shift to the right. */
ALWAYS_INLINE nibble_codes hqq_codes(const unsigned char *src, unsigned shift, unsigned mask);

/* Parameters of the groups from `first` on, a multiple of NIBBLE_RUN. */
struct hqq_params {
	uint64_t first;
	float zero[NIBBLE_RUN], scale[NIBBLE_RUN];
};

static void hqq_load_params(struct hqq_params *p, const struct hqq_tensor *t, uint64_t group)
{
	const uint64_t first = group - group % NIBBLE_RUN, left = (uint64_t)t->rows * t->columns / t->width - first;
	const uint32_t n = left < NIBBLE_RUN ? (uint32_t)left : NIBBLE_RUN;

	if (p->first == first)
		return;
	p->first = first;
	nibble_load(p->zero, t->zeros, first, n, t->param_dtype);
	nibble_load(p->scale, t->scales, first, n, t->param_dtype);
}

/* Elements [begin, begin + count) of a group. */
ALWAYS_INLINE void hqq_group(char *dst, const struct hqq_tensor *t, uint64_t group, uint64_t begin, uint32_t count,
    const struct nibble_table *table, enum dtype out)
{
	const unsigned char *src = t->codes + group % t->slice * t->width + begin;
	const unsigned shift = (t->lanes - 1 - (unsigned)(group / t->slice)) * t->bits, mask = (1u << t->bits) - 1;
	const size_t size = out == DTYPE_F32 ? 4 : 2;
	unsigned char copy[NIBBLE_CODES] = {0};
	uint32_t i = 0;

	for (; i + NIBBLE_CODES <= count; i += NIBBLE_CODES)
		nibble_expand(dst + i * size, hqq_codes(src + i, shift, mask), table, NIBBLE_CODES, out);
	if (i == count)
		return;
	memcpy(copy, src + i, count - i);
	nibble_expand(dst + i * size, hqq_codes(copy, shift, mask), table, count - i, out);
}

ALWAYS_INLINE void hqq_run(void *dst, const struct hqq_tensor *t, const struct kernel_rect *r, enum dtype out)
{
	const struct nibble_kind kind = {.out = out};
	struct hqq_params params = {.first = UINT64_MAX};
	struct nibble_table table;
	char *at = dst;

	if (t->by_columns || t->bits > 4 || t->word_bytes != 1) {
		hqq_reference[out](dst, t, r);
		return;
	}
	for (uint32_t n = r->row0; n < r->row0 + r->rows; n++) {
		uint64_t element = (uint64_t)n * t->columns + r->column0;

		for (uint32_t left = r->columns, count; left; left -= count, element += count) {
			const uint64_t group = element / t->width, begin = element % t->width;

			count = left < t->width - begin ? left : (uint32_t)(t->width - begin);
			hqq_load_params(&params, t, group);
			nibble_table_build(&table, params.zero[group % NIBBLE_RUN], params.scale[group % NIBBLE_RUN],
			    kind);
			hqq_group(at, t, group, begin, count, &table, out);
			at += count * (out == DTYPE_F32 ? 4 : 2);
		}
	}
}

#define DEFINE_HQQ(name, out)                                                                \
	static void name(void *dst, const struct hqq_tensor *t, const struct kernel_rect *r) \
	{                                                                                    \
		hqq_run(dst, t, r, out);                                                     \
	}

DEFINE_HQQ(hqq_to_f16, DTYPE_F16)
DEFINE_HQQ(hqq_to_bf16, DTYPE_BF16)
DEFINE_HQQ(hqq_to_f32, DTYPE_F32)

static void hqq_install(struct hqq_dsp *dsp)
{
	static hqq_fn *const rows[DTYPE_VIEWS] = {hqq_to_f16, hqq_to_bf16, hqq_to_f32};

	memcpy(dsp->rows, rows, sizeof(rows));
}
