/* SPDX-License-Identifier: MIT */

/*
 * The numeric contract of core/kernel/gptq/gptq.h, for a GPU. Written in the common subset of C, C++ and CUDA, so that
 * tests can run the same source on a CPU, where threads are fibers and addresses are checked. For the same reason it
 * uses no numeric intrinsics: the device only multiplies floats, once, by IEEE 754; conversions are in integers. A GPU
 * has instructions to spare: memory and the bus are the limit.
 *
 * One block decodes 64 columns of 256 inputs. The words of that tile are loaded along rows of qweight, 16 bytes per
 * thread and 256 bytes of a row, into shared memory. Then each warp takes a column, each of its threads 8 inputs of it,
 * and the warp stores 512 bytes (of fp16) of one output row: memory is read and written in whole lines, and the
 * transposition happens in shared memory. Rows there are one word longer than the tile, so that the words of a column
 * are in different banks.
 */

#include <stdint.h>
#include <string.h>

#include "slice.h"

#ifdef __cplusplus
#define KERNEL_LINKAGE extern "C"
#else
#define KERNEL_LINKAGE
#endif
#define DEVICE static __device__ __forceinline__

#define PITCH (SLICE_COLUMNS + 1)
#define LANES 32u /* threads of a warp */
#define EACH 8u   /* inputs of one thread */

/* The unit of a thread's loads and stores. */
struct words4 {
	uint32_t x, y, z, w;
} __attribute__((aligned(16)));

/* ---- numbers ---- */

DEVICE float float_of(uint32_t bits)
{
	float value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

DEVICE uint32_t bits_of(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

DEVICE float float_of_half(uint32_t half)
{
	const uint32_t sign = (half & 0x8000) << 16, exp = half >> 10 & 31, man = half & 0x3ff;

	if (exp == 0) /* man units of 2^-24, exactly */
		return float_of(sign | bits_of((float)(int)man * float_of(0x33800000)));
	return float_of(sign | (exp == 31 ? 0x7f800000 : (exp + 112) << 23) | man << 13);
}

/* Rounds to nearest even; NaN becomes 0x7e00. */
DEVICE uint32_t half_of(uint32_t bits)
{
	const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
	const uint32_t man = (bits & 0x7fffff) | 0x800000, shift = 126 - (magnitude >> 23);
	uint32_t kept, lost;

	if (magnitude > 0x7f800000)
		return 0x7e00;
	if (magnitude >= 0x47800000) /* 65536, beyond the largest half plus half a step */
		return sign | 0x7c00;
	if (magnitude >= 0x38800000) { /* 2^-14, the smallest normal half */
		kept = magnitude - 0x38000000;
		return sign | (kept + 0xfff + (kept >> 13 & 1)) >> 13;
	}
	if (magnitude < 0x33000000) /* 2^-25, half of the smallest half */
		return sign;
	kept = man >> shift;
	lost = man << (32 - shift);
	return sign | (kept + (lost > 0x80000000 || (lost == 0x80000000 && (kept & 1))));
}

DEVICE uint32_t bf16_of(uint32_t bits)
{
	if ((bits & 0x7fffffff) > 0x7f800000)
		return 0x7fc0;
	return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

DEVICE uint32_t float_canonical(uint32_t bits)
{
	return (bits & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : bits;
}

/* ---- scales and zeros ---- */

DEVICE uint32_t load16(const unsigned char *p)
{
	return *(const uint16_t *)p;
}

DEVICE uint32_t load32(const unsigned char *p)
{
	return *(const uint32_t *)p;
}

DEVICE float scale_of(const struct slice *s, uint32_t g, uint32_t n)
{
	const unsigned char *row = s->scales + (uint64_t)g * s->scale_stride;

	if (s->scale_dtype == SLICE_F32)
		return float_of(load32(row + (uint64_t)n * 4));
	if (s->scale_dtype == SLICE_BF16)
		return float_of(load16(row + (uint64_t)n * 2) << 16);
	return float_of_half(load16(row + (uint64_t)n * 2));
}

/* Returns word i of a row of qzeros. */
DEVICE uint64_t zero_word(const unsigned char *row, uint32_t i, uint32_t word_bits)
{
	if (word_bits == 8)
		return row[i];
	if (word_bits == 16)
		return load16(row + (uint64_t)i * 2);
	if (word_bits == 32)
		return load32(row + (uint64_t)i * 4);
	return load32(row + (uint64_t)i * 8) | (uint64_t)load32(row + (uint64_t)i * 8 + 4) << 32;
}

/* Returns a field of 2, 4 or 8 bits, which never straddles words. For v1, adds 1 to every field, with carries. */
DEVICE uint32_t zero_of_power(const struct slice *s, const unsigned char *row, uint32_t n)
{
	const uint32_t mask = (1u << s->bits) - 1, per_word = s->word_bits / s->bits;
	const uint64_t ones = ~(uint64_t)0 / mask;
	const uint64_t word = zero_word(row, n / per_word, s->word_bits) + (s->zeros == SLICE_ZEROS_V1 ? ones : 0);

	return (uint32_t)(word >> n % per_word * s->bits) & mask;
}

DEVICE uint32_t zero_of_3(const unsigned char *row, uint32_t n)
{
	const uint64_t bit = (uint64_t)n * 3;
	const uint32_t shift = (uint32_t)(bit % 32);
	uint32_t field = load32(row + bit / 32 * 4) >> shift;

	if (shift > 29)
		field |= load32(row + bit / 32 * 4 + 4) << (32 - shift);
	return field & 7;
}

DEVICE uint32_t zero_of_planes(const unsigned char *row, uint32_t n, uint32_t bits)
{
	const unsigned char *words = row + (uint64_t)(n / 32) * bits * 4;
	uint32_t field = 0, done = 0, width;

	for (width = 4; width; width /= 2) {
		const uint32_t bit = n % 32 * width;

		if (!(bits & width))
			continue;
		field |= (load32(words + bit / 32 * 4) >> bit % 32 & ((1u << width) - 1)) << done;
		words += width * 4;
		done += width;
	}
	return field;
}

DEVICE uint32_t zero_of(const struct slice *s, uint32_t g, uint32_t n)
{
	const unsigned char *row = s->qzeros + (uint64_t)g * s->zero_stride;
	const uint32_t one = s->zeros == SLICE_ZEROS_V1;

	if (s->zeros == SLICE_ZEROS_MIDDLE)
		return 1u << (s->bits - 1);
	if (s->packing == SLICE_PLANAR)
		return (zero_of_planes(row, n, s->bits) + one) & ((1u << s->bits) - 1);
	if (s->bits == 3)
		return (zero_of_3(row, n) + one) & 7;
	return zero_of_power(s, row, n);
}

/* Runs once per slice, with a thread per column and group. */
KERNEL_LINKAGE __global__ void __launch_bounds__(SLICE_THREADS) expand_groups(const struct slice s)
{
	const uint32_t n = blockIdx.y * SLICE_THREADS + threadIdx.x, g = blockIdx.x;
	struct slice_group group;

	if (n >= s.columns)
		return;
	group.scale = scale_of(&s, g, n);
	group.zero = (int32_t)zero_of(&s, g, n);
	s.table[(uint64_t)g * s.columns + n] = group;
}

/* ---- words of a tile ---- */

/* Returns 32-bit word `word` of the bit stream of column n, whatever the size of stored words. Zero beyond the last. */
DEVICE uint32_t stream_word(const struct slice *s, uint32_t word, uint32_t n)
{
	const uint32_t bytes = s->word_bits / 8;
	uint32_t value = 0, per, i;

	if (bytes == 8) {
		if (word / 2 >= s->weight_rows)
			return 0;
		return load32(s->qweight + (uint64_t)(word / 2) * s->weight_stride + (uint64_t)n * 8 + word % 2 * 4);
	}
	per = 4 / bytes;
	for (i = 0; i < per && word * per + i < s->weight_rows; i++) {
		const unsigned char *p =
		    s->qweight + (uint64_t)(word * per + i) * s->weight_stride + (uint64_t)n * bytes;

		value |= (bytes == 4 ? load32(p) : bytes == 2 ? load16(p) : *p) << i * bytes * 8;
	}
	return value;
}

/* Returns one word of four neighbouring columns. Those beyond the last are undefined. */
DEVICE struct words4 load_words(const struct slice *s, uint32_t word, uint32_t n)
{
	struct words4 v = {0, 0, 0, 0};

	if (n >= s->columns)
		return v;
	if (s->word_bits == 32) {
		if (word < s->weight_rows)
			v = *(const struct words4 *)(s->qweight + (uint64_t)word * s->weight_stride + (uint64_t)n * 4);
		return v;
	}
	v.x = stream_word(s, word, n);
	v.y = n + 1 < s->columns ? stream_word(s, word, n + 1) : 0;
	v.z = n + 2 < s->columns ? stream_word(s, word, n + 2) : 0;
	v.w = n + 3 < s->columns ? stream_word(s, word, n + 3) : 0;
	return v;
}

/* First column of the block's tile, chosen so that 16-byte loads are aligned. */
DEVICE uint32_t first_column(const struct slice *s)
{
	return s->row0 / 4 * 4 + blockIdx.y * SLICE_COLUMNS;
}

/* All threads load the tile's words from memory, along rows. */
DEVICE void load_tile(uint32_t (*tile)[PITCH], const struct slice *s, uint32_t bits)
{
	const uint32_t words = SLICE_INPUTS / 32 * bits, per_row = SLICE_COLUMNS / 4, column0 = first_column(s);
	const uint32_t column = threadIdx.x % per_row * 4;
	uint32_t i;

	for (i = threadIdx.x / per_row; i < words; i += SLICE_THREADS / per_row) {
		const struct words4 v = load_words(s, blockIdx.x * words + i, column0 + column);

		tile[i][column] = v.x;
		tile[i][column + 1] = v.y;
		tile[i][column + 2] = v.z;
		tile[i][column + 3] = v.w;
	}
}

/* ---- weights ---- */

/* Extracts the 8 codes of a thread from a column of the tile, as a bit stream. */
DEVICE void stream_codes(uint32_t *code, uint32_t (*tile)[PITCH], uint32_t column, uint32_t bits)
{
	const uint32_t lane = threadIdx.x % LANES, word = lane * EACH * bits / 32, shift = lane * EACH * bits % 32;
	uint64_t stream = tile[word][column];
	uint32_t i;

	if (shift + EACH * bits > 32)
		stream |= (uint64_t)tile[word + 1][column] << 32;
	stream >>= shift;
#pragma unroll
	for (i = 0; i < EACH; i++)
		code[i] = (uint32_t)(stream >> i * bits) & ((1u << bits) - 1);
}

/* The same for planes of 4, 2 and 1 bits of every 32 codes, of which a thread has a quarter. */
DEVICE void planar_codes(uint32_t *code, uint32_t (*tile)[PITCH], uint32_t column, uint32_t bits)
{
	const uint32_t lane = threadIdx.x % LANES, part = lane % 4;
	uint32_t word = lane / 4 * bits, done = 0, width, i;

#pragma unroll
	for (i = 0; i < EACH; i++)
		code[i] = 0;
#pragma unroll
	for (width = 4; width; width /= 2) {
		const uint32_t bit = part * EACH * width;
		uint32_t plane;

		if (!(bits & width))
			continue;
		plane = tile[word + bit / 32][column] >> bit % 32;
#pragma unroll
		for (i = 0; i < EACH; i++)
			code[i] |= (plane >> i * width & ((1u << width) - 1)) << done;
		word += width;
		done += width;
	}
}

/* Computes the bits of products from codes, for inputs [k0, k0 + 8) of column n that exist. */
DEVICE void multiply(uint32_t *value, const struct slice *s, uint32_t k0, uint32_t n)
{
	struct slice_group group = {0, 0};
	uint32_t g = k0 / s->group_size, end = (g + 1) * s->group_size, last = 0xffffffff, i;

#pragma unroll
	for (i = 0; i < EACH; i++) {
		const uint32_t k = k0 + i;

		if (k >= s->in_features)
			break;
		if (s->g_idx)
			g = s->g_idx[k];
		else if (k == end)
			g++, end += s->group_size;
		if (g != last)
			group = s->table[(uint64_t)g * s->columns + n];
		last = g;
		value[i] = bits_of(group.scale * (float)((int)value[i] - group.zero));
	}
}

DEVICE void store(const struct slice *s, uint32_t row, uint32_t k0, const uint32_t *value, uint32_t out)
{
	const uint64_t at = (uint64_t)row * s->out_stride + k0;
	uint32_t half[EACH], i;

	if (out == SLICE_F32) {
		struct words4 *p = (struct words4 *)(s->out + at * 4);
		const struct words4 low = {float_canonical(value[0]), float_canonical(value[1]),
		    float_canonical(value[2]), float_canonical(value[3])};
		const struct words4 high = {float_canonical(value[4]), float_canonical(value[5]),
		    float_canonical(value[6]), float_canonical(value[7])};

		p[0] = low;
		p[1] = high;
		return;
	}
#pragma unroll
	for (i = 0; i < EACH; i++)
		half[i] = out == SLICE_F16 ? half_of(value[i]) : bf16_of(value[i]);
	{
		const struct words4 v = {half[0] | half[1] << 16, half[2] | half[3] << 16, half[4] | half[5] << 16,
		    half[6] | half[7] << 16};

		*(struct words4 *)(s->out + at * 2) = v;
	}
}

/* Each warp decodes columns of the tile in sequence. */
DEVICE void decode_tile(uint32_t (*tile)[PITCH], const struct slice *s, uint32_t bits, uint32_t packing, uint32_t out)
{
	const uint32_t k0 = blockIdx.x * SLICE_INPUTS + threadIdx.x % LANES * EACH, column0 = first_column(s);
	uint32_t column;

	for (column = threadIdx.x / LANES; column < SLICE_COLUMNS; column += SLICE_THREADS / LANES) {
		const uint32_t n = column0 + column;
		uint32_t value[EACH];

		if (n < s->row0 || n >= s->row0 + s->rows || k0 >= s->in_features)
			continue;
		if (packing == SLICE_PLANAR)
			planar_codes(value, tile, column, bits);
		else
			stream_codes(value, tile, column, bits);
		multiply(value, s, k0, n);
		store(s, n - s->row0, k0, value, out);
	}
}

/* ---- kernels: dequant_<layout>_<output> ---- */

#define KERNELS(X)                                        \
	X(dequant_stream2, 2, SLICE_STREAM)               \
	X(dequant_stream3, 3, SLICE_STREAM)               \
	X(dequant_stream4, 4, SLICE_STREAM)               \
	X(dequant_stream8, 8, SLICE_STREAM)               \
	X(dequant_planar3, 3, SLICE_PLANAR)               \
	X(dequant_planar5, 5, SLICE_PLANAR)               \
	X(dequant_planar6, 6, SLICE_PLANAR)               \
	X(dequant_planar7, 7, SLICE_PLANAR)

#define KERNEL(name, bits, packing, out)                                                                \
	KERNEL_LINKAGE __global__ void __launch_bounds__(SLICE_THREADS, 4) name(const struct slice s)   \
	{                                                                                               \
		__shared__ uint32_t tile[SLICE_INPUTS / 32 * bits][PITCH];                              \
                                                                                                        \
		load_tile(tile, &s, bits);                                                              \
		__syncthreads();                                                                        \
		decode_tile(tile, &s, bits, packing, out);                                              \
	}

#define KERNELS_OF_LAYOUT(name, bits, packing)           \
	KERNEL(name##_f16, bits, packing, SLICE_F16)     \
	KERNEL(name##_bf16, bits, packing, SLICE_BF16)   \
	KERNEL(name##_f32, bits, packing, SLICE_F32)

KERNELS(KERNELS_OF_LAYOUT)
