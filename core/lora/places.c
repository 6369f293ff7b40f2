/* SPDX-License-Identifier: MIT */
#include "lora/places.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 1024

/* ---- a copy ---- */

/* Parts of their own, behind a list of their addresses. */
static struct tensor *copy_parts(struct arena *arena, const struct tensor *const *parts, size_t count,
    const struct tensor *const **list)
{
	struct tensor *copies = arena_alloc(arena, count, sizeof(*copies));
	const struct tensor **addresses = arena_alloc(arena, count, sizeof(*addresses));

	if (!copies || !addresses)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		copies[i] = *parts[i];
		addresses[i] = &copies[i];
	}
	*list = addresses;
	return copies;
}

/* Gives a joined or stacked tensor parts of its own, which are places. Returns 0 or -ENOMEM. */
static int open_parts(struct places *p, struct tensor *t)
{
	const struct tensor *const *parts, *const *list;
	const struct tensor *self = t;
	struct arena *arena = &p->c->arena;
	struct tensor *copies;
	struct stacked *stacked;
	size_t count;

	if (t->origin != TENSOR_JOINED && t->origin != TENSOR_STACKED)
		return 0;
	parts = tensor_parts(&self, &count);
	copies = copy_parts(arena, parts, count, &list);
	if (!copies)
		return -ENOMEM;
	if (t->origin == TENSOR_STACKED) {
		stacked = arena_alloc(arena, 1, sizeof(*stacked));
		if (!stacked)
			return -ENOMEM;
		*stacked = *t->stacked;
		stacked->part = list;
		memset(stacked->transposed, 0, sizeof(stacked->transposed));
		t->stacked = stacked;
	} else {
		t->parts = list;
	}
	for (size_t i = 0; i < count; i++)
		if (*copies[i].name)
			p->list[p->count++] = (struct place){copies[i].name, &copies[i], true, NULL};
	return 0;
}

static int by_place_name(const void *a, const void *b)
{
	return strcmp(((const struct place *)a)->name, ((const struct place *)b)->name);
}

static size_t count_parts(const struct tensors *ts)
{
	size_t all = 0, count;

	for (size_t i = 0; i < ts->count; i++) {
		const struct tensor *t = &ts->list[i];

		tensor_parts(&t, &count);
		all += 1 + count;
	}
	return all;
}

int places_open(struct places *p, struct checkpoint *c, const struct tensors *in, struct tensors *out)
{
	*out = *in;
	*p = (struct places){.c = c, .out = out, .architecture = architecture_find(c->config_json)};
	architecture_tables(c->config_json, &p->tables);
	out->list = arena_alloc(&c->arena, in->count + 1, sizeof(*out->list)); /* one more for a head */
	p->list = arena_alloc(&c->arena, count_parts(in), sizeof(*p->list));
	if (!out->list || !p->list)
		return -ENOMEM;
	memcpy(out->list, in->list, in->count * sizeof(*in->list));
	for (size_t i = 0; i < in->count; i++) {
		struct tensor *t = &out->list[i];

		p->list[p->count++] = (struct place){t->name, t, false, NULL};
		if (open_parts(p, t))
			return -ENOMEM;
	}
	qsort(p->list, p->count, sizeof(*p->list), by_place_name);
	return 0;
}

/* ---- finding ---- */

static struct place *find_place(struct places *p, const char *name)
{
	const struct place key = {.name = name};

	if (p->head.name && strcmp(p->head.name, name) == 0)
		return &p->head;
	return p->count ? bsearch(&key, p->list, p->count, sizeof(key), by_place_name) : NULL;
}

static struct place *find_spelled(struct places *p, const char *name)
{
	struct place *found = find_place(p, name);
	const char *renamed;

	if (found)
		return found;
	renamed = architecture_rename(p->architecture, name, &p->c->arena);
	return renamed && renamed != name ? find_place(p, renamed) : NULL;
}

/* Writes the name with the model's prefix in place of the adapter's. False if it lacks that one, or is too long. */
static bool exchange_prefix(const struct places *p, const char *name, char out[NAME_MAX_BYTES])
{
	const struct exchange *found = NULL;
	size_t len = 0;

	for (size_t i = 0; i < p->exchange_count; i++) {
		const struct exchange *x = &p->exchanges[i];

		if (strncmp(name, x->from, strlen(x->from)) != 0 || (found && strlen(x->from) < len))
			continue;
		found = x;
		len = strlen(x->from);
	}
	return found && snprintf(out, NAME_MAX_BYTES, "%s%s", found->to, name + len) < NAME_MAX_BYTES;
}

struct place *places_find(struct places *p, const char *module, const char *leaf)
{
	char name[NAME_MAX_BYTES], other[NAME_MAX_BYTES];
	struct place *found;

	if (snprintf(name, sizeof(name), "%s%s%s", module, *module && *leaf ? "." : "", leaf) >= (int)sizeof(name))
		return NULL;
	found = find_spelled(p, name);
	return !found && exchange_prefix(p, name, other) ? find_spelled(p, other) : found;
}

static bool has_below(const struct places *p, const char *module)
{
	const size_t len = strlen(module);
	size_t low = 0, high = p->count;

	/* '.' and '/' are neighbours, so nothing lies between MODULE. and the names below it. */
	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		const int order = strncmp(p->list[middle].name, module, len);

		if (order < 0 || (order == 0 && (unsigned char)p->list[middle].name[len] < '.'))
			low = middle + 1;
		else
			high = middle;
	}
	return low < p->count && strncmp(p->list[low].name, module, len) == 0 && p->list[low].name[len] == '.';
}

/* The same for the name that the class gives to what is below the module. */
static bool has_below_spelled(const struct places *p, const char *module)
{
	const char *name, *renamed;

	if (has_below(p, module))
		return true;
	name = arena_printf(&p->c->arena, "%s.", module);
	renamed = name ? architecture_rename(p->architecture, name, &p->c->arena) : NULL;
	if (!renamed || renamed == name)
		return false;
	name = arena_strndup(&p->c->arena, renamed, strlen(renamed) - 1);
	return name && has_below(p, name);
}

bool places_has_below(struct places *p, const char *module)
{
	char other[NAME_MAX_BYTES];

	return has_below_spelled(p, module) || (exchange_prefix(p, module, other) && has_below_spelled(p, other));
}

/* ---- prefixes ---- */

int places_prefix_length(const char *name)
{
	static const char *const words[] = {"layers.", "h.", "blocks."};

	for (const char *at = name; at; at = strchr(at, '.')) {
		at += *at == '.';
		for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
			const size_t len = strlen(words[i]);

			if (strncmp(at, words[i], len) == 0 && at[len] >= '0' && at[len] <= '9')
				return (int)(at - name);
		}
	}
	return -1;
}

size_t places_prefixes(const struct places *p, const char **list, size_t room)
{
	size_t count = 0;

	for (size_t i = 0; i < p->count && count < room; i++) {
		const int len = places_prefix_length(p->list[i].name);
		size_t k = 0;

		while (len >= 0 && k < count && (strncmp(list[k], p->list[i].name, (size_t)len) != 0 || list[k][len]))
			k++;
		if (len < 0 || k < count)
			continue;
		list[count] = arena_strndup(&p->c->arena, p->list[i].name, (size_t)len);
		if (!list[count])
			return count;
		count++;
	}
	return count;
}
