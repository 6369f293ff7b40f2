/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "file/guard.h"
#include "file/pages.h"
#include "../test.h"

#define PAGE ((uint64_t)sysconf(_SC_PAGESIZE))
#define SIZE (((uint64_t)24 << 20) + 123)

struct fixture {
	char dir[64];
	struct source_dir source;
	struct source_file file;
	struct gptqfs_error err;
};

static int write_file(int dir)
{
	int fd = openat(dir, "f", O_WRONLY | O_CREAT | O_TRUNC, 0644), rc = -1;
	char *bytes = malloc(SIZE);

	if (bytes && fd >= 0) {
		memset(bytes, 7, SIZE);
		rc = write(fd, bytes, SIZE) == (ssize_t)SIZE && fsync(fd) == 0 ? 0 : -1;
	}
	free(bytes);
	close(fd);
	return rc;
}

static void set_up(struct fixture *x)
{
	const char *tmp = getenv("TMPDIR");
	int fd;

	*x = (struct fixture){0};
	snprintf(x->dir, sizeof(x->dir), "%.40s/gptqfs-test.XXXXXX", tmp ? tmp : "/tmp");
	CHECK(mkdtemp(x->dir) != NULL);
	fd = open(x->dir, O_RDONLY | O_DIRECTORY);
	CHECK(write_file(fd) == 0);
	close(fd);
	CHECK(source_dir_open(&x->source, x->dir, false, &x->err) == 0);
	CHECK(source_file_open(&x->source, "f", &x->file, &x->err) == 0);
	CHECK(source_file_map(&x->file, &x->err) == 0);
	posix_fadvise(x->file.fd, 0, 0, POSIX_FADV_DONTNEED);
}

static void tear_down(struct fixture *x)
{
	char path[80];

	source_file_close(&x->file);
	source_dir_close(&x->source);
	snprintf(path, sizeof(path), "%s/f", x->dir);
	unlink(path);
	rmdir(x->dir);
}

/* Pages of [from, to) in memory. */
static uint64_t resident(const struct fixture *x, uint64_t from, uint64_t to)
{
	const uint64_t begin = from & -PAGE, count = (to - begin + PAGE - 1) / PAGE;
	unsigned char *pages = calloc(count, 1);
	uint64_t sum = 0;

	CHECK(pages && mincore((void *)(x->file.map + begin), to - begin, pages) == 0);
	for (uint64_t i = 0; pages && i < count; i++)
		sum += pages[i] & 1;
	free(pages);
	return sum;
}

static void fetch_and_check(const struct fixture *x, uint64_t from, uint64_t to)
{
	source_file_fetch(&x->file, from, to - from);
	CHECK(resident(x, from, to) == (to - (from & -PAGE) + PAGE - 1) / PAGE);
}

static void test_fetch(void)
{
	const uint64_t mib = 1 << 20;
	struct fixture x;

	set_up(&x);
	/* On tmpfs nothing can be dropped or fetched. */
	if (resident(&x, 0, SIZE) == 0) {
		fetch_and_check(&x, 5 * mib + 1, 9 * mib + 5000);
		CHECK(resident(&x, 0, SIZE) < SIZE / PAGE);
		fetch_and_check(&x, 4 * mib, 4 * mib + 1); /* one page, before those */
		fetch_and_check(&x, 3 * mib, 12 * mib);    /* some of it is there */
	}
	fetch_and_check(&x, SIZE - 1, SIZE);
	fetch_and_check(&x, 0, SIZE);
	fetch_and_check(&x, 0, SIZE);
	source_file_fetch(&x.file, SIZE, 0);
	tear_down(&x);
}

/* Returns the KiB of the map in this process's page tables. */
static uint64_t mapped(const struct fixture *x)
{
	char line[256];
	unsigned long begin, kib;
	bool here = false;
	uint64_t sum = 0;
	FILE *f = fopen("/proc/self/smaps", "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%*x %*s", &begin) == 1 && strchr(line, '-') < line + 17)
			here = begin == (uintptr_t)x->file.map;
		else if (here && sscanf(line, "Rss: %lu kB", &kib) == 1)
			sum += kib;
	}
	if (f)
		fclose(f);
	return sum;
}

static void test_populate(void)
{
	const uint64_t mib = 1 << 20;
	struct fixture x;

	set_up(&x);
	source_file_fetch(&x.file, 0, SIZE);
	CHECK(source_file_resident(&x.file, 0, SIZE) && source_file_resident(&x.file, SIZE, 0));
	CHECK(mapped(&x) == 0);
	source_file_populate(&x.file, 2 * mib + 5, 3 * mib);
	/* The kernel decides what a touch maps besides the page. */
	CHECK(mapped(&x) > 0 && mapped(&x) < 8 * 1024);
	source_file_populate(&x.file, 0, SIZE);
	source_file_unpopulate(&x.file, 2 * mib, 3 * mib);
	CHECK(mapped(&x) > 0);
	source_file_unpopulate(&x.file, 0, SIZE);
	CHECK(mapped(&x) == 0);
	CHECK(source_file_resident(&x.file, 0, SIZE));
	posix_fadvise(x.file.fd, (off_t)mib, (off_t)mib, POSIX_FADV_DONTNEED);
	if (resident(&x, mib, 2 * mib) == 0) {
		CHECK(!source_file_resident(&x.file, 0, SIZE) && !source_file_resident(&x.file, 2 * mib - 1, 2));
		CHECK(source_file_resident(&x.file, 0, mib) && source_file_resident(&x.file, 2 * mib, mib));
	}
	tear_down(&x);
}

/* Truncated while mounted: nothing to wait for. */
static void test_truncated(void)
{
	struct fixture x;
	char path[80];

	set_up(&x);
	snprintf(path, sizeof(path), "%s/f", x.dir);
	CHECK(truncate(path, 1 << 20) == 0);
	source_file_fetch(&x.file, 0, SIZE);
	source_file_fetch(&x.file, 8 << 20, 4 << 20);
	source_file_advise(&x.file, 8 << 20, 4 << 20);
	source_file_populate(&x.file, 0, SIZE);
	source_file_unpopulate(&x.file, 0, SIZE);
	CHECK(source_file_check(&x.file) == -EIO);
	tear_down(&x);
}

/* Writes one byte and sets the times back. */
static void forge(const struct fixture *x)
{
	const struct timespec times[2] = {x->file.stat.st_atim, x->file.stat.st_mtim};
	char path[80];
	int fd;

	snprintf(path, sizeof(path), "%s/f", x->dir);
	fd = open(path, O_WRONLY | O_NONBLOCK); /* must not be prevented */
	CHECK(fd >= 0 && pwrite(fd, "x", 1, 5000) == 1 && futimens(fd, times) == 0);
	close(fd);
}

static void test_forged(void)
{
	struct fixture x;
	struct stat st;

	set_up(&x);
	CHECK(source_file_check(&x.file) == 0);
	usleep(20000); /* a tick of the file system's clock */
	forge(&x);
	CHECK(fstat(x.file.fd, &st) == 0 && st.st_mtim.tv_nsec == x.file.stat.st_mtim.tv_nsec);
	CHECK(source_file_check(&x.file) == -EIO && source_file_check(&x.file) == -EIO);
	tear_down(&x);
}

/* Changes that affect only ctime. */
static void test_other_names(void)
{
	struct fixture x;
	char path[80], other[80];

	set_up(&x);
	snprintf(path, sizeof(path), "%s/f", x.dir);
	snprintf(other, sizeof(other), "%s/g", x.dir);
	for (int i = 0; i < 2; i++) {
		usleep(20000);
		CHECK(fchmod(x.file.fd, i ? 0644 : 0600) == 0 && source_file_check(&x.file) == 0);
		usleep(20000);
		CHECK((i ? unlink(other) : link(path, other)) == 0 && source_file_check(&x.file) == 0);
	}
	usleep(20000);
	CHECK(rename(path, other) == 0 && source_file_check(&x.file) == 0);
	usleep(20000);
	CHECK(rename(other, path) == 0 && source_file_check(&x.file) == 0);
	usleep(20000);
	forge(&x);
	CHECK(source_file_check(&x.file) == -EIO);
	tear_down(&x);
}

static void test_writer(void)
{
	struct fixture x;
	char path[80];
	int fd;

	set_up(&x);
	CHECK(!source_file_has_writer(&x.file));
	snprintf(path, sizeof(path), "%s/f", x.dir);
	fd = open(path, O_RDWR);
	/* Some file systems do not show it. */
	CHECK(fd >= 0 && (source_file_has_writer(&x.file) || fcntl(x.file.fd, F_SETLEASE, F_RDLCK) < 0));
	close(fd);
	tear_down(&x);
}

static void test_not_mapped(void)
{
	struct fixture x;

	set_up(&x);
	munmap((void *)x.file.map, SIZE);
	x.file.map = NULL;
	source_file_fetch(&x.file, 0, SIZE);
	source_file_populate(&x.file, 0, SIZE);
	source_file_unpopulate(&x.file, 0, SIZE);
	tear_down(&x);
}

/* As a caller that blocks all signals would leave it. */
static void block_signals(void)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
}

int main(void)
{
	block_signals();
	source_guard_install();
	test_forged();
	test_other_names();
	test_writer();
	test_fetch();
	test_populate();
	test_truncated();
	test_not_mapped();
	return test_done();
}
