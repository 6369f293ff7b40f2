/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_INLINE_H
#define GPTQFS_INLINE_H

#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"

/* SIMD kernels are made by inlining the same functions with constant arguments. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/*
 * At -O2 gcc unrolls loops only when told to; clang does, and warns if it cannot. Builds with sanitizers define this
 * away: their checks keep gcc from unrolling, and it warns.
 */
#if !defined(UNROLL) && defined(__clang__)
#define UNROLL
#elif !defined(UNROLL)
#define UNROLL _Pragma("GCC unroll 32")
#endif

/* Prefetches a line to the L2 cache. Harmless past the end of a mapping. */
ALWAYS_INLINE void prefetch(uintptr_t src)
{
	__builtin_prefetch((const void *)src, 0, 2);
}

/* Prefetches two pages ahead in a long row: the hardware prefetcher stops at the end of a page. */
ALWAYS_INLINE void prefetch_ahead(const void *src)
{
	prefetch((uintptr_t)src + 8192);
}

/* Returns the bytes of an element of output. */
ALWAYS_INLINE size_t out_bytes(enum dtype out)
{
	return out == DTYPE_F32 ? 4 : 2;
}

#endif
