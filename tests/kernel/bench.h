/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CHECK_BENCH_H
#define GPTQFS_CHECK_BENCH_H

/* check_kernel --bench: what the families share. One thread, cold input, blocks as FUSE asks for them. */

#include "check.h"

enum {
	BENCH_K = 4096,
	BENCH_N = 11008,
	BENCH_BLOCK = 1 << 20,  /* what FUSE asks for at a time */
	BENCH_FLUSH = 96 << 20, /* written to empty the caches of what was there */
	BENCH_REPEAT = 4,
};

struct bench {
	unsigned char *from, *to; /* as large as the largest view */
	unsigned char *block;     /* BENCH_BLOCK bytes */
	unsigned char *flush;
};

void bench_init(struct check *c, struct bench *b);
void bench_free(struct bench *b);

/* Of this thread's processor, so that what else the machine does counts less; on the wall, for devices. */
double bench_seconds(void);
double bench_wall_seconds(void);
void bench_flush(struct bench *b);

/* Seconds that memcpy takes, from cold to cold memory. */
double bench_memcpy(struct bench *b, size_t bytes);

void bench_casts(struct check *c, struct bench *b);
void bench_gptq(struct check *c, struct bench *b);
void bench_fp8(struct check *c, struct bench *b);
void bench_bnb(struct check *c, struct bench *b);
void bench_affine(struct check *c, struct bench *b);
void bench_fp4(struct check *c, struct bench *b);
void bench_awq(struct check *c, struct bench *b);
void bench_lora(struct check *c, struct bench *b);
void bench_gguf(struct check *c, struct bench *b);

#endif
