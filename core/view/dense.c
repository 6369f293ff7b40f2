/* SPDX-License-Identifier: MIT */

/*
 * An ordinary model directory: config.json, tokenizer and other files, and exactly one set of weights - one
 * model.safetensors, or shards of about 5 GB with their index. Tensors stand in bytewise order of their names, so
 * that a reader that goes by name reads from front to back; those that are not floats come last.
 */

#include <errno.h>

#include "tensor/dense.h"
#include "view/config_json.h"
#include "view/shards.h"
#include "view/view.h"

struct directory {
	const struct plan *p;        /* only while it is planned */
	const struct tensors *tensors; /* the plan's, or its fused ones */
	struct dense dense;
	uint32_t dir;
};

/* ---- weights ---- */

static struct st_tensor shown(const void *tensors, size_t i)
{
	const struct directory *d = tensors;

	return dense_shown(&d->dense, &d->tensors->list[i]);
}

static size_t extents_of(const void *tensors, size_t i)
{
	const struct directory *d = tensors;

	return dense_extents(&d->tensors->list[i]);
}

static int append_tensor(const void *tensors, size_t i, struct layout *layout)
{
	const struct directory *d = tensors;

	return dense_append(&d->dense, &d->tensors->list[i], layout);
}

static int add_weights(const struct directory *d)
{
	struct shards *shards = arena_alloc(&d->p->c->arena, 1, sizeof(*shards));

	if (!shards)
		return -ENOMEM;
	*shards = (struct shards){.tree = d->p->tree,
	    .dir = d->dir,
	    .like = &d->p->weights,
	    .tensors = d,
	    .count = d->tensors->count,
	    .shown = shown,
	    .extents = extents_of,
	    .append = append_tensor};
	return shards_add(shards);
}

/* ---- the files around them ---- */

static int add_config(const struct directory *d)
{
	const struct config_view view = {.dtype = d->dense.dtype};
	struct text text = {0};

	if (!d->p->c->config_text.at)
		return 0;
	config_rewrite(d->p->c->config_text, &view, &text);
	return tree_add_text(d->p->tree, d->dir, "config.json", &text, &d->p->c->config.stat);
}

int view_dense_plan(const struct plan *p, const struct view *view, uint32_t dir)
{
	struct directory *d = arena_alloc(&p->c->arena, 1, sizeof(*d));
	int rc;

	if (!d)
		return -ENOMEM;
	*d = (struct directory){
	    .p = p, .tensors = view->fused ? p->fused : p->tensors, .dense = {p->c, p->kernels, view->dtype}, .dir = dir};
	rc = add_config(d);
	if (rc == 0)
		rc = add_weights(d);
	return rc ? rc : view_add_companions(p, dir);
}
