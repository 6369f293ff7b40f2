/* SPDX-License-Identifier: MIT */
#include "kernel/cpu.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum arch { ARCH_ANY, ARCH_X86_64, ARCH_AARCH64 };

#if defined(__x86_64__)
#define ARCH_HERE ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH_HERE ARCH_AARCH64
#else
#define ARCH_HERE ARCH_ANY
#endif

static const struct {
	const char *name;
	enum arch arch;
	enum cpu_level level;
} names[] = {
    {"c", ARCH_ANY, CPU_C},
    {"ssse3", ARCH_X86_64, CPU_VECTOR},
    {"avx2", ARCH_X86_64, CPU_AVX2},
    {"avx512", ARCH_X86_64, CPU_AVX512},
    {"neon", ARCH_AARCH64, CPU_VECTOR},
};

#if defined(__x86_64__)
/* Not every compiler's __builtin_cpu_supports knows F16C. OS support for its registers is implied by AVX2. */
static int has_f16c(void)
{
	unsigned eax, ebx, ecx, edx;

	return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
}

enum cpu_level cpu_detect(void)
{
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("ssse3"))
		return CPU_C;
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c())
		return CPU_VECTOR;
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
	    !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
		return CPU_AVX2;
	return CPU_AVX512;
}
#elif defined(__aarch64__)
enum cpu_level cpu_detect(void)
{
	return CPU_VECTOR;
}
#else
enum cpu_level cpu_detect(void)
{
	return CPU_C;
}
#endif

const char *cpu_name(enum cpu_level level)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i].level == level && (names[i].arch == ARCH_ANY || names[i].arch == ARCH_HERE))
			return names[i].name;
	return "unknown";
}

int cpu_parse(const char *name, enum cpu_level *level)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strcmp(names[i].name, name))
			continue;
		if (names[i].arch != ARCH_ANY && (names[i].arch != ARCH_HERE || names[i].level > cpu_detect()))
			return -ENOTSUP;
		*level = names[i].level;
		return 0;
	}
	return -EINVAL;
}
