/* SPDX-License-Identifier: MIT */

/* Listing a directory while system calls fail must give a complete list or an error. */

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file/listing.h"
#include "../test.h"

/* The call that fails: the n-th from now, `times` in a row; none while countdown is 0. */
static int countdown, times, with;

static bool fails(void)
{
	if (!countdown || --countdown)
		return false;
	if (--times > 0)
		countdown = 1;
	errno = with;
	return true;
}

/* These take the place of libc's. */
int fstatat(int fd, const char *path, struct stat *st, int flags)
{
	int (*real)(int, const char *, struct stat *, int) = dlsym(RTLD_NEXT, "fstatat");

	return fails() ? -1 : real(fd, path, st, flags);
}

int openat(int fd, const char *path, int flags, ...)
{
	int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, "openat");

	return fails() ? -1 : real(fd, path, flags);
}

struct dirent *readdir(DIR *stream)
{
	struct dirent *(*real)(DIR *) = dlsym(RTLD_NEXT, "readdir");

	return fails() ? NULL : real(stream);
}

/* Listed by name; directories, dot files and odd things are left out. */
static const char *const expected[] = {"a.json", "b.safetensors", "dangling", "link", "sub/c", "sub/deep/d"};
#define EXPECTED (sizeof(expected) / sizeof(*expected))

static char root[64];

static void make_file(const char *name)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	f = fopen(path, "we");
	CHECK(f && fputs("x", f) >= 0 && fclose(f) == 0);
}

static void make_directory(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(root, sizeof(root), "%.40s/gptqfs-test.XXXXXX", tmp ? tmp : "/tmp");
	CHECK(mkdtemp(root) && chdir(root) == 0);
	CHECK(mkdir("sub", 0755) == 0 && mkdir("sub/deep", 0755) == 0);
	make_file("a.json");
	make_file("b.safetensors");
	make_file(".hidden");
	make_file("sub/c");
	make_file("sub/deep/d");
	CHECK(symlink("a.json", "link") == 0 && symlink("nowhere", "dangling") == 0 && symlink("sub", "linked") == 0);
	CHECK(mkfifo("fifo", 0644) == 0 && symlink("fifo", "fifo_link") == 0 && symlink("/dev/zero", "device") == 0);
}

static void remove_directory(void)
{
	static const char *const names[] = {"a.json", "b.safetensors", ".hidden", "sub/c", "sub/deep/d", "link",
	    "dangling", "linked", "fifo", "fifo_link", "device"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		CHECK(unlink(names[i]) == 0);
	CHECK(rmdir("sub/deep") == 0 && rmdir("sub") == 0 && chdir("/") == 0 && rmdir(root) == 0);
}

static bool is_odd(const struct listing *l, const char *name, bool file)
{
	for (size_t i = 0; i < l->odd_count; i++)
		if (strcmp(l->odd[i].name, name) == 0)
			return l->odd[i].file == file;
	return false;
}

static bool is_complete(const struct listing *l)
{
	if (l->count != EXPECTED || l->odd_count != 4)
		return false;
	for (size_t i = 0; i < EXPECTED; i++)
		if (strcmp(l->names[i], expected[i]) != 0)
			return false;
	return is_odd(l, "fifo", true) && is_odd(l, "fifo_link", true) && is_odd(l, "device", true) &&
	       is_odd(l, "linked", false);
}

/* Lists it with `in_a_row` failing calls. Returns the code, or 1 if there were fewer calls. */
static int list(const struct source_dir *dir, int n, int in_a_row, int error, struct gptqfs_error *err)
{
	struct arena arena = {0};
	struct listing listing;
	int rc;

	countdown = n;
	times = in_a_row;
	with = error;
	rc = listing_read(dir, &arena, &listing, err);
	/* A link that seems dangling is listed: opening it reports why. */
	if (rc == 0)
		CHECK(is_complete(&listing) || (error == ENOENT && listing.count + listing.odd_count == EXPECTED + 4));
	rc = rc ? rc : countdown ? 1 : 0;
	countdown = 0;
	arena_free(&arena);
	return rc;
}

/* Each call in turn fails with this errno, until none is left. */
static void sweep(const struct source_dir *dir, int error, int code)
{
	struct gptqfs_error err;
	int rc = 0, n;

	for (n = 1; rc != 1; n++) {
		rc = list(dir, n, 1, error, &err);
		if (rc < 0 && code) {
			CHECK(rc == code);
			CHECK(strncmp(err.text, strerror(error), strlen(strerror(error))) == 0);
		}
		/* A signal does not cause a failure; a vanished entry causes a restart. */
		CHECK(rc >= 0 || code);
	}
	CHECK(n > 20);
}

int main(void)
{
	struct source_dir dir;
	struct gptqfs_error err;

	make_directory();
	CHECK(source_dir_open(&dir, root, false, &err) == 0);
	CHECK(list(&dir, 0, 0, 0, &err) == 0);
	sweep(&dir, EIO, -EIO);
	sweep(&dir, ENOMEM, -ENOMEM);
	sweep(&dir, EMFILE, -EMFILE);
	sweep(&dir, EBADMSG, -EIO); /* ext4's code for a bad checksum, which here would mean a damaged model */
	sweep(&dir, EINTR, 0);
	sweep(&dir, ENOENT, -ENOENT);
	/* Entries that keep vanishing. */
	for (int n = 1; n < 20; n++)
		CHECK(list(&dir, n, 1000, ENOENT, &err) < 0);
	source_dir_close(&dir);
	remove_directory();
	return test_done();
}
