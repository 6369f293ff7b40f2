/* SPDX-License-Identifier: MIT */
#include "tensor/findings.h"

#include <string.h>

#include "kernel/element.h"

void findings_add(struct findings *f, const struct finding *kind, uint64_t n)
{
	size_t i = 0;

	while (i < f->count && strcmp(f->list[i].key, kind->key) != 0)
		i++;
	if (i == FINDINGS_MAX)
		return;
	if (i == f->count) {
		f->list[f->count++] = *kind;
		f->list[i].count = 0;
	}
	f->list[i].count += n;
}

uint64_t findings_count(const struct findings *f, const char *key)
{
	for (size_t i = 0; i < f->count; i++)
		if (strcmp(f->list[i].key, key) == 0)
			return f->list[i].count;
	return 0;
}

uint64_t findings_remarks(const struct findings *f)
{
	uint64_t remarks = 0;

	for (size_t i = 0; i < f->count; i++)
		remarks += f->list[i].remark && f->list[i].count;
	return remarks;
}

void scale_count_all(struct scale_counts *c, const void *scales, uint64_t count, enum dtype dtype)
{
	for (uint64_t i = 0; i < count; i++)
		scale_count(c, element_load(scales, i, dtype));
}

void findings_add_scales(struct findings *f, const struct scale_counts *c)
{
	static const struct finding read = {.key = "Scales_read"};
	static const struct finding not_finite = {.key = "Scales_not_finite", .remark = true};
	static const struct finding zero = {.key = "Scales_all_zero",
	    .note = "modules whose scales are all zero, so that they do nothing",
	    .remark = true};

	findings_add(f, &read, c->read);
	findings_add(f, &not_finite, c->not_finite);
	findings_add(f, &zero, c->zero == c->read);
}
