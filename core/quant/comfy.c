/* SPDX-License-Identifier: MIT */
#include "quant/comfy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static struct json *read_comfy(struct json_text text)
{
	struct gptqfs_error ignored;
	struct json *json = NULL;

	if (json_check(text, "comfy_quant", &ignored) == 0)
		json_parse(text, "comfy_quant", &json, &ignored);
	return json;
}

/* True for FP8 about which no more is said. */
static bool is_plain(const struct json *layer)
{
	const char *format = json_str(json_get(layer, "format"));
	const bool precise = json_get(layer, "full_precision_matrix_mult") != NULL;

	return format && strncmp(format, "float8_", strlen("float8_")) == 0 && json_count(layer) == 1u + precise;
}

int comfy_take(struct opening *o, const char *module)
{
	const struct st_tensor *t = opening_find(o, module, ".comfy_quant");
	struct json *layer;
	void *text;
	int rc = t ? opening_read(o, t, t->bytes, &text) : 0;

	if (!t || rc)
		return rc;
	layer = read_comfy((struct json_text){text, t->bytes});
	if (is_plain(layer))
		opening_take(o, t);
	json_free(layer);
	free(text);
	return 0;
}

/* Returns the name of a layer that is not plain, or "" if the text says nothing that is known; NULL if all are. */
static const char *find_other(const struct json *text)
{
	const struct json *layer = json_first(json_get(text, "layers"));

	if (!json_is_object(json_get(text, "layers")))
		return "";
	while (layer && is_plain(layer))
		layer = json_after(layer);
	return layer ? json_key(layer) : NULL;
}

int comfy_refuse(const struct opening *o)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < o->c->shard_count; i++) {
		const char *text = o->c->layers[i], *other;
		struct json *json;

		if (!text)
			continue;
		json = read_comfy((struct json_text){text, strlen(text)});
		other = find_other(json);
		if (other)
			rc = err_set(o->err, -ENOTSUP,
			    "%s: __metadata__: layer %.200s is stored in a way of ComfyUI that is not supported; convert the "
			    "model with the tool that made it, or fetch its unquantized version",
			    o->c->shards[i].name, other);
		json_free(json);
	}
	return rc;
}
