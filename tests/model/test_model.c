/* SPDX-License-Identifier: MIT */

/*
 * The core without FUSE, on the checkpoints given as arguments: every file read in random pieces by several threads at
 * once must equal the file read sequentially, with every CPU level, with and without a cache.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/cpu.h"
#include "gptqfs.h"
#include "../test.h"

#define FILES_MAX 4096

struct image {
	uint64_t ino;
	size_t size;
	unsigned char *bytes;
};

static struct image images[FILES_MAX];
static size_t image_count;

static size_t copy_out(const struct gptqfs_reply *reply, unsigned char *to)
{
	size_t n = 0;

	for (int i = 0; i < reply->count; i++) {
		memcpy(to + n, reply->iov[i].iov_base, reply->iov[i].iov_len);
		n += reply->iov[i].iov_len;
	}
	return n;
}

static void read_whole(struct gptqfs *m, struct image *image)
{
	struct gptqfs_reply reply;
	size_t at = 0;

	while (at < image->size) {
		size_t n;

		if (!CHECK(gptqfs_read(m, image->ino, at, GPTQFS_READ_MAX, &reply) == 0))
			return;
		n = copy_out(&reply, image->bytes + at);
		CHECK(n == reply.bytes && n > 0);
		gptqfs_read_done(m, &reply);
		at += n;
	}
	CHECK(gptqfs_read(m, image->ino, image->size, 10, &reply) == 0 && reply.bytes == 0);
	gptqfs_read_done(m, &reply);
}

/* Lists a directory and everything below; stat, lookup and readdir must agree. */
static void collect(struct gptqfs *m, uint64_t dir)
{
	struct gptqfs_dirent entry;
	struct gptqfs_reply reply;

	CHECK(gptqfs_read(m, dir, 0, 10, &reply) == -EISDIR);
	for (uint64_t i = 2; gptqfs_readdir(m, dir, i, &entry) == 0; i++) {
		struct stat st, again;

		CHECK(gptqfs_getattr(m, entry.ino, &st) == 0 && gptqfs_lookup(m, dir, entry.name, &again) == 0);
		CHECK(st.st_ino == entry.ino && again.st_ino == entry.ino);
		CHECK(gptqfs_lookup(m, entry.ino, ".", &again) == 0 && again.st_ino == entry.ino);
		CHECK(gptqfs_lookup(m, entry.ino, "..", &again) == (S_ISDIR(st.st_mode) ? 0 : -ENOTDIR));
		CHECK(!S_ISDIR(st.st_mode) || again.st_ino == dir);
		if (S_ISDIR(st.st_mode)) {
			collect(m, entry.ino);
		} else if (image_count < FILES_MAX) {
			struct image *image = &images[image_count++];

			*image = (struct image){entry.ino, (size_t)st.st_size, malloc((size_t)st.st_size + 1)};
			read_whole(m, image);
		}
	}
}

struct reader {
	struct gptqfs *m;
	unsigned seed;
	int rounds;
	atomic_uint started;
	atomic_int wrong;
};

static void *read_pieces(void *arg)
{
	static const size_t most[] = {100, 5000, 70000, GPTQFS_READ_MAX};
	struct reader *r = arg;
	unsigned seed = r->seed + r->started++;
	unsigned char *buffer = malloc(GPTQFS_READ_MAX);

	for (int i = 0; i < r->rounds; i++) {
		const struct image *image = &images[(size_t)rand_r(&seed) % image_count];
		struct gptqfs_reply reply;
		size_t offset, size, n;

		if (!image->size)
			continue;
		offset = (size_t)rand_r(&seed) % image->size;
		size = 1 + (size_t)rand_r(&seed) % most[i % 4];
		if (gptqfs_read(r->m, image->ino, offset, size, &reply)) {
			r->wrong++;
			continue;
		}
		n = copy_out(&reply, buffer);
		gptqfs_read_done(r->m, &reply);
		if (n != (size < image->size - offset ? size : image->size - offset) ||
		    memcmp(buffer, image->bytes + offset, n) != 0)
			r->wrong++;
	}
	free(buffer);
	return NULL;
}

static void test_level(const char *dir, enum cpu_level level, size_t cache_bytes, unsigned seed)
{
	struct gptqfs_options options = {.cpu = cpu_name(level), .cache_bytes = cache_bytes, .uid = -1, .gid = -1};
	struct reader reader = {.seed = seed, .rounds = 400};
	struct gptqfs_error err;
	struct gptqfs_counters counters;
	pthread_t threads[4];

	if (!CHECK(gptqfs_open(dir, &options, &reader.m, &err) == 0)) {
		printf("  %s\n", err.text);
		return;
	}
	if (!image_count)
		collect(reader.m, GPTQFS_ROOT);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, read_pieces, &reader);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	if (!CHECK(reader.wrong == 0))
		printf("  %s, %s, cache %zu\n", dir, cpu_name(level), cache_bytes);
	gptqfs_counters(reader.m, &counters);
	CHECK(counters.cache_bytes <= counters.cache_budget && counters.errors == 0);
	while (gptqfs_trim(reader.m))
		;
	gptqfs_close(reader.m);
}

static void test_options(const char *dir)
{
	struct gptqfs_options options = GPTQFS_OPTIONS;
	struct gptqfs_error err;
	struct gptqfs *m;
	struct stat st, of_source;

	if (CHECK(gptqfs_open(dir, &options, &m, &err) == 0))
		CHECK(gptqfs_getattr(m, GPTQFS_ROOT, &st) == 0 && stat(dir, &of_source) == 0 &&
		      st.st_uid == of_source.st_uid && st.st_gid == of_source.st_gid);
	gptqfs_close(m);
	/* A caller compiled with another header. */
	options.size -= 8;
	CHECK(gptqfs_open(dir, &options, &m, &err) == -EINVAL && !m && strstr(err.text, "gptqfs.h"));
}

int main(int argc, char **argv)
{
	const unsigned seed = test_seed();

	if (argc > 1)
		test_options(argv[1]);
	for (int i = 1; i < argc; i++) {
		/* The images come from the plain C reference; all other levels must agree. */
		for (enum cpu_level level = 0; level <= cpu_detect(); level++)
			test_level(argv[i], level, level % 2 ? 0 : (size_t)4 << 20, seed);
		while (image_count)
			free(images[--image_count].bytes);
	}
	CHECK(argc > 1);
	return test_done();
}
