/* SPDX-License-Identifier: MIT */
#include "file/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "file/rights.h"

/* How often a listing is restarted because entries vanished. */
#define TRIES_MAX 5

struct lister {
	const struct source_dir *dir;
	struct arena *arena;
	struct listing *out;
	size_t room, dir_room, odd_room;
	bool vanished; /* an entry vanished before it could be examined */
	struct gptqfs_error *err;
};

static int list_directory(struct lister *l, int fd, const char *prefix, int depth);

/* Makes room for one more than `count` elements. Returns the array, or NULL if out of memory. */
static void *grow(struct lister *l, void *array, size_t count, size_t *room, size_t size)
{
	void *grown;

	if (count < *room)
		return array;
	*room = *room * 2 + 64;
	grown = arena_alloc(l->arena, *room, size);
	if (grown && count)
		memcpy(grown, array, count * size);
	return grown;
}

static int add_name(struct lister *l, const char *name)
{
	struct listing *out = l->out;

	if (out->count == LISTING_FILES_MAX)
		return err_set(l->err, -EBADMSG, "more than %d files; give the directory of one model (%s)",
		    LISTING_FILES_MAX, l->dir->path);
	out->names = grow(l, out->names, out->count, &l->room, sizeof(*out->names));
	if (!out->names)
		return err_memory(l->err);
	out->names[out->count++] = name;
	return 0;
}

static int add_odd(struct lister *l, const char *name, const char *why, bool file)
{
	struct listing *out = l->out;

	if (out->odd_count == LISTING_FILES_MAX)
		return 0;
	out->odd = grow(l, out->odd, out->odd_count, &l->odd_room, sizeof(*out->odd));
	if (!out->odd)
		return err_memory(l->err);
	out->odd[out->odd_count++] = (struct listing_odd){name, why, file};
	return 0;
}

static int add_dir(struct lister *l, int fd, const char *name)
{
	struct listing *out = l->out;
	struct listing_dir dir = {.name = name};

	if (out->dir_count == LISTING_FILES_MAX)
		return err_set(l->err, -EBADMSG, "more than %d directories; give the directory of one model (%s)",
		    LISTING_FILES_MAX, l->dir->path);
	if (TEMP_FAILURE_RETRY(fstat(fd, &dir.stat)) < 0)
		return err_system(l->err, errno, "%s/%s", l->dir->path, name);
	rights_heed_acl(fd, &dir.stat);
	rights_settle(&dir.stat);
	out->dirs = grow(l, out->dirs, out->dir_count, &l->dir_room, sizeof(*out->dirs));
	if (!out->dirs)
		return err_memory(l->err);
	out->dirs[out->dir_count++] = dir;
	return 0;
}

/* Handles an entry that was listed but cannot be examined. If it has vanished, the listing is restarted. */
static int listing_failed(struct lister *l, const char *name, int error)
{
	l->vanished = error == ENOENT || error == ESTALE;
	return err_system(l->err, error, "%s/%s", l->dir->path, name);
}

static int add_link(struct lister *l, int fd, const char *base, const char *name)
{
	struct stat st;

	if (TEMP_FAILURE_RETRY(fstatat(fd, base, &st, 0)) == 0) {
		if (S_ISDIR(st.st_mode))
			return add_odd(l, name, "a link to a directory", false);
		return S_ISREG(st.st_mode) ? add_name(l, name) : add_odd(l, name, "not a regular file", true);
	}
	switch (errno) {
	case ENOENT:
	case ENOTDIR:
	case ELOOP:
	case EACCES:
	case ENAMETOOLONG:
		return add_name(l, name);
	default:
		return listing_failed(l, name, errno);
	}
}

static int listing_add_directory(struct lister *l, int fd, const char *base, const char *name, int depth)
{
	const char *prefix = arena_printf(l->arena, "%s/", name);
	int sub, rc;

	if (!prefix)
		return err_memory(l->err);
	if (depth == LISTING_DEPTH_MAX)
		return add_odd(l, name, "directories nested too deeply", false);
	sub = TEMP_FAILURE_RETRY(openat(fd, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
	if (sub < 0)
		return errno == EACCES ? add_name(l, name) : listing_failed(l, name, errno);
	rc = add_dir(l, sub, name);
	if (rc) {
		close(sub);
		return rc;
	}
	return list_directory(l, sub, prefix, depth + 1);
}

static int listing_add_entry(struct lister *l, int fd, const char *base, const char *name, int depth)
{
	struct stat st;

	if (TEMP_FAILURE_RETRY(fstatat(fd, base, &st, AT_SYMLINK_NOFOLLOW)) < 0)
		return listing_failed(l, name, errno);
	if (S_ISREG(st.st_mode))
		return add_name(l, name);
	if (S_ISLNK(st.st_mode))
		return add_link(l, fd, base, name);
	return S_ISDIR(st.st_mode) ? listing_add_directory(l, fd, base, name, depth)
	                           : add_odd(l, name, "not a regular file", true);
}

/* Returns the next entry that is not a dot file; NULL at the end, or with errno set on failure. */
static const struct dirent *next_entry(DIR *stream)
{
	const struct dirent *entry;

	do {
		errno = 0;
		entry = readdir(stream);
	} while (entry ? entry->d_name[0] == '.' : errno == EINTR);
	return entry;
}

/* Takes ownership of the descriptor. */
static int list_directory(struct lister *l, int fd, const char *prefix, int depth)
{
	DIR *stream = fdopendir(fd);
	const struct dirent *entry;
	int rc = 0, error = errno;

	if (!stream) {
		close(fd);
		return listing_failed(l, prefix, error);
	}
	while (rc == 0 && (entry = next_entry(stream))) {
		const char *name = arena_printf(l->arena, "%s%s", prefix, entry->d_name);

		rc = name ? listing_add_entry(l, fd, entry->d_name, name, depth) : err_memory(l->err);
	}
	error = errno;
	closedir(stream);
	return rc == 0 && error ? listing_failed(l, prefix, error) : rc;
}

static int listing_by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int by_dir_name(const void *a, const void *b)
{
	return strcmp(((const struct listing_dir *)a)->name, ((const struct listing_dir *)b)->name);
}

static int list_once(struct lister *l)
{
	int fd = TEMP_FAILURE_RETRY(openat(l->dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));

	*l->out = (struct listing){0};
	l->room = l->dir_room = l->odd_room = 0;
	l->vanished = false;
	return fd < 0 ? err_system(l->err, errno, "%s", l->dir->path) : list_directory(l, fd, "", 0);
}

int listing_read(const struct source_dir *dir, struct arena *arena, struct listing *out, struct gptqfs_error *err)
{
	struct lister l = {.dir = dir, .arena = arena, .out = out, .err = err};
	int rc = list_once(&l);

	for (int i = 1; rc && l.vanished && i < TRIES_MAX; i++)
		rc = list_once(&l);
	if (rc && l.vanished)
		return err_set(err, -EBADMSG,
		    "files vanish while the directory is being read; mount when nothing writes to it (%s)", dir->path);
	if (rc)
		return rc;
	if (!out->count && !out->odd_count)
		return err_set(err, -ENOENT, "%s: no files here; give the directory of a model", dir->path);
	if (out->count)
		qsort(out->names, out->count, sizeof(*out->names), listing_by_name);
	if (out->dir_count)
		qsort(out->dirs, out->dir_count, sizeof(*out->dirs), by_dir_name);
	return 0;
}

const struct listing_dir *listing_dir(const struct listing *listing, const char *name)
{
	const struct listing_dir key = {.name = name};

	return listing->dir_count ? bsearch(&key, listing->dirs, listing->dir_count, sizeof(key), by_dir_name) : NULL;
}

bool listing_has(const struct listing *listing, const char *name)
{
	return listing->count &&
	       bsearch(&name, listing->names, listing->count, sizeof(*listing->names), listing_by_name) != NULL;
}

bool ends_with(const char *s, const char *suffix)
{
	size_t len = strlen(s), n = strlen(suffix);

	return len >= n && strcmp(s + len - n, suffix) == 0;
}
