/* SPDX-License-Identifier: MIT */
#include "view/view.h"

#include <errno.h>
#include <string.h>

static const struct view views[] = {
    {"fp16", DTYPE_F16, false, "a complete, ordinary model directory", NULL, view_dense_plan},
    {"bf16", DTYPE_BF16, false, "the same in bfloat16", NULL, view_dense_plan},
    {"fp32", DTYPE_F32, false, "the same in 32 bits", NULL, view_dense_plan},
    {"fused/fp16", DTYPE_F16, true,
	"q, k, v joined as qkv_proj, gate and up as gate_up_proj: for engines that want that", NULL, view_dense_plan},
    {"fused/bf16", DTYPE_BF16, true, "the same in bfloat16", NULL, view_dense_plan},
    {"fused/fp32", DTYPE_F32, true, "the same in 32 bits", NULL, view_dense_plan},
    {"packed", DTYPE_COUNT, true, "still quantized: the same modules joined as they are packed",
	view_packed_absent, view_packed_plan},
    {"tensors", DTYPE_COUNT, false, "every tensor in files of its own: safetensors, npy, and what it is",
	NULL, view_tensors_plan},
};

const struct view *view_at(size_t index)
{
	return index < sizeof(views) / sizeof(*views) ? &views[index] : NULL;
}

const struct view *view_find(const char *name)
{
	const struct view *view;

	for (size_t i = 0; (view = view_at(i)); i++)
		if (strcmp(view->name, name) == 0)
			return view;
	return NULL;
}

bool view_exists(const struct plan *p, const struct view *view, const char **reason)
{
	*reason = view->absent ? view->absent(p) : NULL;
	return !*reason;
}

/* The directories on the way to a companion, with their own permissions. */
static int add_directories(const struct plan *p, uint32_t dir, const char *path)
{
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		const char *name = arena_strndup(&p->c->arena, path, (size_t)(slash - path));
		const struct listing_dir *like = name ? listing_dir(&p->c->listing, name) : NULL;

		if (!name || (like && !tree_add(p->tree, dir, name, NULL, &like->stat)))
			return -ENOMEM;
	}
	return 0;
}

int view_add_companions(const struct plan *p, uint32_t dir)
{
	struct checkpoint *c = p->c;

	for (size_t i = 0; i < c->companion_count; i++) {
		struct source_file *f = &c->companions[i];
		struct layout *layout = arena_alloc(&c->arena, 1, sizeof(*layout));

		if (!layout || layout_reserve(layout, &c->arena, 1))
			return -ENOMEM;
		layout_add_source(layout, f, 0, (uint64_t)f->stat.st_size);
		if (add_directories(p, dir, f->name) || !tree_add(p->tree, dir, f->name, layout, &f->stat))
			return -ENOMEM;
	}
	return 0;
}
