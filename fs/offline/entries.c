/* SPDX-License-Identifier: MIT */
#include "offline/entries.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool entry_is_directory(const struct entry *e)
{
	return S_ISDIR(e->mode);
}

static bool ends_in(const char *name, const char *suffix)
{
	const size_t length = strlen(name), tail = strlen(suffix);

	return length >= tail && strcmp(name + length - tail, suffix) == 0;
}

static enum entry_turn turn_of(const char *name)
{
	if (strcmp(name, "config.json") == 0 || strcmp(name, "model_index.json") == 0)
		return TURN_CONFIG;
	return ends_in(name, ".index.json") ? TURN_INDEX : TURN_DATA;
}

static int entries_add(struct entries *entries, const struct entry *e)
{
	if (entries->count == entries->room) {
		const size_t room = entries->room ? entries->room * 2 : 64;
		struct entry *list = reallocarray(entries->list, room, sizeof(*list));

		if (!list)
			return -ENOMEM;
		entries->list = list;
		entries->room = room;
	}
	entries->list[entries->count++] = *e;
	return 0;
}

static int add_child(struct entries *entries, const struct gptqfs *model, const struct gptqfs_dirent *child,
    size_t parent)
{
	struct entry e = {.name = child->name, .ino = child->ino, .parent = parent};
	struct stat st;
	int rc = gptqfs_getattr(model, child->ino, &st);

	if (rc)
		return rc;
	e.depth = entries->list[parent].depth + 1;
	if (e.depth > ENTRY_DEPTH_MAX)
		return -ENAMETOOLONG;
	e.mode = st.st_mode | S_IWUSR;
	e.mtime = st.st_mtim;
	if (!entry_is_directory(&e)) {
		e.bytes = (uint64_t)st.st_size;
		e.turn = turn_of(e.name);
		entries->bytes += e.bytes;
		entries->files++;
	}
	return entries_add(entries, &e);
}

int entries_list(struct entries *entries, const struct gptqfs *model)
{
	struct gptqfs_dirent child;
	struct entry root = {.name = "", .ino = GPTQFS_ROOT};
	struct stat st;
	int rc = gptqfs_getattr(model, GPTQFS_ROOT, &st);

	*entries = (struct entries){0};
	root.mode = st.st_mode | S_IWUSR;
	root.mtime = st.st_mtim;
	if (rc == 0)
		rc = entries_add(entries, &root);
	for (size_t dir = 0; rc == 0 && dir < entries->count; dir++) {
		if (!entry_is_directory(&entries->list[dir]))
			continue;
		for (uint64_t i = 2; rc == 0; i++) {
			rc = gptqfs_readdir(model, entries->list[dir].ino, i, &child);
			if (rc == 0)
				rc = add_child(entries, model, &child, dir);
			else if (rc == -ENOENT)
				break;
		}
		rc = rc == -ENOENT ? 0 : rc;
	}
	return rc;
}

void entries_free(struct entries *entries)
{
	free(entries->list);
	*entries = (struct entries){0};
}

char *entries_path(const struct entries *entries, size_t number)
{
	size_t length = 0;
	char *path, *at;

	for (size_t i = number; i; i = entries->list[i].parent)
		length += strlen(entries->list[i].name) + 1;
	path = malloc(length + 1);
	if (!path)
		return NULL;
	if (!length)
		*path = 0;
	at = path + length;
	for (size_t i = number; i; i = entries->list[i].parent) {
		const size_t n = strlen(entries->list[i].name);

		*--at = i == number ? 0 : '/';
		at -= n;
		memcpy(at, entries->list[i].name, n);
	}
	return path;
}
