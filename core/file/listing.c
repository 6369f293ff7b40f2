/* SPDX-License-Identifier: MIT */
#include "file/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

struct lister {
	const struct source_dir *dir;
	struct arena *arena;
	struct listing *out;
	size_t room;
	struct gptqfs_error *err;
};

static int list_directory(struct lister *l, int fd, const char *prefix, int depth);

static int add_name(struct lister *l, const char *name)
{
	if (l->out->count == LISTING_FILES_MAX)
		return err_set(l->err, -EBADMSG, "%s: more than %d files; give the directory of one model",
		    l->dir->path, LISTING_FILES_MAX);
	if (l->out->count == l->room) {
		size_t room = l->room * 2 + 64;
		const char **names = arena_alloc(l->arena, room, sizeof(*names));

		if (!names)
			return err_memory(l->err);
		if (l->out->count)
			memcpy(names, l->out->names, l->out->count * sizeof(*names));
		l->out->names = names;
		l->room = room;
	}
	l->out->names[l->out->count++] = name;
	return 0;
}

static int add_entry(struct lister *l, int fd, const char *base, const char *name, int depth)
{
	struct stat st;
	int sub;

	if (fstatat(fd, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (S_ISLNK(st.st_mode) && fstatat(fd, base, &st, 0) < 0)
		return add_name(l, name);
	if (S_ISREG(st.st_mode))
		return add_name(l, name);
	if (!S_ISDIR(st.st_mode) || depth == LISTING_DEPTH_MAX)
		return 0;
	sub = openat(fd, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return sub < 0 ? 0 : list_directory(l, sub, arena_printf(l->arena, "%s/", name), depth + 1);
}

/* Takes the descriptor. */
static int list_directory(struct lister *l, int fd, const char *prefix, int depth)
{
	DIR *stream = fdopendir(fd);
	struct dirent *entry;
	int rc = 0;

	if (!stream || !prefix) {
		if (stream)
			closedir(stream);
		else
			close(fd);
		return err_memory(l->err);
	}
	while (rc == 0 && (entry = readdir(stream))) {
		const char *name;

		if (entry->d_name[0] == '.')
			continue;
		name = arena_printf(l->arena, "%s%s", prefix, entry->d_name);
		rc = name ? add_entry(l, fd, entry->d_name, name, depth) : err_memory(l->err);
	}
	closedir(stream);
	return rc;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int listing_read(const struct source_dir *dir, struct arena *arena, struct listing *out, struct gptqfs_error *err)
{
	struct lister l = {.dir = dir, .arena = arena, .out = out, .err = err};
	int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	*out = (struct listing){0};
	if (fd < 0)
		return err_set(err, -EACCES, "%s: %s; make the directory readable for this user", dir->path,
		    strerror(errno));
	rc = list_directory(&l, fd, "", 0);
	if (rc)
		return rc;
	if (!out->count)
		return err_set(err, -ENOENT, "%s: no files here; give the directory of a model", dir->path);
	qsort(out->names, out->count, sizeof(*out->names), by_name);
	return 0;
}

bool listing_has(const struct listing *listing, const char *name)
{
	return listing->count &&
	       bsearch(&name, listing->names, listing->count, sizeof(*listing->names), by_name) != NULL;
}

bool ends_with(const char *s, const char *suffix)
{
	size_t len = strlen(s), n = strlen(suffix);

	return len >= n && strcmp(s + len - n, suffix) == 0;
}

bool listing_passes(const char *name)
{
	static const char *const suffixes[] = {
	    ".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".gguf", ".onnx", ".index.json"};
	static const char *const names[] = {"quantize_config.json", "quant_config.json", "quantization_config.json",
	    "hf_quant_config.json", "quant_log.csv"};
	const char *base = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++)
		if (ends_with(base, suffixes[i]))
			return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(base, names[i]) == 0)
			return false;
	return strncmp(base, "adapter_", 8) != 0;
}
