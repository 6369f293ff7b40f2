/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CHECK_BENCH_H
#define GPTQFS_CHECK_BENCH_H

/* check_kernel --bench: shared by the families. One thread, cold input, blocks of the size of FUSE requests. */

#include "check.h"

enum {
	BENCH_K = 4096,
	BENCH_N = 11008,
	BENCH_BLOCK = 1 << 20,  /* size of a FUSE request */
	BENCH_FLUSH = 96 << 20, /* written to flush the caches */
	BENCH_REPEAT = 4,
};

struct bench {
	unsigned char *from, *to; /* as large as the largest view */
	unsigned char *block;     /* BENCH_BLOCK bytes */
	unsigned char *flush;
};

void bench_init(struct check *c, struct bench *b);
void bench_free(struct bench *b);

/* CPU time of this thread, so that other load matters less; wall time for devices. */
double bench_seconds(void);
double bench_wall_seconds(void);
void bench_flush(struct bench *b);

/* Returns the seconds memcpy takes from cold to cold memory. */
double bench_memcpy(struct bench *b, size_t bytes);

void bench_casts(struct check *c, struct bench *b);
void bench_gptq(struct check *c, struct bench *b);
void bench_fp8(struct check *c, struct bench *b);
void bench_bnb(struct check *c, struct bench *b);
void bench_affine(struct check *c, struct bench *b);
void bench_fp4(struct check *c, struct bench *b);
void bench_awq(struct check *c, struct bench *b);
void bench_hqq(struct check *c, struct bench *b);
void bench_lora(struct check *c, struct bench *b);
void bench_gguf(struct check *c, struct bench *b);
void bench_mlx(struct check *c, struct bench *b);

#endif
