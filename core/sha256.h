/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SHA256_H
#define GPTQFS_SHA256_H

/* SHA-256 (FIPS 180-4), in plain C, or by the instructions for it where the processor has them. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32

/* Hashes `count` blocks of 64 bytes. */
typedef void sha256_compress_fn(uint32_t state[8], const unsigned char *blocks, size_t count);

struct sha256 {
	sha256_compress_fn *compress;
	uint32_t state[8];
	uint64_t bytes;          /* hashed so far */
	unsigned char block[64]; /* of which bytes % 64 wait here */
};

void sha256_init(struct sha256 *s);
void sha256_init_plain(struct sha256 *s); /* in C whatever the processor has: what the other is compared with */
void sha256_update(struct sha256 *s, const void *data, size_t len);

/* The hash of all that was added; *s is used up. */
void sha256_final(struct sha256 *s, unsigned char out[SHA256_BYTES]);

/* `bytes` bytes as lower-case hexadecimal digits, and a NUL. */
void sha256_hex(const unsigned char *hash, size_t bytes, char *out);

#endif
