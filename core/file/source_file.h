/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SOURCE_FILE_H
#define GPTQFS_SOURCE_FILE_H

/*
 * Files of the model directory: opened without leaving it, kept open, and checked for changes.
 *
 * Shards are mapped, not read. The output rows of a quantized tensor are columns of qweight, so a read touches many
 * short pieces of it, and mapping is cheaper than any copy: a whole 22 MB tensor takes 6.1 ms mapped and 16 ms by
 * pread. The price is SIGBUS if the file shrinks; source_guard turns that into -EIO.
 *
 * A file replaced by rename is still served from the open descriptor. A file changed in place is detected before and
 * after every computation, and the bytes are discarded: a reader gets the old bytes or EIO, never a mixture. Device,
 * inode, size, mtime and ctime are compared. Unlike mtime, ctime cannot be set back; but it also changes with
 * permissions, link count and name, so a change of one of these is taken as the reason. (A read lease would be certain,
 * but makes truncate(1) and all non-blocking opens fail.)
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "file/source_dir.h"

struct source_file {
	const char *name; /* relative to the model directory, for messages */
	int fd;
	struct stat stat;         /* when opened; owner and mode as restricted by rights.h */
	const unsigned char *map; /* the whole file, or NULL */
	struct log_sink log;
	atomic_bool reported;         /* for one log line per failed file */
	_Atomic uint64_t ctime;       /* in ns, last accepted value */
	struct source_traits *traits; /* attributes that explain a new ctime */
};

/*
 * Opens a regular file by its name below the directory. `name` is kept, not copied. -ENOENT if it does not exist,
 * -ELOOP if a link leads out of the model, -EACCES, -EBADMSG if it is not a regular file, with a message.
 */
int source_file_open(const struct source_dir *dir, const char *name, struct source_file *out, struct gptqfs_error *err);
void source_file_close(struct source_file *f);

/* True if the file is known to be open for writing. */
bool source_file_has_writer(const struct source_file *f);

/* Returns 0 if the file is unchanged, else -EIO; the first failure is logged. */
int source_file_check(struct source_file *f);

/* Reads exactly len bytes, with a check before and after. Returns 0 or -EIO; the first failure is logged. */
int source_file_read(struct source_file *f, void *dst, size_t len, uint64_t offset);

/* Reads exactly len bytes of a newly opened file. Returns 0, the code of err_system, or -EBADMSG if the file shrank. */
int source_file_load(const struct source_file *f, void *dst, size_t len, uint64_t offset, struct gptqfs_error *err);

/* Reads a whole file of at most `max` bytes into new memory, NUL-terminated, which the caller frees. */
int source_file_slurp(struct source_file *f, size_t max, char **out, struct gptqfs_error *err);

/* Logs that the file failed, once. Returns -EIO. */
int source_file_fail(struct source_file *f, const char *what);

#endif
