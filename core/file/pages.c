/* SPDX-License-Identifier: MIT */
#include "file/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "file/guard.h"

/* Bytes per request: one longer than the kernel's readahead is still read as a whole. */
#define FETCH_BYTES ((size_t)1 << 20)
#define RESIDENT_PAGES 1024
/* A fault maps this many resident bytes around it (the kernel's default of fault_around_bytes). */
#define FAULT_AROUND 65536

int source_file_map(struct source_file *f, struct gptqfs_error *err)
{
	const size_t size = (size_t)f->stat.st_size;
	void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, f->fd, 0);

	/* File systems that bypass the page cache (FUSE with direct_io, some network disks) refuse shared maps. */
	if (map == MAP_FAILED && (errno == ENODEV || errno == EINVAL || errno == EACCES))
		map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, f->fd, 0);
	if (map == MAP_FAILED)
		return err_system(err, errno, "%s cannot be mapped", f->name);
	/*
	 * Most files are read once. With this the kernel does not count our accesses as use of a page, either when it
	 * reclaims memory or when the page is unmapped.
	 */
	madvise(map, size, MADV_SEQUENTIAL);
	f->map = map;
	return 0;
}

/* ---- the page cache ---- */

void source_file_advise(const struct source_file *f, uint64_t offset, uint64_t len)
{
	posix_fadvise(f->fd, (off_t)offset, (off_t)len, POSIX_FADV_WILLNEED);
}

/* cachestat, Linux 6.5: older headers lack it. The number is the same on all architectures. */
#define CACHESTAT 451
struct cachestat_range {
	uint64_t offset, length;
};
struct cachestat_counts {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

/* Returns the number of pages in memory, or -1 if the kernel cannot or will not say. */
static int64_t count_resident(const struct source_file *f, uint64_t offset, uint64_t len)
{
	struct cachestat_range range = {offset, len};
	struct cachestat_counts counts;

	return syscall(CACHESTAT, f->fd, &range, &counts, 0) ? -1 : (int64_t)counts.cached;
}

/* Checks page by page, which takes three times as long. For another user's file the kernel claims all are resident. */
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

/* Reads up to FETCH_BYTES into the page cache: pages spliced into a pipe are not copied. Returns how many, or -1. */
static ssize_t fetch_piece(const struct source_file *f, loff_t *at, uint64_t len)
{
	int ends[2];
	ssize_t n;

	if (pipe2(ends, O_CLOEXEC))
		return -1;
	fcntl(ends[1], F_SETPIPE_SZ, FETCH_BYTES);
	n = splice(f->fd, at, ends[1], NULL, len < FETCH_BYTES ? (size_t)len : FETCH_BYTES, 0);
	close(ends[0]);
	close(ends[1]);
	return n;
}

/* Reads all of it: if resident pages were skipped, the kernel would not detect a sequential reader. */
void source_file_fetch(const struct source_file *f, uint64_t offset, uint64_t len)
{
	loff_t at = (loff_t)offset;
	ssize_t n;

	if (!f->map || source_file_resident(f, offset, len))
		return;
	while (len && (n = fetch_piece(f, &at, len)) > 0)
		len -= (uint64_t)n;
}

/* ---- the page tables ---- */

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

/*
 * MADV_POPULATE_READ would do the same, but counts as a use of every page; after two uses the kernel keeps pages at the
 * expense of others.
 */
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
