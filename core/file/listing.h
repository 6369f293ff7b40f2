/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LISTING_H
#define GPTQFS_LISTING_H

#include "base/arena.h"
#include "file/source_dir.h"

/* An entry that is not a regular file, or could not be opened, and why. */
struct listing_odd {
	const char *name, *why;
	bool file; /* not a directory: a file, FIFO, socket or device */
};

struct listing_dir {
	const char *name;
	struct stat stat; /* owner and mode as restricted by rights.h */
};

/*
 * The files below a model directory, including sub-directories, by name. Dot files are left out. Dangling links and
 * unreadable directories are listed: opening them reports why.
 */
struct listing {
	const char **names; /* relative ("sub/model.safetensors"), bytewise order; arena */
	size_t count;
	struct listing_dir *dirs; /* those that were read, except the model's own; by name; arena */
	size_t dir_count;
	struct listing_odd *odd; /* everything else; arena */
	size_t odd_count;
};

#define LISTING_FILES_MAX 100000
#define LISTING_DEPTH_MAX 16

/*
 * Returns -ENOENT for an empty directory, -EACCES if it cannot be read, -EBADMSG if a limit is exceeded, and the code
 * of err_system for anything else: an entry that cannot be examined does not count as absent.
 */
int listing_read(const struct source_dir *dir, struct arena *arena, struct listing *out, struct gptqfs_error *err);

/* Returns the directory of that name, or NULL. */
const struct listing_dir *listing_dir(const struct listing *listing, const char *name);

bool listing_has(const struct listing *listing, const char *name);

/* True if s ends in suffix. */
bool ends_with(const char *s, const char *suffix);

#endif
