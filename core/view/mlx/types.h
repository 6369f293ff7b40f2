/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_MLX_TYPES_H
#define GPTQFS_MLX_TYPES_H

/* Finds the form of MLX that holds a weight exactly, by its groups, zeros and scales. */

#include "tensor/encoding.h"

struct mlx_type {
	unsigned bits;      /* of a code; 0 if MLX has no form for it, and it stays a float */
	uint32_t group;     /* 32, 64 or 128 columns */
	enum dtype dtype;   /* of scales and biases */
	const char *reason; /* why it stays a float; a constant */
};

/* The type of a weight, and what its rows need. */
struct mlx_choice {
	struct mlx_type type;
	uint32_t run, step; /* of its levels */
	uint64_t scales;
};

/*
 * Chooses the type of a weight: scales and biases have type `dtype` if that holds them, else another 16-bit type if
 * that does, else F32. Returns 0, or -EIO if a source cannot be read.
 */
int mlx_choose(struct encoded *e, enum dtype dtype, struct mlx_choice *out);

/*
 * Sets the scales and biases, as fp32, of a rectangle of one column and at most MLX_ROWS rows. Reads maps. Only for
 * encodings for which mlx_choose finds a type.
 */
#define MLX_ROWS 64
void mlx_parameters(const struct encoded *e, const struct code_rect *r, float *scale, float *bias);

/* Returns the narrowest type that holds two weights whose rows are in one tensor. */
struct mlx_type mlx_type_of_both(struct mlx_type a, struct mlx_type b);

#endif
