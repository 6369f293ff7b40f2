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
}
