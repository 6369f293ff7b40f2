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
 * is caught before and after every computation, and the bytes are thrown away then: so a reader gets old bytes or EIO,
 * never a mixture. Device, inode, size, mtime and ctime are compared. Unlike mtime, ctime cannot be set back; but it
 * changes with permissions, links and names as well, so where one of these has changed, that is taken for the reason.
 * (A read lease would know, but makes truncate(1) and every open without blocking fail.)
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "file/source_dir.h"

struct source_file {
	const char *name; /* below the model directory, for messages */
	int fd;
	struct stat stat;         /* as it was when opened; owner and mode as they may be shown: rights.h */
	const unsigned char *map; /* the whole file, or NULL */
	struct log_sink log;
	atomic_bool reported;         /* one line per file that failed is enough */
	_Atomic uint64_t ctime;       /* in ns, as last accepted */
	struct source_traits *traits; /* what explains another one */
};

/*
 * Opens a regular file by its name below the directory. `name` is kept, not copied. -ENOENT if there is none, -ELOOP
 * if a link leads out of the model, -EACCES, -EBADMSG if it is no regular file; the message tells.
 */
int source_file_open(const struct source_dir *dir, const char *name, struct source_file *out, struct gptqfs_error *err);
void source_file_close(struct source_file *f);

/* True if the file is open for writing, as far as the file system tells. */
bool source_file_has_writer(const struct source_file *f);

/* Returns 0 if the file is what it was, else -EIO and, the first time, writes a line to the log. */
int source_file_check(struct source_file *f);

/* Reads exactly len bytes, checked before and after. 0 or -EIO, with a line in the log the first time. */
int source_file_read(struct source_file *f, void *dst, size_t len, uint64_t offset);

/*
 * Reads exactly len bytes of a file that was just opened. Returns 0, the code of err_system, or -EBADMSG if it has
 * become shorter.
 */
int source_file_load(const struct source_file *f, void *dst, size_t len, uint64_t offset, struct gptqfs_error *err);

/* Reads a whole file of at most `max` bytes into fresh memory, terminated (caller frees). */
int source_file_slurp(struct source_file *f, size_t max, char **out, struct gptqfs_error *err);

/* Tells the log that the file failed, once. Returns -EIO. */
int source_file_fail(struct source_file *f, const char *what);

#endif
