/* SPDX-License-Identifier: MIT */
#include "view/gguf/reader.h"

#include <string.h>

#include "base/checked.h"
#include "view/gguf/keys.h"

#define DEPTH_MAX 4 /* of arrays in arrays, of which no file has any */

bool gguf_skip(struct gguf_reader *r, uint64_t bytes)
{
	if (bytes > (uint64_t)(r->end - r->at))
		return false;
	r->at += bytes;
	return true;
}

bool gguf_take(struct gguf_reader *r, void *out, size_t bytes)
{
	const unsigned char *from = r->at;

	if (!gguf_skip(r, bytes))
		return false;
	memcpy(out, from, bytes);
	return true;
}

bool gguf_take_string(struct gguf_reader *r, const unsigned char **text, uint64_t *len)
{
	if (!gguf_take(r, len, 8))
		return false;
	*text = r->at;
	return gguf_skip(r, *len);
}

bool gguf_take_head(struct gguf_reader *r, uint64_t *tensors, uint64_t *keys)
{
	uint32_t version;
	char magic[4];

	return gguf_take(r, magic, 4) && memcmp(magic, "GGUF", 4) == 0 && gguf_take(r, &version, 4) &&
	       (version == 2 || version == 3) && gguf_take(r, tensors, 8) && gguf_take(r, keys, 8);
}

/* Bytes of a scalar, 0 for any other type. */
static unsigned scalar_bytes(uint32_t type)
{
	static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

	return type < sizeof(bytes) ? bytes[type] : 0;
}

static bool skip_nested(struct gguf_reader *r, uint32_t type, int depth)
{
	const unsigned char *text;
	uint64_t count, bytes;
	uint32_t of;

	if (type == GGUF_STRING)
		return gguf_take_string(r, &text, &count);
	if (type != GGUF_ARRAY)
		return scalar_bytes(type) && gguf_skip(r, scalar_bytes(type));
	if (depth == DEPTH_MAX || !gguf_take(r, &of, 4) || !gguf_take(r, &count, 8))
		return false;
	if (scalar_bytes(of))
		return checked_mul(count, scalar_bytes(of), &bytes) && gguf_skip(r, bytes);
	/* A string or an array takes bytes, so this ends. */
	while (count--)
		if (!skip_nested(r, of, depth + 1))
			return false;
	return true;
}

bool gguf_skip_value(struct gguf_reader *r, uint32_t type)
{
	return skip_nested(r, type, 0);
}
