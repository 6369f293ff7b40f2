/* SPDX-License-Identifier: MIT */

/*
 * Replacements of C library functions by the linker; see fault.h. Each calls __real_NAME unless it is to fail. Those
 * with _chk or _2 are the variants of _FORTIFY_SOURCE.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fault.h"

static struct faults own;
struct faults *faults = &own;

/* Before main: if another process is in control, calls count from the first. */
__attribute__((constructor)) static void take_orders(void)
{
	const char *path = getenv("GPTQFS_FAULTS");
	const int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(own), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (path && map == MAP_FAILED)
		abort();
	if (path)
		faults = map;
	if (fd >= 0)
		close(fd);
}

/* Counts a call. Returns true, with errno set, if it is to fail. */
static bool fails(enum fault_class class)
{
	int64_t n;

	if (!faults->active)
		return false;
	n = ++faults->calls[class];
	if (faults->class != (int)class || (faults->always ? n < faults->at : n != faults->at))
		return false;
	faults->hits++;
	errno = faults->error;
	return true;
}

static void *allocated(void *block)
{
	if (block)
		faults->blocks++;
	return block;
}

#define REAL(result, name, ...)            \
	result __real_##name(__VA_ARGS__); \
	result __wrap_##name(__VA_ARGS__); \
	result __wrap_##name(__VA_ARGS__)

/* ---- memory ---- */

REAL(void *, malloc, size_t size)
{
	return fails(FAULT_ALLOC) ? NULL : allocated(__real_malloc(size));
}

REAL(void *, calloc, size_t count, size_t size)
{
	return fails(FAULT_ALLOC) ? NULL : allocated(__real_calloc(count, size));
}

REAL(void *, realloc, void *old, size_t size)
{
	void *block = fails(FAULT_ALLOC) ? NULL : __real_realloc(old, size);

	return old ? block : allocated(block);
}

REAL(void *, reallocarray, void *old, size_t count, size_t size)
{
	void *block = fails(FAULT_ALLOC) ? NULL : __real_reallocarray(old, count, size);

	return old ? block : allocated(block);
}

REAL(void *, aligned_alloc, size_t alignment, size_t size)
{
	return fails(FAULT_ALLOC) ? NULL : allocated(__real_aligned_alloc(alignment, size));
}

REAL(int, posix_memalign, void **out, size_t alignment, size_t size)
{
	const int rc = fails(FAULT_ALLOC) ? ENOMEM : __real_posix_memalign(out, alignment, size);

	if (rc == 0)
		allocated(*out);
	return rc;
}

REAL(char *, strdup, const char *s)
{
	return fails(FAULT_ALLOC) ? NULL : allocated(__real_strdup(s));
}

REAL(char *, strndup, const char *s, size_t len)
{
	return fails(FAULT_ALLOC) ? NULL : allocated(__real_strndup(s, len));
}

REAL(int, vasprintf, char **out, const char *fmt, va_list args)
{
	const int len = fails(FAULT_ALLOC) ? -1 : __real_vasprintf(out, fmt, args);

	if (len >= 0)
		allocated(*out);
	return len;
}

REAL(int, __vasprintf_chk, char **out, int flag, const char *fmt, va_list args)
{
	const int len = fails(FAULT_ALLOC) ? -1 : __real___vasprintf_chk(out, flag, fmt, args);

	if (len >= 0)
		allocated(*out);
	return len;
}

int __wrap_asprintf(char **out, const char *fmt, ...);
int __wrap_asprintf(char **out, const char *fmt, ...)
{
	va_list args;
	int len;

	va_start(args, fmt);
	len = __wrap_vasprintf(out, fmt, args);
	va_end(args);
	return len;
}

int __wrap___asprintf_chk(char **out, int flag, const char *fmt, ...);
int __wrap___asprintf_chk(char **out, int flag, const char *fmt, ...)
{
	va_list args;
	int len;

	va_start(args, fmt);
	len = __wrap___vasprintf_chk(out, flag, fmt, args);
	va_end(args);
	return len;
}

REAL(void, free, void *block)
{
	if (block)
		faults->blocks--;
	__real_free(block);
}

/* ---- files ---- */

REAL(int, open, const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
	va_end(args);
	return fails(FAULT_OPEN) ? -1 : __real_open(path, flags, mode);
}

REAL(int, openat, int dir, const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
	va_end(args);
	return fails(FAULT_OPEN) ? -1 : __real_openat(dir, path, flags, mode);
}

REAL(int, __open_2, const char *path, int flags)
{
	return fails(FAULT_OPEN) ? -1 : __real___open_2(path, flags);
}

REAL(int, __openat_2, int dir, const char *path, int flags)
{
	return fails(FAULT_OPEN) ? -1 : __real___openat_2(dir, path, flags);
}

/* openat2 has no function of its own. */
REAL(long, syscall, long number, ...)
{
	long a[6];
	va_list args;

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (number == SYS_openat2 && fails(FAULT_OPEN))
		return -1;
	return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

REAL(FILE *, fopen, const char *path, const char *mode)
{
	return fails(FAULT_ALLOC) || fails(FAULT_OPEN) ? NULL : __real_fopen(path, mode);
}

REAL(char *, realpath, const char *path, char *out)
{
	char *result = fails(FAULT_ALLOC) || fails(FAULT_STAT) ? NULL : __real_realpath(path, out);

	return out ? result : allocated(result);
}

REAL(ssize_t, readlinkat, int dir, const char *path, char *out, size_t size)
{
	return fails(FAULT_STAT) ? -1 : __real_readlinkat(dir, path, out, size);
}

REAL(ssize_t, __readlinkat_chk, int dir, const char *path, char *out, size_t size, size_t room)
{
	return fails(FAULT_STAT) ? -1 : __real___readlinkat_chk(dir, path, out, size, room);
}

REAL(int, access, const char *path, int mode)
{
	return fails(FAULT_STAT) ? -1 : __real_access(path, mode);
}

REAL(int, stat, const char *path, struct stat *out)
{
	return fails(FAULT_STAT) ? -1 : __real_stat(path, out);
}

REAL(int, fstat, int fd, struct stat *out)
{
	return fails(FAULT_STAT) ? -1 : __real_fstat(fd, out);
}

REAL(int, fstatat, int dir, const char *path, struct stat *out, int flags)
{
	return fails(FAULT_STAT) ? -1 : __real_fstatat(dir, path, out, flags);
}

REAL(DIR *, fdopendir, int fd)
{
	return fails(FAULT_ALLOC) ? NULL : __real_fdopendir(fd);
}

REAL(struct dirent *, readdir, DIR *dir)
{
	return fails(FAULT_LIST) ? NULL : __real_readdir(dir);
}

/* Returns a failure, or sets `size` to the bytes to transfer. */
static bool transfer_fails(enum fault_class class, size_t *size)
{
	if (!fails(class))
		return false;
	if (faults->error != FAULT_HALF)
		return true;
	*size = *size > 1 ? *size / 2 : *size;
	return false;
}

REAL(ssize_t, read, int fd, void *out, size_t size)
{
	return transfer_fails(FAULT_READ, &size) ? -1 : __real_read(fd, out, size);
}

REAL(ssize_t, __read_chk, int fd, void *out, size_t size, size_t room)
{
	return transfer_fails(FAULT_READ, &size) ? -1 : __real___read_chk(fd, out, size, room);
}

REAL(ssize_t, pread, int fd, void *out, size_t size, off_t offset)
{
	return transfer_fails(FAULT_READ, &size) ? -1 : __real_pread(fd, out, size, offset);
}

REAL(ssize_t, __pread_chk, int fd, void *out, size_t size, off_t offset, size_t room)
{
	return transfer_fails(FAULT_READ, &size) ? -1 : __real___pread_chk(fd, out, size, offset, room);
}

REAL(void *, mmap, void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	void *map = fails(FAULT_MAP) ? MAP_FAILED : __real_mmap(at, size, protection, flags, fd, offset);

	if (map != MAP_FAILED)
		faults->mapped += (int64_t)size;
	return map;
}

REAL(int, munmap, void *map, size_t size)
{
	faults->mapped -= (int64_t)size;
	return __real_munmap(map, size);
}

/* ---- writing ---- */

/* The same of files and pipes: other descriptors (eventfd, the socket between server and helper) do not fail like this.
 */
static bool write_fails(int fd, size_t *size)
{
	struct stat st;

	if (!faults->active || __real_fstat(fd, &st) || !(S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode)))
		return false;
	return transfer_fails(FAULT_WRITE, size);
}

REAL(ssize_t, write, int fd, const void *bytes, size_t size)
{
	return write_fails(fd, &size) ? -1 : __real_write(fd, bytes, size);
}

REAL(ssize_t, pwrite, int fd, const void *bytes, size_t size, off_t offset)
{
	return write_fails(fd, &size) ? -1 : __real_pwrite(fd, bytes, size, offset);
}

/* Half of the bytes is half of the first piece. */
REAL(ssize_t, pwritev, int fd, const struct iovec *iov, int count, off_t offset)
{
	size_t size = iov->iov_len;

	if (write_fails(fd, &size))
		return -1;
	return size < iov->iov_len ? __real_pwrite(fd, iov->iov_base, size, offset)
	                           : __real_pwritev(fd, iov, count, offset);
}

REAL(int, ftruncate, int fd, off_t size)
{
	size_t bytes = 0; /* which cannot be halved */

	return transfer_fails(FAULT_WRITE, &bytes) ? -1 : __real_ftruncate(fd, size);
}

REAL(int, mkdir, const char *path, mode_t mode)
{
	return fails(FAULT_NAME) ? -1 : __real_mkdir(path, mode);
}

REAL(int, mkdirat, int dir, const char *path, mode_t mode)
{
	return fails(FAULT_NAME) ? -1 : __real_mkdirat(dir, path, mode);
}

REAL(int, renameat, int dir, const char *path, int new_dir, const char *new_path)
{
	return fails(FAULT_NAME) ? -1 : __real_renameat(dir, path, new_dir, new_path);
}

REAL(int, unlinkat, int dir, const char *path, int flags)
{
	return fails(FAULT_NAME) ? -1 : __real_unlinkat(dir, path, flags);
}

REAL(int, fchmod, int fd, mode_t mode)
{
	return fails(FAULT_NAME) ? -1 : __real_fchmod(fd, mode);
}

REAL(int, flock, int fd, int how)
{
	return fails(FAULT_NAME) ? -1 : __real_flock(fd, how);
}

REAL(int, fsync, int fd)
{
	return fails(FAULT_SYNC) ? -1 : __real_fsync(fd);
}

REAL(int, syncfs, int fd)
{
	return fails(FAULT_SYNC) ? -1 : __real_syncfs(fd);
}

/* ---- threads ---- */

REAL(int, pthread_create, pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	return fails(FAULT_THREAD) ? faults->error : __real_pthread_create(thread, attr, fn, arg);
}
