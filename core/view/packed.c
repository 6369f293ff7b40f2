/* SPDX-License-Identifier: MIT */

/*
 * A model directory that is still quantized: GPTQ with q, k, v and gate, up joined as they are packed, for engines that
 * want them so. config.json and quantize_config.json describe what is there, and not what was.
 */

#include <errno.h>

#include "quant/gptq/packed.h"
#include "quant/gptq/packed_config.h"
#include "view/config_json.h"
#include "view/shards.h"
#include "view/view.h"

static struct st_tensor shown(const void *tensors, size_t i)
{
	const struct packed *p = tensors;

	return p->list[i].shown;
}

static size_t extents_of(const void *tensors, size_t i)
{
	const struct packed *p = tensors;

	return packed_extents(&p->list[i]);
}

static int append_tensor(const void *tensors, size_t i, struct layout *layout)
{
	const struct packed *p = tensors;

	return packed_append(p, &p->list[i], layout);
}

static int add_weights(const struct plan *p, uint32_t dir)
{
	struct packed *packed = arena_alloc(&p->c->arena, 1, sizeof(*packed));
	struct shards *shards = arena_alloc(&p->c->arena, 1, sizeof(*shards));

	if (!packed || !shards || packed_list(p->c, p->packed, packed))
		return -ENOMEM;
	*shards = (struct shards){.tree = p->tree,
	    .dir = dir,
	    .like = &p->weights,
	    .tensors = packed,
	    .count = packed->count,
	    .parameters = packed_parameters(packed),
	    .shown = shown,
	    .extents = extents_of,
	    .append = append_tensor};
	return shards_add(shards);
}

static int add_configs(const struct plan *p, uint32_t dir)
{
	struct text own = {0}, inside = {0}, config = {0};
	int rc = packed_config_write(p->c, p->packed, 0, &own);

	text_printf(&own, "\n");
	if (rc == 0)
		rc = tree_add_text(p->tree, dir, "quantize_config.json", &own, &p->weights);
	else
		text_free(&own);
	if (rc || !p->c->config_text.at)
		return rc;
	rc = packed_config_write(p->c, p->packed, 2, &inside);
	if (rc == 0) {
		config_rewrite_packed(p->c->config_text, (struct json_text){inside.data, inside.len}, &config);
		rc = tree_add_text(p->tree, dir, "config.json", &config, &p->c->config.stat);
	}
	text_free(&inside);
	return rc;
}

int view_packed_plan(const struct plan *p, const struct view *view, uint32_t dir)
{
	int rc = add_configs(p, dir);

	(void)view;
	if (rc == 0)
		rc = add_weights(p, dir);
	return rc ? rc : view_add_companions(p, dir);
}
