/* SPDX-License-Identifier: MIT */

/*
 * The EROFS image of checkpoints, read by a parser of its own that finds names as the kernel does, by binary search.
 * With -m, compares only metadata. With -o, writes the image of one model to a sparse file, for programs that know
 * EROFS.
 */

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "gptqfs.h"
#include "../test.h"

enum { BLOCK = 4096, PIECE = 1 << 20 };

struct superblock {
	uint32_t magic, checksum, compat;
	uint8_t block_bits, slots;
	uint16_t root;
	uint64_t inodes, time;
	uint32_t time_ns, blocks, metadata, xattrs;
	uint8_t uuid[16], name[16];
	uint32_t incompat;
};

struct inode {
	uint16_t format, xattrs, mode, reserved;
	uint64_t size;
	uint32_t block, ino, uid, gid;
	uint64_t mtime;
	uint32_t mtime_ns, links;
	uint8_t reserved2[16];
};

struct dirent {
	uint64_t nid;
	uint16_t name;
	uint8_t type, reserved;
} __attribute__((packed));

struct image {
	struct gptqfs *m;
	struct gptqfs_image *image;
	struct superblock sb;
	bool contents; /* compare the bytes of files, too */
	unsigned files, directories, attributes;
};

static bool read_image(const struct image *im, uint64_t offset, size_t size, void *dst)
{
	return CHECK(gptqfs_image_read(im->image, offset, size, dst) == 0);
}

static bool read_inode(const struct image *im, uint64_t nid, struct inode *out)
{
	return read_image(im, (uint64_t)im->sb.metadata * BLOCK + nid * 32, sizeof(*out), out);
}

/* Compares a name with entry i of a block; names are not terminated, except the last. */
static int compare(const char *block, unsigned i, const char *name)
{
	const struct dirent *d = (const struct dirent *)block + i;
	const unsigned count = ((const struct dirent *)block)->name / sizeof(*d);
	const size_t end = i + 1 < count ? d[1].name : d->name + strnlen(block + d->name, BLOCK - d->name);
	const size_t len = end - d->name, n = strlen(name);
	const int order = memcmp(name, block + d->name, len < n ? len : n);

	return order ? order : n < len ? -1 : n > len;
}

/* ---- attributes ---- */

static int tell_facts(const void *ctx, uint64_t ino, gptqfs_fact_fn *fn, void *fn_ctx)
{
	if (ino != GPTQFS_ROOT)
		return gptqfs_facts(ctx, ino, fn, fn_ctx);
	fn(fn_ctx, "model", gptqfs_source(ctx));
	return 0;
}

/* The attributes of an inode as they are in the image, and how far they have been compared. */
struct stored {
	const unsigned char *bytes;
	size_t size, used;
	unsigned count;
};

static void compare_fact(void *ctx, const char *key, const char *value)
{
	struct stored *s = ctx;
	const unsigned char *p = s->bytes + s->used;
	const size_t name = strlen("gptqfs.") + strlen(key), len = strlen(value);
	const size_t size = (4 + name + len + 3) / 4 * 4;

	s->count++;
	if (!CHECK(s->used + size <= s->size))
		return;
	CHECK(p[0] == name && p[1] == 1 && p[2] + 256 * p[3] == (int)len);
	CHECK(memcmp(p + 4, "gptqfs.", 7) == 0 && memcmp(p + 11, key, strlen(key)) == 0);
	CHECK(memcmp(p + 4 + name, value, len) == 0);
	s->used += size;
}

static void check_attributes(struct image *im, const struct inode *inode, uint64_t ino, uint64_t nid)
{
	const size_t size = inode->xattrs ? (inode->xattrs - 1) * (size_t)4 : 0;
	unsigned char *bytes = calloc(1, 12 + size);
	struct stored stored = {.bytes = bytes + 12, .size = size};

	if (bytes && read_image(im, (uint64_t)im->sb.metadata * BLOCK + nid * 32 + 64, 12 + size, bytes)) {
		CHECK(!size || (bytes[4] == 0 && bytes[5] == 0));
		CHECK(tell_facts(im->m, ino, compare_fact, &stored) == 0);
		CHECK(stored.used == size);
		im->attributes += stored.count;
	}
	free(bytes);
}

/* CRC-32C of the superblock's part of its block, in which the checksum is zero. */
static uint32_t superblock_checksum(const struct image *im)
{
	unsigned char bytes[BLOCK - 1024];
	uint64_t crc = 0;

	if (!read_image(im, 1024, sizeof(bytes), bytes))
		return 0;
	memset(bytes + 4, 0, 4);
	/* As a division of polynomials, first bits first; the initial value inverts the first 32. */
	for (size_t i = 0; i < 8 * (sizeof(bytes) + 4); i++) {
		const bool bit = i / 8 < sizeof(bytes) && bytes[i / 8] >> i % 8 & 1;

		crc = crc << 1 | (bit ^ (i < 32));
		if (crc >> 32)
			crc ^= 0x11edc6f41;
	}
	/* The last step's coefficients, in reverse. */
	uint32_t reversed = 0;
	for (int i = 0; i < 32; i++)
		reversed |= (uint32_t)(crc >> i & 1) << (31 - i);
	return reversed;
}

/* ---- directories and files ---- */

/* Finds a name in a directory as the kernel does: its block first, then the entry. Returns its nid, or 0. */
static uint64_t find_name(const struct image *im, const struct inode *dir, const char *name)
{
	uint64_t low = 0, high = dir->size / BLOCK;
	char block[BLOCK];
	unsigned from = 0, to;

	while (high - low > 1) {
		const uint64_t mid = low + (high - low) / 2;

		if (!read_image(im, ((uint64_t)dir->block + mid) * BLOCK, BLOCK, block))
			return 0;
		if (compare(block, 0, name) < 0)
			high = mid;
		else
			low = mid;
	}
	if (!read_image(im, ((uint64_t)dir->block + low) * BLOCK, BLOCK, block))
		return 0;
	to = ((struct dirent *)block)->name / sizeof(struct dirent);
	while (from < to) {
		const unsigned mid = (from + to) / 2;
		const int order = compare(block, mid, name);

		if (order == 0)
			return ((struct dirent *)block)[mid].nid;
		if (order < 0)
			to = mid;
		else
			from = mid + 1;
	}
	return 0;
}

static uint64_t count_entries(const struct image *im, const struct inode *dir)
{
	uint64_t count = 0;
	char block[BLOCK];

	for (uint64_t at = 0; at < dir->size; at += BLOCK)
		if (read_image(im, (uint64_t)dir->block * BLOCK + at, BLOCK, block))
			count += ((struct dirent *)block)->name / sizeof(struct dirent);
	return count;
}

/* The bytes of a file, in one piece of the image and in small ones that cross its borders. */
static void check_bytes(const struct image *im, const struct inode *file, uint64_t ino)
{
	static unsigned char a[PIECE], b[PIECE];
	struct gptqfs_image_span span;

	CHECK(file->block % 512 == 0 || file->size <= 511 * BLOCK);
	for (uint64_t at = 0; im->contents && at < file->size;) {
		const size_t want = file->size - at < PIECE ? file->size - at : PIECE;
		struct gptqfs_reply reply;
		size_t got = 0;

		CHECK(gptqfs_image_find(im->image, (uint64_t)file->block * BLOCK + at, PIECE, &span) == 0);
		CHECK(span.ino == ino && span.offset == at && span.bytes == want);
		if (!CHECK(gptqfs_read(im->m, ino, at, want, &reply) == 0))
			return;
		for (int i = 0; i < reply.count; i++) {
			memcpy(a + got, reply.iov[i].iov_base, reply.iov[i].iov_len);
			got += reply.iov[i].iov_len;
		}
		gptqfs_read_done(im->m, &reply);
		CHECK(got == want && read_image(im, (uint64_t)file->block * BLOCK + at, want, b) &&
		      !memcmp(a, b, want));
		at += want;
	}
	/* From before the end to the end of its last block, which is zeros. */
	if (im->contents && file->size) {
		const uint64_t end = (uint64_t)file->block * BLOCK + (file->size + BLOCK - 1) / BLOCK * BLOCK;

		CHECK(read_image(im, end - BLOCK, BLOCK, b));
		for (size_t i = file->size % BLOCK; i && i < BLOCK; i++)
			if (b[i])
				CHECK(!"zeros behind the end of a file");
	}
}

static void check_inode(struct image *im, uint64_t ino, uint64_t nid);

static void check_directory(struct image *im, const struct inode *dir, uint64_t ino)
{
	uint64_t entries = 0;
	struct gptqfs_dirent entry;

	im->directories++;
	for (uint64_t i = 0; gptqfs_readdir(im->m, ino, i, &entry) == 0; i++) {
		uint64_t nid;

		if (gptqfs_is_status(im->m, entry.ino) || gptqfs_is_late(im->m, entry.ino))
			continue;
		entries++;
		nid = find_name(im, dir, entry.name);
		if (!CHECK(nid))
			printf("%s is not found\n", entry.name);
		else if (i >= 2)
			check_inode(im, entry.ino, nid);
	}
	CHECK(find_name(im, dir, "no such file") == 0);
	CHECK(count_entries(im, dir) == entries);
}

static void check_inode(struct image *im, uint64_t ino, uint64_t nid)
{
	struct inode inode;
	struct stat st;

	if (!read_inode(im, nid, &inode) || !CHECK(gptqfs_getattr(im->m, ino, &st) == 0))
		return;
	CHECK(inode.format == 1 && inode.mode == st.st_mode && inode.uid == st.st_uid && inode.gid == st.st_gid);
	CHECK(inode.mtime == (uint64_t)st.st_mtim.tv_sec && inode.mtime_ns == st.st_mtim.tv_nsec);
	CHECK(inode.links == st.st_nlink && inode.ino == ino);
	check_attributes(im, &inode, ino, nid);
	if (S_ISDIR(st.st_mode)) {
		check_directory(im, &inode, ino);
		return;
	}
	im->files++;
	if (CHECK(inode.size == (uint64_t)st.st_size))
		check_bytes(im, &inode, ino);
}

/* Writes what is not zero. */
static void write_image(const struct image *im, const char *path)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	const uint64_t size = gptqfs_image_size(im->image);
	static char piece[PIECE], zeros[BLOCK];

	CHECK(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
	for (uint64_t at = 0; at < size; at += PIECE) {
		const size_t n = size - at < PIECE ? size - at : PIECE;

		if (!read_image(im, at, n, piece))
			break;
		for (size_t b = 0; b < n; b += BLOCK)
			if (memcmp(piece + b, zeros, BLOCK))
				CHECK(pwrite(fd, piece + b, BLOCK, (off_t)(at + b)) == BLOCK);
	}
	close(fd);
}

static void check_model(const char *dir, const char *path, bool contents)
{
	const struct gptqfs_options options = GPTQFS_OPTIONS;
	struct gptqfs_error err;
	struct image im = {.contents = contents};
	struct gptqfs_image_options image;
	char byte;

	if (!CHECK(gptqfs_open(dir, &options, &im.m, &err) == 0)) {
		puts(err.text);
		return;
	}
	image = (struct gptqfs_image_options){.tell = tell_facts, .ctx = im.m};
	if (CHECK(gptqfs_image_open(im.m, &image, &im.image, &err) == 0)) {
		const uint64_t size = gptqfs_image_size(im.image);

		CHECK(gptqfs_image_read(im.image, size, 1, &byte) == -EINVAL);
		if (read_image(&im, 1024, sizeof(im.sb), &im.sb)) {
			CHECK(im.sb.magic == 0xe0f5e1e2 && im.sb.block_bits == 12 && im.sb.incompat == 0);
			CHECK(im.sb.compat == 3 && im.sb.checksum == superblock_checksum(&im));
			CHECK((uint64_t)im.sb.blocks * BLOCK == size);
			check_inode(&im, GPTQFS_ROOT, im.sb.root);
		}
		if (path)
			write_image(&im, path);
		printf("%s: %u files, %u directories, %u attributes, %llu bytes\n", dir, im.files, im.directories,
		    im.attributes, (unsigned long long)size);
	}
	gptqfs_image_close(im.image);
	gptqfs_close(im.m);
}

int main(int argc, char **argv)
{
	const char *path = NULL;
	bool contents = true;
	int option;

	while ((option = getopt(argc, argv, "mo:")) != -1)
		if (option == 'm')
			contents = false;
		else if (option == 'o')
			path = optarg;
		else
			return 2;
	for (int i = optind; i < argc; i++)
		check_model(argv[i], path, contents);
	return test_done();
}
