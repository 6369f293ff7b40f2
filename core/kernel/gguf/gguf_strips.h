/* SPDX-License-Identifier: MIT */

/*
 * Blocks of GGUF from the words of GPTQ: the part common to all instruction sets. A file gguf_<isa>.c defines
 * GGUF_COLUMNS, the words in a vector, includes this, defines the functions declared below, and calls
 * gguf_install_gptq().
 *
 * A column of qweight is a row of output, and four words of it are a block, or eight in Q8_0. Vectors hold one word of
 * each of GGUF_COLUMNS adjacent columns. In that form, with all columns side by side, zeros are subtracted and nibbles
 * and fifth bits put in order. The transposition that follows leaves 16 bytes of a block in each lane.
 *
 * A row of words is usually on another page than the next, so no hardware prefetcher sees that they follow one another.
 * A strip of columns reads enough of each row to be worth it, and is decoded by runs of a few blocks, while the words
 * of the next run are fetched: each row of output then gets a cache line or two at a time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernel/gguf/gguf.h"
#include "kernel/simd/inline.h"

enum {
	GGUF_STRIP = 256, /* columns */
	GGUF_RUN = 128,   /* codes of each column decoded in succession */
	GGUF_AHEAD = 128, /* codes between those decoded and those fetched */
};

typedef uint32_t gguf_words __attribute__((vector_size(GGUF_COLUMNS * 4)));
typedef uint64_t gguf_longs __attribute__((vector_size(GGUF_COLUMNS * 4)));

/* Each instruction set must define the following. Loads read exactly n words, 1 to GGUF_COLUMNS. */
ALWAYS_INLINE gguf_words gguf_load(const unsigned char *src, uint32_t n);

/* Interleave bytes, words or halves of the lanes of 16 bytes: the lower 8 bytes of each, or the upper 8. */
ALWAYS_INLINE gguf_words gguf_zip8_low(gguf_words a, gguf_words b);
ALWAYS_INLINE gguf_words gguf_zip8_high(gguf_words a, gguf_words b);
ALWAYS_INLINE gguf_words gguf_zip32_low(gguf_words a, gguf_words b);
ALWAYS_INLINE gguf_words gguf_zip32_high(gguf_words a, gguf_words b);
ALWAYS_INLINE gguf_words gguf_zip64_low(gguf_words a, gguf_words b);
ALWAYS_INLINE gguf_words gguf_zip64_high(gguf_words a, gguf_words b);

/* Stores a lane of 16 bytes. */
ALWAYS_INLINE void gguf_store(unsigned char *dst, gguf_words value, unsigned lane);

/*
 * A block of each column. Lane `lane` of bytes[0][i] has 16 bytes of column 4 * lane + i; Q8_0 has 16 more, in
 * bytes[1][i]. Scale and fifth bits of Q5_0, 6 bytes and 2 of padding, are half of a lane of head[i / 2].
 */
struct gguf_columns {
	gguf_words bytes[2][4];
	gguf_words head[2];
};

/* Adjacent columns and some of their codes, all of one group. */
struct gguf_part {
	const struct qtensor *q;
	unsigned char *dst; /* the block at k of column n */
	size_t row_bytes;
	uint32_t n, columns;
	uint32_t k, end;
};

#define GGUF_LOW 0x0f0f0f0f

ALWAYS_INLINE uint32_t gguf_min(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

ALWAYS_INLINE size_t gguf_bytes(enum gguf_block type)
{
	return type == GGUF_Q8_0 ? 34 : type == GGUF_Q5_0 ? 22 : 18;
}

/* The words of a column that a block is made of. */
ALWAYS_INLINE uint32_t gguf_rows(enum gguf_block type)
{
	return type == GGUF_Q8_0 ? 8 : 4;
}

/* ---- zeros ---- */

/* Returns the zeros of columns n to n + 7, the first in the lowest nibble. */
ALWAYS_INLINE uint32_t gguf_zeros(const struct qtensor *q, uint32_t g, uint32_t n)
{
	const uint32_t words = (q->out_features + 7) / 8, shift = n % 8 * 4,
		       add = q->zeros == ZEROS_V1 ? 0x11111111 : 0;
	const unsigned char *at;
	uint32_t low, high = 0;

	if (q->zeros == ZEROS_MIDDLE || n / 8 >= words)
		return 0x88888888;
	at = q->qzeros + ((size_t)g * words + n / 8) * 4;
	memcpy(&low, at, 4);
	if (!shift)
		return low + add;
	if (n / 8 + 1 < words)
		memcpy(&high, at + 4, 4);
	return (low + add) >> shift | (high + add) << (32 - shift);
}

/* Returns what makes fields of Q5_0 of a column's codes, in each byte. */
ALWAYS_INLINE gguf_words gguf_q5_0_offset(const struct gguf_part *p)
{
	uint32_t offset[GGUF_COLUMNS];
	gguf_words all;

	for (uint32_t c = 0; c < GGUF_COLUMNS; c += 8) {
		const uint32_t zeros = gguf_zeros(p->q, p->k / p->q->group_size, p->n + c);

		for (uint32_t i = 0; i < 8 && c + i < GGUF_COLUMNS; i++)
			offset[c + i] = (16 - (zeros >> 4 * i & 15)) * 0x01010101;
	}
	memcpy(&all, offset, sizeof(all));
	return all;
}

/* ---- blocks ---- */

/* Even codes of a block that are 16 apart, in one byte; the odd ones. */
ALWAYS_INLINE gguf_words gguf_join_even(gguf_words first, gguf_words second)
{
	return (first & GGUF_LOW) | (second & GGUF_LOW) << 4;
}

ALWAYS_INLINE gguf_words gguf_join_odd(gguf_words first, gguf_words second)
{
	return (first >> 4 & GGUF_LOW) | (second & ~GGUF_LOW);
}

/* even[0] and odd[0] are codes 0 to 7 joined with 16 to 23, even[1] and odd[1] the others. */
ALWAYS_INLINE void gguf_transpose(gguf_words to[4], const gguf_words even[2], const gguf_words odd[2])
{
	const gguf_words first_low = gguf_zip8_low(even[0], odd[0]), first_high = gguf_zip8_high(even[0], odd[0]);
	const gguf_words second_low = gguf_zip8_low(even[1], odd[1]), second_high = gguf_zip8_high(even[1], odd[1]);

	to[0] = gguf_zip64_low(first_low, second_low);
	to[1] = gguf_zip64_high(first_low, second_low);
	to[2] = gguf_zip64_low(first_high, second_high);
	to[3] = gguf_zip64_high(first_high, second_high);
}

/* Where codes of 4 bits fit Q4_0, every zero is 8, and they are its fields. */
ALWAYS_INLINE void gguf_q4_0_columns(struct gguf_columns *b, const gguf_words row[4])
{
	const gguf_words even[2] = {gguf_join_even(row[0], row[2]), gguf_join_even(row[1], row[3])};
	const gguf_words odd[2] = {gguf_join_odd(row[0], row[2]), gguf_join_odd(row[1], row[3])};

	gguf_transpose(b->bytes[0], even, odd);
}

/* Makes bits 2i and 2i + 1 of byte j bits 2j and 2j + 1 of byte i. */
ALWAYS_INLINE gguf_words gguf_transpose_pairs(gguf_words x)
{
	gguf_words swap = (x ^ x >> 6) & 0x00cc00cc;

	x ^= swap | swap << 6;
	swap = (x ^ x >> 12) & 0x0000f0f0;
	return x ^ (swap | swap << 12);
}

ALWAYS_INLINE void gguf_q5_0_columns(struct gguf_columns *b, const gguf_words row[4], gguf_words offset,
    gguf_words scale)
{
	gguf_words even[4], odd[4], high = {0};

	UNROLL
	for (unsigned i = 0; i < 4; i++) {
		even[i] = (row[i] & GGUF_LOW) + offset;
		odd[i] = (row[i] >> 4 & GGUF_LOW) + offset;
		high |= ((even[i] >> 4 & 0x01010101) | (odd[i] >> 3 & 0x02020202)) << 2 * i;
	}
	high = gguf_transpose_pairs(high);
	b->head[0] = gguf_zip32_low(scale | high << 16, high >> 16);
	b->head[1] = gguf_zip32_high(scale | high << 16, high >> 16);
	gguf_transpose(b->bytes[0], (gguf_words[]){gguf_join_even(even[0], even[2]), gguf_join_even(even[1], even[3])},
	    (gguf_words[]){gguf_join_even(odd[0], odd[2]), gguf_join_even(odd[1], odd[3])});
}

/* Where codes of 8 bits fit Q8_0, every zero is 128. */
ALWAYS_INLINE void gguf_q8_0_columns(struct gguf_columns *b, const gguf_words row[8])
{
	UNROLL
	for (unsigned half = 0; half < 2; half++) {
		const gguf_words *r = row + 4 * half, flip = (gguf_words){0} + 0x80808080;
		const gguf_words first_low = gguf_zip32_low(r[0], r[1]), first_high = gguf_zip32_high(r[0], r[1]);
		const gguf_words second_low = gguf_zip32_low(r[2], r[3]), second_high = gguf_zip32_high(r[2], r[3]);

		b->bytes[half][0] = gguf_zip64_low(first_low, second_low) ^ flip;
		b->bytes[half][1] = gguf_zip64_high(first_low, second_low) ^ flip;
		b->bytes[half][2] = gguf_zip64_low(first_high, second_high) ^ flip;
		b->bytes[half][3] = gguf_zip64_high(first_high, second_high) ^ flip;
	}
}

/* ---- the matrix ---- */

/* Writes a block of the first n columns. */
ALWAYS_INLINE void gguf_put(const struct gguf_part *p, const struct gguf_columns *b, const unsigned char *scales,
    uint32_t n, enum gguf_block type)
{
	unsigned char *to = p->dst;

	UNROLL
	for (uint32_t c = 0; c < GGUF_COLUMNS; c++, to += p->row_bytes) {
		if (c >= n)
			return;
		if (type == GGUF_Q5_0) {
			const uint64_t head = ((gguf_longs)b->head[c % 4 / 2])[c / 4 * 2 + c % 2];

			memcpy(to, &head, 8);
			gguf_store(to + 6, b->bytes[0][c % 4], c / 4);
			continue;
		}
		memcpy(to, scales + (size_t)c * 2, 2);
		gguf_store(to + 2, b->bytes[0][c % 4], c / 4);
		if (type == GGUF_Q8_0)
			gguf_store(to + 18, b->bytes[1][c % 4], c / 4);
	}
}

/*
 * Fetches the lines of output that the next columns write. A run writes only a line or two of each row, so without this
 * nearly every store waits for the second-level cache.
 */
ALWAYS_INLINE void gguf_fetch_rows(const struct gguf_part *p, uint32_t columns, enum gguf_block type)
{
	const unsigned char *row = p->dst + columns * p->row_bytes;
	const size_t bytes = (p->end - p->k) / 32 * gguf_bytes(type);

	for (uint32_t c = 0; c < columns; c++, row += p->row_bytes)
		for (size_t i = 0; i < bytes; i += 64)
			__builtin_prefetch(row + i, 1);
}

/* Returns the bits of fp16 scales. */
ALWAYS_INLINE gguf_words gguf_scales(const unsigned char *scales, uint32_t n)
{
	uint32_t scale[GGUF_COLUMNS] = {0};
	gguf_words all;

	for (uint32_t c = 0; c < n; c++)
		memcpy(&scale[c], scales + (size_t)c * 2, 2);
	memcpy(&all, scale, sizeof(all));
	return all;
}

ALWAYS_INLINE void gguf_part_blocks(struct gguf_part p, uint32_t columns, enum gguf_block type)
{
	const struct qtensor *q = p.q;
	const size_t pitch = (size_t)q->out_features * 4;
	const unsigned char *from = q->qweight + p.k / 32 * gguf_rows(type) * pitch + (size_t)p.n * 4;
	const unsigned char *scales = q->scales + ((size_t)(p.k / q->group_size) * q->out_features + p.n) * 2;
	const gguf_words offset = type == GGUF_Q5_0 ? gguf_q5_0_offset(&p) : (gguf_words){0};
	const gguf_words scale = type == GGUF_Q5_0 ? gguf_scales(scales, columns) : (gguf_words){0};

	gguf_fetch_rows(&p, columns, type);
	for (; p.k < p.end; p.k += 32, p.dst += gguf_bytes(type)) {
		struct gguf_columns b;
		gguf_words row[8];

		UNROLL
		for (unsigned i = 0; i < gguf_rows(type); i++, from += pitch) {
			if (p.k + GGUF_AHEAD < q->in_features)
				__builtin_prefetch(from + GGUF_AHEAD / 32 * gguf_rows(type) * pitch, 0, 1);
			row[i] = gguf_load(from, columns);
		}
		if (type == GGUF_Q8_0)
			gguf_q8_0_columns(&b, row);
		else if (type == GGUF_Q5_0)
			gguf_q5_0_columns(&b, row, offset, scale);
		else
			gguf_q4_0_columns(&b, row);
		gguf_put(&p, &b, scales, columns, type);
	}
}

/* Codes k to end - 1 of a vector of columns, group by group. */
ALWAYS_INLINE void gguf_run(struct gguf_part p, enum gguf_block type)
{
	const uint32_t end = p.end;

	for (; p.k < end; p.k = p.end) {
		p.end = gguf_min(p.q->group_size - p.k % p.q->group_size, end - p.k) + p.k;
		if (p.columns == GGUF_COLUMNS)
			gguf_part_blocks(p, GGUF_COLUMNS, type);
		else
			gguf_part_blocks(p, p.columns, type);
		p.dst += (p.end - p.k) / 32 * gguf_bytes(type);
	}
}

ALWAYS_INLINE void gguf_gptq_rect(unsigned char *dst, const struct qtensor *q, const struct kernel_rect *r,
    enum gguf_block type)
{
	const uint32_t end = r->row0 + r->rows, k_end = r->column0 + r->columns;
	struct gguf_part p = {.q = q, .row_bytes = r->columns / 32 * gguf_bytes(type)};

	for (uint32_t strip = r->row0, strip_end; strip < end; strip = strip_end) {
		strip_end = gguf_min(end - strip, GGUF_STRIP) + strip;
		for (p.k = r->column0; p.k < k_end; p.k = p.end) {
			p.end = gguf_min(k_end - p.k, GGUF_RUN) + p.k;
			p.dst = dst + (strip - r->row0) * p.row_bytes + (p.k - r->column0) / 32 * gguf_bytes(type);
			for (p.n = strip; p.n < strip_end; p.n += p.columns, p.dst += p.columns * p.row_bytes) {
				p.columns = gguf_min(strip_end - p.n, GGUF_COLUMNS);
				gguf_run(p, type);
			}
		}
	}
}

static void gguf_gptq_q4_0(void *dst, const struct qtensor *q, const struct kernel_rect *r)
{
	gguf_gptq_rect(dst, q, r, GGUF_Q4_0);
}

static void gguf_gptq_q5_0(void *dst, const struct qtensor *q, const struct kernel_rect *r)
{
	gguf_gptq_rect(dst, q, r, GGUF_Q5_0);
}

static void gguf_gptq_q8_0(void *dst, const struct qtensor *q, const struct kernel_rect *r)
{
	gguf_gptq_rect(dst, q, r, GGUF_Q8_0);
}

static void gguf_install_gptq(struct gguf_dsp *dsp)
{
	dsp->gptq[GGUF_Q4_0] = gguf_gptq_q4_0;
	dsp->gptq[GGUF_Q5_0] = gguf_gptq_q5_0;
	dsp->gptq[GGUF_Q8_0] = gguf_gptq_q8_0;
}
