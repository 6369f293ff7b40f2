/* SPDX-License-Identifier: MIT */
#include "file/source_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"

/* What is asked of the disk at once: a request longer than the kernel's reading ahead is answered whole. */
#define FETCH_BYTES ((size_t)1 << 20)
#define RESIDENT_PAGES 1024
/* A fault maps so many bytes around it that are in memory (the kernel's default of fault_around_bytes). */
#define FAULT_AROUND 65536

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

/* ---- opening ---- */

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

static int open_in(const struct source_dir *dir, const char *name)
{
	int fd;

	if (dir->follow_symlinks)
		return openat(dir->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	fd = open_beneath(dir->fd, name, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
	return fd < 0 && errno == EXDEV ? open_blob(dir, name) : fd;
}

int source_file_open(const struct source_dir *dir, const char *name, struct source_file *out, struct gptqfs_error *err)
{
	*out = (struct source_file){.name = name, .fd = open_in(dir, name), .log = dir->log};
	if (out->fd < 0 && errno == EXDEV)
		return err_set(err, -ELOOP,
		    "%s/%.200s: a symbolic link that leads out of the model directory; if you trust it, mount with "
		    "-o follow_symlinks",
		    dir->path, name);
	if (out->fd < 0 && errno == EMFILE)
		return err_set(err, -EMFILE, "%s/%.200s: too many open files; raise the limit (ulimit -n)", dir->path,
		    name);
	if (out->fd < 0)
		return err_set(err, errno == ENOENT ? -ENOENT : -EACCES, "%s/%.200s: %s", dir->path, name,
		    strerror(errno));
	if (fstat(out->fd, &out->stat) == 0 && S_ISREG(out->stat.st_mode))
		return 0;
	source_file_close(out);
	return err_set(err, -EBADMSG, "%s/%.200s: not a regular file; replace it by the model's file of that name",
	    dir->path, name);
}

void source_file_close(struct source_file *f)
{
	if (f->map)
		munmap((void *)f->map, (size_t)f->stat.st_size);
	if (f->fd >= 0)
		close(f->fd);
	f->map = NULL;
	f->fd = -1;
}

int source_file_map(struct source_file *f, struct gptqfs_error *err)
{
	void *map = mmap(NULL, (size_t)f->stat.st_size, PROT_READ, MAP_SHARED, f->fd, 0);

	if (map == MAP_FAILED)
		return err_set(err, -errno, "%s: cannot be mapped: %s", f->name, strerror(errno));
	/* Most readers come by once. The kernel then does not keep pages for having been read here, neither when it
	 * looks for memory nor when they are unmapped. */
	madvise(map, (size_t)f->stat.st_size, MADV_SEQUENTIAL);
	f->map = map;
	return 0;
}

/* ---- watching ---- */

int source_file_fail(struct source_file *f, const char *what)
{
	char line[512];

	if (!atomic_exchange(&f->reported, true) && f->log.write) {
		snprintf(line, sizeof(line),
		    "%.200s: %s; reads that need it fail with EIO (restore the file, or unmount and mount again)",
		    f->name, what);
		f->log.write(f->log.ctx, line);
	}
	return -EIO;
}

int source_file_check(struct source_file *f)
{
	struct stat now;
	char what[160];

	if (fstat(f->fd, &now) < 0)
		return source_file_fail(f, "cannot be examined any more");
	if (now.st_size == f->stat.st_size && now.st_mtim.tv_sec == f->stat.st_mtim.tv_sec &&
	    now.st_mtim.tv_nsec == f->stat.st_mtim.tv_nsec && now.st_ino == f->stat.st_ino &&
	    now.st_dev == f->stat.st_dev)
		return 0;
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

void source_file_advise(const struct source_file *f, uint64_t offset, uint64_t len)
{
	posix_fadvise(f->fd, (off_t)offset, (off_t)len, POSIX_FADV_WILLNEED);
}

/* Of cachestat, Linux 6.5: older headers lack it. Its number is the same everywhere. */
#define CACHESTAT 451
struct cachestat_range {
	uint64_t offset, length;
};
struct cachestat_counts {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

/* How many pages of them are in memory; -1 where the kernel cannot, or will not, tell. */
static int64_t count_resident(const struct source_file *f, uint64_t offset, uint64_t len)
{
	struct cachestat_range range = {offset, len};
	struct cachestat_counts counts;

	return syscall(CACHESTAT, f->fd, &range, &counts, 0) ? -1 : (int64_t)counts.cached;
}

/* Page by page, which takes three times as long. Of a file that is somebody else's the kernel says that all of it is.
 */
static bool is_each_resident(const struct source_file *f, uint64_t from, uint64_t end, uint64_t page)
{
	unsigned char resident[RESIDENT_PAGES];

	for (uint64_t at = from; at < end; at += RESIDENT_PAGES * page) {
		const uint64_t left = (end - at) / page;
		const size_t count = left < RESIDENT_PAGES ? (size_t)left : RESIDENT_PAGES;

		if (mincore((void *)(f->map + at), count * page, resident))
			return true;
		for (size_t i = 0; i < count; i++)
			if (!(resident[i] & 1))
				return false;
	}
	return true;
}

bool source_file_resident(const struct source_file *f, uint64_t offset, uint64_t len)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), from = offset & -page;
	const uint64_t end = (offset + len + page - 1) & -page;
	const int64_t count = len ? count_resident(f, from, end - from) : 0;

	return count >= 0 ? (uint64_t)count * page >= end - from || !len : is_each_resident(f, from, end, page);
}

/* Reads it in requests of FETCH_BYTES, and has the pages go by without a copy. */
static void read_by(const struct source_file *f, uint64_t offset, uint64_t len, const int pipe_fd[2], int null_fd)
{
	loff_t at = (loff_t)offset;

	while (len) {
		ssize_t n = splice(f->fd, &at, pipe_fd[1], NULL, len < FETCH_BYTES ? (size_t)len : FETCH_BYTES, 0);

		if (n <= 0)
			return;
		len -= (uint64_t)n;
		while (n > 0) {
			const ssize_t gone = splice(pipe_fd[0], NULL, null_fd, NULL, (size_t)n, 0);

			if (gone <= 0)
				return;
			n -= gone;
		}
	}
}

/* All of it: where pages that are there are passed over, the kernel does not see one who reads in order. */
void source_file_fetch(const struct source_file *f, uint64_t offset, uint64_t len)
{
	int pipe_fd[2], null_fd;

	if (!f->map || source_file_resident(f, offset, len) || pipe2(pipe_fd, O_CLOEXEC))
		return;
	fcntl(pipe_fd[1], F_SETPIPE_SZ, FETCH_BYTES);
	null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null_fd >= 0) {
		read_by(f, offset, len, pipe_fd, null_fd);
		close(null_fd);
	}
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}

int source_file_slurp(struct source_file *f, size_t max, char **out, struct gptqfs_error *err)
{
	size_t size = (size_t)f->stat.st_size;
	char *data;

	*out = NULL;
	if (size > max)
		return err_set(err, -EBADMSG, "%s: %zu bytes, expected at most %zu for a file of this kind", f->name,
		    size, max);
	data = malloc(size + 1);
	if (!data)
		return err_memory(err);
	if (source_file_read(f, data, size, 0)) {
		free(data);
		return err_set(err, -EIO, "%s: cannot be read", f->name);
	}
	data[size] = 0;
	*out = data;
	return 0;
}

/* ---- faults ---- */

/* The one variable of the program that is not constant: a signal handler has no other way to know its thread. */
static _Thread_local sigjmp_buf *volatile guard;

static void on_sigbus(int sig)
{
	if (guard)
		siglongjmp(*guard, 1);
	signal(sig, SIG_DFL);
	raise(sig);
}

void source_guard_install(void)
{
	/* SA_NODEFER: the handler is left by a jump that does not restore the mask, so the mask must not change. */
	struct sigaction action = {.sa_handler = on_sigbus, .sa_flags = SA_NODEFER};

	sigaction(SIGBUS, &action, NULL);
}

int source_guard(void (*fn)(void *ctx), void *ctx)
{
	sigjmp_buf here;
	int fault = sigsetjmp(here, 0);

	if (!fault) {
		guard = &here;
		fn(ctx);
	}
	guard = NULL;
	return fault ? -EIO : 0;
}

/* ---- mapping ahead ---- */

struct pages {
	const unsigned char *at;
	uint64_t len;
};

static void touch(void *ctx)
{
	const struct pages *p = ctx;

	for (uint64_t k = 0; k < p->len; k += FAULT_AROUND)
		(void)*(const volatile unsigned char *)(p->at + k);
}

/* MADV_POPULATE_READ would do the same, but count as a use of every page, and after two uses the kernel keeps pages at
 * others' expense. */
void source_file_populate(const struct source_file *f, uint64_t offset, uint64_t len)
{
	struct pages pages = {f->map + offset, len};

	if (f->map)
		source_guard(touch, &pages);
}

void source_file_unpopulate(const struct source_file *f, uint64_t offset, uint64_t len)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), from = offset & -page;

	if (f->map)
		madvise((void *)(f->map + from), offset + len - from, MADV_DONTNEED);
}
