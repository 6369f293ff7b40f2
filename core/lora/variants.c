/* SPDX-License-Identifier: MIT */
#include "lora/variants.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

static int by_variant_name(const void *a, const void *b)
{
	return strcmp(((const struct variant *)a)->name, ((const struct variant *)b)->name);
}

static bool holds_adapter(int dirfd, const char *name)
{
	char config[NAME_MAX + sizeof("/adapter_config.json")];

	return name[0] != '.' &&
	       snprintf(config, sizeof(config), "%s/adapter_config.json", name) < (int)sizeof(config) &&
	       faccessat(dirfd, config, F_OK, 0) == 0;
}

static int variants_list(struct variants *v, struct arena *arena, DIR *dir, struct gptqfs_error *err)
{
	const struct dirent *entry;

	v->list = arena_alloc(arena, VARIANTS_MAX, sizeof(*v->list));
	if (!v->list)
		return err_memory(err);
	while (errno = 0, (entry = readdir(dir))) {
		if (!holds_adapter(dirfd(dir), entry->d_name))
			continue;
		if (v->count == VARIANTS_MAX)
			return err_set(err, -EBADMSG, "%s: more than %d adapters; give a directory with fewer", v->path,
			    VARIANTS_MAX);
		v->list[v->count].name = arena_strndup(arena, entry->d_name, strlen(entry->d_name));
		if (!v->list[v->count++].name)
			return err_memory(err);
	}
	if (errno)
		return err_system(err, errno, "%s", v->path);
	if (!v->count)
		return err_set(err, -EBADMSG,
		    "%s: none of its directories holds an adapter_config.json; give a directory of adapters (for a "
		    "single one: lora=)",
		    v->path);
	qsort(v->list, v->count, sizeof(*v->list), by_variant_name);
	return 0;
}

static int open_variant(struct variants *v, size_t i, struct checkpoint *c, bool base_tokenizer,
    struct gptqfs_error *err)
{
	struct variant *one = &v->list[i];
	/* ":1", because a name may end like a scale. */
	const char *text = arena_printf(&c->arena, "%s/%s:1", v->path, one->name);
	const struct lora_options options = {&text, 1, base_tokenizer, NULL};
	int rc = text ? lora_open(&one->lora, c, &options, &one->tensors, err) : err_memory(err);

	if (rc != -EBADMSG && rc != -ENOTSUP)
		return rc;
	one->refusal = arena_strndup(&c->arena, err->text, strlen(err->text));
	return one->refusal ? 0 : err_memory(err);
}

int variants_open(struct variants *v, struct checkpoint *c, const struct lora_options *options,
    const struct tensors *base, struct gptqfs_error *err)
{
	const char *path = options->directory;
	DIR *dir = opendir(path);
	int rc;

	*v = (struct variants){.path = arena_strndup(&c->arena, path, strlen(path))};
	if (dir && !v->path)
		rc = err_memory(err);
	else if (dir)
		rc = variants_list(v, &c->arena, dir, err);
	else
		rc = err_system(err, errno, "loras=%s", path);
	if (dir)
		closedir(dir);
	for (size_t i = 0; rc == 0 && i < v->count; i++) {
		v->list[i].tensors = *base;
		rc = open_variant(v, i, c, options->base_tokenizer, err);
	}
	return adapter_code(rc);
}

void variants_close(struct variants *v)
{
	for (size_t i = 0; i < v->count; i++)
		lora_close(&v->list[i].lora);
	v->count = 0;
}

struct variant *variants_find(const struct variants *v, const char *name, size_t len)
{
	for (size_t i = 0; i < v->count; i++)
		if (strlen(v->list[i].name) == len && memcmp(v->list[i].name, name, len) == 0)
			return &v->list[i];
	return NULL;
}
