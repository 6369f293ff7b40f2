/* SPDX-License-Identifier: MIT */

/*
 * A model directory that is still quantized, with q, k, v and gate, up joined in packed form, for engines that expect
 * that. config.json and quantize_config.json describe the view, not the source.
 */

#include <errno.h>

#include "quant/repack.h"
#include "view/config_json.h"
#include "view/shards.h"
#include "view/view.h"

struct packed_directory {
	struct packed packed;
	const struct repack_ops *ops;
};

static struct st_tensor packed_shown(const void *tensors, size_t i)
{
	const struct packed_directory *d = tensors;

	return d->packed.list[i].shown;
}

static size_t packed_extents_of(const void *tensors, size_t i)
{
	const struct packed_directory *d = tensors;

	return d->ops->extents(&d->packed.list[i]);
}

static int append_packed(const void *tensors, size_t i, struct layout *layout)
{
	const struct packed_directory *d = tensors;

	return d->ops->append(&d->packed, &d->packed.list[i], layout);
}

static int view_packed_add_weights(const struct plan *p, uint32_t dir)
{
	struct packed_directory *d = arena_alloc(&p->c->arena, 1, sizeof(*d));
	struct shards *shards = arena_alloc(&p->c->arena, 1, sizeof(*shards));

	if (!d || !shards || p->repack->list(p->c, p->packed, &d->packed))
		return -ENOMEM;
	d->ops = p->repack;
	*shards = (struct shards){.tree = p->tree,
	    .dir = dir,
	    .stem = view_weights_stem(p),
	    .like = &p->weights,
	    .shard_bytes = p->shard_bytes,
	    .tensors = d,
	    .count = d->packed.count,
	    .parameters = d->ops->parameters(&d->packed),
	    .shown = packed_shown,
	    .extents = packed_extents_of,
	    .append = append_packed};
	return shards_add(shards);
}

static int add_configs(const struct plan *p, uint32_t dir)
{
	struct text own = {0}, inside = {0}, config = {0};
	struct config_view view = {.bare = view_is_diffusers(p)};
	int rc = p->repack->configure(p->packed, 0, &own);

	text_printf(&own, "\n");
	if (rc == 0)
		rc = tree_add_text(p->tree, dir, "quantize_config.json", &own, &p->weights);
	else
		text_free(&own);
	if (rc || !p->c->config_text.at)
		return rc;
	rc = p->repack->configure(p->packed, 2, &inside);
	if (rc == 0) {
		view.quantization = (struct json_text){inside.data, inside.len};
		config_rewrite(p->c->config_text, &view, &config);
		rc = tree_add_text(p->tree, dir, "config.json", &config, &p->c->config.stat);
	}
	text_free(&inside);
	return rc;
}

int view_packed_absent(const struct plan *p, const char **reason)
{
	*reason = p->lora ? "packed weights cannot carry an adapter" : p->unpacked;
	return 0;
}

int view_packed_plan(const struct plan *p, const struct view *view, uint32_t dir)
{
	int rc = add_configs(p, dir);

	(void)view;
	if (rc == 0)
		rc = view_packed_add_weights(p, dir);
	return rc ? rc : view_add_companions(p, dir);
}
