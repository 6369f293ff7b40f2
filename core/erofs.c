/* SPDX-License-Identifier: MIT */

/*
 * The tree as an EROFS image, for kernels that read a disk file system faster than FUSE. Uses only gptqfs.h. The image:
 *
 *     block 0         the superblock, at byte 1024
 *     blocks 1...     inodes of 64 bytes, each with its extended attributes, in the order of their numbers
 *     then            directories, in the order of their numbers
 *     then            files, in the order of their numbers, those of 2 MiB and more at multiples of 2 MiB
 *
 * Nothing of this is stored: metadata is made when read, from two numbers per inode and two per block of a directory.
 * Block numbers have 32 bits, which is 16 TiB in blocks of 4 KiB; larger trees are refused. (Linux 6.15 knows a form
 * with 48 bits, but reads this one too.)
 */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/err.h"
#include "gptqfs.h"

enum {
	BLOCK_BITS = 12,
	BLOCK = 1 << BLOCK_BITS,
	ALIGN = (2 << 20) / BLOCK, /* of large files, in blocks */
	SUPERBLOCK = 1024,
	INODE = 64,
	DIRENT = 12,
	NAME = 255,      /* longest name */
	ATTRIBUTES = 12, /* what precedes the attributes of an inode */
	NID = 32,        /* an inode's number in the image counts units of this, from INODES */
	INODES = 1,      /* first block of the inodes */
};

#define EROFS_MAGIC 0xe0f5e1e2
#define EROFS_COMPAT_CHECKSUM 1
#define EROFS_COMPAT_MTIME 2
#define EROFS_USER 1 /* namespace of attributes; "user." is not stored */
#define PREFIX "gptqfs."

/* A position in the list of a directory. `next` is an index of gptqfs_readdir. */
struct cursor {
	uint32_t ino;
	uint32_t next : 30;
	uint32_t dot : 1, dotdot : 1; /* these have been listed */
};

struct gptqfs_image {
	struct gptqfs *m;
	struct gptqfs_image_options options;
	uid_t uid; /* of this process */
	gid_t gid;
	uint32_t inodes;         /* the highest number */
	uint32_t *first;         /* [inodes + 2] first block of each inode; the last is the end of the image */
	uint32_t *nids;          /* [inodes + 2] where each inode is; the last is the end of the inodes */
	unsigned char *left_out; /* a bit per inode */
	uint32_t listings;       /* first block of the directories */
	struct cursor *blocks;   /* [block_count] of directories, and where each of them begins */
	size_t block_count, block_room;
};

static bool is_left_out(const struct gptqfs_image *image, uint64_t ino)
{
	return image->left_out[ino / 8] >> ino % 8 & 1;
}

/* Stores a number in `size` bytes, little-endian. */
static void put(unsigned char *p, size_t size, uint64_t v)
{
	for (size_t i = 0; i < size; i++)
		p[i] = (unsigned char)(v >> 8 * i);
}

/* ---- attributes ---- */

struct attributes {
	unsigned char *to; /* NULL only to count */
	size_t room, used;
};

/* What does not fit is left out: the model is as it was when the room was counted, or has failed. */
static void add_attribute(void *ctx, const char *key, const char *value)
{
	struct attributes *a = ctx;
	const size_t name = sizeof(PREFIX) - 1 + strlen(key), len = strlen(value);
	const size_t size = div_up(4 + name + len, 4) * 4;

	if (name > UINT8_MAX || len > UINT16_MAX || a->used + size > a->room)
		return;
	if (a->to) {
		unsigned char *p = a->to + a->used;

		put(p, 1, name);
		put(p + 1, 1, EROFS_USER);
		put(p + 2, 2, len);
		memcpy(p + 4, PREFIX, sizeof(PREFIX) - 1);
		memcpy(p + 4 + sizeof(PREFIX) - 1, key, strlen(key));
		memcpy(p + 4 + name, value, len);
	}
	a->used += size;
}

/* Adds the attributes of an inode. Their size is stored in 16 bits, in units of 4. */
static int add_attributes(const struct gptqfs_image *image, uint32_t ino, struct attributes *a)
{
	if (a->room > (size_t)UINT16_MAX * 4 - 4)
		a->room = (size_t)UINT16_MAX * 4 - 4;
	return image->options.tell ? image->options.tell(image->options.ctx, ino, add_attribute, a) : 0;
}

/* ---- directories ---- */

/* True for a name that no listing can have. The tree has none; a bug there must not shape an image. */
static bool is_odd_name(const char *name)
{
	const size_t len = strnlen(name, NAME + 1);

	return !len || len > NAME || memchr(name, '/', len);
}

/*
 * Moves on to the next entry. Entries are in bytewise order, with no special place for "." and "..". Returns -ENOENT at
 * the end.
 */
static int cursor_next(const struct gptqfs_image *image, struct cursor *at, struct gptqfs_dirent *out)
{
	int rc = gptqfs_readdir(image->m, at->ino, at->next, out);

	while (rc == 0 && is_left_out(image, out->ino))
		rc = gptqfs_readdir(image->m, at->ino, ++at->next, out);
	if (rc && rc != -ENOENT)
		return rc;
	if (rc == 0 && is_odd_name(out->name))
		return -EINVAL;
	if (!at->dot && (rc || strcmp(out->name, ".") > 0)) {
		at->dot = 1;
		return gptqfs_readdir(image->m, at->ino, 0, out);
	}
	if (!at->dotdot && (rc || strcmp(out->name, "..") > 0)) {
		at->dotdot = 1;
		return gptqfs_readdir(image->m, at->ino, 1, out);
	}
	if (rc == 0)
		at->next++;
	return rc;
}

/*
 * Moves on by as many entries as a block holds, and sets *count to their number: 0 at the end of the directory. Returns
 * 0 or -errno.
 */
static int cursor_block(const struct gptqfs_image *image, struct cursor *at, struct gptqfs_dirent *entries,
    size_t *count)
{
	size_t used = 0;

	for (*count = 0;; ++*count) {
		struct cursor next = *at;
		int rc = cursor_next(image, &next, &entries[*count]);

		if (rc)
			return rc == -ENOENT ? 0 : rc;
		used += DIRENT + strlen(entries[*count].name);
		if (used > BLOCK)
			return 0;
		*at = next;
	}
}

/* An entry takes at least 13 bytes; one more for the one that no longer fits. */
#define ENTRIES_MAX (BLOCK / (DIRENT + 1) + 1)

static int add_block(struct gptqfs_image *image, const struct cursor *at)
{
	if (image->block_count == image->block_room) {
		const size_t room = image->block_room ? image->block_room * 2 : 64;
		struct cursor *blocks = reallocarray(image->blocks, room, sizeof(*blocks));

		if (!blocks)
			return -ENOMEM;
		image->blocks = blocks;
		image->block_room = room;
	}
	image->blocks[image->block_count++] = *at;
	return 0;
}

static int add_directory(struct gptqfs_image *image, uint32_t ino)
{
	struct gptqfs_dirent entries[ENTRIES_MAX];
	struct cursor at = {.ino = ino, .next = 2};
	size_t count;
	int rc;

	do {
		const struct cursor begin = at;

		rc = cursor_block(image, &at, entries, &count);
		if (rc == 0 && count)
			rc = add_block(image, &begin);
	} while (rc == 0 && count);
	return rc;
}

/* Returns the index of the first block of a directory, or of the next one if this is not a directory. */
static size_t find_directory(const struct gptqfs_image *image, uint32_t ino)
{
	size_t low = 0, high = image->block_count;

	while (low < high) {
		const size_t mid = low + (high - low) / 2;

		if (image->blocks[mid].ino < ino)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* ---- opening ---- */

/* A text that changes cannot be in an image. Planning a view may take long, so only that of -o view= is worth it. */
static void choose_inodes(struct gptqfs_image *image)
{
	for (uint32_t ino = GPTQFS_ROOT; ino <= image->inodes; ino++)
		if (gptqfs_is_status(image->m, ino) || gptqfs_is_late(image->m, ino))
			image->left_out[ino / 8] |= (unsigned char)(1 << ino % 8);
}

/* The attributes of an inode; those of one that is left out are zeros. */
static int image_getattr(const struct gptqfs_image *image, uint32_t ino, struct stat *out)
{
	*out = (struct stat){0};
	return is_left_out(image, ino) ? 0 : gptqfs_getattr(image->m, ino, out);
}

static int place_directories(struct gptqfs_image *image)
{
	struct stat st;
	int rc = 0;

	for (uint32_t ino = GPTQFS_ROOT; rc == 0 && ino <= image->inodes; ino++) {
		rc = image_getattr(image, ino, &st);
		if (rc == 0 && S_ISDIR(st.st_mode))
			rc = add_directory(image, ino);
	}
	return rc;
}

/* Each inode is followed by its attributes, up to the next multiple of NID. Number 0, which is none, has room too. */
static int place_inodes(struct gptqfs_image *image)
{
	uint64_t end = INODE / NID;
	int rc = 0;

	for (uint32_t ino = GPTQFS_ROOT; rc == 0 && ino <= image->inodes; ino++) {
		struct attributes a = {.room = SIZE_MAX};

		image->nids[ino] = (uint32_t)end;
		if (is_left_out(image, ino))
			continue;
		rc = add_attributes(image, ino, &a);
		end += div_up(INODE + (a.used ? ATTRIBUTES + a.used : 0), NID);
		if (end > UINT32_MAX)
			return -EFBIG;
	}
	image->nids[image->inodes + 1] = (uint32_t)end;
	image->listings = (uint32_t)(INODES + div_up(end * NID, BLOCK));
	return rc;
}

/* A file's blocks begin at first[ino], and first[ino + 1] is no less than their end. */
static int place_files(struct gptqfs_image *image)
{
	uint64_t end = image->listings + (uint64_t)image->block_count;
	struct stat st;

	for (uint32_t ino = GPTQFS_ROOT; ino <= image->inodes; ino++) {
		int rc = image_getattr(image, ino, &st);

		if (rc)
			return rc;
		if (S_ISREG(st.st_mode) && st.st_size) {
			const uint64_t blocks = div_up((uint64_t)st.st_size, BLOCK);

			if (blocks >= ALIGN)
				end = div_up(end, ALIGN) * ALIGN;
			image->first[ino] = (uint32_t)end;
			end += blocks;
		} else {
			image->first[ino] = (uint32_t)end;
		}
		if (end > UINT32_MAX)
			return -EFBIG;
	}
	image->first[image->inodes + 1] = (uint32_t)end;
	return 0;
}

static int place_all(struct gptqfs_image *image)
{
	struct statvfs fs;
	int rc;

	gptqfs_statfs(image->m, &fs);
	if (fs.f_files >= 1 << 30)
		return -EFBIG;
	image->inodes = (uint32_t)fs.f_files;
	image->first = calloc((size_t)image->inodes + 2, sizeof(*image->first));
	image->nids = calloc((size_t)image->inodes + 2, sizeof(*image->nids));
	image->left_out = calloc(image->inodes / 8 + 1, 1);
	if (!image->first || !image->nids || !image->left_out)
		return -ENOMEM;
	choose_inodes(image);
	rc = place_inodes(image);
	if (rc == 0)
		rc = place_directories(image);
	return rc ? rc : place_files(image);
}

int gptqfs_image_open(struct gptqfs *m, const struct gptqfs_image_options *options, struct gptqfs_image **out,
    struct gptqfs_error *err)
{
	struct gptqfs_image *image = calloc(1, sizeof(*image));
	int rc = -ENOMEM;

	*out = NULL;
	if (image) {
		image->m = m;
		image->options = *options;
		image->uid = geteuid();
		image->gid = getegid();
		rc = place_all(image);
	}
	if (rc == 0) {
		*out = image;
		return 0;
	}
	gptqfs_image_close(image);
	if (rc == -EFBIG)
		return err_set(err, rc,
		    "%s: its files take more than the 16 TiB of an EROFS image; show one view (-o view=NAME)",
		    gptqfs_source(m));
	return rc == -ENOMEM
	           ? err_memory(err)
	           : err_set(err, rc, "%s: no image of the files can be laid out: %s", gptqfs_source(m), strerror(-rc));
}

void gptqfs_image_close(struct gptqfs_image *image)
{
	if (!image)
		return;
	free(image->first);
	free(image->nids);
	free(image->left_out);
	free(image->blocks);
	free(image);
}

uint64_t gptqfs_image_size(const struct gptqfs_image *image)
{
	return (uint64_t)image->first[image->inodes + 1] << BLOCK_BITS;
}

/* ---- metadata ---- */

/* CRC-32C without the final inversion. */
static uint32_t checksum(const unsigned char *p, size_t size)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < size; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return crc;
}

static int make_superblock(const struct gptqfs_image *image, unsigned char *block)
{
	unsigned char *sb = block + SUPERBLOCK;
	struct stat root;
	int rc = gptqfs_getattr(image->m, GPTQFS_ROOT, &root);

	if (rc)
		return rc;
	put(sb, 4, EROFS_MAGIC);
	put(sb + 8, 4, EROFS_COMPAT_CHECKSUM | EROFS_COMPAT_MTIME);
	put(sb + 12, 1, BLOCK_BITS);
	put(sb + 14, 2, image->nids[GPTQFS_ROOT]);
	put(sb + 16, 8, image->inodes);
	put(sb + 24, 8, (uint64_t)root.st_mtim.tv_sec);
	put(sb + 32, 4, (uint64_t)root.st_mtim.tv_nsec);
	put(sb + 36, 4, image->first[image->inodes + 1]);
	put(sb + 40, 4, INODES);
	memcpy(sb + 64, "gptqfs", 6);
	put(sb + 4, 4, checksum(sb, BLOCK - SUPERBLOCK));
	return 0;
}

/* An extended inode, its data in consecutive blocks ("flat plain"), and its attributes. `size` is what was placed. */
static int make_inode(const struct gptqfs_image *image, uint32_t ino, unsigned char *p, size_t size)
{
	struct attributes a = {.to = p + INODE + ATTRIBUTES};
	uint64_t first = image->first[ino];
	struct stat st;
	int rc = gptqfs_getattr(image->m, ino, &st);

	if (rc)
		return rc;
	if (S_ISDIR(st.st_mode)) {
		const size_t begin = find_directory(image, ino);

		first = image->listings + begin;
		st.st_size = (off_t)(find_directory(image, ino + 1) - begin) << BLOCK_BITS;
	}
	if (ino == GPTQFS_ROOT && image->options.closed) {
		st.st_mode = S_IFDIR | 0500;
		st.st_uid = image->uid;
		st.st_gid = image->gid;
	}
	if (size > INODE + ATTRIBUTES) {
		a.room = size - INODE - ATTRIBUTES;
		rc = add_attributes(image, ino, &a);
	}
	put(p, 2, 1);
	put(p + 2, 2, a.used ? a.used / 4 + 1 : 0);
	put(p + 4, 2, st.st_mode);
	put(p + 8, 8, (uint64_t)st.st_size);
	put(p + 16, 4, first);
	put(p + 20, 4, ino);
	put(p + 24, 4, st.st_uid);
	put(p + 28, 4, st.st_gid);
	put(p + 32, 8, (uint64_t)st.st_mtim.tv_sec);
	put(p + 40, 4, (uint64_t)st.st_mtim.tv_nsec);
	put(p + 44, 4, st.st_nlink);
	return rc;
}

/* Returns the last inode whose entry of a table, nids or first, is at most `value`; 0 if there is none. */
static uint32_t find_inode(const struct gptqfs_image *image, const uint32_t *table, uint64_t value)
{
	uint32_t low = GPTQFS_ROOT, high = image->inodes + 1;

	while (low < high) {
		const uint32_t mid = low + (high - low) / 2;

		if (table[mid] <= value)
			low = mid + 1;
		else
			high = mid;
	}
	return low - 1;
}

/* Makes all inodes that are partly in the block, side by side, and copies that part. */
static int make_inodes(const struct gptqfs_image *image, uint64_t index, unsigned char *block)
{
	const uint64_t begin = index * (BLOCK / NID), end = begin + BLOCK / NID;
	const uint32_t from = find_inode(image, image->nids, begin), to = find_inode(image, image->nids, end - 1);
	const uint64_t base = image->nids[from], total = image->nids[to + 1];
	unsigned char *bytes;
	int rc = 0;

	/* Only the first may begin before the block, and only the last may end behind it. */
	bytes = calloc(total - base + BLOCK / NID, NID);
	if (!bytes)
		return -ENOMEM;
	for (uint32_t ino = from; rc == 0 && ino <= to; ino++)
		if (ino >= GPTQFS_ROOT && image->nids[ino + 1] > image->nids[ino])
			rc = make_inode(image, ino, bytes + (image->nids[ino] - base) * NID,
			    (size_t)(image->nids[ino + 1] - image->nids[ino]) * NID);
	if (rc == 0)
		memcpy(block, bytes + (begin - base) * NID, BLOCK);
	free(bytes);
	return rc;
}

/* Fixed parts first, then the names, of which the last is ended by a zero or by the end of the block. */
static int make_listing(const struct gptqfs_image *image, uint64_t index, unsigned char *block)
{
	struct gptqfs_dirent entries[ENTRIES_MAX];
	struct cursor at = image->blocks[index];
	size_t count, name;
	int rc = cursor_block(image, &at, entries, &count);

	name = count * DIRENT;
	for (size_t i = 0; rc == 0 && i < count; i++) {
		const size_t len = strlen(entries[i].name);
		unsigned char *p = block + i * DIRENT;
		struct stat st;

		rc = gptqfs_getattr(image->m, entries[i].ino, &st);
		if (rc)
			break;
		put(p, 8, image->nids[entries[i].ino]);
		put(p + 8, 2, name);
		put(p + 10, 1, S_ISDIR(st.st_mode) ? 2 : 1);
		memcpy(block + name, entries[i].name, len);
		name += len;
	}
	return rc;
}

/* Makes a block that belongs to no file. */
static int make_block(const struct gptqfs_image *image, uint64_t number, unsigned char *block)
{
	memset(block, 0, BLOCK);
	if (number < INODES)
		return make_superblock(image, block);
	if (number < image->listings)
		return make_inodes(image, number - INODES, block);
	if (number < image->listings + image->block_count)
		return make_listing(image, number - image->listings, block);
	return 0;
}

/* ---- reading ---- */

int gptqfs_image_find(const struct gptqfs_image *image, uint64_t offset, size_t size, struct gptqfs_image_span *out)
{
	const uint64_t total = gptqfs_image_size(image);
	const uint64_t left = offset < total ? total - offset : 0;
	const uint32_t ino = left ? find_inode(image, image->first, offset >> BLOCK_BITS) : 0;
	uint64_t end = (uint64_t)image->first[ino + 1] << BLOCK_BITS, begin, bytes;
	struct stat st = {0};
	int rc = ino ? image_getattr(image, ino, &st) : 0;

	if (rc)
		return rc;
	*out = (struct gptqfs_image_span){.bytes = left < size ? (size_t)left : size};
	if (!left)
		return 0;
	begin = (uint64_t)image->first[ino] << BLOCK_BITS;
	bytes = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	if (ino && offset - begin < bytes) {
		out->ino = ino;
		out->offset = offset - begin;
		end = begin + bytes;
	}
	if (end - offset < out->bytes)
		out->bytes = (size_t)(end - offset);
	return 0;
}

static int copy_file(const struct gptqfs_image *image, const struct gptqfs_image_span *span, unsigned char *dst)
{
	size_t done = 0;

	while (done < span->bytes) {
		struct gptqfs_reply reply;
		int rc = gptqfs_read(image->m, span->ino, span->offset + done, span->bytes - done, &reply);
		const size_t before = done;

		if (rc)
			return rc;
		for (int i = 0; i < reply.count; i++) {
			memcpy(dst + done, reply.iov[i].iov_base, reply.iov[i].iov_len);
			done += reply.iov[i].iov_len;
		}
		gptqfs_read_done(image->m, &reply);
		if (done == before)
			return -EIO;
	}
	return 0;
}

static int copy_metadata(const struct gptqfs_image *image, uint64_t offset, size_t size, unsigned char *dst)
{
	unsigned char block[BLOCK];

	while (size) {
		const size_t skip = offset % BLOCK, n = size < BLOCK - skip ? size : BLOCK - skip;
		int rc = make_block(image, offset >> BLOCK_BITS, block);

		if (rc)
			return rc;
		memcpy(dst, block + skip, n);
		dst += n;
		offset += n;
		size -= n;
	}
	return 0;
}

int gptqfs_image_read(const struct gptqfs_image *image, uint64_t offset, size_t size, void *dst)
{
	unsigned char *to = dst;

	while (size) {
		struct gptqfs_image_span span;
		int rc = gptqfs_image_find(image, offset, size, &span);

		if (rc == 0 && !span.bytes)
			rc = -EINVAL;
		if (rc == 0)
			rc = span.ino ? copy_file(image, &span, to) : copy_metadata(image, offset, span.bytes, to);
		if (rc)
			return rc;
		to += span.bytes;
		offset += span.bytes;
		size -= span.bytes;
	}
	return 0;
}
