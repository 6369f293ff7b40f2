/* SPDX-License-Identifier: MIT */

/* Which GPTQ modules can be joined in packed form, and the table of operations. */

#include <string.h>

#include "quant/gptq/packed.h"
#include "quant/gptq/packed_config.h"

/* ---- reasons: NULL if there is none ---- */

static uint32_t effective_group_size(const struct qtensor *q)
{
	return q->group_size < q->in_features ? q->group_size : q->in_features;
}

static const char *unlike_groups(const struct repack_pair *p, const struct qtensor *a, const struct qtensor *b)
{
	if (!a->g_idx && !b->g_idx && effective_group_size(a) != effective_group_size(b))
		return arena_printf(p->arena, "%s has groups of %u in_features, %s of %u", p->first_name,
		    effective_group_size(a), p->other_name, effective_group_size(b));
	if (a->groups != b->groups)
		return arena_printf(p->arena, "%s has %u groups, %s %u", p->first_name, a->groups, p->other_name,
		    b->groups);
	if (!a->g_idx != !b->g_idx ||
	    (a->g_idx && a->g_idx != b->g_idx && memcmp(a->g_idx, b->g_idx, (size_t)a->in_features * 4) != 0))
		return arena_printf(p->arena, "%s and %s differ in g_idx", p->first_name, p->other_name);
	return NULL;
}

static const char *unlike_modules(const struct repack_pair *p)
{
	const struct gptq_module *a = gptq_const_module_of(p->first), *b = gptq_const_module_of(p->other);

	if (a->q.bits != b->q.bits)
		return arena_printf(p->arena, "%s has %d bits, %s %d", p->first_name, a->q.bits, p->other_name,
		    b->q.bits);
	if (a->q.word_bits != b->q.word_bits)
		return arena_printf(p->arena, "%s is packed in words of %d bits, %s of %d", p->first_name,
		    a->q.word_bits, p->other_name, b->q.word_bits);
	if (a->q.packing != b->q.packing || a->stored != b->stored)
		return arena_printf(p->arena, "%s and %s are packed by different conventions", p->first_name,
		    p->other_name);
	if (a->q.scale_dtype != b->q.scale_dtype)
		return arena_printf(p->arena, "the scales of %s are %s, of %s %s", p->first_name,
		    dtype_name(a->q.scale_dtype), p->other_name, dtype_name(b->q.scale_dtype));
	return unlike_groups(p, &a->q, &b->q);
}

const struct repack_ops gptq_repack = {
    .unlike = unlike_modules,
    .list = packed_list,
    .extents = packed_extents,
    .append = packed_append,
    .parameters = packed_parameters,
    .configure = packed_config_write,
};
