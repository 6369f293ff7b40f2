/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_INLINE_H
#define GPTQFS_INLINE_H

/* What SIMD kernels are written with: each is made by inlining the same functions with constant arguments. */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/*
 * gcc unrolls no loop at -O2 unless told to; clang does, and warns where it cannot. Builds with sanitizers define this
 * away: they put code into the loops that gcc cannot unroll either, and it says so.
 */
#if !defined(UNROLL) && defined(__clang__)
#define UNROLL
#elif !defined(UNROLL)
#define UNROLL _Pragma("GCC unroll 32")
#endif

#endif
