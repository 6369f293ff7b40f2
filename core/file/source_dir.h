/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SOURCE_DIR_H
#define GPTQFS_SOURCE_DIR_H

/* The model directory, and how its files are reached without leaving it. */

#include <stdbool.h>
#include <sys/stat.h>

#include "gptqfs.h"

/* Where lines for the log go; write may be NULL. */
struct log_sink {
	void (*write)(void *ctx, const char *line);
	void *ctx;
};

struct source_dir {
	char *path; /* canonical; a snapshot of a Hugging Face cache entry, if that was given */
	int fd;
	int blobs;            /* ../../blobs of a snapshot, or -1: the one place outside to which links may lead */
	bool follow_symlinks; /* links may lead anywhere */
	struct stat stat;     /* as it was when opened; owner and mode as they may be shown: rights.h */
	struct log_sink log;
};

/*
 * Opens the directory, or the snapshot that refs/main of a cache entry (models--org--name) names. `dir` is freed by
 * source_dir_close, which may also be called after failure. -ENOENT, -ENOTDIR, -EACCES: see gptqfs_open.
 */
int source_dir_open(struct source_dir *dir, const char *path, bool follow_symlinks, struct gptqfs_error *err);
void source_dir_close(struct source_dir *dir);

/*
 * Opens a file by its name below the directory, for reading, whatever it is; a FIFO does not block. Returns the
 * descriptor, or -1 and errno: EXDEV if a link leads out of the model.
 */
int source_dir_openat(const struct source_dir *dir, const char *name);

#endif
