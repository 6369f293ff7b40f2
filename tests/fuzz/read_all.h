/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FUZZ_READ_ALL_H
#define GPTQFS_FUZZ_READ_ALL_H

/* A model that could be opened: every byte is read, and everything is reported, hashed and counted. */

#include <errno.h>
#include <stdio.h>

#include "fuzz.h"
#include "gptqfs.h"

#define READ_LIMIT ((uint64_t)8 << 20) /* of one file; headers can promise more than is worth computing */

static inline void read_file(struct gptqfs *m, uint64_t ino, uint64_t size)
{
	/* An odd step, so that reads begin and end inside of rows. */
	for (uint64_t at = 0; at < size && at < READ_LIMIT; at += 100003) {
		struct gptqfs_reply reply;
		uint64_t sum = 0;

		FUZZ_CHECK(gptqfs_read(m, ino, at, 100003, &reply) == 0);
		for (int i = 0; i < reply.count; i++)
			sum += reply.iov[i].iov_len;
		FUZZ_CHECK(sum == reply.bytes && sum == (size - at < 100003 ? size - at : 100003));
		gptqfs_read_done(m, &reply);
	}
}

static inline void read_tree(struct gptqfs *m, uint64_t dir)
{
	struct gptqfs_dirent entry;
	struct stat st;

	for (uint64_t i = 2; gptqfs_readdir(m, dir, i, &entry) == 0; i++) {
		FUZZ_CHECK(gptqfs_lookup(m, dir, entry.name, &st) == 0 && st.st_ino == entry.ino);
		if (S_ISDIR(st.st_mode))
			read_tree(m, entry.ino);
		else
			read_file(m, entry.ino, (uint64_t)st.st_size);
	}
}

static inline void read_all(struct gptqfs *m, bool json)
{
	struct gptqfs_error err;
	FILE *null = fopen("/dev/null", "w");

	read_tree(m, GPTQFS_ROOT);
	FUZZ_CHECK(null && gptqfs_check(m, json, null, &err) == 0);
	fclose(null);
}

/* Statistics of it beside itself, and hashes of all views. Both compute everything again. */
static inline void compute_all(struct gptqfs *m)
{
	struct gptqfs_stats *stats;
	struct gptqfs_error err;
	FILE *null = fopen("/dev/null", "w");
	int rc;

	FUZZ_CHECK(null != NULL);
	rc = gptqfs_stats(m, m, NULL, &stats, &err);
	FUZZ_CHECK(rc == 0 || (rc == -EBADMSG && err.text[0]));
	if (rc == 0) {
		for (size_t i = 0; i < stats->module_count; i++)
			FUZZ_CHECK(!(stats->modules[i].against.rel_error > 0));
		FUZZ_CHECK(gptqfs_stats_json(stats, null, &err) == 0);
		gptqfs_stats_free(stats);
	}
	FUZZ_CHECK(gptqfs_hashes(m, null, &err) == 0);
	fclose(null);
}

#endif
