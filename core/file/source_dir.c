/* SPDX-License-Identifier: MIT */
#include "file/source_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"

/* ---- the directory ---- */

/* The snapshot that a cache entry's refs/main names: a path in `out`, or -ENOENT. */
static int find_snapshot(const char *entry, char out[PATH_MAX])
{
	char ref[PATH_MAX], hash[128] = "";
	FILE *f;

	if (snprintf(ref, sizeof(ref), "%s/refs/main", entry) >= (int)sizeof(ref))
		return -ENOENT;
	f = fopen(ref, "re");
	if (!f)
		return -ENOENT;
	if (fscanf(f, "%127[0-9A-Za-z._-]", hash) != 1 || hash[0] == '.')
		hash[0] = 0;
	fclose(f);
	if (!hash[0] || snprintf(out, PATH_MAX, "%s/snapshots/%s", entry, hash) >= PATH_MAX)
		return -ENOENT;
	return 0;
}

static int open_failed(const char *path, int error, struct gptqfs_error *err)
{
	if (error == ENOENT)
		return err_set(err, -ENOENT, "%s: no such directory; give the directory of a model", path);
	if (error == ENOTDIR)
		return err_set(err, -ENOTDIR, "%s: not a directory; give the directory that holds the model's files",
		    path);
	if (error == ENOTCONN)
		return err_set(err, -ENOENT, "%s: a FUSE mount whose server died; clear it with: fusermount3 -uz '%s'",
		    path, path);
	return err_set(err, -EACCES, "%s: %s; make the directory readable for this user", path, strerror(error));
}

int source_dir_open(struct source_dir *dir, const char *path, bool follow_symlinks, struct gptqfs_error *err)
{
	char snapshot[PATH_MAX], *base, *parent;

	*dir = (struct source_dir){.fd = -1, .blobs = -1, .follow_symlinks = follow_symlinks};
	dir->path = realpath(path, NULL);
	if (!dir->path)
		return open_failed(path, errno, err);
	base = strrchr(dir->path, '/');
	if (base && strncmp(base, "/models--", 9) == 0 && access(dir->path, R_OK) == 0) {
		char config[PATH_MAX];

		snprintf(config, sizeof(config), "%s/snapshots", dir->path);
		if (access(config, F_OK) == 0) {
			if (find_snapshot(dir->path, snapshot))
				return err_set(err, -ENOENT,
				    "%s: a Hugging Face cache entry whose refs/main names no snapshot; give one of %s/snapshots/*",
				    dir->path, dir->path);
			free(dir->path);
			dir->path = realpath(snapshot, NULL);
			if (!dir->path)
				return open_failed(snapshot, errno, err);
		}
	}
	dir->fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir->fd < 0)
		return open_failed(dir->path, errno, err);
	parent = strrchr(dir->path, '/');
	if (parent - dir->path > 10 && strncmp(parent - 10, "/snapshots", 10) == 0)
		dir->blobs = openat(dir->fd, "../../blobs", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return 0;
}

void source_dir_close(struct source_dir *dir)
{
	if (dir->fd >= 0)
		close(dir->fd);
	if (dir->blobs >= 0)
		close(dir->blobs);
	free(dir->path);
	*dir = (struct source_dir){.fd = -1, .blobs = -1};
}

/* ---- its files ---- */

static int open_beneath(int dirfd, const char *name, uint64_t resolve)
{
	/* O_NONBLOCK: a FIFO must not stop us; it is refused a moment later. */
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, .resolve = resolve};

	return (int)syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
}

/* A snapshot's files are links ../../blobs/HASH, with more ../ in sub-directories. errno EXDEV if this one is not. */
static int open_blob(const struct source_dir *dir, const char *name)
{
	char target[PATH_MAX];
	const char *at = target;
	ssize_t len = readlinkat(dir->fd, name, target, sizeof(target) - 1);

	errno = EXDEV;
	if (dir->blobs < 0 || len < 0)
		return -1;
	target[len] = 0;
	while (strncmp(at, "../", 3) == 0)
		at += 3;
	if (at == target || strncmp(at, "blobs/", 6) != 0 || strchr(at + 6, '/'))
		return -1;
	return open_beneath(dir->blobs, at + 6, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

int source_dir_openat(const struct source_dir *dir, const char *name)
{
	int fd;

	if (dir->follow_symlinks)
		return openat(dir->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	fd = open_beneath(dir->fd, name, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
	return fd < 0 && errno == EXDEV ? open_blob(dir, name) : fd;
}
