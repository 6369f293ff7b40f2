/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CHECKED_H
#define GPTQFS_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

/* Arithmetic on numbers from files. Returns false if the result does not fit; *out is then unspecified. */
static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *out)
{
	return !__builtin_add_overflow(a, b, out);
}

static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *out)
{
	return !__builtin_mul_overflow(a, b, out);
}

/* Returns a / b rounded up; cannot overflow. */
static inline uint64_t div_up(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

#endif
