/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_VIEW_H
#define GPTQFS_VIEW_H

/*
 * A view plans a directory of virtual files from the tensors of a model. Views are rows of one table in view.c;
 * adding one is a file and a row.
 */

#include "kernel/kernels.h"
#include "tensor/tensor.h"
#include "tree/tree.h"

/* What views are planned from, and into. */
struct plan {
	struct checkpoint *c;
	const struct tensors *tensors;
	const struct tensors *fused;  /* the same with q, k, v and gate, up joined: see join.h */
	const struct tensors *packed; /* the fused list, as far as it can be joined in packed form; NULL if it cannot */
	const struct repack_ops *repack; /* likewise */
	const struct kernels *kernels;
	struct tree *tree;
	enum dtype dtype;    /* of views that have no type of their own */
	struct stat weights; /* owner, permissions and newest mtime of the shards: what computed files show */
};

struct view {
	const char *name;  /* also the directory: "fp16", "fused/fp16" */
	enum dtype dtype;  /* of a dense view; else DTYPE_COUNT */
	bool fused;        /* of the fused list */
	const char *about; /* one line of README in the mount */
	/* Returns why this model cannot have the view, or NULL; NULL for a view that every model has. */
	const char *(*absent)(const struct plan *p);
	/* Adds the view's files below inode `dir`. Returns 0 or -ENOMEM. */
	int (*plan)(const struct plan *p, const struct view *view, uint32_t dir);
};

/* True if the model can have the view; if not, *reason says why. */
bool view_exists(const struct plan *p, const struct view *view, const char **reason);

/* True if the model is a part of a diffusers pipeline, which has file names of its own. */
bool view_is_diffusers(const struct plan *p);

/* What the names of a model directory's weights begin with. */
const char *view_weights_stem(const struct plan *p);

/* All views, in the order in which they are listed; NULL past the last. */
const struct view *view_at(size_t index);
const struct view *view_find(const char *name);

/* The tokenizer and other files of the model that pass as they are. Returns 0 or -ENOMEM. */
int view_add_companions(const struct plan *p, uint32_t dir);

/* dense.c: a complete, ordinary model directory with one float type. */
int view_dense_plan(const struct plan *p, const struct view *view, uint32_t dir);

/* tensors.c: every tensor in files of its own. */
int view_tensors_plan(const struct plan *p, const struct view *view, uint32_t dir);

/* packed.c: a model directory that is still quantized, with joined modules. */
const char *view_packed_absent(const struct plan *p);
int view_packed_plan(const struct plan *p, const struct view *view, uint32_t dir);

#endif
