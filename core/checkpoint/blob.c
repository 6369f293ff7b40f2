/* SPDX-License-Identifier: MIT */
#include "checkpoint/blob.h"

#include <errno.h>
#include <limits.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

#define PIECE ((size_t)1 << 20)

union blob_hash {
	struct sha1_ctx git;
	struct sha256_ctx sha256;
};

static bool is_hex(const char *s)
{
	return strspn(s, "0123456789abcdef") == strlen(s);
}

/* Finds the name of the blob that a file of the snapshot links to. Returns false if it is not a link to a hash. */
static bool find_blob(const struct source_dir *dir, const char *name, char hash[2 * SHA256_DIGEST_SIZE + 1])
{
	char target[PATH_MAX];
	const ssize_t len = readlinkat(dir->fd, name, target, sizeof(target) - 1);
	const char *base;

	if (len <= 0)
		return false;
	target[len] = 0;
	base = strrchr(target, '/');
	if (!base || base - target < 5 || memcmp(base - 5, "blobs", 5) != 0 || !is_hex(++base) ||
	    (strlen(base) != 2 * SHA256_DIGEST_SIZE && strlen(base) != 2 * SHA1_DIGEST_SIZE))
		return false;
	strcpy(hash, base);
	return true;
}

static void blob_begin(union blob_hash *h, bool git, off_t size)
{
	char start[40];
	int len;

	if (!git) {
		sha256_init(&h->sha256);
		return;
	}
	len = snprintf(start, sizeof(start), "blob %lld", (long long)size);
	sha1_init(&h->git);
	sha1_update(&h->git, (size_t)len + 1, (const uint8_t *)start);
}

static void blob_end(union blob_hash *h, bool git, char hex[2 * SHA256_DIGEST_SIZE + 1])
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	const size_t size = git ? SHA1_DIGEST_SIZE : SHA256_DIGEST_SIZE;

	if (git)
		sha1_digest(&h->git, size, digest);
	else
		sha256_digest(&h->sha256, size, digest);
	for (size_t i = 0; i < size; i++)
		sprintf(hex + 2 * i, "%02x", digest[i]);
}

/* Sets *good if the file has the hash; a short one is git's. */
static int check_blob(const struct source_file *f, const char *hash, bool *good, struct gptqfs_error *err)
{
	const bool git = strlen(hash) == 2 * SHA1_DIGEST_SIZE;
	const uint64_t size = (uint64_t)f->stat.st_size;
	char hex[2 * SHA256_DIGEST_SIZE + 1];
	uint8_t *piece = malloc(PIECE);
	union blob_hash h;
	int rc = 0;

	if (!piece)
		return err_memory(err);
	blob_begin(&h, git, f->stat.st_size);
	for (uint64_t at = 0; rc == 0 && at < size; at += PIECE) {
		const size_t len = size - at < PIECE ? (size_t)(size - at) : PIECE;

		rc = source_file_load(f, piece, len, at, err);
		if (rc)
			break;
		if (git)
			sha1_update(&h.git, len, piece);
		else
			sha256_update(&h.sha256, len, piece);
	}
	free(piece);
	blob_end(&h, git, hex);
	*good = rc == 0 && strcmp(hex, hash) == 0;
	return rc;
}

int blobs_check(const struct source_dir *dir, const struct listing *listing, struct blobs *out,
    struct gptqfs_error *err)
{
	char hash[2 * SHA256_DIGEST_SIZE + 1];
	int rc = 0;

	*out = (struct blobs){0};
	for (size_t i = 0; rc == 0 && i < listing->count; i++) {
		struct source_file f;
		bool good = false;

		if (!find_blob(dir, listing->names[i], hash))
			continue;
		rc = source_file_open(dir, listing->names[i], &f, err);
		if (rc == 0)
			rc = check_blob(&f, hash, &good, err);
		if (rc == 0) {
			out->checked++;
			out->damaged += !good;
			out->first = good || out->first ? out->first : listing->names[i];
		}
		source_file_close(&f);
	}
	return rc;
}
