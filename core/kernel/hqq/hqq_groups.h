/* SPDX-License-Identifier: MIT */

/*
 * The part of HQQ kernels common to all instruction sets. A file hqq_<isa>.c includes nibbles_<isa>.h and this, defines
 * hqq_codes(), and calls hqq_install().
 *
 * Codes of up to 4 bits in groups that are rows of the grid, the quantizers' default, are looked up: a group's codes
 * are the same bits of adjacent words. Bytes, and groups that are columns, are computed code by code.
 */

#include <string.h>

#include "kernel/hqq/hqq.h"
#include "kernel/simd/inline.h"
#include "kernel/simd/nibbles.h"

enum { HQQ_EACH = 256 }; /* codes computed or unpacked at a time: whole runs of parameters */

/* Returns the codes in NIBBLE_CODES bytes, shifted right and masked. */
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

typedef float hqq_floats __attribute__((vector_size(32)));
typedef uint32_t hqq_words __attribute__((vector_size(32)));
typedef uint64_t hqq_longs __attribute__((vector_size(32)));
typedef uint8_t hqq_bytes __attribute__((vector_size(8)));

static unsigned hqq_shift(const struct hqq_tensor *t, uint64_t row)
{
	return (t->lanes - 1 - (unsigned)(row / t->slice)) * t->bits;
}

static const unsigned char *hqq_words_at(const struct hqq_tensor *t, uint64_t row, uint64_t column)
{
	return t->codes + (row % t->slice * t->width + column) * t->word_bytes;
}

/* Writes n codes of a row of the grid as bytes. */
static void hqq_unpack(uint8_t *dst, const struct hqq_tensor *t, uint64_t row, uint64_t column, uint32_t n)
{
	const unsigned char *src = hqq_words_at(t, row, column);
	const unsigned shift = hqq_shift(t, row), mask = (1u << t->bits) - 1;
	uint32_t i = 0;

	for (; t->word_bytes == 4 && i + 8 <= n; i += 8) {
		hqq_words word;
		hqq_bytes byte;

		memcpy(&word, src + (size_t)i * 4, sizeof(word));
		byte = __builtin_convertvector(word >> shift & mask, hqq_bytes);
		memcpy(dst + i, &byte, sizeof(byte));
	}
	for (; t->word_bytes == 1 && i + 32 <= n; i += 32) {
		hqq_longs bytes;

		memcpy(&bytes, src + i, sizeof(bytes));
		bytes = bytes >> shift & mask * 0x0101010101010101;
		memcpy(dst + i, &bytes, sizeof(bytes));
	}
	for (; i < n; i++) {
		uint32_t word = 0;

		memcpy(&word, src + (size_t)i * t->word_bytes, t->word_bytes);
		dst[i] = word >> shift & mask;
	}
}

/* ---- groups that are rows of codes of up to 4 bits ---- */

ALWAYS_INLINE void hqq_look_up(char *dst, const unsigned char *src, uint32_t n, unsigned shift, unsigned mask,
    const struct nibble_table *table, enum dtype out)
{
	const size_t size = out_bytes(out);
	unsigned char copy[NIBBLE_CODES] = {0};
	uint32_t i = 0;

	for (; i + NIBBLE_CODES <= n; i += NIBBLE_CODES) {
		prefetch_ahead(src + i);
		nibble_expand(dst + i * size, hqq_codes(src + i, shift, mask), table, NIBBLE_CODES, out);
	}
	if (i == n)
		return;
	memcpy(copy, src + i, n - i);
	nibble_expand(dst + i * size, hqq_codes(copy, shift, mask), table, n - i, out);
}

/* Elements [begin, begin + count) of a group. */
ALWAYS_INLINE void hqq_group(char *dst, const struct hqq_tensor *t, uint64_t group, uint64_t begin, uint32_t count,
    const struct nibble_table *table, enum dtype out)
{
	const unsigned mask = (1u << t->bits) - 1;
	uint8_t code[HQQ_EACH];

	if (t->word_bytes == 1) {
		hqq_look_up(dst, hqq_words_at(t, group, begin), count, hqq_shift(t, group), mask, table, out);
		return;
	}
	for (uint32_t done = 0, n; done < count; done += n) {
		n = count - done < HQQ_EACH ? count - done : HQQ_EACH;
		hqq_unpack(code, t, group, begin + done, n);
		hqq_look_up(dst + done * out_bytes(out), code, n, 0, mask, table, out);
	}
}

/* ---- the others ---- */

/* Some codes of a row of the grid, with a scale and a zero each. */
struct hqq_each {
	float scale[HQQ_EACH], zero[HQQ_EACH];
	uint8_t code[HQQ_EACH];
};

/* Loads the parameters of n columns. */
static void hqq_load_columns(struct hqq_each *each, const struct hqq_tensor *t, uint64_t column, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += NIBBLE_RUN) {
		const uint32_t some = n - i < NIBBLE_RUN ? n - i : NIBBLE_RUN;

		nibble_load(each->scale + i, t->scales, column + i, some, t->param_dtype);
		nibble_load(each->zero + i, t->zeros, column + i, some, t->param_dtype);
	}
}

/* Loads those of a row for n codes. */
static void hqq_load_row(struct hqq_each *each, struct hqq_params *p, const struct hqq_tensor *t, uint64_t row,
    uint32_t n)
{
	hqq_floats scale, zero;

	hqq_load_params(p, t, row);
	for (unsigned k = 0; k < NIBBLE_RUN; k++) {
		scale[k] = p->scale[row % NIBBLE_RUN];
		zero[k] = p->zero[row % NIBBLE_RUN];
	}
	for (uint32_t i = 0; i < n; i += NIBBLE_RUN) {
		memcpy(each->scale + i, &scale, sizeof(scale));
		memcpy(each->zero + i, &zero, sizeof(zero));
	}
}

/* n codes, at most HQQ_EACH. */
ALWAYS_INLINE void hqq_decode_each(char *dst, const struct hqq_each *each, uint32_t n, enum dtype out)
{
	char last[NIBBLE_CODES * sizeof(float)];
	uint32_t i = 0;

	for (; i + NIBBLE_CODES <= n; i += NIBBLE_CODES)
		decode_each32(dst + i * out_bytes(out), each->code + i, each->scale + i, each->zero + i, false, out);
	if (i == n)
		return;
	decode_each32(last, each->code + i, each->scale + i, each->zero + i, false, out);
	memcpy(dst + i * out_bytes(out), last, (n - i) * out_bytes(out));
}

/* ---- the kernels ---- */

ALWAYS_INLINE void hqq_run(void *dst, const struct hqq_tensor *t, const struct kernel_rect *r, enum dtype out)
{
	const struct nibble_kind kind = {.out = out};
	const bool few = !t->by_columns && t->bits <= 4;
	struct hqq_params params = {.first = UINT64_MAX};
	struct hqq_each each = {0};
	struct nibble_table table;
	char *at = dst;

	for (uint32_t n = r->row0; n < r->row0 + r->rows; n++) {
		uint64_t element = (uint64_t)n * t->columns + r->column0;

		for (uint32_t left = r->columns, count; left; left -= count, element += count) {
			const uint64_t row = element / t->width, begin = element % t->width;

			count = left < t->width - begin ? left : (uint32_t)(t->width - begin);
			if (few) {
				hqq_load_params(&params, t, row);
				nibble_table_build(&table, params.zero[row % NIBBLE_RUN],
				    params.scale[row % NIBBLE_RUN], kind);
				hqq_group(at, t, row, begin, count, &table, out);
			} else {
				count = count < HQQ_EACH ? count : HQQ_EACH;
				hqq_unpack(each.code, t, row, begin, count);
				if (t->by_columns)
					hqq_load_columns(&each, t, begin, count);
				else
					hqq_load_row(&each, &params, t, row, count);
				hqq_decode_each(at, &each, count, out);
			}
			at += count * out_bytes(out);
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
