/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_H
#define GPTQFS_H

/*
 * gptqfs, without FUSE: a GPTQ checkpoint as a read-only tree of ordinary model files.
 *
 * gptqfs_open reads and checks everything that can be known early and plans every virtual file; after it, all is
 * constant but the cache and the counters, and the functions below may be called from any number of threads. Bytes
 * are computed by gptqfs_read. Inode numbers are indices into a fixed table, 1 is the root; they are the same for
 * the same model, options and version.
 *
 * Functions return 0 or -errno. gptqfs_open explains itself in struct gptqfs_error; later there is only -EIO, and
 * one line for the log per source file that failed.
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

#define GPTQFS_ROOT 1
#define GPTQFS_READ_MAX ((size_t)1 << 20) /* the most bytes one gptqfs_read returns */
#define GPTQFS_AHEAD_MAX 4                /* the most reads that are computed ahead of one reader */
#define GPTQFS_CACHE_DEFAULT_MIB 32
#define GPTQFS_CACHE_DEFAULT ((size_t)GPTQFS_CACHE_DEFAULT_MIB << 20)
#define GPTQFS_ACCEL_MEMORY_MIB 1024
#define GPTQFS_ACCEL_MEMORY ((size_t)GPTQFS_ACCEL_MEMORY_MIB << 20)

struct gptqfs;

/* One message: file, tensor, expected, found, the way out. Printable, terminated, without a newline. */
struct gptqfs_error {
	char text[2048];
};

struct gptqfs_options {
	const char *view;     /* the view shown as the root ("fp16"), or NULL for all of them */
	const char *dtype;    /* type of the files of tensors/: "fp16", "bf16" or "fp32"; NULL for fp16 */
	const char *cpu;      /* at most this CPU level ("avx2"), or NULL for all the machine has */
	size_t cache_bytes;   /* budget of the second-level cache; 0 keeps nothing beyond the reads that need it */
	unsigned ahead;       /* reads to compute ahead of who reads a file from front to back; 0 for 1 */
	bool follow_symlinks; /* let links leave the model directory */
	uid_t uid;            /* owner shown; (uid_t)-1 for the source's */
	gid_t gid;            /* likewise */
	mode_t umask;         /* permission bits taken away from mode & 0444 (0555 for directories) */
	const char *accel;    /* "none" or NULL, "auto", "cuda", or the absolute path of an accelerator plugin */
	/* The plugin that auto and cuda mean, an absolute path; NULL for the installed one. */
	const char *accel_plugin;
	size_t accel_memory; /* the most it may hold of its device's memory */
	/* Called with a line without newline, from any thread; NULL for silence. */
	void (*log)(void *ctx, const char *line);
	void *log_ctx;
};

/*
 * Opens a model directory. On success *out is a model that gptqfs_close frees. On failure *out is NULL, err tells,
 * and the result is one of
 *     -EINVAL                     an option is wrong (unknown view or type, a CPU level this machine lacks)
 *     -ENOENT -ENOTDIR -EACCES    there is nothing readable as weights
 *     -EBADMSG                    weights were found, but are damaged or incomplete
 *     -ENOTSUP                    weights were found, but in a format not served, or not quantized at all
 *     -ENOMEM -EIO -EMFILE        the machine's fault
 * Source files stay open, and mapped, until gptqfs_close. SIGBUS is caught for the whole process from then on, so
 * that a source truncated under a read fails the read and not the process.
 */
int gptqfs_open(const char *dir, const struct gptqfs_options *options, struct gptqfs **out, struct gptqfs_error *err);

/* Frees a model; NULL is allowed. No other call may be in progress. */
void gptqfs_close(struct gptqfs *m);

/* The directory that was opened, canonical (a snapshot of a Hugging Face cache entry, if one was given). */
const char *gptqfs_source(const struct gptqfs *m);

/* Views by name ("fp16"), NULL past the last one. */
const char *gptqfs_view_name(size_t index);

/* ---- the tree ---- */

/* All attributes of an inode, st_ino, st_blocks and st_blksize too. -ENOENT for a number that is not in use. */
int gptqfs_getattr(const struct gptqfs *m, uint64_t ino, struct stat *out);

/* The child of a directory with that name. -ENOENT, or -ENOTDIR if `parent` is a file. */
int gptqfs_lookup(const struct gptqfs *m, uint64_t parent, const char *name, struct stat *out);

struct gptqfs_dirent {
	const char *name; /* owned by the model */
	uint64_t ino;
};

/*
 * Entry `index` of a directory: "." and ".." are 0 and 1, then the children in bytewise order. The numbers never
 * change. -ENOENT past the last one, -ENOTDIR for a file.
 */
int gptqfs_readdir(const struct gptqfs *m, uint64_t ino, uint64_t index, struct gptqfs_dirent *out);

/* Is this `status` in the root? It is empty here: whoever serves the mount writes it anew for each open file. */
bool gptqfs_is_status(const struct gptqfs *m, uint64_t ino);

/* What df shows: the dense size of all virtual files, nothing free. */
void gptqfs_statfs(const struct gptqfs *m, struct statvfs *out);

/* ---- reading ---- */

#define GPTQFS_IOV_MAX 64

/* The answer to one read: `count` pieces that follow one another, `bytes` in all. Valid until gptqfs_read_done. */
struct gptqfs_reply {
	size_t bytes;
	int count;
	struct iovec iov[GPTQFS_IOV_MAX];
	void *priv; /* what the pieces are held by */
};

/*
 * Reads `size` bytes (at most GPTQFS_READ_MAX) at `offset`; fewer only at the end of the file, none beyond it.
 * After success the caller must call gptqfs_read_done, after failure it must not. -EIO if a source file failed or was
 * changed, -EISDIR, -ENOENT, -ENOMEM. No lock is held while bytes are computed.
 *
 * Call gptqfs_read_done when the bytes are on their way: where reads follow one another it computes one that will be
 * asked for next. Ask for as many `ahead` as threads serve one reader at the same time. True if gptqfs_work has
 * something to do.
 */
int gptqfs_read(struct gptqfs *m, uint64_t ino, uint64_t offset, size_t size, struct gptqfs_reply *reply);
bool gptqfs_read_done(struct gptqfs *m, struct gptqfs_reply *reply);

/*
 * Tells of a read that is about to be made. True if the reads of late come from a single sequential reader, which few
 * threads serve faster than many. Only for callers that choose their threads by it.
 */
bool gptqfs_note_read(struct gptqfs *m, uint64_t ino, uint64_t offset, size_t size);

/*
 * Does about 20 microseconds of background work (mapping pages that a sequential reader will need, unmapping those it
 * has passed) and returns true if more is pending. Call it while no read waits; what is left undone, a thread of the
 * library does a little later.
 */
bool gptqfs_work(struct gptqfs *m);

/* Gives memory back that nothing used since the last call. Call it every few seconds. True while some is held. */
bool gptqfs_trim(struct gptqfs *m);

/* ---- the accelerator ---- */

enum gptqfs_accel_state {
	GPTQFS_ACCEL_NONE,    /* none is wanted */
	GPTQFS_ACCEL_WAITING, /* gptqfs_accel_start has not come to an end */
	GPTQFS_ACCEL_USED,    /* it decodes */
	GPTQFS_ACCEL_SLOWER,  /* accel=auto, and the CPU was faster */
	GPTQFS_ACCEL_REFUSED, /* it could not be loaded, or failed its self-test */
	GPTQFS_ACCEL_FAILED,  /* it failed while serving; the CPU took over for good */
};

/* Decoding 4-bit weights to fp16, this many bytes at a time, in GB/s of those bytes; 0 if it was not measured. */
struct gptqfs_accel_speed {
	size_t bytes;
	double accel, cpu;
};

#define GPTQFS_ACCEL_SPEEDS 2 /* what FUSE asks for: 128 KiB without readahead=, 1 MiB with it */

struct gptqfs_accel {
	enum gptqfs_accel_state state;
	char choice[512]; /* as the option says it */
	char name[256];   /* the device, as the plugin names it; empty if it was never opened */
	char text[1024];  /* the state in a sentence, with the reason */
	uint64_t bytes;   /* it has decoded */
	size_t smallest;  /* while used: pieces of fewer bytes are left to the CPU */
	struct gptqfs_accel_speed speeds[GPTQFS_ACCEL_SPEEDS];
};

/* "none", "waiting", "used", "slower", "refused", "failed". */
const char *gptqfs_accel_state_name(enum gptqfs_accel_state state);

/*
 * Loads, tests and measures the accelerator of the options, if there is one, which takes up to a few seconds. To be
 * called once, by the process that reads, since a GPU's driver does not survive a fork; other threads may read
 * meanwhile. It does not fail: without an accelerator the CPU decodes, and a line in the log says why.
 */
void gptqfs_accel_start(struct gptqfs *m);

void gptqfs_accel(struct gptqfs *m, struct gptqfs_accel *out);

/* ---- telling ---- */

struct gptqfs_counters {
	uint64_t reads, bytes_served, bytes_computed, errors;
	uint64_t cache_hits, cache_misses, cache_bytes, cache_budget;
};

void gptqfs_counters(const struct gptqfs *m, struct gptqfs_counters *out);

/*
 * Calls fn for each fact about an inode, as a key (lower case, [a-z0-9_]) and a value: of the root the kernel in use
 * and the counters; of a directory or file its view, and of weights what they are and where from (bits, group_size,
 * shape, dtype, source, ...). Both strings are fn's only until it returns. -ENOENT, -ENOMEM.
 */
typedef void gptqfs_fact_fn(void *ctx, const char *key, const char *value);
int gptqfs_facts(const struct gptqfs *m, uint64_t ino, gptqfs_fact_fn *fn, void *ctx);

/* The module table and every warning, as text or as JSON. Reads all zeros and scales to find what open did not look
 * at. 0; -EBADMSG if a source could not be read, -EIO if `out` could not be written, -ENOMEM. */
int gptqfs_check(struct gptqfs *m, bool json, FILE *out, struct gptqfs_error *err);

/*
 * The SHA-256 of every tensor in the safetensors files of the tree, by name:
 *     {"model.norm.weight": {"dtype": "F16", "shape": [576], "sha256": "..."}, ...}
 * Open the model with the view that is meant as the root. Reads and computes everything, by as many threads as there
 * are processors, each in pieces of GPTQFS_READ_MAX. 0; -EIO if something cannot be read or written; -ENOMEM.
 */
int gptqfs_hashes(struct gptqfs *m, FILE *out, struct gptqfs_error *err);

#endif
