/* SPDX-License-Identifier: MIT */

/* The C reference: deliberately plain, since every kernel is compared with it. */

#include "kernel/gguf/gguf.h"

#include <string.h>

static const struct gguf_layout layouts[GGUF_BLOCKS] = {
    [GGUF_Q2_0] = {"Q2_0", 42, 41, 64, 18, -2, 2},
    [GGUF_Q4_0] = {"Q4_0", 2, 2, 32, 18, -8, 7},
    [GGUF_Q5_0] = {"Q5_0", 6, 8, 32, 22, -16, 15},
    [GGUF_Q8_0] = {"Q8_0", 8, 7, 32, 34, -128, 127},
};

const struct gguf_layout *gguf_layout(enum gguf_block type)
{
	return &layouts[type];
}

static int level_of(uint16_t half)
{
	return half & 0x8000 ? -(half & 0x7fff) : half;
}

static void put_scale(unsigned char *block, uint16_t scale)
{
	memcpy(block, &scale, 2);
}

static void pack_q2_0(void *dst, const struct gguf_row *w, size_t blocks)
{
	for (size_t b = 0; b < blocks; b++) {
		unsigned char *block = (unsigned char *)dst + b * 18;
		const int sign = w->zero[b] == 2 ? -1 : 1;

		put_scale(block, sign < 0 ? w->scale[b] ^ 0x8000 : w->scale[b]);
		memset(block + 2, 0, 16);
		for (int i = 0; i < 64; i++)
			block[2 + i / 4] |= (unsigned char)((sign * level_of(w->level[b * 64 + i]) + 1) << i % 4 * 2);
	}
}

static void pack_q4_0(void *dst, const struct gguf_row *w, size_t blocks)
{
	for (size_t b = 0; b < blocks; b++) {
		unsigned char *block = (unsigned char *)dst + b * 18;
		const uint16_t *level = w->level + b * 32;

		put_scale(block, w->scale[b]);
		for (int i = 0; i < 16; i++)
			block[2 + i] = (unsigned char)((level_of(level[i]) + 8) | (level_of(level[i + 16]) + 8) << 4);
	}
}

static void pack_q5_0(void *dst, const struct gguf_row *w, size_t blocks)
{
	for (size_t b = 0; b < blocks; b++) {
		unsigned char *block = (unsigned char *)dst + b * 22;
		const uint16_t *level = w->level + b * 32;
		uint32_t high = 0;

		put_scale(block, w->scale[b]);
		for (int i = 0; i < 32; i++)
			high |= (uint32_t)(level_of(level[i]) + 16) >> 4 << i;
		memcpy(block + 2, &high, 4);
		for (int i = 0; i < 16; i++)
			block[6 + i] = (unsigned char)(((level_of(level[i]) + 16) & 15) |
						       ((level_of(level[i + 16]) + 16) & 15) << 4);
	}
}

static void pack_q8_0(void *dst, const struct gguf_row *w, size_t blocks)
{
	for (size_t b = 0; b < blocks; b++) {
		unsigned char *block = (unsigned char *)dst + b * 34;

		put_scale(block, w->scale[b]);
		for (int i = 0; i < 32; i++)
			block[2 + i] = (unsigned char)level_of(w->level[b * 32 + i]);
	}
}

gguf_fn *const gguf_reference[GGUF_BLOCKS] = {pack_q2_0, pack_q4_0, pack_q5_0, pack_q8_0};

static void pack_nibbles(void *dst, const unsigned char *codes, const uint16_t *scale, size_t blocks)
{
	for (size_t b = 0; b < blocks; b++, codes += 16) {
		unsigned char *block = (unsigned char *)dst + b * 18;

		put_scale(block, scale[b]);
		for (int i = 0; i < 16; i++) {
			const int shift = i % 2 * 4;

			block[2 + i] =
			    (unsigned char)((codes[i / 2] >> shift & 15) | (codes[i / 2 + 8] >> shift & 15) << 4);
		}
	}
}

gguf_nibbles_fn *const gguf_nibbles_reference = pack_nibbles;

void gguf_init(struct gguf_dsp *dsp)
{
	*dsp = (struct gguf_dsp){.nibbles = gguf_nibbles_reference};
	memcpy(dsp->pack, gguf_reference, sizeof(dsp->pack));
}
