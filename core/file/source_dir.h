/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SOURCE_DIR_H
#define GPTQFS_SOURCE_DIR_H

/* The model directory, and opening its files without leaving it. */

#include <stdbool.h>
#include <sys/stat.h>

#include "gptqfs.h"

/* Destination of log lines; write may be NULL. */
struct log_sink {
	void (*write)(void *ctx, const char *line);
	void *ctx;
};

struct source_dir {
	char *path; /* canonical; the snapshot, if opened by a Hugging Face cache entry */
	int fd;
	int blobs;            /* ../../blobs of a snapshot, or -1: the only place outside that links may lead to */
	bool follow_symlinks; /* links may lead outside */
	struct stat stat;     /* when opened; owner and mode as restricted by rights.h */
	struct log_sink log;
};

/*
 * Opens the directory, or the snapshot named by refs/main of a cache entry (models--org--name). Free `dir` with
 * source_dir_close, which is also allowed after failure. Codes of gptqfs_open.
 */
int source_dir_open(struct source_dir *dir, const char *path, bool follow_symlinks, struct gptqfs_error *err);
void source_dir_close(struct source_dir *dir);

/*
 * Opens a file of any type for reading, by its name below the directory; a FIFO does not block. Returns the descriptor,
 * or -1 with errno set: EXDEV if a link leads out of the model.
 */
int source_dir_openat(const struct source_dir *dir, const char *name);

#endif
