/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_BLOB_H
#define GPTQFS_BLOB_H

/*
 * Blobs of the Hugging Face cache. Files of a snapshot are links to blobs that are named by what they hold: large files
 * by their SHA-256, others by their hash in git, the SHA-1 of "blob SIZE", a NUL and the content.
 */

#include "file/listing.h"
#include "file/source_file.h"

struct blobs {
	size_t checked, damaged;
	const char *first; /* file that is damaged */
};

/* Reads every blob of the snapshot and compares it with its name. Returns 0 or the code of err_system. */
int blobs_check(const struct source_dir *dir, const struct listing *listing, struct blobs *out,
    struct gptqfs_error *err);

#endif
