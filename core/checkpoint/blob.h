/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_BLOB_H
#define GPTQFS_BLOB_H

/*
 * Blobs of the Hugging Face cache. Files of a snapshot are links to blobs named by the hash of their contents: SHA-256
 * for large files, else git's hash, the SHA-1 of "blob SIZE", a NUL and the contents.
 */

#include "file/listing.h"
#include "file/source_file.h"

struct blobs {
	size_t checked, damaged;
	const char *first; /* damaged file */
};

/* Reads every blob of the snapshot and compares its hash with its name. Returns 0 or the code of err_system. */
int blobs_check(const struct source_dir *dir, const struct listing *listing, struct blobs *out,
    struct gptqfs_error *err);

#endif
