/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

double bench_seconds(void)
{
	return seconds_of(CLOCK_THREAD_CPUTIME_ID);
}

double bench_wall_seconds(void)
{
	return seconds_of(CLOCK_MONOTONIC);
}

void bench_flush(struct bench *b)
{
	static const int anything = 1;

	for (size_t i = 0; i < BENCH_FLUSH; i += 64)
		b->flush[i] += anything;
}

double bench_memcpy(struct bench *b, size_t bytes)
{
	double start;

	bench_flush(b);
	start = bench_seconds();
	memcpy(b->to, b->from, bytes);
	return bench_seconds() - start;
}

void bench_init(struct check *c, struct bench *b)
{
	const size_t bytes = (size_t)BENCH_N * BENCH_K * 4;

	*b = (struct bench){.from = need(malloc(bytes)), .to = need(malloc(bytes))};
	b->block = need(aligned_alloc(64, BENCH_BLOCK));
	b->flush = need(calloc(1, BENCH_FLUSH));
	fill(c, b->from, bytes);
	memset(b->to, 0, bytes);
	printf("K=%u N=%u, one thread, blocks of %u KiB, cold input; output and memcpy in GB/s, and their ratio\n",
	    BENCH_K, BENCH_N, BENCH_BLOCK >> 10);
}

void bench_free(struct bench *b)
{
	free(b->from);
	free(b->to);
	free(b->block);
	free(b->flush);
}

/* --- Casts --- */

static void bench_cast(struct check *c, struct bench *b, enum dtype from, enum dtype to)
{
	const size_t n = BENCH_BLOCK / dtype_bytes(to), count = (size_t)BENCH_N * BENCH_K / n;

	for (enum cpu_level level = CPU_C; level <= c->max; level++) {
		cast_fn *cast = c->kernels[level].cast[from][to];
		double start, t;

		if (level && cast == c->kernels[level - 1].cast[from][to])
			continue;
		bench_flush(b);
		start = bench_seconds();
		for (size_t i = 0; i < count; i++)
			cast(b->block, b->from + i * n * dtype_bytes(from), n);
		t = bench_seconds() - start;
		printf("%-10s cast %s to %-25s %8.2f\n", cpu_name(level), dtype_name(from), dtype_name(to),
		    count * BENCH_BLOCK / t / 1e9);
	}
}

void bench_casts(struct check *c, struct bench *b)
{
	static const enum dtype from[] = {DTYPE_F16, DTYPE_BF16, DTYPE_F32, DTYPE_F8_E4M3};

	for (size_t i = 0; i < ARRAY_SIZE(from); i++)
		for (enum dtype to = 0; to < DTYPE_VIEWS; to++)
			bench_cast(c, b, from[i], to);
}
