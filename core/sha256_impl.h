/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SHA256_IMPL_H
#define GPTQFS_SHA256_IMPL_H

/* What the ways of hashing a block share. */

#include "sha256.h"

extern const uint32_t sha256_constants[64];

/* By the SHA extensions of x86-64. Only where sha256_ni_there. */
bool sha256_ni_there(void);
void sha256_compress_ni(uint32_t state[8], const unsigned char *blocks, size_t count);

#endif
