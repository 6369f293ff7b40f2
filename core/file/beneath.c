/* SPDX-License-Identifier: MIT */
#include "file/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_MAX 64 /* directories below the first */
#define LINKS_MAX 40 /* as in the kernel */

/* A walk from directory to directory. Each stays open, so that ".." returns to where the walk came from. */
struct walk {
	int fds[DEPTH_MAX + 1]; /* the first belongs to the caller */
	int depth;
	int links;
	char rest[PATH_MAX]; /* of the name */
};

/* Takes the first component off the rest. Returns false if there is none. */
static bool walk_next(struct walk *w, char component[NAME_MAX + 1])
{
	const char *start = w->rest + strspn(w->rest, "/");
	const size_t len = strcspn(start, "/");

	if (len > NAME_MAX) {
		errno = ENAMETOOLONG;
		return false;
	}
	memcpy(component, start, len);
	component[len] = 0;
	start += len;
	memmove(w->rest, start, strlen(start) + 1);
	return len > 0;
}

/* Replaces the component, a link, with its target. */
static int walk_follow(struct walk *w, const char *target, uint64_t resolve)
{
	char rest[PATH_MAX];

	errno = ELOOP;
	if (resolve & RESOLVE_NO_SYMLINKS || ++w->links > LINKS_MAX)
		return -1;
	errno = EXDEV;
	if (*target == '/')
		return -1;
	errno = ENAMETOOLONG;
	if (snprintf(rest, sizeof(rest), "%s%s", target, w->rest) >= (int)sizeof(rest))
		return -1;
	memcpy(w->rest, rest, sizeof(rest));
	return 0;
}

static int walk_up(struct walk *w)
{
	if (w->depth == 0) {
		errno = EXDEV;
		return -1;
	}
	close(w->fds[w->depth--]);
	return 0;
}

static int walk_into(struct walk *w, const char *component)
{
	int fd;

	errno = ENAMETOOLONG;
	if (w->depth == DEPTH_MAX)
		return -1;
	fd = openat(w->fds[w->depth], component, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -1;
	w->fds[++w->depth] = fd;
	return 0;
}

/* Opens the last component, which is not a link unless it has just been exchanged for one: then ELOOP or ENOTDIR. */
static int walk_end(const struct walk *w, const char *component, const struct open_how *how)
{
	const int flags = (int)how->flags | (*w->rest ? O_DIRECTORY : 0);

	return openat(w->fds[w->depth], component, flags | O_NOFOLLOW);
}

/* Takes one step. Returns a descriptor at the end of the name, -1 after an error, or NOT_YET. */
#define NOT_YET (-2)

static int walk_step(struct walk *w, const struct open_how *how)
{
	char component[NAME_MAX + 1], target[PATH_MAX];
	ssize_t len;
	bool last;

	errno = ENOENT;
	if (!walk_next(w, component))
		return -1;
	last = w->rest[strspn(w->rest, "/")] == 0;
	if (strcmp(component, ".") == 0 || strcmp(component, "..") == 0) {
		if (component[1] && walk_up(w))
			return -1;
		return last ? openat(w->fds[w->depth], ".", (int)how->flags) : NOT_YET;
	}
	len = readlinkat(w->fds[w->depth], component, target, sizeof(target));
	if (len == sizeof(target)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (len >= 0) {
		target[len] = 0;
		return walk_follow(w, target, how->resolve) ? -1 : NOT_YET;
	}
	if (errno != EINVAL)
		return -1;
	if (last)
		return walk_end(w, component, how);
	return walk_into(w, component) ? -1 : NOT_YET;
}

int beneath_open(int dirfd, const char *name, const struct open_how *how)
{
	struct walk w = {.fds = {dirfd}};
	int fd, error;

	errno = *name == '/' ? EXDEV : ENAMETOOLONG;
	if (*name == '/' || strlen(name) >= sizeof(w.rest))
		return -1;
	memcpy(w.rest, name, strlen(name) + 1);
	do
		fd = walk_step(&w, how);
	while (fd == NOT_YET);
	error = errno;
	while (w.depth)
		walk_up(&w);
	errno = error;
	return fd;
}
