/* SPDX-License-Identifier: MIT */
#include "file/source_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "file/beneath.h"
#include "file/rights.h"

/* Resolution of names inside the model, or inside a cache entry. */
#define INSIDE (RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
#define INSIDE_PLAIN (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
#define AGAIN_MAX 100

/* openat2, or beneath_open if the kernel lacks it or a sandbox forbids it. */
static int open_once(int dirfd, const char *name, const struct open_how *how)
{
	const int fd = (int)syscall(SYS_openat2, dirfd, name, how, sizeof(*how));

	if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
		return fd;
	return how->resolve ? beneath_open(dirfd, name, how) : openat(dirfd, name, (int)how->flags);
}

/*
 * Opens for reading plus `flags`. Retried after a signal, and for a second on EAGAIN, which a concurrent rename
 * elsewhere or a lease on the file may cause.
 */
static int open_resolved(int dirfd, const char *name, uint64_t flags, uint64_t resolve)
{
	/* O_NONBLOCK: a FIFO must not block; it is refused later. */
	struct open_how how = {.flags = flags | O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, .resolve = resolve};
	const struct timespec pause = {.tv_nsec = 10000000};
	int fd = -1;

	if (flags & O_PATH)
		how.flags = flags | O_CLOEXEC;
	for (int i = 0; i < AGAIN_MAX; i++) {
		fd = TEMP_FAILURE_RETRY(open_once(dirfd, name, &how));
		if (fd >= 0 || errno != EAGAIN)
			break;
		nanosleep(&pause, NULL);
	}
	return fd;
}

/* ---- the directory ---- */

static int dir_open_failed(const char *path, int error, struct gptqfs_error *err)
{
	if (error == ENOENT)
		return err_set(err, -ENOENT, "%.1500s: no such directory", path);
	if (error == ENOTDIR)
		return err_set(err, -ENOTDIR, "%.1500s: not a directory; give the directory that holds the files",
		    path);
	if (error == ENOTCONN)
		return err_set(err, -ENOENT, "a FUSE mount whose server died; clear it with: fusermount3 -uz '%s'",
		    path);
	return err_system(err, error, "%s", path);
}

static int refuse_link(const char *path, const char *what, struct gptqfs_error *err)
{
	return err_set(err, -EACCES,
	    "%s is a symbolic link, and so may lead out of this Hugging Face cache entry; if you trust it, mount with "
	    "-o follow_symlinks (%s)",
	    what, path);
}

/* Reads the name of the snapshot, a single word, from refs/main. -ENOENT if there is none. */
static int read_ref(int entry, uint64_t resolve, const char *path, char hash[128], struct gptqfs_error *err)
{
	int fd = open_resolved(entry, "refs/main", 0, resolve), error = errno;
	struct stat st;
	ssize_t len;

	hash[0] = 0;
	if (fd < 0 && error == ENOENT)
		return -ENOENT;
	if (fd < 0 && (error == ELOOP || error == EXDEV))
		return refuse_link(path, "refs/main", err);
	if (fd < 0 || fstat(fd, &st) < 0) {
		error = errno;
		if (fd >= 0)
			close(fd);
		return err_system(err, error, "%s/refs/main", path);
	}
	len = S_ISREG(st.st_mode) ? TEMP_FAILURE_RETRY(read(fd, hash, 127)) : 0;
	error = errno;
	close(fd);
	if (len < 0)
		return err_system(err, error, "%s/refs/main", path);
	hash[len] = 0;
	hash[strspn(hash, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-")] = 0;
	return hash[0] && hash[0] != '.' ? 0 : -ENOENT;
}

/* Moves dir->fd and dir->path from a cache entry to the snapshot that its refs/main names. */
static int enter_snapshot(struct source_dir *dir, struct gptqfs_error *err)
{
	const uint64_t resolve = dir->follow_symlinks ? 0 : INSIDE_PLAIN;
	char hash[128], *path = NULL;
	int rc = read_ref(dir->fd, resolve, dir->path, hash, err), fd, error;

	if (rc == -ENOENT)
		return err_set(err, -ENOENT,
		    "a Hugging Face cache entry whose refs/main names no snapshot; give one of %s/snapshots/*",
		    dir->path);
	if (rc)
		return rc;
	if (asprintf(&path, "snapshots/%s", hash) < 0)
		return err_memory(err);
	fd = open_resolved(dir->fd, path, O_DIRECTORY, resolve);
	error = errno;
	if (fd < 0 && (error == ELOOP || error == EXDEV))
		rc = refuse_link(dir->path, path, err);
	free(path);
	if (rc == 0 && asprintf(&path, "%s/snapshots/%s", dir->path, hash) < 0) {
		rc = err_memory(err);
	} else if (rc == 0 && fd < 0) {
		rc = dir_open_failed(path, error, err);
		free(path);
	}
	if (rc) {
		if (fd >= 0)
			close(fd);
		return rc;
	}
	close(dir->fd);
	free(dir->path);
	dir->fd = fd;
	dir->path = path;
	return 0;
}

/* Returns 1 if dir->path is an entry of the cache, 0 if it is not, or -errno. */
static int is_cache_entry(const struct source_dir *dir, struct gptqfs_error *err)
{
	const char *base = strrchr(dir->path, '/');
	struct stat st;

	if (!base || strncmp(base, "/models--", 9) != 0)
		return 0;
	if (TEMP_FAILURE_RETRY(fstatat(dir->fd, "snapshots", &st, AT_SYMLINK_NOFOLLOW)) == 0)
		return 1;
	return errno == ENOENT ? 0 : err_system(err, errno, "%s/snapshots", dir->path);
}

/*
 * Opens the blobs directory of a snapshot's entry. If that is itself a link, it and what it holds are outside of the
 * model.
 */
static int open_blobs(struct source_dir *dir, struct gptqfs_error *err)
{
	const char *base = strrchr(dir->path, '/');
	int entry, error = 0;

	if (base - dir->path < 10 || strncmp(base - 10, "/snapshots", 10) != 0)
		return 0;
	entry = open_resolved(dir->fd, "../..", O_PATH | O_DIRECTORY, 0);
	if (entry >= 0)
		dir->blobs = open_resolved(entry, "blobs", O_PATH | O_DIRECTORY, INSIDE_PLAIN);
	if (dir->blobs < 0)
		error = errno;
	if (entry >= 0)
		close(entry);
	if (!error || error == ENOENT || error == ENOTDIR || error == ELOOP || error == EXDEV)
		return 0;
	return err_system(err, error, "%s/../../blobs", dir->path);
}

/* realpath fails when interrupted by a signal. */
static char *canonical(const char *path)
{
	char *out;

	do
		out = realpath(path, NULL);
	while (!out && errno == EINTR);
	return out;
}

static int dir_read_rights(struct source_dir *dir, struct gptqfs_error *err)
{
	int rc;

	if (TEMP_FAILURE_RETRY(fstat(dir->fd, &dir->stat)) < 0)
		return err_system(err, errno, "%s", dir->path);
	rights_heed_acl(dir->fd, &dir->stat);
	rc = rights_reach(&dir->stat, dir->fd, NULL, err);
	rights_settle(&dir->stat);
	return rc;
}

int source_dir_open(struct source_dir *dir, const char *path, bool follow_symlinks, struct gptqfs_error *err)
{
	int rc;

	*dir = (struct source_dir){.fd = -1, .blobs = -1, .follow_symlinks = follow_symlinks};
	dir->path = canonical(path);
	if (!dir->path)
		return dir_open_failed(path, errno, err);
	dir->fd = open_resolved(AT_FDCWD, dir->path, O_DIRECTORY, 0);
	if (dir->fd < 0)
		return dir_open_failed(dir->path, errno, err);
	rc = is_cache_entry(dir, err);
	if (rc > 0)
		rc = enter_snapshot(dir, err);
	if (rc == 0)
		rc = open_blobs(dir, err);
	return rc ? rc : dir_read_rights(dir, err);
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

/* Files of a snapshot are links ../../blobs/HASH, with more ../ in sub-directories. EXDEV for any other link. */
static int open_blob(const struct source_dir *dir, const char *name)
{
	char target[PATH_MAX];
	const char *at = target;
	ssize_t len = readlinkat(dir->fd, name, target, sizeof(target) - 1);

	if (len < 0 && errno != EINVAL)
		return -1;
	errno = EXDEV;
	if (dir->blobs < 0 || len < 0)
		return -1;
	target[len] = 0;
	while (strncmp(at, "../", 3) == 0)
		at += 3;
	if (at == target || strncmp(at, "blobs/", 6) != 0 || strchr(at + 6, '/'))
		return -1;
	return open_resolved(dir->blobs, at + 6, 0, INSIDE_PLAIN);
}

int source_dir_openat(const struct source_dir *dir, const char *name)
{
	int fd = open_resolved(dir->fd, name, 0, dir->follow_symlinks ? 0 : INSIDE);

	return fd < 0 && errno == EXDEV && !dir->follow_symlinks ? open_blob(dir, name) : fd;
}
