/* SPDX-License-Identifier: MIT */
#include "view/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct view views[] = {
    {"fp16", DTYPE_F16, .about = "a complete, ordinary model directory", .plan = view_dense_plan},
    {"bf16", DTYPE_BF16, .about = "the same in bfloat16", .plan = view_dense_plan},
    {"fp32", DTYPE_F32, .about = "the same in 32 bits", .plan = view_dense_plan},
    {"fused/fp16", DTYPE_F16, true,
	.about = "q, k, v joined as qkv_proj, gate and up as gate_up_proj: for engines that want that",
	.plan = view_dense_plan},
    {"fused/bf16", DTYPE_BF16, true, .about = "the same in bfloat16", .plan = view_dense_plan},
    {"fused/fp32", DTYPE_F32, true, .about = "the same in 32 bits", .plan = view_dense_plan},
    {"packed", DTYPE_COUNT, true, "still quantized: the same modules joined in packed form", "Packed_view",
	"the same modules joined and still quantized, for engines that run GPTQ", view_packed_absent, view_packed_plan},
    {"tensors", DTYPE_COUNT, .about = "every tensor in files of its own: safetensors, npy, info",
	.plan = view_tensors_plan},
    {"gguf", DTYPE_COUNT, false, "the same weights in one file for llama.cpp, not quantized again", "Gguf_view",
	"planned on first use; gguf/README lists types, and modules that are not exact", view_gguf_absent,
	view_gguf_plan},
    {"mlx", DTYPE_COUNT, false, "the same weights in MLX's form, for mlx-lm, not quantized again", "Mlx_view",
	"planned on first use; mlx/README lists types, and modules that stay floats", view_mlx_absent, view_mlx_plan},
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

int views_consider(struct plan *p)
{
	const size_t count = sizeof(views) / sizeof(*views);
	int rc = 0;

	p->states = arena_alloc(&p->c->arena, count, sizeof(*p->states));
	if (!p->states)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < count; i++)
		if (views[i].absent)
			rc = views[i].absent(p, &p->states[i].absent);
	return rc;
}

struct view_state *view_state(const struct plan *p, const struct view *view)
{
	return &p->states[view - views];
}

bool view_exists(const struct plan *p, const struct view *view, const char **reason)
{
	*reason = view_state(p, view)->absent;
	return !*reason;
}

int view_plan_all(const struct plan *p, uint32_t dir)
{
	const struct view *view;
	const char *reason;
	int rc = 0;

	for (size_t i = 0; rc == 0 && (view = view_at(i)); i++) {
		uint32_t ino;

		if (!view_exists(p, view, &reason))
			continue;
		ino = tree_add(p->tree, dir, view->name, NULL, &p->c->dir.stat);
		rc = ino ? view->plan(p, view, ino) : -ENOMEM;
	}
	return rc;
}

const char *view_variant(const char *view)
{
	const char *name = strncmp(view, "lora/", strlen("lora/")) == 0 ? view + strlen("lora/") : NULL;

	return name && strchr(name, '/') ? name : NULL;
}

/* Adds the directories of a companion, with their own permissions. Names are sorted: `last` is the previous one. */
static int add_directories(const struct plan *p, uint32_t dir, const char *path, const char *last)
{
	char *name = strdup(path);
	int rc = name ? 0 : -ENOMEM;

	for (char *slash = name ? strchr(name, '/') : NULL; rc == 0 && slash; slash = strchr(slash + 1, '/')) {
		const struct listing_dir *like;

		if (last && strncmp(last, name, (size_t)(slash + 1 - name)) == 0)
			continue;
		*slash = 0;
		like = listing_dir(&p->c->listing, name);
		if (like && !tree_add(p->tree, dir, like->name, NULL, &like->stat))
			rc = -ENOMEM;
		*slash = '/';
	}
	free(name);
	return rc;
}

static int add_companion(const struct plan *p, uint32_t dir, struct source_file *f, const char *last)
{
	struct arena *arena = &p->c->arena;
	struct layout *layout = arena_alloc(arena, 1, sizeof(*layout));

	if (!layout || layout_reserve(layout, arena, 1) || add_directories(p, dir, f->name, last))
		return -ENOMEM;
	layout_add_source(layout, f, 0, (uint64_t)f->stat.st_size);
	return tree_add(p->tree, dir, f->name, layout, &f->stat) ? 0 : -ENOMEM;
}

bool view_is_diffusers(const struct plan *p)
{
	return json_str(json_get(p->c->config_json, "_class_name")) != NULL;
}

const char *view_weights_stem(const struct plan *p)
{
	return view_is_diffusers(p) ? "diffusion_pytorch_model" : "model";
}

/* Returns the tokenizer of an adapter, which replaces the model's; NULL if the model keeps its own. */
static const struct tokenizer *adapter_tokenizer(const struct plan *p)
{
	return p->lora && p->lora->tokenizer.count ? &p->lora->tokenizer : NULL;
}

struct source_file *view_companion(const struct plan *p, const char *name)
{
	const struct tokenizer *tokenizer = adapter_tokenizer(p);
	const bool replaced = tokenizer && tokenizer_has(name);
	struct source_file *files = replaced ? tokenizer->files : p->c->companions;
	const size_t count = replaced ? tokenizer->count : p->c->companion_count;

	for (size_t i = 0; i < count; i++)
		if (strcmp(files[i].name, name) == 0)
			return &files[i];
	return NULL;
}

size_t view_lora_members(const struct plan *p, struct config_member members[VIEW_LORA_MEMBERS])
{
	const struct lora *lora = p->lora;
	size_t count = 0;

	if (lora && lora->untied)
		members[count++] = (struct config_member){"tie_word_embeddings", "false", "true", true};
	if (lora && lora->vocabulary)
		members[count++] = (struct config_member){"vocab_size", lora->vocabulary, lora->old_vocabulary, false};
	return count;
}

int view_refuse(const struct plan *p, struct late *late, const struct gptqfs_error *err, const char *headline,
    struct layout *readme)
{
	struct arena *arena = &p->c->arena;
	const char *refusal = arena_strndup(arena, err->text, strlen(err->text));
	struct text text = {0};
	int rc;

	text_printf(&text, "%s:\n%s\nThe other views are not affected.\n", headline, err->text);
	rc = refusal ? layout_set_text(readme, arena, &text) : -ENOMEM;
	text_free(&text);
	if (rc == 0)
		late->refusal = refusal;
	return rc;
}

int view_add_companions(const struct plan *p, uint32_t dir)
{
	struct checkpoint *c = p->c;
	const struct tokenizer *tokenizer = adapter_tokenizer(p);
	const char *last = NULL, *taken = NULL;

	for (size_t i = 0; tokenizer && i < tokenizer->count; i++)
		if (add_companion(p, dir, &tokenizer->files[i], NULL))
			return -ENOMEM;
	for (size_t i = 0; i < c->companion_count; i++) {
		struct source_file *f = &c->companions[i];

		if (tokenizer && tokenizer_has(f->name))
			continue;
		if (!tree_admits(p->tree, dir, f->name)) {
			taken = taken ? taken : f->name;
			continue;
		}
		if (add_companion(p, dir, f, last))
			return -ENOMEM;
		last = f->name;
	}
	if (taken)
		checkpoint_warn_once(c, "%.500s: views have a file of their own by that name, and do not show this one",
		    taken);
	return 0;
}
