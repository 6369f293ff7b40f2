/* SPDX-License-Identifier: MIT */

/*
 * Blocks of GGUF: kernels against the reference, and what is read from the reference's blocks, as ggml.h describes
 * them, against scale * (code - zero) in doubles. Every code of every width meets every zero that a type can hold.
 */

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

enum { BLOCKS_MAX = 40, WEIGHTS_MAX = BLOCKS_MAX * 64 };

/* Weight i of a block by ggml's description: the field, and what is subtracted from it. */
static int field_of(const unsigned char *block, enum gguf_block type, int i)
{
	const int half = i % 16, upper = i / 16;

	switch (type) {
	case GGUF_Q2_0:
		return block[2 + i / 4] / (1 << i % 4 * 2) % 4 - 1;
	case GGUF_Q4_0:
		return (upper ? block[2 + half] / 16 : block[2 + half] % 16) - 8;
	case GGUF_Q5_0:
		return (upper ? block[6 + half] / 16 : block[6 + half] % 16) +
		       block[2 + i / 8] / (1 << i % 8) % 2 * 16 - 16;
	default:
		return block[2 + i] < 128 ? block[2 + i] : block[2 + i] - 256;
	}
}

struct gguf_case {
	enum gguf_block type;
	unsigned bits;
	int zero; /* the first of the zeros that fit; they go on from there */
	int zeros;
};

/* Levels, and what they were made of. */
struct gguf_weights {
	uint16_t level[WEIGHTS_MAX], scale[BLOCKS_MAX];
	uint8_t zero[BLOCKS_MAX];
	int number[WEIGHTS_MAX]; /* code - zero */
};

static void make_weights(struct check *c, const struct gguf_case *x, size_t blocks, struct gguf_weights *w)
{
	const uint32_t size = gguf_layout(x->type)->weights;

	for (size_t b = 0; b < blocks; b++) {
		w->zero[b] = (uint8_t)(x->zero + (int)below(c, x->zeros));
		w->scale[b] = (uint16_t)rnd(c);
		for (size_t i = b * size; i < (b + 1) * size; i++) {
			w->number[i] = (int)below(c, 1u << x->bits) - w->zero[b];
			w->level[i] = (uint16_t)number_encode(w->number[i] * 0x1p-24, DTYPE_F16);
			/* What a negative scale makes of 0. */
			w->level[i] |= w->number[i] == 0 && below(c, 2) ? 0x8000 : 0;
		}
	}
}

static bool same_number(double a, double b)
{
	return isnan(a) ? isnan(b) : a == b;
}

static void check_fields(struct check *c, const struct gguf_case *x, const unsigned char *out, size_t blocks,
    const struct gguf_weights *w)
{
	const struct gguf_layout *layout = gguf_layout(x->type);
	bool good = true;

	for (size_t i = 0; i < blocks * layout->weights; i++) {
		const unsigned char *block = out + i / layout->weights * layout->bytes;
		const double d = number_decode(block[0] | block[1] << 8, DTYPE_F16);
		const double scale = number_decode(w->scale[i / layout->weights], DTYPE_F16);

		/* inf * 0 is a NaN on both sides. */
		good &= same_number(d * field_of(block, x->type, (int)(i % layout->weights)), scale * w->number[i]);
	}
	tell(c, good, "blocks hold other numbers than they were made of");
}

static void check_gguf_case(struct check *c, const struct gguf_case *x)
{
	static struct gguf_weights w;
	const struct gguf_row row = {w.level, w.scale, w.zero};
	const size_t blocks = 1 + below(c, BLOCKS_MAX), bytes = blocks * gguf_layout(x->type)->bytes;
	unsigned char *expected = place(c, EXPECTED, bytes, 1);
	char what[64];

	make_weights(c, x, blocks, &w);
	gguf_reference[x->type](expected, &row, blocks);
	check_fields(c, x, expected, blocks, &w);
	for (enum cpu_level level = CPU_C; level <= c->max; level++) {
		unsigned char *out = place_output(c, bytes);

		c->kernels[level].gguf.pack[x->type](out, &row, blocks);
		snprintf(what, sizeof(what), "%s %s of %u bits", cpu_name(level), gguf_layout(x->type)->name, x->bits);
		compare(c, out, expected, bytes, what);
	}
}

/* The zeros with which all codes of that width fit. */
static struct gguf_case case_of(enum gguf_block type, unsigned bits)
{
	const struct gguf_layout *layout = gguf_layout(type);
	const int top = (1 << bits) - 1, first = top - layout->high > 0 ? top - layout->high : 0;

	return type == GGUF_Q2_0 ? (struct gguf_case){type, 2, 1, 2}
	                         : (struct gguf_case){type, bits, first, -layout->low - first + 1};
}

/* --- From nibbles in the order of their row --- */

static void check_gguf_nibbles(struct check *c)
{
	static struct gguf_weights w;
	const size_t blocks = 1 + below(c, BLOCKS_MAX), bytes = blocks * gguf_layout(GGUF_Q4_0)->bytes;
	unsigned char *expected = place(c, EXPECTED, bytes, 1), *codes = place(c, CODES, blocks * 16, 1);
	char what[64];

	fill(c, codes, blocks * 16);
	for (size_t b = 0; b < blocks; b++)
		w.scale[b] = (uint16_t)rnd(c);
	for (size_t i = 0; i < blocks * 32; i++)
		w.number[i] = (i % 2 ? codes[i / 2] / 16 : codes[i / 2] % 16) - 8;
	gguf_nibbles_reference(expected, codes, w.scale, blocks);
	check_fields(c, &(struct gguf_case){GGUF_Q4_0, 4, 8, 1}, expected, blocks, &w);
	for (enum cpu_level level = CPU_C; level <= c->max; level++) {
		unsigned char *out = place_output(c, bytes);

		c->kernels[level].gguf.nibbles(out, codes, w.scale, blocks);
		snprintf(what, sizeof(what), "%s Q4_0 of nibbles", cpu_name(level));
		compare(c, out, expected, bytes, what);
	}
}

/* --- From the words of GPTQ --- */

/* Zeros that Q4_0 holds are 8, those of 8 bits in Q8_0 128; Q5_0 holds all. */
static void make_zeros(struct check *c, struct qtensor *q, unsigned char *zeros, size_t words, enum gguf_block type)
{
	fill(c, zeros, words * 4);
	if (type == GGUF_Q4_0)
		memset(zeros, q->zeros == ZEROS_V1 ? 0x77 : 0x88, words * 4);
	if (type == GGUF_Q8_0)
		memset(zeros, q->zeros == ZEROS_V1 ? 0x7f : 0x80, words * 4);
	q->qzeros = q->zeros == ZEROS_MIDDLE ? NULL : zeros;
}

static void check_gguf_gptq(struct check *c, enum gguf_block type)
{
	struct qtensor q = {.in_features = 32 * (1 + below(c, 12)),
	    .out_features = 1 + below(c, 200),
	    .bits = type == GGUF_Q8_0 ? 8 : 4,
	    .word_bits = 32,
	    .zeros = (enum zeros)below(c, 3),
	    .scale_dtype = DTYPE_F16};
	const uint32_t first = below(c, q.out_features), column = below(c, q.in_features / 32);
	const struct kernel_rect r = {
	    first, 1 + below(c, q.out_features - first), column * 32, 32 * (1 + below(c, q.in_features / 32 - column))};
	const size_t bytes = (size_t)r.rows * (r.columns / 32) * gguf_layout(type)->bytes;
	const size_t code_words = (size_t)q.in_features * q.bits / 32 * q.out_features;
	unsigned char *expected = place(c, EXPECTED, bytes, 1), *codes, *scales, *zeros;
	size_t zero_words;
	char what[64];

	q.group_size = below(c, 4) ? 32 * (1 + below(c, 4)) : q.in_features;
	q.groups = (q.in_features + q.group_size - 1) / q.group_size;
	zero_words = (size_t)q.groups * ((q.out_features * q.bits + 31) / 32);
	codes = place(c, CODES, code_words * 4, 1);
	scales = place(c, SCALES, (size_t)q.groups * q.out_features * 2, 1);
	zeros = place(c, ZEROS, zero_words * 4, 1);
	fill(c, codes, code_words * 4);
	fill(c, scales, (size_t)q.groups * q.out_features * 2);
	q.qweight = codes;
	q.scales = scales;
	make_zeros(c, &q, zeros, zero_words, type);
	gguf_gptq_reference[type](expected, &q, &r);
	for (enum cpu_level level = CPU_C; level <= c->max; level++) {
		unsigned char *out;

		if (!c->kernels[level].gguf.gptq[type])
			continue;
		out = place_output(c, bytes);
		c->kernels[level].gguf.gptq[type](out, &q, &r);
		snprintf(what, sizeof(what), "%s %s of GPTQ", cpu_name(level), gguf_layout(type)->name);
		compare(c, out, expected, bytes, what);
	}
}

void check_gguf(struct check *c)
{
	for (enum gguf_block type = 0; type < GGUF_BLOCKS; type++) {
		const unsigned from = type == GGUF_Q2_0 ? 2 : 1, widest[] = {2, 4, 5, 8};

		for (unsigned bits = from; bits <= widest[type]; bits++) {
			const struct gguf_case x = case_of(type, bits);

			for (int i = 0; i < 200; i++)
				if (sampled(c))
					check_gguf_case(c, &x);
		}
		group_end(c, gguf_layout(type)->name);
	}
	for (int i = 0; i < 500; i++)
		check_gguf_nibbles(c);
	group_end(c, "blocks of nibbles");
	for (int i = 0; i < 3000; i++)
		check_gguf_gptq(c, GGUF_Q4_0 + (enum gguf_block)i % 3);
	group_end(c, "blocks of GPTQ");
}
