/* SPDX-License-Identifier: MIT */

/* Vectors of 16 bytes, for SSSE3 and NEON. */

#if defined(__x86_64__) || defined(__aarch64__)

#if defined(__x86_64__) && !defined(__SSSE3__)
#error "compile with -mssse3"
#endif

#include "kernel/simd/nibbles_vector.h"

#include "kernel/hqq/hqq_groups.h"

ALWAYS_INLINE nibble_codes hqq_codes(const unsigned char *src, unsigned shift, unsigned mask)
{
	words4 half[2];

	memcpy(half, src, sizeof(half));
	for (unsigned i = 0; i < 2; i++)
		half[i] = half[i] >> shift & mask * 0x01010101;
	return (nibble_codes){{(bytes16)half[0], (bytes16)half[1]}};
}

void hqq_init_vector(struct hqq_dsp *dsp)
{
	hqq_install(dsp);
}

#endif
