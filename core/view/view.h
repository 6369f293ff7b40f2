/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_VIEW_H
#define GPTQFS_VIEW_H

/*
 * A view plans a directory of virtual files for the tensors of a model. Views are rows of a table in view.c; adding one
 * takes a file and a row.
 */

#include "kernel/kernels.h"
#include "lora/variants.h"
#include "tensor/tensor.h"
#include "tree/tree.h"
#include "view/config_json.h"

/* The state of a view of a model. */
struct view_state {
	const char *absent; /* why the model cannot have it, or NULL */
	struct late *late;  /* of a view to be planned late, once it is set up; or NULL */
};

/* Input and output of planning. */
struct plan {
	struct checkpoint *c;
	const struct tensors *tensors;
	const struct tensors *fused;  /* with q, k, v and gate, up joined: see join.h */
	const struct tensors *packed; /* joined only where the packed form allows it; NULL if there is no packed view */
	const struct repack_ops *repack; /* likewise */
	const char *unpacked;            /* why there is none */
	const struct variants *variants; /* models with one adapter each, shown beside; never NULL */
	const struct lora *lora;         /* merged into all of the above, or NULL */
	const struct kernels *kernels;
	struct tree *tree;
	struct view_state *states;     /* of all views, in the order of their table */
	bool gguf_q2;                  /* see struct gptqfs_options */
	const struct gguf_kv *gguf_kv; /* likewise; or NULL */
	uint64_t shard_bytes;          /* likewise */
	enum dtype dtype;              /* for views without a type of their own */
	struct stat weights;           /* attributes shown for computed files */
};

struct view {
	const char *name;  /* also the directory: "fp16", "fused/fp16" */
	enum dtype dtype;  /* of a dense view, else DTYPE_COUNT */
	bool fused;        /* shows plan->fused */
	const char *about; /* its line in the README of a mount */
	const char *key,
	    *told; /* of a view that some models lack: its key in `info`, and the value there if it exists */
	/*
	 * Sets *reason to why this model cannot have the view, or to NULL. Returns 0 or -ENOMEM. NULL for views that
	 * every model has.
	 */
	int (*absent)(const struct plan *p, const char **reason);
	/* Adds the view's files below inode `dir`. Returns 0 or -ENOMEM. */
	int (*plan)(const struct plan *p, const struct view *view, uint32_t dir);
};

/* Sets p->states: which views the model can have. Returns 0 or -ENOMEM. */
int views_consider(struct plan *p);

/* Returns the state of the view. */
struct view_state *view_state(const struct plan *p, const struct view *view);

/* True if the model can have the view; else sets *reason. */
bool view_exists(const struct plan *p, const struct view *view, const char **reason);

/* True if the model is part of a diffusers pipeline, which has other file names. */
bool view_is_diffusers(const struct plan *p);

/* Returns the beginning of the weights' file names. */
const char *view_weights_stem(const struct plan *p);

/* Adds every view that the model can have below a directory. Returns 0 or -ENOMEM. */
int view_plan_all(const struct plan *p, uint32_t dir);

/* variants.c: adds lora/NAME/VIEW for each adapter, lora/NAME/REFUSED for one that cannot be merged. Likewise. */
int view_plan_variants(const struct plan *p, const struct variants *variants);

/* Returns "NAME/VIEW" of "lora/NAME/VIEW"; NULL for any other name. */
const char *view_variant(const char *view);

/* Return the view at an index of the table, NULL past the last; the view of that name, or NULL. */
const struct view *view_at(size_t index);
const struct view *view_find(const char *name);

/* Adds the tokenizer and other files that pass unchanged. Returns 0 or -ENOMEM. */
int view_add_companions(const struct plan *p, uint32_t dir);

/* Returns the one of these files that has this name, or NULL. */
struct source_file *view_companion(const struct plan *p, const char *name);

/*
 * Refuses a view while it is planned late: sets late->refusal to the reason in *err, and the layout of the README that
 * remains, which begins with a headline. Returns 0, or -ENOMEM with nothing set.
 */
int view_refuse(const struct plan *p, struct late *late, const struct gptqfs_error *err, const char *headline,
    struct layout *readme);

/* dense.c: a complete, ordinary model directory with one float type. */
int view_dense_plan(const struct plan *p, const struct view *view, uint32_t dir);

/* tensors.c: every tensor in files of its own. */
int view_tensors_plan(const struct plan *p, const struct view *view, uint32_t dir);

/* packed.c: a model directory that is still quantized, with joined modules. */
int view_packed_absent(const struct plan *p, const char **reason);
int view_packed_plan(const struct plan *p, const struct view *view, uint32_t dir);

/* Fills in the members of config.json that adapters change. Returns how many there are. */
#define VIEW_LORA_MEMBERS 2
size_t view_lora_members(const struct plan *p, struct config_member members[VIEW_LORA_MEMBERS]);

/* gguf/gguf.c: the weights as one GGUF file. */
int view_gguf_absent(const struct plan *p, const char **reason);
int view_gguf_plan(const struct plan *p, const struct view *view, uint32_t dir);

/* mlx/mlx.c: a model directory for mlx-lm. */
int view_mlx_absent(const struct plan *p, const char **reason);
int view_mlx_plan(const struct plan *p, const struct view *view, uint32_t dir);

#endif
