/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_H
#define GPTQFS_H

/*
 * gptqfs without FUSE: a quantized checkpoint as a read-only tree of ordinary model files, whose bytes are computed
 * when they are read. Print the configuration that the fp16 view shows:
 *
 *     struct gptqfs_options options = GPTQFS_OPTIONS;
 *     struct gptqfs_error err;
 *     struct gptqfs_reply reply;
 *     struct gptqfs *m;
 *     struct stat st;
 *
 *     options.view = "fp16";
 *     if (gptqfs_open("/models/Llama-gptq", &options, &m, &err)) {
 *         fprintf(stderr, "%s\n", err.text);
 *         return 1;
 *     }
 *     if (gptqfs_lookup(m, GPTQFS_ROOT, "config.json", &st) == 0 &&
 *         gptqfs_read(m, st.st_ino, 0, GPTQFS_READ_MAX, &reply) == 0) {
 *         for (int i = 0; i < reply.count; i++)
 *             fwrite(reply.iov[i].iov_base, 1, reply.iov[i].iov_len, stdout);
 *         gptqfs_read_done(m, &reply);
 *     }
 *     gptqfs_close(m);
 *
 * gptqfs_open reads and checks everything that can be known early and plans every file. From then on names, sizes,
 * attributes and bytes never change. Inode numbers count from GPTQFS_ROOT without gaps, and are the same for the same
 * model, options and version.
 *
 * Threads: any number may call any function at the same time, except gptqfs_close and gptqfs_accel_start. No lock is
 * held while bytes are computed. A model may be opened before fork() and used in the child, by one of both.
 *
 * Errors: functions that can fail return 0 or -errno, and then have changed nothing: no output is valid but `err`, and
 * there is nothing to free. gptqfs_open, gptqfs_check and gptqfs_hashes explain themselves in struct gptqfs_error;
 * afterwards a source file that fails gives -EIO for the reads that need it, with one line for the log per file.
 *
 * The library is linked statically: its structs may grow with each version, and callers are compiled with the same
 * header.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>

#define GPTQFS_VERSION "0.1.0"

#define GPTQFS_ROOT 1                     /* inode number of the root */
#define GPTQFS_READ_MAX ((size_t)1 << 20) /* bytes that one gptqfs_read returns at most */
#define GPTQFS_AHEAD_MAX 4                /* reads that are computed ahead of one reader at most */
#define GPTQFS_CACHE_DEFAULT_MIB 32
#define GPTQFS_CACHE_DEFAULT ((size_t)GPTQFS_CACHE_DEFAULT_MIB << 20)
#define GPTQFS_ACCEL_MEMORY_MIB 1024
#define GPTQFS_ACCEL_MEMORY ((size_t)GPTQFS_ACCEL_MEMORY_MIB << 20)

struct gptqfs;

/* One message: file, tensor, expected, found, the way out. Printable, terminated, without a newline. */
struct gptqfs_error {
	char text[2048];
};

/* Strings are read by gptqfs_open only, and stay the caller's. */
struct gptqfs_options {
	size_t size;        /* of this struct, or 0; any other value is refused */
	const char *view;   /* the view shown as the root ("fp16"), or NULL for all of them */
	const char *dtype;  /* type of the files of tensors/: "fp16", "bf16" or "fp32"; NULL for fp16 */
	const char *cpu;    /* at most this CPU level ("avx2"); NULL for the best this machine has */
	size_t cache_bytes; /* budget of the second-level cache; with 0 it keeps only what reads in progress need */
	unsigned ahead;     /* reads to compute ahead of a sequential reader, one per thread that serves it; 0 for 1 */
	bool follow_symlinks; /* let links lead out of the model directory */
	const char *zeros; /* what zeros of GPTQ mean where no file says it: "v1" or "v2"; NULL for v1 and a warning */
	uid_t uid;         /* owner shown, who may then read everything; (uid_t)-1 for the source's */
	gid_t gid;         /* group shown; (gid_t)-1 for the source's */
	/* Permission bits that are missing from 0444, or 0555 for directories, in all files; (mode_t)-1 for the
	 * source's. */
	mode_t umask;
	bool blobs;               /* gptqfs_check compares blobs of the Hugging Face cache with their names */
	const char *accel;        /* "none" or NULL, "auto", "cuda", or the absolute path of an accelerator plugin */
	const char *accel_plugin; /* absolute path of the plugin that auto and cuda mean; NULL for the installed one */
	size_t accel_memory;      /* bytes of its device's memory that it may hold at most */
	/* Called with one line, without newline, from any thread, possibly several at once; NULL to drop them. */
	void (*log)(void *ctx, const char *line);
	void *log_ctx; /* must live as long as the model */
};

/* The options of a plain gptqfs; zeros alone would show everything as root's and keep no cache. */
#define GPTQFS_OPTIONS                                                                                        \
	{                                                                                                     \
		.size = sizeof(struct gptqfs_options), .cache_bytes = GPTQFS_CACHE_DEFAULT,                   \
		.accel_memory = GPTQFS_ACCEL_MEMORY, .uid = (uid_t)-1, .gid = (gid_t)-1, .umask = (mode_t)-1, \
	}

/*
 * Opens a model: a directory, or an entry of the Hugging Face cache. On success *out is to be freed by gptqfs_close. On
 * failure *out is NULL, err says why, and the result is one of
 *     -EINVAL                     an option is wrong (unknown view or type, a CPU level this machine lacks)
 *     -ENOENT -ENOTDIR -EACCES    there is nothing readable as weights
 *     -EBADMSG                    weights were found, but are damaged or incomplete
 *     -ENOTSUP                    weights were found, but in a format not served, or not quantized
 *     -ENOMEM -EIO -EMFILE ...    out of memory, I/O error, too many open files
 * Source files stay open, one descriptor each, and mapped until gptqfs_close: raise RLIMIT_NOFILE for models of many
 * shards. From the first open on SIGBUS is caught for the whole process, so that a source truncated during a read fails
 * that read only.
 */
int gptqfs_open(const char *dir, const struct gptqfs_options *options, struct gptqfs **out, struct gptqfs_error *err);

/* Frees a model; NULL is allowed. No other call may be in progress, and every reply must be done with. */
void gptqfs_close(struct gptqfs *m);

/* Returns the directory that was opened, canonical (a snapshot of a cache entry, if one was given). Owned by the model.
 */
const char *gptqfs_source(const struct gptqfs *m);

/* Returns the names of all views ("fp16") by index; NULL past the last one. */
const char *gptqfs_view_name(size_t index);

/* ---- the tree ---- */

/* All attributes of an inode, including st_ino, st_blocks and st_blksize. -ENOENT for an unused number. */
int gptqfs_getattr(const struct gptqfs *m, uint64_t ino, struct stat *out);

/*
 * The attributes of the child of that name, or of ".."; "." is the inode itself, even of a file. -ENOENT, or -ENOTDIR
 * if `parent` is a file.
 */
int gptqfs_lookup(const struct gptqfs *m, uint64_t parent, const char *name, struct stat *out);

struct gptqfs_dirent {
	const char *name; /* owned by the model */
	uint64_t ino;
};

/*
 * Entry `index` of a directory: 0 is ".", 1 is "..", then the children in bytewise order, always the same. -ENOENT past
 * the last one, -ENOTDIR for a file.
 */
int gptqfs_readdir(const struct gptqfs *m, uint64_t ino, uint64_t index, struct gptqfs_dirent *out);

/* True for the file `status` of the root. It is empty here; the server writes its text anew for each open file. */
bool gptqfs_is_status(const struct gptqfs *m, uint64_t ino);

/* What df shows: the size of all virtual files, nothing free. */
void gptqfs_statfs(const struct gptqfs *m, struct statvfs *out);

/* ---- reading ---- */

#define GPTQFS_IOV_MAX 64

/* The answer to one read: `count` pieces that follow one another, `bytes` in all. Valid until gptqfs_read_done. */
struct gptqfs_reply {
	size_t bytes;
	int count;
	struct iovec iov[GPTQFS_IOV_MAX]; /* read only */
	void *priv;                       /* what holds the pieces */
};

/*
 * Reads `size` bytes, at most GPTQFS_READ_MAX, at `offset`. Fewer come only at the end of the file, and none beyond it.
 * After success gptqfs_read_done must be called, by any thread, after failure it must not. -EIO if a source file failed
 * or has changed, -EISDIR, -ENOENT, -ENOMEM.
 */
int gptqfs_read(struct gptqfs *m, uint64_t ino, uint64_t offset, size_t size, struct gptqfs_reply *reply);

/*
 * Frees a reply. Call it once the bytes are on their way: behind a sequential reader it also computes the next read,
 * while the reader is busy with these. Returns true if gptqfs_work has something to do.
 */
bool gptqfs_read_done(struct gptqfs *m, struct gptqfs_reply *reply);

/*
 * Tells of a read that is about to be made. Returns true if the latest reads came from a single sequential reader,
 * which few threads serve faster than many. Only for callers that choose their threads by it; gptqfs_read needs none of
 * this.
 */
bool gptqfs_note_read(struct gptqfs *m, uint64_t ino, uint64_t offset, size_t size);

/*
 * Does about 20 microseconds of background work (mapping pages that a sequential reader will need, unmapping those it
 * has passed). Returns true if more is pending. Call it while no read waits; a thread of the library does what is left
 * undone a little later.
 */
bool gptqfs_work(struct gptqfs *m);

/* Frees memory that was not used since the last call. Call it every few seconds. Returns true while some is held. */
bool gptqfs_trim(struct gptqfs *m);

/* ---- the accelerator ---- */

enum gptqfs_accel_state {
	GPTQFS_ACCEL_NONE,    /* not asked for */
	GPTQFS_ACCEL_WAITING, /* gptqfs_accel_start has not returned yet */
	GPTQFS_ACCEL_USED,    /* it decodes */
	GPTQFS_ACCEL_SLOWER,  /* accel=auto, and the CPU was faster */
	GPTQFS_ACCEL_REFUSED, /* it could not be loaded, or failed its self-test */
	GPTQFS_ACCEL_FAILED,  /* it failed while serving; the CPU took over for good */
};

/* Speed of decoding 4-bit weights to fp16 in pieces of `bytes`, in GB/s of those; 0 if not measured. */
struct gptqfs_accel_speed {
	size_t bytes;
	double accel, cpu;
};

#define GPTQFS_ACCEL_SPEEDS 2 /* the sizes FUSE asks for: 128 KiB without readahead=, 1 MiB with it */

struct gptqfs_accel {
	enum gptqfs_accel_state state;
	char choice[512]; /* as the option has it */
	char name[256];   /* the device, as the plugin names it; empty if it was never opened */
	char text[1024];  /* the state in a sentence, with the reason */
	uint64_t bytes;   /* decoded by it so far */
	size_t smallest;  /* while used: smaller pieces are left to the CPU */
	struct gptqfs_accel_speed speeds[GPTQFS_ACCEL_SPEEDS];
};

/* "none", "waiting", "used", "slower", "refused", "failed". */
const char *gptqfs_accel_state_name(enum gptqfs_accel_state state);

/*
 * Loads, tests and measures the accelerator of the options, if there is one, which takes up to a few seconds. Call it
 * once, in the process that reads, because a GPU's driver does not survive a fork; other threads may read meanwhile. It
 * cannot fail: without an accelerator the CPU decodes, and a line in the log says why.
 */
void gptqfs_accel_start(struct gptqfs *m);

/* The accelerator as it is now. */
void gptqfs_accel(struct gptqfs *m, struct gptqfs_accel *out);

/* ---- reports ---- */

/*
 * Makes a line of text printable, in place: control characters, marks that turn the direction of text around, and bytes
 * that are no UTF-8 become '?'. Messages in struct gptqfs_error and lines for the log are so already.
 */
void gptqfs_printable(char *line);

/* Since gptqfs_open, except cache_bytes and cache_budget, which are as of now. */
struct gptqfs_counters {
	uint64_t reads, bytes_served, bytes_computed, errors;
	uint64_t cache_hits, cache_misses, cache_bytes, cache_budget;
};

void gptqfs_counters(const struct gptqfs *m, struct gptqfs_counters *out);

/* Both strings are valid only until it returns. `key` is lower case, [a-z0-9_]. */
typedef void gptqfs_fact_fn(void *ctx, const char *key, const char *value);

/*
 * Calls fn for each fact about an inode, in a fixed order. The root: kernel and counters. Directories and files: their
 * view, and for weights bits, group_size, shape, dtype, source, ... -ENOENT, -ENOMEM.
 */
int gptqfs_facts(const struct gptqfs *m, uint64_t ino, gptqfs_fact_fn *fn, void *ctx);

/*
 * Writes the module table and every warning, as text or JSON. Reads all zeros and scales, which open does not.
 * -EBADMSG if a blob is not what its name says, -EIO if a source cannot be read or `out` cannot be written, -ENOMEM.
 */
int gptqfs_check(struct gptqfs *m, bool json, FILE *out, struct gptqfs_error *err);

/*
 * Writes the SHA-256 of every tensor in the safetensors files of the tree, by name:
 *     {"model.norm.weight": {"dtype": "F16", "shape": [576], "sha256": "..."}, ...}
 * Open the model with the view in question as the root. Reads and computes everything, in a thread per CPU, each in
 * pieces of GPTQFS_READ_MAX. -EIO if something cannot be read or written, -ENOMEM.
 */
int gptqfs_hashes(struct gptqfs *m, FILE *out, struct gptqfs_error *err);

#endif
