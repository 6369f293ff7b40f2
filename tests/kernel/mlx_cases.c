/* SPDX-License-Identifier: MIT */

/*
 * MLX's form: fields read back from what kernels pack, and the formula of MLX in fp32 steps against scale * (code -
 * zero) in doubles; transposed words one by one.
 */

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"

enum { PACK_BLOCKS = 20, PACK_WEIGHTS = PACK_BLOCKS * MLX_BLOCK };

static const unsigned widths[] = {2, 3, 4, 5, 6, 8};

/* Field i of a stream, bit by bit. */
static unsigned stream_field(const unsigned char *stream, size_t i, unsigned bits)
{
	unsigned field = 0;

	for (unsigned b = 0; b < bits; b++) {
		const size_t at = i * bits + b;

		field += (unsigned)(stream[at / 8] / (1 << at % 8) % 2) << b;
	}
	return field;
}

static void check_pack(struct check *c, unsigned bits)
{
	const size_t blocks = 1 + below(c, PACK_BLOCKS), bytes = blocks * 4 * bits;
	unsigned char *expected = place(c, EXPECTED, bytes, 1);
	uint16_t *level = (uint16_t *)place(c, CODES, blocks * MLX_BLOCK * 2, 2);
	uint8_t code[PACK_WEIGHTS], zero[PACK_BLOCKS];
	bool good = true;
	char what[64];

	for (size_t i = 0; i < blocks * MLX_BLOCK; i++) {
		const size_t b = i / MLX_BLOCK;
		int number;

		if (i % MLX_BLOCK == 0)
			zero[b] = (uint8_t)below(c, below(c, 4) ? 1u << bits : 256);
		code[i] = (uint8_t)below(c, 1u << bits);
		number = code[i] - zero[b];
		level[i] = (uint16_t)number_encode(number * 0x1p-24, DTYPE_F16);
		level[i] |= number == 0 && below(c, 2) ? 0x8000 : 0;
	}
	mlx_reference.pack[bits](expected, level, zero, blocks);
	for (size_t i = 0; i < blocks * MLX_BLOCK; i++)
		good &= stream_field(expected, i, bits) == code[i];
	tell(c, good, "fields hold other codes than they were made of");
	for (enum cpu_level cpu = CPU_C; cpu <= c->max; cpu++) {
		unsigned char *out = place_output(c, bytes);

		c->kernels[cpu].mlx.pack[bits](out, level, zero, blocks);
		snprintf(what, sizeof(what), "%s %u bits", cpu_name(cpu), bits);
		compare(c, out, expected, bytes, what);
	}
}

/* ---- the formula ---- */

/* All three steps of MLX give what one multiplication does, if the scale is said to be one with which they do. */
static void check_formula(struct check *c, enum dtype dtype, uint32_t bits)
{
	const double scale = number_decode(bits, dtype);
	const int code = (int)below(c, 256), zero = (int)below(c, 256);
	double bias;

	if (dtype == DTYPE_F16 && isfinite(scale))
		tell(c, mlx_is_exact((float)scale), "a scale is not said to be exact");
	if (!mlx_is_exact((float)scale))
		return;
	bias = number_fp32(scale * -zero);
	tell(c, mlx_bias((float)scale, zero) == bias, "bias");
	tell(c, number_fp32(number_fp32(scale * code) + bias) == scale * (code - zero), "MLX has another number");
}

/* ---- words ---- */

static void check_transpose(struct check *c)
{
	const uint32_t rows = 1 + below(c, 70), columns = 1 + below(c, 70);
	struct mlx_transpose t = {
	    .src_row = (rows + below(c, 9)) * 4, .dst_row = columns * 4, .rows = rows, .columns = columns};
	const size_t bytes = rows * t.dst_row, from = (columns - 1) * t.src_row + (size_t)rows * 4;
	unsigned char *expected = place(c, EXPECTED, bytes, 1), *src = place(c, CODES, from, 1);
	bool good = true;

	fill(c, src, from);
	t.src = src;
	mlx_reference.transpose(expected, &t);
	for (size_t i = 0; i < bytes; i++) {
		const size_t n = i / t.dst_row, k = i % t.dst_row / 4;

		good &= expected[i] == src[k * t.src_row + n * 4 + i % 4];
	}
	tell(c, good, "words are not transposed");
	for (enum cpu_level cpu = CPU_C; cpu <= c->max; cpu++) {
		unsigned char *out = place_output(c, bytes);

		c->kernels[cpu].mlx.transpose(out, &t);
		compare(c, out, expected, bytes, cpu_name(cpu));
	}
}

void check_mlx(struct check *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(widths); i++)
		for (int k = 0; k < 300; k++)
			if (sampled(c))
				check_pack(c, widths[i]);
	group_end(c, "MLX fields");
	for (uint32_t bits = 0; bits < 0x10000; bits++) {
		check_formula(c, DTYPE_F16, bits);
		check_formula(c, DTYPE_BF16, bits);
		check_formula(c, DTYPE_F32, bits << 16 | (rnd(c) & 0xff00));
	}
	tell(c, !mlx_is_exact(0x1.0001p0f + 0x1p-23f) && !mlx_is_exact(INFINITY) && !mlx_is_exact(NAN),
	    "too many bits");
	group_end(c, "MLX formula");
	for (int i = 0; i < 2000; i++)
		if (sampled(c))
			check_transpose(c);
	group_end(c, "MLX words");
}

/* ---- speed ---- */

static double bench_mlx_pack(struct bench *b, mlx_pack_fn *pack, unsigned bits)
{
	static uint16_t level[2048];
	static uint8_t zero[2048 / MLX_BLOCK];
	const size_t bytes = sizeof(level) / sizeof(*level) / 8 * bits;
	double start;

	bench_flush(b);
	start = bench_seconds();
	for (size_t at = 0; at + bytes <= BENCH_BLOCK; at += bytes)
		pack(b->block + at, level, zero, sizeof(zero));
	return (bench_seconds() - start) / (double)(BENCH_BLOCK / bytes * bytes);
}

/* The words of a 4-bit matrix of a Llama, a megabyte at a time. */
static double bench_mlx_transpose(struct bench *b, mlx_transpose_fn *transpose)
{
	struct mlx_transpose t = {.src_row = BENCH_N * 4, .dst_row = BENCH_K / 2, .columns = BENCH_K / 8};
	const uint32_t most = BENCH_BLOCK / (BENCH_K / 2);
	double start;

	bench_flush(b);
	start = bench_seconds();
	for (uint32_t n = 0; n < BENCH_N; n += most) {
		t.src = b->from + (size_t)n * 4;
		t.rows = BENCH_N - n < most ? BENCH_N - n : most;
		transpose(b->block, &t);
	}
	return (bench_seconds() - start) / ((double)BENCH_N * BENCH_K / 2);
}

static void bench_mlx_one(struct bench *b, const struct mlx_dsp *dsp, const char *cpu, unsigned bits)
{
	double copy = 1e9, best = 1e9;

	for (int i = 0; i < BENCH_REPEAT; i++) {
		const double copied = bench_memcpy(b, BENCH_BLOCK) / BENCH_BLOCK;
		const double made =
		    bits ? bench_mlx_pack(b, dsp->pack[bits], bits) : bench_mlx_transpose(b, dsp->transpose);

		copy = copied < copy ? copied : copy;
		best = made < best ? made : best;
	}
	if (bits)
		printf("%-10s MLX %u bits     %8.2f %8.2f %7.3f\n", cpu, bits, 1 / best / 1e9, 1 / copy / 1e9,
		    copy / best);
	else
		printf("%-10s MLX from GPTQ  %8.2f %8.2f %7.3f\n", cpu, 1 / best / 1e9, 1 / copy / 1e9, copy / best);
}

void bench_mlx(struct check *c, struct bench *b)
{
	for (enum cpu_level cpu = CPU_C; cpu <= c->max; cpu++) {
		const struct mlx_dsp *dsp = &c->kernels[cpu].mlx;

		if (cpu && dsp->transpose == c->kernels[cpu - 1].mlx.transpose)
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(widths); i++)
			bench_mlx_one(b, dsp, cpu_name(cpu), widths[i]);
		bench_mlx_one(b, dsp, cpu_name(cpu), 0);
	}
}
