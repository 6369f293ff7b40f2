/* SPDX-License-Identifier: MIT */

/* lora/NAME/VIEW: the views of a model with each of several adapters. */

#include <errno.h>
#include <string.h>

#include "tensor/join.h"
#include "view/view.h"

static int plan_refusal(const struct plan *p, const struct variant *v, uint32_t dir)
{
	struct text text = {0};

	text_ascii(&text, v->refusal);
	text_string(&text, "\n");
	return tree_add_text(p->tree, dir, "REFUSED", &text, &p->weights);
}

static int plan_merged(const struct plan *base, const struct variant *v, uint32_t dir)
{
	struct arena *arena = &base->c->arena;
	struct plan *p = arena_alloc(arena, 1, sizeof(*p));
	struct tensors *fused = arena_alloc(arena, 1, sizeof(*fused));
	struct join_refusals apart = {0};

	if (!p || !fused || join_fused(arena, &v->tensors, fused, &apart))
		return -ENOMEM;
	*p = *base;
	p->tensors = &v->tensors;
	p->fused = fused;
	p->packed = NULL;
	p->repack = NULL;
	p->lora = &v->lora;
	return views_consider(p) ? -ENOMEM : view_plan_all(p, dir);
}

int view_plan_variants(const struct plan *p, const struct variants *variants)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < variants->count; i++) {
		const struct variant *v = &variants->list[i];
		const char *path = arena_printf(&p->c->arena, "lora/%s", v->name);
		const uint32_t dir = path ? tree_add(p->tree, GPTQFS_ROOT, path, NULL, &p->c->dir.stat) : 0;

		if (!dir)
			return -ENOMEM;
		rc = v->refusal ? plan_refusal(p, v, dir) : plan_merged(p, v, dir);
	}
	return rc;
}
