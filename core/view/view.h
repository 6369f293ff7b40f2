/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_VIEW_H
#define GPTQFS_VIEW_H

/*
 * A view plans a directory of virtual files from the tensors of a model. Views are rows of one table in view.c;
 * adding one is a view_X.c and a row.
 */

#include "tensor/source.h"
#include "tree/tree.h"

/* What views are planned from, and into. */
struct plan {
	struct checkpoint *c;
	const struct source *source;
	const struct source *fused;  /* the same with q, k, v and gate, up joined: see join.h */
	const struct source *packed; /* the fused one, as far as it can be joined as it is packed */
	const struct kernels *kernels;
	struct tree *tree;
	enum dtype dtype;    /* of views that have no type of their own */
	struct stat weights; /* owner, permissions and newest mtime of the shards: what computed files show */
};

struct view {
	const char *name;  /* also the directory: "fp16", "fused/fp16" */
	enum dtype dtype;  /* of a dense view; else DTYPE_COUNT */
	bool fused;        /* of the fused source */
	const char *about; /* one line of README in the mount */
	/* Adds the view's files below inode `dir`. Returns 0 or -ENOMEM. */
	int (*plan)(const struct plan *p, const struct view *view, uint32_t dir);
};

/* All views, in the order in which they are listed; NULL past the last. */
const struct view *view_at(size_t index);
const struct view *view_find(const char *name);

/* The tokenizer and other files of the model that pass as they are. Returns 0 or -ENOMEM. */
int view_add_companions(const struct plan *p, uint32_t dir);

/* view_dense.c: a complete, ordinary model directory with one float type. */
int view_dense_plan(const struct plan *p, const struct view *view, uint32_t dir);

/* view_tensors.c: every tensor in files of its own. */
int view_tensors_plan(const struct plan *p, const struct view *view, uint32_t dir);

/* view_packed.c: a model directory that is still quantized, with joined modules. */
int view_packed_plan(const struct plan *p, const struct view *view, uint32_t dir);

#endif
