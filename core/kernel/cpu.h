/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CPU_H
#define GPTQFS_CPU_H

/*
 * Instruction set levels of kernels. Each level includes the lower ones of the same architecture; a kernel file belongs
 * to one level. `--cpu=` and GPTQFS_CPU set the highest level allowed.
 */
enum cpu_level {
	CPU_C,      /* the reference, plain C */
	CPU_VECTOR, /* 16-byte vectors: SSSE3 on x86-64, NEON on AArch64 */
	CPU_AVX2,   /* AVX2 and F16C */
	CPU_AVX512, /* AVX-512 F, BW, DQ, VL */
	CPU_LEVELS,
};

/* Returns the highest level that CPU and operating system support. */
enum cpu_level cpu_detect(void);

/* Returns "c", "ssse3" or "neon", "avx2" or "avx512". */
const char *cpu_name(enum cpu_level level);

/* Parses the name of a level of any architecture. Returns 0, -EINVAL if unknown, -ENOTSUP if this machine lacks it. */
int cpu_parse(const char *name, enum cpu_level *level);

#endif
