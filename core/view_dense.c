/* SPDX-License-Identifier: MIT */

/*
 * An ordinary model directory: config.json, tokenizer and other files, and exactly one set of weights - one
 * model.safetensors, or shards of about 5 GB with their index. Tensors stand in bytewise order of their names, so
 * that a reader that goes by name reads from front to back; those that are not floats come last.
 */

#include <errno.h>
#include <string.h>

#include "config.h"
#include "dense.h"
#include "view.h"

#define SHARD_BYTES ((uint64_t)5000000000) /* the convention of Hugging Face's save_pretrained */

struct directory {
	const struct plan *p;
	const struct source *source; /* the plan's, or its fused one */
	struct dense dense;
	uint32_t dir;
	struct st_tensor *shown; /* [tensors] as the headers list them */
	uint64_t *shard_of;      /* [tensors] */
	uint64_t shard_count;
};

/* ---- weights ---- */

/* What each tensor is in this view, and in which shard. */
static void plan_tensors(struct directory *d)
{
	const struct source *s = d->source;
	uint64_t bytes = 0;

	d->shard_count = 1;
	for (size_t i = 0; i < s->tensor_count; i++) {
		d->shown[i] = dense_shown(&d->dense, &s->tensors[i]);
		if (bytes && bytes + d->shown[i].bytes > SHARD_BYTES) {
			d->shard_count++;
			bytes = 0;
		}
		bytes += d->shown[i].bytes;
		d->shard_of[i] = d->shard_count;
	}
}

static const char *shard_name(const struct directory *d, uint64_t shard)
{
	if (d->shard_count == 1)
		return "model.safetensors";
	return arena_printf(&d->p->c->arena, "model-%05llu-of-%05llu.safetensors", (unsigned long long)shard,
	    (unsigned long long)d->shard_count);
}

/* One safetensors file of the tensors [first, first + count). */
static int add_shard(const struct directory *d, size_t first, size_t count)
{
	struct arena *arena = &d->p->c->arena;
	struct layout *layout = arena_alloc(arena, 1, sizeof(*layout));
	const char *name = shard_name(d, d->shard_count == 1 ? 1 : d->shard_of[first]);
	struct text header = {0};
	char *bytes;
	size_t len, extents = 1;
	int rc = 0;

	for (size_t i = first; i < first + count; i++)
		extents += dense_extents(&d->source->tensors[i]);

	safetensors_write(d->shown + first, count, &header);
	bytes = header.failed ? NULL : arena_strndup(arena, header.data, header.len);
	len = header.len;
	text_free(&header);
	if (!layout || !name || !bytes || layout_reserve(layout, arena, extents))
		return -ENOMEM;
	layout_add_bytes(layout, bytes, len);
	for (size_t i = first; rc == 0 && i < first + count; i++)
		rc = dense_append(&d->dense, &d->source->tensors[i], layout);
	if (rc == 0 && !tree_add(d->p->tree, d->dir, name, layout, &d->p->weights))
		rc = -ENOMEM;
	return rc;
}

static int add_index(const struct directory *d)
{
	const size_t count = d->source->tensor_count;
	struct text text = {0};
	uint64_t bytes = 0, elements = 0;

	for (size_t i = 0; i < count; i++) {
		bytes += d->shown[i].bytes;
		elements += d->shown[i].bytes * 8 / dtype_bits(d->shown[i].dtype);
	}
	text_printf(&text, "{\n  \"metadata\": {\n    \"total_parameters\": %llu,\n    \"total_size\": %llu\n  },\n",
	    (unsigned long long)elements, (unsigned long long)bytes);
	text_printf(&text, "  \"weight_map\": {\n");
	for (size_t i = 0; i < count; i++) {
		text_printf(&text, "    ");
		text_json_string(&text, d->shown[i].name);
		text_printf(&text, ": \"model-%05llu-of-%05llu.safetensors\"%s\n", (unsigned long long)d->shard_of[i],
		    (unsigned long long)d->shard_count, i + 1 < count ? "," : "");
	}
	text_printf(&text, "  }\n}\n");
	return tree_add_text(d->p->tree, d->dir, "model.safetensors.index.json", &text, &d->p->weights);
}

static int add_weights(struct directory *d)
{
	const size_t count = d->source->tensor_count;
	int rc = d->shard_count > 1 ? add_index(d) : 0;

	for (size_t i = 0, n; rc == 0 && i < count; i += n) {
		for (n = 1; i + n < count && d->shard_of[i + n] == d->shard_of[i]; n++)
			;
		rc = add_shard(d, i, n);
	}
	return rc;
}

/* ---- the files around them ---- */

static int add_config(const struct directory *d)
{
	struct text text = {0};

	if (!d->p->c->config_text.at)
		return 0;
	config_rewrite(d->p->c->config_text, d->dense.dtype, &text);
	return tree_add_text(d->p->tree, d->dir, "config.json", &text, &d->p->c->config.stat);
}

static int add_companions(const struct directory *d)
{
	struct checkpoint *c = d->p->c;

	for (size_t i = 0; i < c->companion_count; i++) {
		struct source_file *f = &c->companions[i];
		struct layout *layout = arena_alloc(&c->arena, 1, sizeof(*layout));

		if (!layout || layout_reserve(layout, &c->arena, 1))
			return -ENOMEM;
		layout_add_source(layout, f, 0, (uint64_t)f->stat.st_size);
		if (!tree_add(d->p->tree, d->dir, f->name, layout, &f->stat))
			return -ENOMEM;
	}
	return 0;
}

int view_dense_plan(const struct plan *p, const struct view *view, uint32_t dir)
{
	struct directory d = {
	    .p = p, .source = view->fused ? p->fused : p->source, .dense = {p->c, p->kernels, view->dtype}, .dir = dir};
	const size_t count = d.source->tensor_count;
	int rc;

	d.shown = arena_alloc(&p->c->arena, count, sizeof(*d.shown));
	d.shard_of = arena_alloc(&p->c->arena, count, sizeof(*d.shard_of));
	if (!d.shown || !d.shard_of)
		return -ENOMEM;
	plan_tensors(&d);
	rc = add_config(&d);
	if (rc == 0)
		rc = add_weights(&d);
	return rc ? rc : add_companions(&d);
}
