/* SPDX-License-Identifier: MIT */

/*
 * An ordinary model directory: config.json, tokenizer and other files, and exactly one set of weights:
 * model.safetensors, or shards of about 5 GB with their index. Float tensors are in bytewise order of their names, so
 * that programs that load by name read sequentially; other tensors come last.
 */

#include <errno.h>
#include <string.h>

#include "tensor/dense.h"
#include "view/phi3.h"
#include "view/shards.h"
#include "view/view.h"

struct directory {
	const struct plan *p;          /* only while planning */
	const struct tensors *tensors; /* plan->tensors or plan->fused */
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

static int view_dense_append_tensor(const void *tensors, size_t i, struct layout *layout)
{
	const struct directory *d = tensors;

	return dense_append(&d->dense, &d->tensors->list[i], layout);
}

static int view_dense_add_weights(const struct directory *d)
{
	struct shards *shards = arena_alloc(&d->p->c->arena, 1, sizeof(*shards));

	if (!shards)
		return -ENOMEM;
	*shards = (struct shards){.tree = d->p->tree,
	    .dir = d->dir,
	    .stem = view_weights_stem(d->p),
	    .like = &d->p->weights,
	    .shard_bytes = d->p->shard_bytes,
	    .tensors = d,
	    .count = d->tensors->count,
	    .shown = shown,
	    .extents = extents_of,
	    .append = view_dense_append_tensor};
	return shards_add(shards);
}

/* ---- the files around them ---- */

/* A warning for users of a fused view: the class may have other modules. */
static int add_readme(const struct directory *d, const char *refusal)
{
	const char *name = listing_has(&d->p->c->listing, "README") ? "README.fused" : "README";
	const char *class = json_str(json_at(json_get(d->p->c->config_json, "architectures"), 0));
	struct text text = {0};

	text_string(&text,
	    "The dense model with q_proj, k_proj and v_proj joined as self_attn.qkv_proj, and gate_proj and up_proj\n"
	    "as mlp.gate_up_proj: the rows of one after those of the other.\n\n");
	if (!refusal) {
		text_string(&text, "config.json says Phi3ForCausalLM, which is the same graph (the model says ");
		text_ascii(&text, class ? class : "nothing");
		text_string(&text,
		    ").\n"
		    "transformers, and what is built on it, load it like any model and compute the same logits as from the\n"
		    "views that are not fused; so do vLLM and mlx-lm.\n");
	} else {
		text_string(&text,
		    "For engines that take joined modules, such as vLLM. Do not load it with transformers or what is built\n"
		    "on it: the class that config.json names (");
		text_ascii(&text, class ? class : "none");
		text_string(&text,
		    ") has no such modules there, so they would\n"
		    "start with random weights, and a warning at most. Use the views that are not fused.\n\n"
		    "It is not shown as a Phi-3, whose class has these modules: ");
		text_ascii(&text, refusal);
		text_string(&text, ".\n");
	}
	return tree_add_text(d->p->tree, d->dir, name, &text, &d->p->weights);
}

#define MEMBERS_MAX (PHI3_MEMBERS + VIEW_LORA_MEMBERS)

static int add_config(const struct directory *d, bool fused)
{
	struct config_member members[MEMBERS_MAX];
	struct config_view view = {.dtype = d->dense.dtype, .bare = view_is_diffusers(d->p), .members = members};
	struct text text = {0};
	struct phi3 phi3 = {0};
	const char *refusal = NULL;
	int rc = 0;

	if (!d->p->c->config_text.at)
		return 0;
	if (fused)
		refusal = phi3_refusal(d->tensors, d->p->c->config_json, &d->p->c->arena, &phi3);
	if (fused && !refusal) {
		memcpy(members, phi3.members, phi3.count * sizeof(*members));
		view.count = phi3.count;
	}
	view.count += view_lora_members(d->p, members + view.count);
	config_rewrite(d->p->c->config_text, &view, &text);
	rc = tree_add_text(d->p->tree, d->dir, "config.json", &text, &d->p->c->config.stat);
	return rc || !fused ? rc : add_readme(d, refusal);
}

int view_dense_plan(const struct plan *p, const struct view *view, uint32_t dir)
{
	struct directory *d = arena_alloc(&p->c->arena, 1, sizeof(*d));
	int rc;

	if (!d)
		return -ENOMEM;
	*d = (struct directory){.p = p,
	    .tensors = view->fused ? p->fused : p->tensors,
	    .dense = {p->c, p->kernels, view->dtype},
	    .dir = dir};
	rc = add_config(d, view->fused);
	if (rc == 0)
		rc = view_dense_add_weights(d);
	return rc ? rc : view_add_companions(p, dir);
}
