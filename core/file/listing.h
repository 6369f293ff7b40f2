/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LISTING_H
#define GPTQFS_LISTING_H

#include "base/arena.h"
#include "file/source_dir.h"

/*
 * The files below a model directory, sub-directories too, by name. Left out: dot files, whatever is neither a file
 * nor a link to one, and directories behind links. A link that leads nowhere is listed: opening it tells.
 */
struct listing {
	const char **names; /* relative ("sub/model.safetensors"), bytewise order; arena */
	size_t count;
};

#define LISTING_FILES_MAX 100000
#define LISTING_DEPTH_MAX 16

/* -ENOENT for an empty directory, -EACCES if it cannot be read, -EBADMSG for more than the limits. */
int listing_read(const struct source_dir *dir, struct arena *arena, struct listing *out, struct gptqfs_error *err);

bool listing_has(const struct listing *listing, const char *name);

/* Does s end in suffix? */
bool ends_with(const char *s, const char *suffix);

/*
 * May a dense view show this file? Hidden are weights of any format and their indexes, what says "quantized", and
 * adapters: a view holds exactly one set of weights, and loaders look for all of these by name.
 */
bool listing_passes(const char *name);

#endif
