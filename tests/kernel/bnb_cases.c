/* SPDX-License-Identifier: MIT */

/*
 * bitsandbytes: kernels against the reference, and the reference against products of doubles, each rounded to fp32 and
 * the last one to the output. The tables are spelled as bits here.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static const uint32_t nf4_bits[16] = {0xbf800000, 0xbf3239b1, 0xbf066b30, 0xbeca32a0, 0xbe91a24d, 0xbe3d353f,
    0xbdba7871, 0x00000000, 0x3da2faff, 0x3e24cae3, 0x3e7c04dd, 0x3ead033a, 0x3ee1a4b8, 0x3f1007ab, 0x3f3913b3,
    0x3f800000};
static const uint32_t fp4_bits[16] = {0x00000000, 0x3baaaaab, 0x3f2aaaab, 0x3f800000, 0x3eaaaaab, 0x3f000000,
    0x3e2aaaab, 0x3e800000, 0x00000000, 0xbbaaaaab, 0xbf2aaaab, 0xbf800000, 0xbeaaaaab, 0xbf000000, 0xbe2aaaab,
    0xbe800000};

/* ---- the second implementation ---- */

/* Rounds a double to fp32. For a sum or product of floats, rounding twice equals rounding once. */
static double as_fp32(double x)
{
	return number_decode(number_encode(x, DTYPE_F32), DTYPE_F32);
}

static double float_at(const unsigned char *array, uint64_t i)
{
	uint32_t bits;

	memcpy(&bits, array + i * 4, 4);
	return number_decode(bits, DTYPE_F32);
}

static uint64_t naive_bnb4(const struct bnb4_tensor *t, uint32_t n, uint32_t k, enum dtype out)
{
	const uint64_t i = (uint64_t)n * t->columns + k, block = i / (1ull << t->block_log2);
	const unsigned byte = t->codes[i / 2], code = i & 1 ? byte % 16 : byte / 16;
	const uint32_t *bits = t->table == bnb_fp4 ? fp4_bits : nf4_bits;
	double scale;

	if (t->nested_map) {
		scale = as_fp32(float_at(t->nested_map, t->absmax[block]) *
				float_at(t->nested_absmax, block / (1ull << t->nested_log2)));
		scale = as_fp32(scale + (double)t->nested_offset);
	} else {
		scale = float_at(t->absmax, block);
	}
	return number_encode(as_fp32(number_decode(bits[code], DTYPE_F32) * scale), out);
}

static uint64_t naive_bnb8(const struct bnb8_tensor *t, uint32_t n, uint32_t k, enum dtype out)
{
	const int byte = t->codes[(size_t)n * t->columns + k], code = byte < 128 ? byte : byte - 256;

	return number_encode(as_fp32(as_fp32(code * float_at(t->scales, n)) * number_decode(0x3c010204, DTYPE_F32)),
	    out);
}

/* ---- one rectangle ---- */

/* A matrix of either kind: the other pointer is NULL. */
struct bnb_case {
	const struct bnb4_tensor *four;
	const struct bnb8_tensor *eight;
	struct kernel_rect r;
};

static void describe_bnb(char *text, size_t size, const struct bnb_case *k)
{
	const struct kernel_rect *r = &k->r;
	const struct bnb4_tensor *t = k->four;

	if (t)
		snprintf(text, size, "%s blocks of %u%s, %ux%u, rows %u+%u, columns %u+%u",
		    t->table == bnb_fp4 ? "fp4" : "nf4", 1u << t->block_log2, t->nested_map ? " nested" : "", t->rows,
		    t->columns, r->row0, r->rows, r->column0, r->columns);
	else
		snprintf(text, size, "int8 %ux%u, rows %u+%u, columns %u+%u", k->eight->rows, k->eight->columns,
		    r->row0, r->rows, r->column0, r->columns);
}

static void run_bnb(const struct bnb_dsp *dsp, void *dst, const struct bnb_case *k, enum dtype out)
{
	if (k->four)
		dsp->rows4[out](dst, k->four, &k->r);
	else
		dsp->rows8[out](dst, k->eight, &k->r);
}

static bool same_kernel(const struct bnb_dsp *a, const struct bnb_dsp *b, const struct bnb_case *k, enum dtype out)
{
	return k->four ? a->rows4[out] == b->rows4[out] : a->rows8[out] == b->rows8[out];
}

static void check_bnb_reference(struct check *c, const struct bnb_case *k, enum dtype out)
{
	const unsigned char *p = c->arena[EXPECTED].start;
	const struct kernel_rect *r = &k->r;
	const size_t bytes = dtype_bytes(out);
	char text[256], what[320];

	for (uint32_t n = r->row0; n < r->row0 + r->rows; n++) {
		for (uint32_t i = r->column0; i < r->column0 + r->columns; i++, p += bytes) {
			const uint64_t expected =
			    k->four ? naive_bnb4(k->four, n, i, out) : naive_bnb8(k->eight, n, i, out);

			if (!memcmp(p, &expected, bytes))
				continue;
			describe_bnb(text, sizeof(text), k);
			snprintf(what, sizeof(what), "reference %s %s: w[%u][%u] is not %llx", dtype_name(out), text, n,
			    i, (unsigned long long)expected);
			tell(c, false, what);
			return;
		}
	}
	tell(c, true, "");
}

/* Runs the reference into c->arena[EXPECTED], and compares all levels with a kernel of their own. */
static void check_bnb_levels(struct check *c, const struct bnb_case *k, enum dtype out)
{
	const size_t bytes = (size_t)k->r.rows * k->r.columns * dtype_bytes(out);
	unsigned char *expected = c->arena[EXPECTED].start;
	char text[256], what[320];

	run_bnb(&c->kernels[CPU_C].bnb, expected, k, out);
	describe_bnb(text, sizeof(text), k);
	for (enum cpu_level level = CPU_C + 1; level <= c->max; level++) {
		unsigned char *dst;

		if (same_kernel(&c->kernels[level].bnb, &c->kernels[level - 1].bnb, k, out))
			continue;
		dst = place_output(c, bytes);
		run_bnb(&c->kernels[level].bnb, dst, k, out);
		snprintf(what, sizeof(what), "%s %s %s", cpu_name(level), dtype_name(out), text);
		compare(c, dst, expected, bytes, what);
	}
}

static void check_bnb_case(struct check *c, const struct bnb_case *k)
{
	for (enum dtype out = 0; out < DTYPE_VIEWS; out++) {
		check_bnb_levels(c, k, out);
		if ((size_t)k->r.rows * k->r.columns < 20000)
			check_bnb_reference(c, k, out);
	}
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

static struct kernel_rect bnb_random_rect(struct check *c, uint32_t rows, uint32_t columns)
{
	struct kernel_rect r = {below(c, 2) ? below(c, rows) : 0, 0, below(c, 2) ? below(c, columns) : 0, 0};

	r.rows = below(c, 2) ? 1 + below(c, rows - r.row0) : rows - r.row0;
	r.columns = below(c, 2) ? 1 + below(c, columns - r.column0) : columns - r.column0;
	return r;
}

static void check_bnb4_random(struct check *c, bool fp4, bool nested)
{
	struct bnb4_tensor t = {.rows = random_rows(c), .columns = random_columns(c), .table = fp4 ? bnb_fp4 : bnb_nf4};
	const uint64_t n = (uint64_t)t.rows * t.columns;
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
	check_bnb_case(c, &(struct bnb_case){&t, NULL, bnb_random_rect(c, t.rows, t.columns)});
}

static void check_bnb8_random(struct check *c)
{
	struct bnb8_tensor t = {.rows = random_rows(c), .columns = random_columns(c)};

	t.codes = random_bytes(c, CODES, (size_t)t.rows * t.columns);
	t.scales = random_floats(c, SCALES, t.rows);
	check_bnb_case(c, &(struct bnb_case){NULL, &t, bnb_random_rect(c, t.rows, t.columns)});
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

	for (uint32_t i = 0; i < BLOCKS * 16; i++)
		codes[i] = (i % 16) << 4 | (i * 7 + 5) % 16;
	scales_fill(c, scales, BLOCKS);
	for (enum dtype out = 0; out < DTYPE_VIEWS; out++) {
		const struct bnb_case k = {&t, NULL, {0, t.rows, 0, COLUMNS}};

		check_bnb_levels(c, &k, out);
		check_bnb_reference(c, &k, out);
	}
}

static void check_bnb8_codes(struct check *c)
{
	enum { ROWS = 2048 };
	unsigned char *codes = place(c, CODES, ROWS * 256, 1), *scales = place(c, SCALES, ROWS * 4, 1);
	const struct bnb8_tensor t = {ROWS, 256, codes, scales};

	for (uint32_t i = 0; i < ROWS * 256; i++)
		codes[i] = (unsigned char)(i * 37 + i / 256);
	scales_fill(c, scales, ROWS);
	for (enum dtype out = 0; out < DTYPE_VIEWS; out++) {
		const struct bnb_case k = {NULL, &t, {0, ROWS, 0, 256}};

		check_bnb_levels(c, &k, out);
		check_bnb_reference(c, &k, out);
	}
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
