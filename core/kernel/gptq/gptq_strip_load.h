/* SPDX-License-Identifier: MIT */

/* Part of gptq_strip.h: codes. */

/* Wide codes take more rows: prefetches those of at least 128 codes. */
ALWAYS_INLINE unsigned rows_ahead(unsigned bits)
{
	return 4 * bits > PREFETCH_ROWS ? 4 * bits : PREFETCH_ROWS;
}

/*
 * Two lines if the strip is not aligned. Only to the L2 cache: rows of qweight are often a multiple of 4 KiB apart, and
 * would evict each other from L1, which has too few ways.
 */
ALWAYS_INLINE void prefetch_words(uintptr_t src)
{
	prefetch(src);
	prefetch(src + COLUMNS * 4 - 1);
}

/* Loads the words of the block at k; those beyond the end of qweight are zero. */
ALWAYS_INLINE void load_block(words *block, const struct strip *s, uint32_t k, unsigned bits)
{
	const struct qtensor *q = s->q;
	const size_t stride = (size_t)q->out_features * 4;
	const size_t row = (size_t)k / BLOCK * bits, rows = ((uint64_t)q->in_features * bits + 31) / 32;
	const unsigned char *src = q->qweight + row * stride + (size_t)s->n0 * 4;

	if (row + bits > rows) {
		memset(block, 0, bits * sizeof(*block));
		for (size_t i = 0; row + i < rows; i++)
			block[i] = load_words(src + i * stride, s->columns);
		return;
	}
	UNROLL
	for (unsigned i = 0; i < bits; i++) {
		prefetch_words((uintptr_t)src + (i + rows_ahead(bits)) * stride);
		block[i] = load_words(src + i * stride, s->columns);
	}
}

/* Spreads the four lowest fields of `width` bits of each word to the four bytes of the word. */
ALWAYS_INLINE words spread4(words x, unsigned width)
{
	x &= (1u << 4 * width) - 1;
	x = (x | x << (16 - 2 * width)) & (((1u << 2 * width) - 1) * 0x00010001u);
	return (x | x << (8 - width)) & (((1u << width) - 1) * 0x01010101u);
}

/* Returns codes 4i to 4i + 3 of a block of a stream, one per byte. */
ALWAYS_INLINE words stream_code4(const words *block, unsigned i, unsigned bits)
{
	unsigned bit = 4 * i * bits, shift = bit % 32;
	words codes = block[bit / 32] >> shift;

	if (shift + 4 * bits > 32)
		codes |= block[bit / 32 + 1] << (32 - shift);
	return spread4(codes, bits);
}

ALWAYS_INLINE words planar_code4(const words *block, unsigned i, unsigned bits)
{
	words codes = {0};
	unsigned done = 0;

	for (unsigned width = 4; width; width /= 2) {
		if (!(bits & width))
			continue;
		codes |= spread4(block[i * width / 8] >> 4 * i * width % 32, width) << done;
		done += width;
		block += width;
	}
	return codes;
}

ALWAYS_INLINE void load_spread(words *bytes, const struct strip *s, uint32_t k, unsigned bits)
{
	words block[BLOCK_WORDS];

	load_block(block, s, k, bits);
	UNROLL
	for (unsigned i = 0; i < BLOCK / 4; i++)
		bytes[i] = qtensor_is_planar(s->q) ? planar_code4(block, i, bits) : stream_code4(block, i, bits);
}

/* Loads the block at k of any format, as bytes. All code is specialized for one width. */
static __attribute__((noinline)) void load_bytes(words *bytes, const struct strip *s, uint32_t k)
{
	switch (s->q->bits) {
	case 2:
		load_spread(bytes, s, k, 2);
		break;
	case 3:
		load_spread(bytes, s, k, 3);
		break;
	case 4:
		load_spread(bytes, s, k, 4);
		break;
	case 5:
		load_spread(bytes, s, k, 5);
		break;
	case 6:
		load_spread(bytes, s, k, 6);
		break;
	case 7:
		load_spread(bytes, s, k, 7);
		break;
	default:
		load_block(bytes, s, k, 8);
	}
}

ALWAYS_INLINE void load_codes(words *block, const struct strip *s, uint32_t k, struct variant v)
{
	if (v.form == BYTES)
		load_bytes(block, s, k);
	else
		load_block(block, s, k, v.bits);
}

/* Returns codes 4i to 4i + 3 of a result of load_codes(), one per byte. */
ALWAYS_INLINE words block_code4(const words *block, unsigned i, struct variant v)
{
	return v.form == BYTES ? block[i] : stream_code4(block, i, v.bits);
}
