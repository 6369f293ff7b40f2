/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_MLX_ROWS_H
#define GPTQFS_MLX_ROWS_H

/* Generators for the three tensors that a weight has in MLX. All live in the arena; each returns 0 or -ENOMEM. */

#include "view/coded.h"

struct mlx_make {
	struct coded of;
	unsigned bits;    /* of a code */
	uint32_t group;   /* columns */
	enum dtype dtype; /* of scales and biases */
};

/* Rows of packed codes. */
int mlx_word_rows(const struct mlx_make *make, struct arena *arena, const struct generator **g);

/* Rows of scales; of biases. */
int mlx_scale_rows(const struct mlx_make *make, struct arena *arena, const struct generator **g);
int mlx_bias_rows(const struct mlx_make *make, struct arena *arena, const struct generator **g);

#endif
