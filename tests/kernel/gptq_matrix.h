/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GPTQ_MATRIX_H
#define GPTQFS_GPTQ_MATRIX_H

/* Matrices of known codes, packed as in core/kernel/gptq/gptq.h: the second implementation of GPTQ. */

#include "check.h"

/* The parameters of a matrix; the rest is random. */
enum indices { INDICES_NONE, INDICES_RANDOM, INDICES_ACT_ORDER, INDICES_TRIVIAL, INDICES_COUNT };

struct spec {
	uint32_t in_features, out_features, group_size;
	unsigned bits, word_bits;
	enum packing packing;
	enum zeros zeros;
	enum dtype scale_dtype;
	enum indices indices;
};

/* A matrix for kernels, and the codes and zeros it was packed from. */
struct matrix {
	struct spec spec;
	struct qtensor q;
	uint8_t *codes; /* [in_features, out_features] */
	uint8_t *zeros; /* [groups, out_features] */
};

extern const char *const zeros_name[3];
extern const char *const packing_name[2];
extern const char *const indices_name[INDICES_COUNT];

/* Makes a random matrix with the given parameters. */
void matrix_init(struct check *c, struct matrix *m, const struct spec *s);
void matrix_free(struct matrix *m);

/* Pack m->codes and m->zeros again after changes. */
void pack_weights(struct matrix *m, unsigned char *qweight);
void pack_zeros(struct matrix *m, unsigned char *qzeros);

/* Returns the bits of a weight in the output type. */
uint64_t naive_weight(const struct matrix *m, uint32_t k, uint32_t n, enum dtype out);

#endif
