/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SOURCE_FILE_H
#define GPTQFS_SOURCE_FILE_H

/*
 * Files of the model directory: found without leaving it, held open, and watched.
 *
 * Shards are mapped, not read. The output rows of a quantized tensor are columns of qweight, so a read touches many
 * short pieces of it, and mapping them is cheaper than any copy: a whole 22 MB tensor takes 6.1 ms mapped and 16 ms
 * by pread. What a mapping costs is SIGBUS when the file shrinks; source_guard turns that into -EIO.
 *
 * A file that is replaced by rename goes on being served from the descriptor held here. One that is changed in place
 * is caught: device, inode, size and mtime (not ctime, which links and chmod touch) are compared before and after
 * every computation, and the bytes are thrown away if they differ. So a reader gets old bytes or EIO, never a mixture.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "gptqfs.h"

/* Where lines for the log go; write may be NULL. */
struct log_sink {
	void (*write)(void *ctx, const char *line);
	void *ctx;
};

struct source_dir {
	char *path; /* canonical; a snapshot of a Hugging Face cache entry, if that was given */
	int fd;
	int blobs;            /* ../../blobs of a snapshot, or -1: the one place outside to which links may lead */
	bool follow_symlinks; /* links may lead anywhere */
	struct log_sink log;
};

struct source_file {
	const char *name; /* below the model directory, for messages */
	int fd;
	struct stat stat;         /* as it was when opened */
	const unsigned char *map; /* the whole file, or NULL */
	struct log_sink log;
	atomic_bool reported; /* one line per file that failed is enough */
};

/*
 * Opens the directory, or the snapshot that refs/main of a cache entry (models--org--name) names. `dir` is freed by
 * source_dir_close, which may also be called after failure. -ENOENT, -ENOTDIR, -EACCES: see gptqfs_open.
 */
int source_dir_open(struct source_dir *dir, const char *path, bool follow_symlinks, struct gptqfs_error *err);
void source_dir_close(struct source_dir *dir);

/*
 * Opens a regular file by its name below the directory. `name` is kept, not copied. -ENOENT if there is none, -ELOOP
 * if a link leads out of the model, -EACCES, -EBADMSG if it is no regular file; the message tells.
 */
int source_file_open(const struct source_dir *dir, const char *name, struct source_file *out, struct gptqfs_error *err);
void source_file_close(struct source_file *f);

/* Maps the file for source_guard'ed reading. */
int source_file_map(struct source_file *f, struct gptqfs_error *err);

/* Is the file what it was? 0, or -EIO and, the first time, a line in the log. */
int source_file_check(struct source_file *f);

/* Reads exactly len bytes, checked before and after. 0 or -EIO, with a line in the log the first time. */
int source_file_read(struct source_file *f, void *dst, size_t len, uint64_t offset);

/* Lets the disk begin with bytes that will be read soon. Advice only; never waits for them. */
void source_file_advise(const struct source_file *f, uint64_t offset, uint64_t len);

/*
 * Brings bytes into the page cache that are not there, as any reader does: in order, with the kernel's own reading
 * ahead, and waits for them. They then stand in large folios, and cost half as much to map and to copy as in the single
 * pages that advice brings (of which the kernel also does no more than its largest request to the disk). Failures are
 * seen when the bytes are read in earnest. Does nothing where the file is not mapped.
 */
void source_file_fetch(const struct source_file *f, uint64_t offset, uint64_t len);

/* Are all of these bytes in the page cache? True also where the kernel does not tell. The file must be mapped. */
bool source_file_resident(const struct source_file *f, uint64_t offset, uint64_t len);

/*
 * Maps pages before they are needed, and unmaps those that are not needed any more; they stay in the page cache.
 * Advice, as above: what could not be mapped is seen when it is used. Mapping waits for the disk where pages are not in
 * memory.
 */
void source_file_populate(const struct source_file *f, uint64_t offset, uint64_t len);
void source_file_unpopulate(const struct source_file *f, uint64_t offset, uint64_t len);

/* Reads a whole file of at most `max` bytes into fresh memory, terminated (caller frees). */
int source_file_slurp(struct source_file *f, size_t max, char **out, struct gptqfs_error *err);

/* Tells the log that the file failed, once. Returns -EIO. */
int source_file_fail(struct source_file *f, const char *what);

/*
 * Calls fn(ctx), which may read mapped files. 0, or -EIO if a page could not be had; fn was then left in the middle,
 * so it must not hold locks or memory.
 */
int source_guard(void (*fn)(void *ctx), void *ctx);

/* Catches SIGBUS for the whole process, for source_guard. Any other SIGBUS still kills. */
void source_guard_install(void);

#endif
