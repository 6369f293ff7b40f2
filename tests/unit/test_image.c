/* SPDX-License-Identifier: MIT */

/*
 * EROFS images of trees that no model should have: the functions of gptqfs.h that an image is made from are replaced by
 * a directory of any number of files, with any names, sizes and facts.
 */

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "gptqfs.h"
#include "../test.h"

enum { BLOCK = 4096, FIRST = 2 /* inode number of the first file */ };

/* The tree: a root with `count` files. */
static struct {
	uint32_t count;
	uint64_t size;           /* of each file */
	const char *odd;         /* name of the last file, or NULL */
	const char *key, *value; /* a fact of every inode, or NULL */
	const char *later;       /* its value when told again, or NULL */
	unsigned told;
	bool closed;
} tree;

/* Ascending names of 6 to 255 bytes, of all bytes that a name may have. */
static const char *name_of(uint32_t i)
{
	static char names[1024][256]; /* more than are in use at a time */
	char *const name = names[i % 1024];
	const size_t len = 6 + i * 2654435761u % 250;

	if (tree.odd && i + 1 == tree.count)
		return tree.odd;
	snprintf(name, sizeof(names[0]), "%06x", (unsigned)i);
	for (size_t at = 6; at < len; at++) {
		const unsigned char c = (unsigned char)(i * 31 + at * 7);

		name[at] = (char)(c && c != '/' ? c : 0xff);
	}
	name[len] = 0;
	return name;
}

const char *gptqfs_source(const struct gptqfs *m)
{
	(void)m;
	return "source";
}

void gptqfs_statfs(const struct gptqfs *m, struct statvfs *out)
{
	(void)m;
	*out = (struct statvfs){.f_files = tree.count + 1};
}

int gptqfs_getattr(const struct gptqfs *m, uint64_t ino, struct stat *out)
{
	(void)m;
	*out = (struct stat){.st_ino = ino, .st_mode = S_IFREG | 0444, .st_nlink = 1, .st_size = (off_t)tree.size};
	if (ino == GPTQFS_ROOT) {
		out->st_mode = S_IFDIR | 0555;
		out->st_size = 0;
		out->st_uid = 12345;
	}
	return ino && ino < FIRST + tree.count ? 0 : -ENOENT;
}

int gptqfs_readdir(const struct gptqfs *m, uint64_t ino, uint64_t index, struct gptqfs_dirent *out)
{
	(void)m;
	if (ino != GPTQFS_ROOT)
		return -ENOTDIR;
	if (index < 2)
		*out = (struct gptqfs_dirent){index ? ".." : ".", GPTQFS_ROOT};
	else if (index - 2 < tree.count)
		*out = (struct gptqfs_dirent){name_of((uint32_t)index - 2), index - 2 + FIRST};
	else
		return -ENOENT;
	return 0;
}

bool gptqfs_is_status(const struct gptqfs *m, uint64_t ino)
{
	(void)m;
	(void)ino;
	return false;
}

bool gptqfs_is_late(const struct gptqfs *m, uint64_t ino)
{
	(void)m;
	(void)ino;
	return false;
}

int gptqfs_read(struct gptqfs *m, uint64_t ino, uint64_t offset, size_t size, struct gptqfs_reply *reply)
{
	(void)m;
	(void)ino;
	(void)offset;
	(void)size;
	*reply = (struct gptqfs_reply){0};
	return 0;
}

bool gptqfs_read_done(struct gptqfs *m, struct gptqfs_reply *reply)
{
	(void)m;
	(void)reply;
	return false;
}

static int tell(const void *ctx, uint64_t ino, gptqfs_fact_fn *fn, void *fn_ctx)
{
	(void)ctx;
	(void)ino;
	if (tree.key)
		fn(fn_ctx, tree.key, tree.later && tree.told++ > tree.count ? tree.later : tree.value);
	return 0;
}

/* ---- looking at an image ---- */

static uint64_t get(const unsigned char *p, size_t size)
{
	uint64_t v = 0;

	for (size_t i = size; i--;)
		v = v << 8 | p[i];
	return v;
}

static int open_image(struct gptqfs_image **out)
{
	const struct gptqfs_image_options options = {.tell = tell, .closed = tree.closed};
	struct gptqfs_error err = {{0}};
	int rc;

	tree.told = 0;
	rc = gptqfs_image_open(NULL, &options, out, &err);

	CHECK((rc != 0) == (err.text[0] != 0));
	CHECK(rc == 0 || !*out);
	return rc;
}

/* The list of the root, block by block, as the kernel reads it: every name once, in order, and its inode. */
static void check_list(const struct gptqfs_image *image)
{
	unsigned char block[BLOCK], inode[64], before[256] = "";
	uint32_t files = 0, entries = 0;
	uint64_t size, first;
	size_t before_len = 0;

	CHECK(gptqfs_image_read(image, BLOCK + 2 * 32, sizeof(inode), inode) == 0);
	size = get(inode + 8, 8);
	first = get(inode + 16, 4);
	CHECK(size % BLOCK == 0);
	for (uint64_t at = 0; at < size; at += BLOCK) {
		if (!CHECK(gptqfs_image_read(image, first * BLOCK + at, BLOCK, block) == 0))
			return;
		const size_t count = get(block + 8, 2) / 12;

		for (size_t i = 0; i < count; i++) {
			const size_t begin = get(block + 12 * i + 8, 2);
			const size_t limit = i + 1 < count ? get(block + 12 * i + 20, 2) : BLOCK;
			const size_t len = strnlen((const char *)block + begin, limit - begin);
			const uint64_t nid = get(block + 12 * i, 8);
			const char *wanted = name_of(files);

			if (!CHECK(begin >= 12 * count && begin < limit && limit <= BLOCK && len && len < 256))
				return;
			const int order = memcmp(before, block + begin, len < before_len ? len : before_len);

			if (order > 0 || (order == 0 && before_len >= len))
				CHECK(!"names in order");
			memcpy(before, block + begin, len);
			before_len = len;
			entries++;
			if (len < 3 && block[begin] == '.')
				continue;
			if (strlen(wanted) != len || memcmp(wanted, block + begin, len) != 0)
				CHECK(!"every name");
			if (gptqfs_image_read(image, BLOCK + nid * 32, sizeof(inode), inode) ||
			    get(inode + 20, 4) != FIRST + files || get(inode + 8, 8) != tree.size)
				CHECK(!"the inode of a name");
			files++;
		}
	}
	CHECK(files == tree.count && entries == files + 2);
}

/* Every block of metadata can be made. */
static void read_metadata(const struct gptqfs_image *image)
{
	struct gptqfs_image_span span;
	char block[BLOCK];

	for (uint64_t at = 0;; at += BLOCK) {
		if (gptqfs_image_find(image, at, BLOCK, &span) || span.ino || !span.bytes)
			return;
		CHECK(gptqfs_image_read(image, at, BLOCK, block) == 0);
	}
}

/* ---- cases ---- */

static void check_many_names(void)
{
	struct gptqfs_image *image;

	tree.count = 300000;
	tree.size = 4095;
	if (CHECK(open_image(&image) == 0))
		check_list(image);
	gptqfs_image_close(image);
}

static void check_odd_names(void)
{
	static char longest[257];
	static const char *const refused[] = {"", "~/x", longest};
	struct gptqfs_image *image;

	memset(longest, '~', 256);
	tree.count = 1000;
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
		tree.odd = refused[i];
		CHECK(open_image(&image) == -EINVAL);
	}
	longest[255] = 0;
	if (CHECK(open_image(&image) == 0))
		check_list(image);
	gptqfs_image_close(image);
	tree.odd = NULL;
}

/* Block numbers have 32 bits: 16 TiB less a block is the most. */
static void check_sizes(void)
{
	const uint64_t limit = UINT64_C(0xffffffff) * BLOCK;
	struct gptqfs_image *image;
	struct gptqfs_image_span span;

	tree.count = 1;
	for (int i = 0; i < 2; i++) {
		/* Metadata are three blocks, so that the file begins at 2 MiB. */
		tree.size = limit - (2 << 20) + (i ? 1 : 0);
		CHECK(open_image(&image) == (i ? -EFBIG : 0));
		if (image) {
			check_list(image);
			CHECK(gptqfs_image_find(image, limit - 1, 10, &span) == 0);
			CHECK(span.ino == FIRST && span.offset == tree.size - 1 && span.bytes == 1);
			CHECK(gptqfs_image_find(image, limit, 10, &span) == 0 && !span.bytes);
		}
		gptqfs_image_close(image);
	}
	tree.size = INT64_MAX;
	CHECK(open_image(&image) == -EFBIG);
	tree.count = 100000;
	CHECK(open_image(&image) == -EFBIG);
	tree.size = UINT64_C(5) << 30;
	CHECK(open_image(&image) == -EFBIG);
	tree.count = 1000;
	if (CHECK(open_image(&image) == 0))
		check_list(image);
	gptqfs_image_close(image);
}

/* Bytes of attributes of the root. */
static size_t attribute_bytes(const struct gptqfs_image *image)
{
	unsigned char inode[64];

	if (gptqfs_image_read(image, BLOCK + 2 * 32, sizeof(inode), inode) || !get(inode + 2, 2))
		return 0;
	return (get(inode + 2, 2) - 1) * 4;
}

/* Facts of any length, and facts that change: they may be lost, but nothing else may. */
static void check_facts(void)
{
	static char longest[70000], key[300];
	struct gptqfs_image *image;

	memset(longest, 'x', sizeof(longest) - 1);
	memset(key, 'k', sizeof(key) - 1);
	tree.count = 100;
	tree.size = 1;
	for (int i = 0; i < 5; i++) {
		static const size_t expected[] = {65536 + 12, 0, 0, 16, 16};

		tree.key = i == 2 ? key : "k";
		tree.value = i == 0 ? longest + sizeof(longest) - 1 - 65535 : i == 1 ? longest : "v";
		tree.later = i == 3 ? longest : i == 4 ? "w" : NULL;
		if (CHECK(open_image(&image) == 0)) {
			check_list(image);
			read_metadata(image);
			CHECK(attribute_bytes(image) == (i == 3 ? 0 : expected[i]));
		}
		gptqfs_image_close(image);
	}
	tree.key = NULL;
}

static void check_closed(void)
{
	struct gptqfs_image *image;
	unsigned char inode[64];

	tree.count = 1;
	for (int closed = 0; closed < 2; closed++) {
		tree.closed = closed;
		if (CHECK(open_image(&image) == 0) &&
		    CHECK(gptqfs_image_read(image, BLOCK + 2 * 32, sizeof(inode), inode) == 0)) {
			CHECK(get(inode + 4, 2) == (S_IFDIR | (closed ? 0500 : 0555)));
			CHECK(get(inode + 24, 4) == (closed ? geteuid() : 12345));
		}
		gptqfs_image_close(image);
	}
}

int main(void)
{
	check_many_names();
	check_odd_names();
	check_sizes();
	check_facts();
	check_closed();
	return test_done();
}
