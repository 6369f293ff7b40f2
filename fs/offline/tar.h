/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TAR_H
#define GPTQFS_TAR_H

#include "offline/entries.h"
#include "offline/pour.h"

/*
 * A tree as a tar archive: POSIX ustar, with extended headers for long names and files of 8 GiB and more. The same
 * model gives the same bytes: everything belongs to root, and times are those of the model.
 */

struct tar {
	const struct entries *entries;
	/* The position; zero at the start. */
	enum entry_turn turn; /* config.json last, as in a directory */
	size_t next;
	uint64_t at;      /* in file `next`, if `inside` */
	bool inside;      /* its header is written */
	bool ended;       /* the end of the archive is written */
	uint64_t written; /* bytes of the archive */
};

/* A portion_fn whose ctx is a struct tar. */
int tar_next(void *ctx, struct portion *out);

#endif
