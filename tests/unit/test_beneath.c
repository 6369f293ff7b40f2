/* SPDX-License-Identifier: MIT */

/* beneath_open opens what openat2 opens, and fails as it does. */

#include "file/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../test.h"

static int inside; /* the directory that names may not leave */

static void make_tree(void)
{
	static const char *const directories[] = {"in", "in/a", "in/a/b", "in/locked", "out"};
	static const char *const files[] = {"in/f", "in/a/g", "in/a/b/h", "out/secret"};
	static const char *const links[][2] = {{"f", "in/to_f"}, {"a", "in/to_a"}, {"a/", "in/to_a_slash"},
	    {"../../f", "in/a/b/up"}, {"../f/", "in/a/not_a_directory"}, {"../out/secret", "in/leaves"},
	    {"a/../../out", "in/leaves_later"}, {"/etc/passwd", "in/absolute"}, {"../in/f", "in/leaves_and_returns"},
	    {"loop", "in/loop"}, {"missing", "in/dangling"}, {"to_a/b/up", "in/chain"}, {"..", "in/a/parent"},
	    {".", "in/here"}, {"..", "in/outer"}, {"/", "in/root"}};

	for (size_t i = 0; i < sizeof(directories) / sizeof(*directories); i++)
		CHECK(mkdir(directories[i], 0755) == 0);
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		close(open(files[i], O_CREAT | O_WRONLY, 0644));
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++)
		CHECK(symlink(links[i][0], links[i][1]) == 0);
	inside = open("in", O_PATH | O_DIRECTORY);
	CHECK(inside >= 0);
}

/* Whether the last component was a link or had a slash is remembered among the flags. */
static int flags_of(int fd)
{
	return fcntl(fd, F_GETFL) & ~(O_NOFOLLOW | O_DIRECTORY);
}

/* True if both are the same file, or both failed with the same error. */
static bool same(int a, int a_error, int b, int b_error)
{
	struct stat x, y;

	if (a < 0 || b < 0)
		return a == b && a_error == b_error;
	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino &&
	       flags_of(a) == flags_of(b) && fcntl(a, F_GETFD) == fcntl(b, F_GETFD);
}

static void compare(const char *name, uint64_t flags, uint64_t resolve)
{
	const struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_BENEATH | resolve};
	const int theirs = (int)syscall(SYS_openat2, inside, name, &how, sizeof(how)), error = errno;
	const int ours = beneath_open(inside, name, &how), our_error = errno;

	if (!CHECK(same(ours, our_error, theirs, error)))
		printf("    %s: %d (%s), openat2: %d (%s)\n", name, ours, strerror(our_error), theirs, strerror(error));
	close(theirs);
	close(ours);
}

static void compare_everywhere(const char *name)
{
	static const uint64_t flags[] = {O_RDONLY | O_NONBLOCK, O_RDONLY | O_DIRECTORY, O_PATH | O_DIRECTORY};

	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
		compare(name, flags[i], RESOLVE_NO_MAGICLINKS);
		compare(name, flags[i], RESOLVE_NO_SYMLINKS);
	}
}

/* All names of up to three of these components. */
static void compare_names(void)
{
	static const char *const words[] = {"", ".", "..", "f", "a", "b", "g", "h", "to_f", "to_a", "to_a_slash", "up",
	    "not_a_directory", "leaves", "leaves_later", "absolute", "leaves_and_returns", "loop", "dangling", "chain",
	    "parent", "here", "outer", "root", "missing"};
	const size_t count = sizeof(words) / sizeof(*words);
	char name[128];

	for (size_t i = 0; i < count * count * count; i++) {
		snprintf(name, sizeof(name), "%s/%s/%s", words[i / count / count], words[i / count % count],
		    words[i % count]);
		compare_everywhere(name + (i % 2 && *name == '/'));
	}
	for (size_t i = 0; i < count; i++)
		compare_everywhere(words[i]);
}

static void compare_lengths(void)
{
	char name[PATH_MAX + 16];

	memset(name, 'x', sizeof(name));
	for (int len = NAME_MAX - 1; len < NAME_MAX + 3; len++) {
		name[len] = 0;
		compare_everywhere(name);
		name[len] = 'x';
	}
	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = i % 2 ? '/' : '.';
	for (int len = PATH_MAX - 2; len < PATH_MAX + 2; len++) {
		name[len] = 0;
		compare_everywhere(name);
		name[len] = len % 2 ? '/' : '.';
	}
}

/* Deeper than any model: refused, while openat2 would go on. */
static void check_depth(void)
{
	const struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH};
	char name[512] = "d";
	int fd;

	for (int depth = 1; depth <= 66; depth++) {
		CHECK(mkdirat(inside, name, 0755) == 0);
		fd = beneath_open(inside, name, &how);
		CHECK(depth <= 65 ? fd >= 0 : fd < 0 && errno == ENAMETOOLONG);
		close(fd);
		strcat(name, "/d");
	}
	/* Nothing stays open. */
	CHECK(dup(inside) == inside + 1);
}

int main(void)
{
	char dir[] = "/tmp/gptqfs-beneath-XXXXXX", command[64];

	if (!CHECK(mkdtemp(dir) && chdir(dir) == 0))
		return test_done();
	make_tree();
	compare_names();
	compare_lengths();
	check_depth();
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	CHECK(system(command) == 0);
	return test_done();
}
