/* SPDX-License-Identifier: MIT */

/* Times how blocks of GGUF are packed, beside memcpy of as many bytes. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { CELLS = 2048 }; /* as many weights as are taken apart at a time */

static double bench_pack(struct bench *b, gguf_fn *pack, const struct gguf_row *w, enum gguf_block type)
{
	const struct gguf_layout *layout = gguf_layout(type);
	const size_t blocks = CELLS / layout->weights, bytes = blocks * layout->bytes;
	double start;

	bench_flush(b);
	start = bench_seconds();
	for (size_t at = 0; at + bytes <= BENCH_BLOCK; at += bytes)
		pack(b->block + at, w, blocks);
	return (bench_seconds() - start) / (double)(BENCH_BLOCK / bytes * bytes);
}

/* Rows of a matrix, a megabyte of blocks at a time. */
static void bench_nibbles(struct check *c, struct bench *b, enum cpu_level cpu, const uint16_t *scale)
{
	const size_t blocks = CELLS / 32, all = (size_t)BENCH_N * BENCH_K / 32, bytes = all * 18;
	double copy = 1e9, best = 1e9, seconds;

	for (int i = 0; i < BENCH_REPEAT; i++) {
		seconds = bench_memcpy(b, bytes);
		copy = seconds < copy ? seconds : copy;
		bench_flush(b);
		seconds = bench_seconds();
		for (size_t at = 0; at + blocks <= all; at += blocks)
			c->kernels[cpu].gguf.nibbles(b->block + at * 18 % (BENCH_BLOCK - blocks * 18),
			    b->from + at * 16, scale, blocks);
		seconds = bench_seconds() - seconds;
		best = seconds < best ? seconds : best;
	}
	printf("%-10s %-5s from nibbles%8.2f %8.2f %7.3f\n", cpu_name(cpu), "Q4_0", bytes / best / 1e9,
	    bytes / copy / 1e9, copy / best);
}

/* A matrix of a Llama with zeros and groups of 128, a megabyte of blocks at a time. */
static void bench_gptq_blocks(struct check *c, struct bench *b, enum cpu_level cpu, enum gguf_block type)
{
	const unsigned bits = type == GGUF_Q8_0 ? 8 : 4;
	const size_t codes = (size_t)BENCH_K * BENCH_N * bits / 8, groups = BENCH_K / 128;
	const size_t row_bytes = BENCH_K / 32 * gguf_layout(type)->bytes, bytes = row_bytes * BENCH_N;
	unsigned char *words = need(malloc(codes)), *rest = need(malloc(groups * BENCH_N * 3));
	const struct qtensor q = {.in_features = BENCH_K,
	    .out_features = BENCH_N,
	    .groups = groups,
	    .group_size = 128,
	    .bits = bits,
	    .word_bits = 32,
	    .zeros = ZEROS_V2,
	    .scale_dtype = DTYPE_F16,
	    .qweight = words,
	    .qzeros = rest,
	    .scales = rest + groups * BENCH_N};
	const uint32_t most = BENCH_BLOCK / row_bytes;
	double copy = 1e9, best = 1e9, seconds;

	fill(c, words, codes);
	memset(rest, 0x88, groups * BENCH_N * 3);
	for (int i = 0; i < BENCH_REPEAT; i++) {
		seconds = bench_memcpy(b, bytes);
		copy = seconds < copy ? seconds : copy;
		bench_flush(b);
		seconds = bench_seconds();
		for (uint32_t n = 0; n < BENCH_N; n += most)
			c->kernels[cpu].gguf.gptq[type](b->block, &q,
			    &(struct kernel_rect){n, BENCH_N - n < most ? BENCH_N - n : most, 0, BENCH_K});
		seconds = bench_seconds() - seconds;
		best = seconds < best ? seconds : best;
	}
	printf("%-10s %-5s from GPTQ   %8.2f %8.2f %7.3f\n", cpu_name(cpu), gguf_layout(type)->name, bytes / best / 1e9,
	    bytes / copy / 1e9, copy / best);
	free(words);
	free(rest);
}

void bench_gguf(struct check *c, struct bench *b)
{
	static uint16_t level[CELLS], scale[CELLS];
	static uint8_t zero[CELLS];
	const struct gguf_row w = {level, scale, zero};

	for (size_t i = 0; i < CELLS; i++) {
		level[i] = (uint16_t)below(c, 2);
		scale[i] = 0x3800;
		zero[i] = 1 + (uint8_t)below(c, 2);
	}
	for (enum cpu_level cpu = CPU_C; cpu <= c->max; cpu++)
		for (enum gguf_block type = 0; type < GGUF_BLOCKS; type++) {
			double copy = 1e9, best = 1e9, seconds;

			if (cpu && c->kernels[cpu].gguf.pack[type] == c->kernels[cpu - 1].gguf.pack[type])
				continue;
			for (int i = 0; i < BENCH_REPEAT; i++) {
				seconds = bench_memcpy(b, BENCH_BLOCK) / BENCH_BLOCK;
				copy = seconds < copy ? seconds : copy;
				seconds = bench_pack(b, c->kernels[cpu].gguf.pack[type], &w, type);
				best = seconds < best ? seconds : best;
			}
			printf("%-10s %-5s from levels %8.2f %8.2f %7.3f\n", cpu_name(cpu), gguf_layout(type)->name,
			    1 / best / 1e9, 1 / copy / 1e9, copy / best);
		}
	for (enum cpu_level cpu = CPU_C; cpu <= c->max; cpu++)
		if (!cpu || c->kernels[cpu].gguf.nibbles != c->kernels[cpu - 1].gguf.nibbles)
			bench_nibbles(c, b, cpu, scale);
	for (enum cpu_level cpu = CPU_C; cpu <= c->max; cpu++)
		for (enum gguf_block type = 0; type < GGUF_BLOCKS; type++)
			if (cpu && c->kernels[cpu].gguf.gptq[type] != c->kernels[cpu - 1].gguf.gptq[type])
				bench_gptq_blocks(c, b, cpu, type);
}
