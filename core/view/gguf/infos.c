/* SPDX-License-Identifier: MIT */
#include "view/gguf/infos.h"

#include <errno.h>

#include "base/checked.h"
#include "view/gguf/keys.h"
#include "view/gguf/reader.h"

#define INFO_MIN 24 /* bytes of the shortest info: of a tensor without name and dimensions */

static bool skip_keys(struct gguf_reader *r, uint64_t count)
{
	const unsigned char *name;
	uint64_t len;
	uint32_t type;

	while (count--)
		if (!gguf_take_string(r, &name, &len) || !gguf_take(r, &type, 4) || !gguf_skip_value(r, type))
			return false;
	return true;
}

/* Computes the bytes of a tensor: rows of whole blocks. */
static bool compute_info_bytes(struct gguf_info *info)
{
	uint64_t blocks = info->ndim ? info->shape[0] / info->type.weights : 1;

	if (info->ndim && info->shape[0] % info->type.weights)
		return false;
	for (uint8_t i = 1; i < info->ndim; i++)
		if (!checked_mul(blocks, info->shape[i], &blocks))
			return false;
	return checked_mul(blocks, info->type.bytes, &info->bytes);
}

/* Returns 0, -EINVAL or -ENOMEM. */
static int take_info(struct gguf_reader *r, struct arena *arena, struct gguf_info *out)
{
	const unsigned char *name;
	uint64_t len;
	uint32_t ndim, type;

	if (!gguf_take_string(r, &name, &len) || len > GGUF_NAME_MAX || !gguf_take(r, &ndim, 4) ||
	    ndim > GGUF_DIMENSIONS || !gguf_take(r, out->shape, ndim * sizeof(*out->shape)) ||
	    !gguf_take(r, &type, 4) || !gguf_take(r, &out->begin, 8))
		return -EINVAL;
	out->ndim = (uint8_t)ndim;
	if (!gguf_type_find(type, &out->type) || !compute_info_bytes(out))
		return -EINVAL;
	out->name = arena_strndup(arena, (const char *)name, len);
	return out->name ? 0 : -ENOMEM;
}

int gguf_infos_parse(const unsigned char *bytes, size_t len, struct arena *arena, struct gguf_infos *out)
{
	struct gguf_reader r = {bytes, bytes + len};
	uint64_t tensors, keys, data, end;
	int rc = 0;

	*out = (struct gguf_infos){0};
	if (!gguf_take_head(&r, &tensors, &keys) || !skip_keys(&r, keys) ||
	    tensors > (uint64_t)(r.end - r.at) / INFO_MIN)
		return -EINVAL;
	out->list = arena_alloc(arena, tensors, sizeof(*out->list));
	if (!out->list)
		return -ENOMEM;
	while (rc == 0 && out->count < tensors)
		rc = take_info(&r, arena, &out->list[out->count++]);
	data = div_up((uint64_t)(r.at - bytes), GGUF_ALIGN) * GGUF_ALIGN;
	for (uint64_t i = 0; rc == 0 && i < out->count; i++)
		if (!checked_add(out->list[i].begin, data, &out->list[i].begin) ||
		    !checked_add(out->list[i].begin, out->list[i].bytes, &end))
			rc = -EINVAL;
	return rc;
}
