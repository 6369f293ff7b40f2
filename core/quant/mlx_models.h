/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_MLX_MODELS_H
#define GPTQFS_MLX_MODELS_H

/*
 * What mlx-lm does to the tensors of a model when it converts it, by config.json's model_type. Source: `sanitize` of
 * the models of mlx-lm 0.32.2.
 */

enum mlx_change {
	MLX_OTHER, /* something else, or unknown */
	MLX_NONE,
	MLX_EXPERTS, /* X.mlp.experts.#.gate_proj become X.mlp.switch_mlp.gate_proj */
	MLX_APERTUS, /* X.act_fn.alpha_p and alpha_n lose their dimension, which is 1 */
	MLX_MIXTRAL, /* X.block_sparse_moe.experts.#.w1 become X.block_sparse_moe.switch_mlp.gate_proj */
	MLX_CHANGES,
};

/* The change for a model_type, which may be NULL. */
enum mlx_change mlx_change_of(const char *model_type);

/* What is before ".experts." and ".switch_mlp." in names; NULL where there are no experts. */
extern const char *const mlx_expert_layer[MLX_CHANGES];

/* The projections of an expert, as the model has them and as mlx-lm does: "w1", "gate_proj". */
#define MLX_PROJECTIONS 3

struct mlx_projection {
	const char *model, *mlx;
};

extern const struct mlx_projection mlx_projections[MLX_CHANGES][MLX_PROJECTIONS];

#endif
