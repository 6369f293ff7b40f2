/* SPDX-License-Identifier: MIT */

/*
 * bitsandbytes: kernels against the reference, and the reference against products of doubles, each rounded to fp32 and
 * the last one to the output. The tables are spelled as bits here.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rects.h"

static const uint32_t nf4_bits[16] = {0xbf800000, 0xbf3239b1, 0xbf066b30, 0xbeca32a0, 0xbe91a24d, 0xbe3d353f,
    0xbdba7871, 0x00000000, 0x3da2faff, 0x3e24cae3, 0x3e7c04dd, 0x3ead033a, 0x3ee1a4b8, 0x3f1007ab, 0x3f3913b3,
    0x3f800000};
static const uint32_t fp4_bits[16] = {0x00000000, 0x3baaaaab, 0x3f2aaaab, 0x3f800000, 0x3eaaaaab, 0x3f000000,
    0x3e2aaaab, 0x3e800000, 0x00000000, 0xbbaaaaab, 0xbf2aaaab, 0xbf800000, 0xbeaaaaab, 0xbf000000, 0xbe2aaaab,
    0xbe800000};

/* ---- the second implementation ---- */

static double float_at(const unsigned char *array, uint64_t i)
{
	uint32_t bits;

	memcpy(&bits, array + i * 4, 4);
	return number_decode(bits, DTYPE_F32);
}

static uint64_t naive_bnb4(const void *matrix, uint32_t n, uint32_t k, enum dtype out)
{
	const struct bnb4_tensor *t = matrix;
	const uint64_t i = (uint64_t)n * t->columns + k, block = i / (1ull << t->block_log2);
	const unsigned byte = t->codes[i / 2], code = i & 1 ? byte % 16 : byte / 16;
	const uint32_t *bits = t->table == bnb_fp4 ? fp4_bits : nf4_bits;
	double scale;

	if (t->nested_map) {
		scale = number_fp32(float_at(t->nested_map, t->absmax[block]) *
				    float_at(t->nested_absmax, block / (1ull << t->nested_log2)));
		scale = number_fp32(scale + (double)t->nested_offset);
	} else {
		scale = float_at(t->absmax, block);
	}
	return number_encode(number_fp32(number_decode(bits[code], DTYPE_F32) * scale), out);
}

static uint64_t naive_bnb8(const void *matrix, uint32_t n, uint32_t k, enum dtype out)
{
	const struct bnb8_tensor *t = matrix;
	const int byte = t->codes[(size_t)n * t->columns + k], code = byte < 128 ? byte : byte - 256;

	return number_encode(number_fp32(number_fp32(code * float_at(t->scales, n)) *
					 number_decode(0x3c010204, DTYPE_F32)),
	    out);
}

/* ---- comparing ---- */

static void describe_bnb4(char *text, size_t size, const void *matrix)
{
	const struct bnb4_tensor *t = matrix;

	snprintf(text, size, "%s blocks of %u%s", t->table == bnb_fp4 ? "fp4" : "nf4", 1u << t->block_log2,
	    t->nested_map ? " nested" : "");
}

static void describe_bnb8(char *text, size_t size, const void *matrix)
{
	(void)matrix;
	snprintf(text, size, "int8");
}

static void run_bnb4(const struct kernels *k, enum dtype out, void *dst, const void *matrix,
    const struct kernel_rect *r)
{
	k->bnb.rows4[out](dst, matrix, r);
}

static void run_bnb8(const struct kernels *k, enum dtype out, void *dst, const void *matrix,
    const struct kernel_rect *r)
{
	k->bnb.rows8[out](dst, matrix, r);
}

static bool same_bnb4(const struct kernels *a, const struct kernels *b, const void *matrix, enum dtype out)
{
	(void)matrix;
	return a->bnb.rows4[out] == b->bnb.rows4[out];
}

static bool same_bnb8(const struct kernels *a, const struct kernels *b, const void *matrix, enum dtype out)
{
	(void)matrix;
	return a->bnb.rows8[out] == b->bnb.rows8[out];
}

static const struct rect_ops bnb4_ops = {run_bnb4, same_bnb4, naive_bnb4, describe_bnb4};
static const struct rect_ops bnb8_ops = {run_bnb8, same_bnb8, naive_bnb8, describe_bnb8};

static struct rect_case bnb4_case(const struct bnb4_tensor *t)
{
	return (struct rect_case){&bnb4_ops, t, t->rows, t->columns};
}

static struct rect_case bnb8_case(const struct bnb8_tensor *t)
{
	return (struct rect_case){&bnb8_ops, t, t->rows, t->columns};
}

static void check_bnb_part(struct check *c, const struct rect_case *k)
{
	const struct kernel_rect r = random_rect(c, k->rows, k->columns);

	check_rect_outputs(c, k, &r);
}

/* The whole matrix, however large it is. */
static void check_bnb_whole(struct check *c, const struct rect_case *k)
{
	const struct kernel_rect r = {0, k->rows, 0, k->columns};

	for (enum dtype out = 0; out < DTYPE_VIEWS; out++)
		check_rect(c, k, &r, out);
}

/* ---- random matrices ---- */

static const unsigned char *random_floats(struct check *c, enum operand where, size_t n)
{
	static const float odd[] = {
	    0, -0.0f, 0x1p-149f, 0x1p-126f, -0x1p-133f, 0x1p119f, 0x1.fffffep127f, INFINITY, -INFINITY, NAN, 1};
	unsigned char *to = place(c, where, n * 4, 1);
	const bool usual = below(c, 2);

	for (size_t i = 0; i < n; i++) {
		const unsigned way = usual ? 3 : below(c, 4);
		const uint32_t bits = way == 0   ? number_encode(odd[below(c, ARRAY_SIZE(odd))], DTYPE_F32)
		                      : way == 1 ? rnd(c)
		                                 : (rnd(c) & 0x007fffff) | (uint32_t)(100 + below(c, 28)) << 23;

		memcpy(to + i * 4, &bits, 4);
	}
	return to;
}

static unsigned char *random_bytes(struct check *c, enum operand where, size_t n)
{
	unsigned char *to = place(c, where, n, 1);

	fill(c, to, n);
	return to;
}

/* Half of the widths are odd, so that rows begin in the middle of a byte. */
static uint32_t random_columns(struct check *c)
{
	static const uint16_t columns[] = {1, 2, 7, 31, 32, 33, 63, 64, 65, 96, 120, 127, 128, 129, 257, 324, 576};

	return below(c, 8) ? pick(c, columns, ARRAY_SIZE(columns), 700) : 1 + below(c, 20000);
}

static uint32_t random_rows(struct check *c)
{
	static const uint16_t rows[] = {1, 2, 3, 16, 31, 64, 129};

	return below(c, 3) ? 1 + below(c, 12) : pick(c, rows, ARRAY_SIZE(rows), 150);
}

static void check_bnb4_random(struct check *c, bool fp4, bool nested)
{
	struct bnb4_tensor t = {.rows = random_rows(c), .columns = random_columns(c), .table = fp4 ? bnb_fp4 : bnb_nf4};
	const uint64_t n = (uint64_t)t.rows * t.columns;
	struct rect_case k;
	uint64_t blocks;

	t.block_log2 = below(c, 2) ? 6 : 5 + below(c, 8);
	blocks = ((n - 1) >> t.block_log2) + 1;
	t.codes = random_bytes(c, CODES, n / 2 + n % 2);
	if (nested) {
		t.nested_log2 = below(c, 2) ? 8 : 5 + below(c, 8);
		t.absmax = random_bytes(c, SCALES, blocks);
		t.nested_map = random_floats(c, G_IDX, 256);
		t.nested_absmax = random_floats(c, ZEROS, ((blocks - 1) >> t.nested_log2) + 1);
		t.nested_offset = (float)ldexp(1 + rnd(c) * 0x1p-32, -(int)below(c, 12)) * (below(c, 4) ? 1 : -1);
	} else {
		t.absmax = random_floats(c, SCALES, blocks);
	}
	k = bnb4_case(&t);
	check_bnb_part(c, &k);
}

static void check_bnb8_random(struct check *c)
{
	struct bnb8_tensor t = {.rows = random_rows(c), .columns = random_columns(c)};
	const struct rect_case k = bnb8_case(&t);

	t.codes = random_bytes(c, CODES, (size_t)t.rows * t.columns);
	t.scales = random_floats(c, SCALES, t.rows);
	check_bnb_part(c, &k);
}

/* ---- every code, with scales of every exponent ---- */

static void scales_fill(struct check *c, unsigned char *scales, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const uint32_t bits = i % 512 << 23 | (i < 512 ? 0 : i < 1024 ? 0x7fffff : rnd(c) & 0x7fffff);

		memcpy(scales + i * 4, &bits, 4);
	}
}

static void check_bnb4_codes(struct check *c, bool fp4)
{
	enum { BLOCKS = 4096, COLUMNS = 128 };
	unsigned char *codes = place(c, CODES, BLOCKS * 16, 1), *scales = place(c, SCALES, BLOCKS * 4, 1);
	const struct bnb4_tensor t = {
	    BLOCKS * 32 / COLUMNS, COLUMNS, fp4 ? bnb_fp4 : bnb_nf4, 5, codes, scales, NULL, NULL, 0, 0};
	const struct rect_case k = bnb4_case(&t);

	for (uint32_t i = 0; i < BLOCKS * 16; i++)
		codes[i] = (i % 16) << 4 | (i * 7 + 5) % 16;
	scales_fill(c, scales, BLOCKS);
	check_bnb_whole(c, &k);
}

static void check_bnb8_codes(struct check *c)
{
	enum { ROWS = 2048 };
	unsigned char *codes = place(c, CODES, ROWS * 256, 1), *scales = place(c, SCALES, ROWS * 4, 1);
	const struct bnb8_tensor t = {ROWS, 256, codes, scales};
	const struct rect_case k = bnb8_case(&t);

	for (uint32_t i = 0; i < ROWS * 256; i++)
		codes[i] = (unsigned char)(i * 37 + i / 256);
	scales_fill(c, scales, ROWS);
	check_bnb_whole(c, &k);
}

void check_bnb(struct check *c)
{
	for (int i = 0; i < 400; i++)
		if (sampled(c))
			check_bnb4_random(c, i % 2, i / 2 % 2);
	group_end(c, "bitsandbytes nf4, fp4");
	for (int i = 0; i < 150; i++)
		if (sampled(c))
			check_bnb8_random(c);
	group_end(c, "bitsandbytes int8");
	check_bnb4_codes(c, false);
	check_bnb4_codes(c, true);
	check_bnb8_codes(c);
	group_end(c, "every bitsandbytes code and exponent");
}

/* ---- timing ---- */

void bench_bnb(struct check *c, struct bench *b)
{
	const size_t n = (size_t)BENCH_N * BENCH_K;
	unsigned char *codes = need(malloc(n)), *absmax = need(malloc(n / 64)),
		      *nested = need(malloc(n / 64 / 256 * 4));
	float *scales = need(malloc(n / 64 * sizeof(*scales)));
	const unsigned char *bytes = (unsigned char *)scales;
	const struct bnb4_tensor plain = {BENCH_N, BENCH_K, bnb_nf4, 6, codes, bytes, NULL, NULL, 0, 0};
	const struct bnb4_tensor twice = {BENCH_N, BENCH_K, bnb_nf4, 6, codes, absmax, bytes, nested, 8, 0};
	const struct bnb8_tensor eight = {BENCH_N, BENCH_K, codes, bytes};
	const struct rect_case cases[] = {bnb4_case(&plain), bnb4_case(&twice), bnb8_case(&eight)};

	fill(c, codes, n);
	fill(c, absmax, n / 64);
	for (size_t i = 0; i < n / 64; i++)
		scales[i] = 0x1p-6f + (float)(i % 97) * 0x1p-9f;
	memcpy(nested, scales, n / 64 / 256 * 4);
	bench_rects(c, b, &cases[0], "bitsandbytes nf4");
	bench_rects(c, b, &cases[1], "bitsandbytes nf4 nested");
	bench_rects(c, b, &cases[2], "bitsandbytes int8");
	free(codes);
	free(absmax);
	free(nested);
	free(scales);
}
