/* SPDX-License-Identifier: MIT */
#include "tensor/replacement.h"

#include <errno.h>
#include <string.h>

int replacement_begin(struct replacement *r, struct arena *arena, const struct tensors *ts)
{
	*r = (struct replacement){.ts = ts};
	r->made = arena_alloc(arena, ts->count, sizeof(*r->made));
	r->used = arena_alloc(arena, ts->count, sizeof(*r->used));
	return r->made && r->used ? 0 : -ENOMEM;
}

void replacement_use(struct replacement *r, const struct tensor *t)
{
	const size_t i = (size_t)(t - r->ts->list);

	r->used_count += !r->used[i];
	r->used[i] = true;
}

int replacement_finish(const struct replacement *r, struct arena *arena, struct tensors *out)
{
	struct tensor *list = arena_alloc(arena, r->ts->count - r->used_count + r->made_count, sizeof(*list));
	size_t n = 0;

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < r->ts->count; i++)
		if (!r->used[i])
			list[n++] = r->ts->list[i];
	memcpy(list + n, r->made, r->made_count * sizeof(*list));
	*out = *r->ts;
	out->list = list;
	out->count = n + r->made_count;
	tensors_sort(out);
	return 0;
}
