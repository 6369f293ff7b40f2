/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LISTING_H
#define GPTQFS_LISTING_H

#include "base/arena.h"
#include "file/source_dir.h"

/* Something that is not a file to be opened, and why. */
struct listing_odd {
	const char *name, *why;
	bool file; /* not a directory: a file, FIFO, socket or device */
};

/*
 * The files below a model directory, sub-directories too, by name. Dot files are left out. A link that leads nowhere is
 * listed, and so is a directory that this user may not read: opening them tells.
 */
struct listing_dir {
	const char *name;
	struct stat stat; /* owner and mode as they may be shown: rights.h */
};

struct listing {
	const char **names; /* relative ("sub/model.safetensors"), bytewise order; arena */
	size_t count;
	struct listing_dir *dirs; /* those that were read, but for the model's own; by name; arena */
	size_t dir_count;
	struct listing_odd *odd; /* what else there is; arena */
	size_t odd_count;
};

#define LISTING_FILES_MAX 100000
#define LISTING_DEPTH_MAX 16

/*
 * -ENOENT for an empty directory, -EACCES if it cannot be read, -EBADMSG for more than the limits, and the code of
 * err_system for anything else: what could not be looked at is not taken for absent.
 */
int listing_read(const struct source_dir *dir, struct arena *arena, struct listing *out, struct gptqfs_error *err);

/* A directory by its name, or NULL. */
const struct listing_dir *listing_dir(const struct listing *listing, const char *name);

bool listing_has(const struct listing *listing, const char *name);

/* True if s ends in suffix. */
bool ends_with(const char *s, const char *suffix);

#endif
