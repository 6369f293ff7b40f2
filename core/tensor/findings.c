/* SPDX-License-Identifier: MIT */
#include "tensor/findings.h"

#include <string.h>

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
