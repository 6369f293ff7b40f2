/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CPU_H
#define GPTQFS_CPU_H

/*
 * How much of the processor the kernels may use. Each level includes those before it of the same architecture; a
 * kernel file belongs to one level. `--cpu=` and GPTQFS_CPU name the highest level allowed.
 */
enum cpu_level {
	CPU_C,      /* the reference, plain C */
	CPU_VECTOR, /* 16-byte vectors: SSSE3 on x86-64, NEON on AArch64 */
	CPU_AVX2,   /* AVX2 and F16C */
	CPU_AVX512, /* AVX-512 F, BW, DQ, VL */
	CPU_LEVELS,
};

/* The highest level this machine has (processor and operating system). */
enum cpu_level cpu_detect(void);

/* "c", "ssse3" or "neon", "avx2" or "avx512". */
const char *cpu_name(enum cpu_level level);

/* Parses a name of any architecture. Returns 0, -EINVAL for no such name, -ENOTSUP for one this machine lacks. */
int cpu_parse(const char *name, enum cpu_level *level);

#endif
