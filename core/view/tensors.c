/* SPDX-License-Identifier: MIT */

/*
 * Every tensor in files of its own, in a directory for each part of its name but the last: see escape.h. NAME is the
 * tensor's name without .weight, unless the model has both X and X.weight:
 *
 *     NAME.safetensors  the tensor, and the bias of a weight
 *     NAME.npy          the tensor, if numpy has its type
 *     NAME.t.npy        the transposed matrix: the same bytes, in Fortran order
 *     NAME.info         what it is and where it comes from
 *
 * Joined modules are beside their parts. There may be hundreds of thousands of these files, so headers and texts are
 * not kept, but generated on every read.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "view/escape.h"
#include "view/npy.h"
#include "view/tensor_info.h"
#include "view/view.h"

#define WEIGHT ".weight"

/* Shared by all files of the view; lives as long as they do. */
struct types {
	struct dense dense; /* for .safetensors: the requested type */
	struct dense npy;   /* the same, but F32 instead of BF16 */
};

#define RECENT 256

struct folder {
	const struct plan *p;
	const struct types *types;
	const struct tensor **tensors; /* [count] all tensors shown, sorted by name */
	size_t count;
	struct text path;                    /* of the current tensor, NUL-terminated */
	struct text entered;                 /* current nest of directories: "model/layers/0/" */
	uint32_t inos[ESCAPE_DEPTH_MAX + 1]; /* inode numbers of the view and of these */
	struct text scratch;
	/* Texts by hash: file names and .npy headers recur in every layer. */
	struct {
		const char *bytes;
		size_t len;
	} recent[RECENT];
};

/* ---- which tensors ---- */

static int folder_by_name(const void *a, const void *b)
{
	return strcmp((*(const struct tensor *const *)a)->name, (*(const struct tensor *const *)b)->name);
}

/* Collects the tensors of the model and those of the fused views. */
static int folder_collect(struct folder *f)
{
	const struct tensors *ts = f->p->tensors, *fused = f->p->fused;

	f->tensors = malloc((ts->count + fused->count) * sizeof(*f->tensors));
	if (!f->tensors)
		return -ENOMEM;
	for (size_t i = 0; i < ts->count; i++)
		f->tensors[f->count++] = &ts->list[i];
	for (size_t i = 0; i < fused->count; i++)
		if (fused->list[i].origin == TENSOR_JOINED && !tensors_find(ts, fused->list[i].name))
			f->tensors[f->count++] = &fused->list[i];
	qsort(f->tensors, f->count, sizeof(*f->tensors), folder_by_name);
	return 0;
}

/* Returns the tensor named by the first `len` bytes of `name` followed by `suffix`, or NULL. */
static const struct tensor *folder_find(struct folder *f, const char *name, size_t len, const char *suffix)
{
	struct tensor wanted = {0};
	const struct tensor *key = &wanted, *const * found;

	f->scratch.len = 0;
	text_put(&f->scratch, name, len);
	text_put(&f->scratch, suffix, strlen(suffix) + 1);
	if (f->scratch.failed)
		return NULL;
	wanted.name = f->scratch.data;
	found = bsearch(&key, f->tensors, f->count, sizeof(*f->tensors), folder_by_name);
	return found ? *found : NULL;
}

/* Returns a NUL-terminated copy of f->scratch in the arena, reusing a recent one if equal. NULL if out of memory. */
static const char *keep_scratch(struct folder *f)
{
	const char *bytes = f->scratch.data;
	const size_t len = f->scratch.len;
	uint32_t hash = 0;

	if (f->scratch.failed)
		return NULL;
	for (size_t i = 0; i < len; i++)
		hash = hash * 31 + (unsigned char)bytes[i];
	hash %= RECENT;
	if (!f->recent[hash].bytes || f->recent[hash].len != len || memcmp(f->recent[hash].bytes, bytes, len) != 0) {
		f->recent[hash].bytes = arena_strndup(&f->p->c->arena, bytes, len);
		f->recent[hash].len = len;
	}
	return f->recent[hash].bytes;
}

/* The same for a file or directory name: `base`, of `len` bytes, followed by `suffix`. */
static const char *keep_name(struct folder *f, const char *base, size_t len, const char *suffix)
{
	f->scratch.len = 0;
	text_put(&f->scratch, base, len);
	text_string(&f->scratch, suffix);
	return keep_scratch(f);
}

/* ---- where ---- */

/* The location of the files called NAME. */
struct place {
	uint32_t dir;
	const char *base; /* the last part of f->path */
};

/*
 * Enters the directories of f->path. Names are sorted, so everything below a directory is consecutive, and only those
 * of f->entered can recur. Returns 0 or -ENOMEM.
 */
static int enter(struct folder *f, struct place *at)
{
	const char *part = f->path.data, *slash;
	int depth = 0;

	for (; (slash = strchr(part, '/')); part = slash + 1, depth++) {
		const size_t start = (size_t)(part - f->path.data), end = (size_t)(slash + 1 - f->path.data);
		const char *name;

		if (end <= f->entered.len && memcmp(f->entered.data + start, part, end - start) == 0)
			continue;
		name = keep_name(f, part, end - 1 - start, "");
		if (name)
			f->inos[depth + 1] = tree_add_directory(f->p->tree, f->inos[depth], name, &f->p->weights);
		f->entered.len = start;
		text_put(&f->entered, part, end - start);
		if (!name || !f->inos[depth + 1] || f->entered.failed)
			return -ENOMEM;
	}
	*at = (struct place){f->inos[depth], part};
	return 0;
}

/* ---- files ---- */

static void folder_write_header(const void *subject, struct text *out)
{
	const struct tensor_info *info = subject;
	struct st_tensor shown[2] = {dense_shown(info->dense, info->tensor)};

	if (info->bias)
		shown[1] = dense_shown(info->dense, info->bias);
	safetensors_write(shown, info->bias ? 2 : 1, out);
}

static void write_note(const void *subject, struct text *out)
{
	tensor_info_write(subject, out);
}

static struct layout *new_layout(const struct folder *f, size_t extents)
{
	struct arena *arena = &f->p->c->arena;
	struct layout *layout = arena_alloc(arena, 1, sizeof(*layout));

	return layout && layout_reserve(layout, arena, extents) == 0 ? layout : NULL;
}

/* Adds `base` with a suffix to the directory. */
static int folder_add_file(struct folder *f, const struct place *at, const char *suffix, const struct layout *layout)
{
	const char *name = keep_name(f, at->base, strlen(at->base), suffix);

	return name && tree_add(f->p->tree, at->dir, name, layout, &f->p->weights) ? 0 : -ENOMEM;
}

static int add_safetensors(struct folder *f, const struct place *at, const struct tensor_info *info)
{
	const size_t extents = dense_extents(info->tensor) + (info->bias ? dense_extents(info->bias) : 0);
	struct layout *layout = new_layout(f, 1 + extents);
	int rc;

	if (!layout)
		return -ENOMEM;
	rc = layout_add_text(layout, &f->p->c->arena, folder_write_header, info);
	if (rc == 0)
		rc = dense_append(info->dense, info->tensor, layout);
	if (rc == 0 && info->bias)
		rc = dense_append(info->dense, info->bias, layout);
	return rc ? rc : folder_add_file(f, at, ".safetensors", layout);
}

static int add_npy(struct folder *f, const struct place *at, const struct tensor_info *info, bool transposed)
{
	const struct tensor *t = info->tensor;
	const struct npy npy = {tensor_info_npy(info), t->shape, t->ndim, transposed};
	struct layout *layout = new_layout(f, 1 + dense_extents(t));
	const char *header;
	int rc;

	f->scratch.len = 0;
	npy_write(&npy, &f->scratch);
	header = keep_scratch(f);
	if (!header || !layout)
		return -ENOMEM;
	layout_add_bytes(layout, header, f->scratch.len);
	rc = dense_append(info->npy, t, layout);
	return rc ? rc : folder_add_file(f, at, transposed ? ".t.npy" : ".npy", layout);
}

static int add_arrays(struct folder *f, const struct place *at, const struct tensor_info *info)
{
	int rc;

	if (tensor_info_npy(info) == DTYPE_COUNT)
		return 0;
	rc = add_npy(f, at, info, false);
	return rc || info->tensor->ndim != 2 ? rc : add_npy(f, at, info, true);
}

static int add_note(struct folder *f, const struct place *at, const struct tensor_info *info)
{
	struct layout *layout = new_layout(f, 1);

	if (!layout || layout_add_text(layout, &f->p->c->arena, write_note, info))
		return -ENOMEM;
	return folder_add_file(f, at, ".info", layout);
}

static int add_files(struct folder *f, const struct place *at, const struct tensor_info *info)
{
	int rc = add_safetensors(f, at, info);

	if (rc == 0)
		rc = add_arrays(f, at, info);
	return rc ? rc : add_note(f, at, info);
}

static int add_tensor(struct folder *f, const struct tensor *t)
{
	const bool weight = ends_with(t->name, WEIGHT);
	const size_t len = strlen(t->name), stem = weight ? len - strlen(WEIGHT) : len;
	struct tensor_info *info = arena_alloc(&f->p->c->arena, 1, sizeof(*info));
	struct place at;

	if (!info)
		return -ENOMEM;
	*info = (struct tensor_info){.tensor = t, .dense = &f->types->dense, .npy = &f->types->npy};
	if (weight)
		info->bias = folder_find(f, t->name, stem, ".bias");
	f->path.len = 0;
	escape_path(t->name, weight && folder_find(f, t->name, stem, "") ? len : stem, &f->path);
	text_put(&f->path, "", 1);
	if (f->path.failed || f->scratch.failed || enter(f, &at))
		return -ENOMEM;
	return add_files(f, &at, info);
}

int view_tensors_plan(const struct plan *p, const struct view *view, uint32_t dir)
{
	struct types *types = arena_alloc(&p->c->arena, 1, sizeof(*types));
	struct folder f = {.p = p, .types = types, .inos = {dir}};
	int rc;

	(void)view;
	if (!types)
		return -ENOMEM;
	types->dense = (struct dense){p->c, p->kernels, p->dtype};
	types->npy = types->dense;
	if (p->dtype == DTYPE_BF16)
		types->npy.dtype = DTYPE_F32;
	rc = folder_collect(&f);
	for (size_t i = 0; rc == 0 && i < f.count; i++)
		rc = add_tensor(&f, f.tensors[i]);
	free(f.tensors);
	text_free(&f.path);
	text_free(&f.entered);
	text_free(&f.scratch);
	return rc;
}
