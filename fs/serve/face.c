/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 314

#include "serve/face.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <linux/openat2.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "gptqfs.h"

#define SIZES 64

/* The interface of Linux 6.9; older headers lack it. */
struct backing {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define BACKING_OPEN _IOW(229, 1, struct backing)

struct face_file {
	uint64_t ino;
	char *path;
	int number;     /* the kernel's, 0 if it has none */
	unsigned opens; /* that are not released */
	bool by_erofs;  /* how */
};

struct face {
	const struct gptqfs *model;
	pthread_mutex_t lock;    /* of number, opens, by_erofs */
	struct face_file *files; /* by ino */
	size_t count, room, named;
	uint64_t least; /* size of the smallest ones */
	bool possible;  /* the kernel has passthrough */
};

bool face_is_built(void)
{
#ifdef FUSE_CAP_PASSTHROUGH
	return true;
#else
	return false;
#endif
}

/* ---- the files ---- */

/* True for what the image has. */
static bool is_in_image(const struct face *face, uint64_t ino)
{
	return !gptqfs_is_status(face->model, ino) && !gptqfs_is_late(face->model, ino);
}

static unsigned size_class(uint64_t size)
{
	unsigned n = 0;

	while (n < SIZES - 1 && size >> n)
		n++;
	return n;
}

/* Returns the least power of two such that no more than FACE_FILES_MAX files have its size. */
static uint64_t least_size(const struct face *face)
{
	size_t counts[SIZES] = {0}, total = 0;
	struct statvfs fs;
	struct stat st;
	unsigned n;

	gptqfs_statfs(face->model, &fs);
	for (uint64_t ino = GPTQFS_ROOT; ino <= fs.f_files; ino++)
		if (is_in_image(face, ino) && gptqfs_getattr(face->model, ino, &st) == 0 && S_ISREG(st.st_mode))
			counts[size_class((uint64_t)st.st_size)]++;
	for (n = SIZES - 1; n && total + counts[n] <= FACE_FILES_MAX; n--)
		total += counts[n];
	return 1ull << n;
}

static int add_file(struct face *face, uint64_t ino, const char *path)
{
	char *copy;

	if (face->count == face->room) {
		const size_t room = face->room ? face->room * 2 : 64;
		struct face_file *files = reallocarray(face->files, room, sizeof(*files));

		if (!files)
			return -ENOMEM;
		face->files = files;
		face->room = room;
	}
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	face->files[face->count++] = (struct face_file){.ino = ino, .path = copy};
	return 0;
}

/* Adds the files below a directory, whose path has `len` bytes. What is nested too deep is left out. */
static int add_files(struct face *face, uint64_t dir, char path[PATH_MAX], size_t len)
{
	struct gptqfs_dirent entry;
	int rc = 0;

	for (uint64_t i = 2; rc == 0; i++) {
		struct stat st;
		int n;

		rc = gptqfs_readdir(face->model, dir, i, &entry);
		if (rc || !is_in_image(face, entry.ino))
			continue;
		rc = gptqfs_getattr(face->model, entry.ino, &st);
		n = snprintf(path + len, PATH_MAX - len, "%s%s", len ? "/" : "", entry.name);
		if (rc || (size_t)n >= PATH_MAX - len)
			continue;
		if (S_ISDIR(st.st_mode))
			rc = add_files(face, entry.ino, path, len + (size_t)n);
		else if (S_ISREG(st.st_mode) && (uint64_t)st.st_size >= face->least)
			rc = add_file(face, entry.ino, path);
	}
	path[len] = 0;
	return rc == -ENOENT ? 0 : rc;
}

static int compare_files(const void *a, const void *b)
{
	const struct face_file *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

int face_new(const struct gptqfs *model, struct face **out)
{
	struct face *face = calloc(1, sizeof(*face));
	char path[PATH_MAX] = "";
	int rc;

	*out = NULL;
	if (!face)
		return -ENOMEM;
	face->model = model;
	pthread_mutex_init(&face->lock, NULL);
	face->least = least_size(face);
	rc = add_files(face, GPTQFS_ROOT, path, 0);
	if (rc) {
		face_free(face);
		return rc;
	}
	if (face->count)
		qsort(face->files, face->count, sizeof(*face->files), compare_files);
	*out = face;
	return 0;
}

void face_free(struct face *face)
{
	if (!face)
		return;
	for (size_t i = 0; i < face->count; i++)
		free(face->files[i].path);
	free(face->files);
	pthread_mutex_destroy(&face->lock);
	free(face);
}

const char *face_next(struct face *face, int number)
{
	if (face->named) {
		pthread_mutex_lock(&face->lock);
		face->files[face->named - 1].number = number;
		pthread_mutex_unlock(&face->lock);
	}
	return face->named < face->count ? face->files[face->named++].path : "";
}

/* ---- opening ---- */

void face_init(struct face *face, struct fuse_conn_info *conn)
{
#ifdef FUSE_CAP_PASSTHROUGH
	if (!face)
		return;
	face->possible = conn->capable & FUSE_CAP_PASSTHROUGH;
	conn->want |= conn->capable & FUSE_CAP_PASSTHROUGH;
#else
	(void)face;
	(void)conn;
#endif
}

bool face_is_possible(const struct face *face)
{
	return face->possible;
}

static struct face_file *find_file(struct face *face, uint64_t ino)
{
	const struct face_file key = {.ino = ino};

	return face && face->count ? bsearch(&key, face->files, face->count, sizeof(key), compare_files) : NULL;
}

/* The kernel reports a close later than it returns to the program, which may open the file again by then. */
static void wait_for_release(struct face *face, const struct face_file *file)
{
	const struct timespec tick = {.tv_nsec = 1000000};

	for (int i = 0; i < 10 && file->opens && file->by_erofs; i++) {
		pthread_mutex_unlock(&face->lock);
		nanosleep(&tick, NULL);
		pthread_mutex_lock(&face->lock);
	}
}

int face_open(struct face *face, uint64_t ino, struct fuse_file_info *fi)
{
	struct face_file *file = find_file(face, ino);
	const bool direct = fi->flags & O_DIRECT;
	int rc = 0;

	if (!file)
		return 0;
	pthread_mutex_lock(&face->lock);
	if (direct)
		wait_for_release(face, file);
	if (!file->opens)
		file->by_erofs = file->number && !direct;
	if (file->by_erofs && direct)
		rc = -EINVAL;
	else
		file->opens++;
#ifdef FUSE_CAP_PASSTHROUGH
	if (file->by_erofs) {
		fi->backing_id = file->number;
		fi->keep_cache = 0; /* the kernel refuses both */
	}
#endif
	pthread_mutex_unlock(&face->lock);
	return rc;
}

void face_release(struct face *face, uint64_t ino)
{
	struct face_file *file = find_file(face, ino);

	if (!file)
		return;
	pthread_mutex_lock(&face->lock);
	file->opens--;
	pthread_mutex_unlock(&face->lock);
}

/* ---- by the helper ---- */

int face_back(int image, int device, const char *path, int life)
{
	const struct open_how how = {
	    .flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
	    .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};
	struct backing backing = {.fd = (int32_t)syscall(SYS_openat2, image, path, &how, sizeof(how))};
	struct pollfd other = {.fd = life};
	int number;

	if (backing.fd < 0)
		return -errno;
	/* The server reports contact before it answers the kernel, which until then knows nothing of passthrough. */
	while ((number = ioctl(device, BACKING_OPEN, &backing)) < 0 && errno == EPERM && poll(&other, 1, 1) == 0)
		;
	if (number <= 0)
		number = number == 0 ? -EPROTO : errno == EPERM ? -ECANCELED : -errno;
	close(backing.fd);
	return number;
}
