/* SPDX-License-Identifier: MIT */
#include "file/source_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "file/rights.h"

/* While a file is being renamed, ctime is new but the name is still the old one: for at most this long. */
#define RENAME_MS 50
/* How often a name that keeps changing is read again. */
#define AGAIN_MAX 100

/* Attributes whose changes affect ctime but not the contents. */
struct source_traits {
	pthread_mutex_t lock;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	nlink_t links;
	uint64_t path; /* hash of the name */
};

static uint64_t nanoseconds(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * 1000000000 + (uint64_t)t->tv_nsec;
}

/* Returns 0 if the name is unknown. */
static uint64_t hash_path(int fd)
{
	char link[32], path[PATH_MAX];
	ssize_t len;
	uint64_t hash = 14695981039346656037u;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path));
	if (len < 0)
		return 0;
	for (ssize_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)path[i]) * 1099511628211u;
	return hash;
}

static bool has_same_contents(const struct source_file *f, const struct stat *now)
{
	return now->st_size == f->stat.st_size && nanoseconds(&now->st_mtim) == nanoseconds(&f->stat.st_mtim) &&
	       now->st_ino == f->stat.st_ino && now->st_dev == f->stat.st_dev;
}

/* Reads name and attributes that belong together: the file may be renamed between the calls. */
static uint64_t read_traits(const struct source_file *f, struct stat *now)
{
	uint64_t path, ctime;

	for (int i = 0; i < AGAIN_MAX; i++) {
		ctime = nanoseconds(&now->st_ctim);
		path = hash_path(f->fd);
		if (TEMP_FAILURE_RETRY(fstat(f->fd, now)) < 0 || nanoseconds(&now->st_ctim) == ctime)
			break;
	}
	return path;
}

/*
 * Records the current attributes. Returns true if they differ from those recorded before, or have just been recorded by
 * another thread.
 */
static bool note_traits(struct source_file *f, struct stat *now)
{
	struct source_traits *t = f->traits;
	uint64_t path;
	bool noted;

	pthread_mutex_lock(&t->lock);
	path = read_traits(f, now);
	noted = t->mode != now->st_mode || t->uid != now->st_uid || t->gid != now->st_gid ||
	        t->links != now->st_nlink || (path && t->path != path);
	t->mode = now->st_mode;
	t->uid = now->st_uid;
	t->gid = now->st_gid;
	t->links = now->st_nlink;
	if (path)
		t->path = path;
	if (noted)
		atomic_store(&f->ctime, nanoseconds(&now->st_ctim));
	noted |= atomic_load(&f->ctime) == nanoseconds(&now->st_ctim);
	pthread_mutex_unlock(&t->lock);
	return noted && has_same_contents(f, now);
}

static int begin_watch(struct source_file *f, struct gptqfs_error *err)
{
	struct stat now = f->stat;

	f->traits = calloc(1, sizeof(*f->traits));
	if (!f->traits) {
		source_file_close(f);
		return err_memory(err);
	}
	pthread_mutex_init(&f->traits->lock, NULL);
	note_traits(f, &now);
	return 0;
}

static int source_file_open_failed(const struct source_dir *dir, const char *name, int error, struct gptqfs_error *err)
{
	if (error == EXDEV)
		return err_set(err, -ELOOP,
		    "%.1000s: a symbolic link that leads out of the model directory; if you trust it, mount with "
		    "-o follow_symlinks (%s)",
		    name, dir->path);
	return err_system(err, error, "%s/%s", dir->path, name);
}

/* If the file is not a link, the mount shows the directories between the model's and the file. */
static int source_file_read_rights(const struct source_dir *dir, struct source_file *f, struct gptqfs_error *err)
{
	const char *slash = strrchr(f->name, '/');
	char *base = NULL;
	int rc;

	if (asprintf(&base, "%s/%.*s", dir->path, slash ? (int)(slash - f->name) : 0, f->name) < 0)
		rc = err_memory(err);
	else
		rc = rights_reach(&f->stat, f->fd, base, err);
	rights_heed_acl(f->fd, &f->stat);
	rights_settle(&f->stat);
	free(base);
	if (rc)
		source_file_close(f);
	return rc;
}

int source_file_open(const struct source_dir *dir, const char *name, struct source_file *out, struct gptqfs_error *err)
{
	int error;

	*out = (struct source_file){.name = name, .fd = source_dir_openat(dir, name), .log = dir->log};
	if (out->fd >= 0 && TEMP_FAILURE_RETRY(fstat(out->fd, &out->stat)) == 0 && S_ISREG(out->stat.st_mode))
		return begin_watch(out, err) ? -ENOMEM : source_file_read_rights(dir, out, err);
	error = out->fd < 0 || !out->stat.st_mode ? errno : 0;
	source_file_close(out);
	if (error && error != ENXIO)
		return source_file_open_failed(dir, name, error, err);
	return err_set(err, -EBADMSG,
	    "%.1000s: not a regular file; replace it with the model's file of that name (in %s)", name, dir->path);
}

void source_file_close(struct source_file *f)
{
	if (f->map)
		munmap((void *)f->map, (size_t)f->stat.st_size);
	if (f->fd >= 0)
		close(f->fd);
	if (f->traits)
		pthread_mutex_destroy(&f->traits->lock);
	free(f->traits);
	f->traits = NULL;
	f->map = NULL;
	f->fd = -1;
}

/* ---- watching ---- */

int source_file_fail(struct source_file *f, const char *what)
{
	char line[512];

	if (!atomic_exchange(&f->reported, true) && f->log.write) {
		snprintf(line, sizeof(line), "%.200s: %s; reads that need it fail with EIO (unmount and mount again)",
		    f->name, what);
		f->log.write(f->log.ctx, line);
	}
	return -EIO;
}

bool source_file_has_writer(const struct source_file *f)
{
	/* If a writer opens the file right now, the lease is broken by a signal that is ignored by default. */
	if (fcntl(f->fd, F_SETSIG, SIGURG) < 0)
		return false;
	if (fcntl(f->fd, F_SETLEASE, F_RDLCK) < 0)
		return errno == EAGAIN;
	fcntl(f->fd, F_SETLEASE, F_UNLCK);
	return false;
}

int source_file_check(struct source_file *f)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	struct stat now;
	char what[160];

	if (TEMP_FAILURE_RETRY(fstat(f->fd, &now)) < 0)
		return source_file_fail(f, "can no longer be examined");
	for (int i = 0; has_same_contents(f, &now); i++) {
		if (nanoseconds(&now.st_ctim) == atomic_load_explicit(&f->ctime, memory_order_relaxed) ||
		    note_traits(f, &now))
			return 0;
		if (i == RENAME_MS || atomic_load(&f->reported))
			break;
		nanosleep(&pause, NULL);
	}
	snprintf(what, sizeof(what), "changed while mounted (%lld bytes when mounted, %lld now)",
	    (long long)f->stat.st_size, (long long)now.st_size);
	return source_file_fail(f, what);
}

int source_file_read(struct source_file *f, void *dst, size_t len, uint64_t offset)
{
	unsigned char *at = dst;
	int rc = source_file_check(f);

	while (rc == 0 && len) {
		ssize_t n = pread(f->fd, at, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return source_file_fail(f, n < 0 ? "cannot be read (I/O error)" : "ends too early");
		at += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return rc ? rc : source_file_check(f);
}

int source_file_load(const struct source_file *f, void *dst, size_t len, uint64_t offset, struct gptqfs_error *err)
{
	unsigned char *at = dst;

	while (len) {
		const ssize_t n = TEMP_FAILURE_RETRY(pread(f->fd, at, len, (off_t)offset));

		if (n < 0)
			return err_system(err, errno, "%s", f->name);
		if (n == 0)
			return err_set(err, -EBADMSG,
			    "%.1000s: only %llu of the %lld bytes it had a moment ago; mount when nothing writes to it",
			    f->name, (unsigned long long)offset, (long long)f->stat.st_size);
		at += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int source_file_slurp(struct source_file *f, size_t max, char **out, struct gptqfs_error *err)
{
	size_t size = (size_t)f->stat.st_size;
	char *data;
	int rc;

	*out = NULL;
	if (size > max)
		return err_set(err, -EBADMSG, "%.1000s: %zu bytes, expected at most %zu for a file of this kind",
		    f->name, size, max);
	data = malloc(size + 1);
	if (!data)
		return err_memory(err);
	rc = source_file_load(f, data, size, 0, err);
	if (rc) {
		free(data);
		return rc;
	}
	data[size] = 0;
	*out = data;
	return 0;
}
