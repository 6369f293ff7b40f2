/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_MLX_PLACE_H
#define GPTQFS_MLX_PLACE_H

/* Maps the tensors of a model to those of mlx-lm's class: names stay, but experts of a layer become one tensor. */

#include "quant/mlx_models.h"
#include "view/view.h"

/* A tensor of the class. */
struct mlx_tensor {
	const char *name;                  /* "model.layers.0.mlp.switch_mlp.up_proj.weight" */
	const struct tensor *const *parts; /* [count] whose rows it has in sequence: one, or the experts */
	size_t count;
	bool stacked;
};

struct mlx_tensors {
	struct mlx_tensor *list; /* [count]; freed by mlx_tensors_free, the rest is in the checkpoint's arena */
	size_t count;
};

/*
 * Maps all tensors of the model, except a head tied to the embedding. Returns 0; -EBADMSG if an expert is missing or
 * unlike the others; -ENOMEM. Call mlx_tensors_free in any case.
 */
int mlx_place_all(const struct plan *plan, enum mlx_change change, struct mlx_tensors *out, struct gptqfs_error *err);
void mlx_tensors_free(struct mlx_tensors *ts);

#endif
