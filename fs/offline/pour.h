/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_POUR_H
#define GPTQFS_POUR_H

#include <stdatomic.h>

#include "gptqfs.h"

/*
 * Writes parts of a model's files to a descriptor that cannot seek: several threads compute them, and each waits for
 * its turn to write.
 */

/* What one turn writes: a text, bytes of a file, and zeros. */
struct portion {
	char *text; /* or NULL; freed by pour */
	size_t text_bytes;
	uint64_t ino, at;
	size_t bytes; /* at most GPTQFS_READ_MAX */
	size_t zeros;
};

/* Sets *out to the next portion. Returns 1, 0 after the last one, or -errno. Calls do not overlap. */
typedef int portion_fn(void *ctx, struct portion *out);

struct pouring {
	struct gptqfs *model;
	int fd;
	unsigned threads; /* 0 for the default */
	portion_fn *next;
	void *ctx;
	atomic_uint_fast64_t *written; /* bytes of files, counted for others to see; or NULL */
};

/* Returns 0 or -errno, with *writing true if it was the descriptor that failed. */
int pour(const struct pouring *pouring, bool *writing);

#endif
