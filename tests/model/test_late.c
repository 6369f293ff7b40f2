/* SPDX-License-Identifier: MIT */

/* A view that is planned late from a source that has changed by then. The model is a copy, and is damaged. */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gptqfs.h"
#include "../test.h"

static void ignore_fact(void *ctx, const char *key, const char *value)
{
	(void)ctx;
	(void)key;
	(void)value;
}

/* Returns the inode number of the GGUF file, which is the same in every mount of the model; 0 if there is none. */
static uint64_t find_gguf(const char *dir)
{
	const struct gptqfs_options options = GPTQFS_OPTIONS;
	struct gptqfs_dirent entry;
	struct gptqfs_error err;
	struct gptqfs *m;
	struct stat st;
	uint64_t ino = 0;

	if (gptqfs_open(dir, &options, &m, &err))
		return 0;
	if (gptqfs_lookup(m, GPTQFS_ROOT, "gguf", &st) == 0)
		for (uint64_t i = 2; !ino && gptqfs_readdir(m, st.st_ino, i, &entry) == 0; i++)
			ino = strstr(entry.name, ".gguf") ? entry.ino : 0;
	gptqfs_close(m);
	return ino;
}

int main(int argc, char **argv)
{
	const struct gptqfs_options options = GPTQFS_OPTIONS;
	const uint64_t ino = argc == 3 ? find_gguf(argv[1]) : 0;
	struct gptqfs_error err;
	struct gptqfs *m;
	struct stat st;

	if (CHECK(ino) && CHECK(gptqfs_open(argv[1], &options, &m, &err) == 0)) {
		CHECK(truncate(argv[2], 4096) == 0);
		CHECK(gptqfs_facts(m, ino, ignore_fact, NULL) == -EIO);
		CHECK(gptqfs_getattr(m, ino, &st) == -EIO);
		gptqfs_close(m);
	}
	return test_done();
}
