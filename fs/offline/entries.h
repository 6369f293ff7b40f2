/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ENTRIES_H
#define GPTQFS_ENTRIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "gptqfs.h"

/* The files and directories of a model's tree as a flat list, for programs that copy it. */

#define ENTRY_DEPTH_MAX 64

/*
 * When a file is written. Programs find weights by an index, and treat a directory with a config.json as a model, so
 * these come last: a directory being filled is not a model yet.
 */
enum entry_turn { TURN_DATA, TURN_INDEX, TURN_CONFIG };

struct entry {
	const char *name; /* owned by the model; "" for the root */
	size_t parent;    /* index of its directory, below its own */
	uint64_t ino;
	uint64_t bytes;
	struct timespec mtime;
	mode_t mode; /* as shown, and writable for the owner */
	unsigned depth;
	enum entry_turn turn; /* TURN_DATA for directories */
};

struct entries {
	struct entry *list; /* the root is entry 0 */
	size_t count, room;
	size_t files;
	uint64_t bytes; /* of all files */
};

bool entry_is_directory(const struct entry *e);

/*
 * Lists everything below the root of a model. Free it with entries_free, even after failure. Returns 0, -ENOMEM, -EIO
 * if a directory cannot be planned, or -ENAMETOOLONG for one that is nested too deep.
 */
int entries_list(struct entries *entries, const struct gptqfs *model);
void entries_free(struct entries *entries);

/* Returns the path of entry `number` relative to the root, which the caller frees; NULL if out of memory. */
char *entries_path(const struct entries *entries, size_t number);

#endif
