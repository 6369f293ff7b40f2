/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_H
#define GPTQFS_H

/*
 * The library below the mount: presents a quantized checkpoint as a read-only tree of ordinary model files, whose bytes
 * are computed when they are read. This prints the config.json of the fp16 view:
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
 * gptqfs_open reads the metadata, checks what it can, and plans every file. After that, names, sizes, attributes and
 * contents never change. Inode numbers are consecutive from GPTQFS_ROOT, and the same for the same model, options and
 * version.
 *
 * Threads: all functions may be called concurrently, except those that free a model, its statistics or its image;
 * gptqfs_accel_start is called once. No lock is held while bytes are computed. A model may be opened before fork() and
 * then used in the parent or in the child, but not in both.
 *
 * Errors: functions that can fail return 0 or -errno. After a failure no output but `err` is valid, and there is
 * nothing to free. Those that take a struct gptqfs_error explain a failure there. If a source file fails later, reads
 * that need it return -EIO, and the log gets one line per file.
 *
 * The library is linked statically: structs may grow with each version, so compile callers against the header of the
 * version they link.
 */

#include <limits.h>
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
#define GPTQFS_READ_MAX ((size_t)1 << 20) /* most bytes one gptqfs_read returns */
#define GPTQFS_AHEAD_MAX 4                /* most reads computed ahead of one reader */
#define GPTQFS_AHEAD_NONE UINT_MAX        /* compute no reads ahead */
#define GPTQFS_CACHE_DEFAULT_MIB 32
#define GPTQFS_CACHE_DEFAULT ((size_t)GPTQFS_CACHE_DEFAULT_MIB << 20)
#define GPTQFS_ACCEL_MEMORY_MIB 1024
#define GPTQFS_ACCEL_MEMORY ((size_t)GPTQFS_ACCEL_MEMORY_MIB << 20)

struct gptqfs;

/* A message: file, tensor, expected, found, remedy. Printable, NUL-terminated, no newline. */
struct gptqfs_error {
	char text[2048];
};

/* The caller keeps the strings. They need not outlive gptqfs_open unless noted. */
struct gptqfs_options {
	size_t size;          /* sizeof(struct gptqfs_options) or 0; anything else is refused */
	const char *view;     /* the view shown as the root ("fp16"), or NULL for all of them */
	const char *dtype;    /* of tensors/ and of floats in mlx/: "fp16", "bf16" or "fp32"; NULL for fp16 */
	const char *cpu;      /* highest CPU level to use ("avx2"); NULL for the best available */
	size_t cache_bytes;   /* budget of the second-level cache; 0 keeps only what reads in progress need */
	unsigned ahead;       /* reads to compute ahead of a sequential reader, one per serving thread; 0 means 1 */
	bool follow_symlinks; /* allow symlinks that lead out of the model directory */
	bool unquantized;     /* also open a model without any quantized tensor, to compare with */
	const char *zeros;    /* GPTQ zeros format where no file names it: "v1" or "v2"; NULL for v1 and a warning */
	const char *gguf_kv;  /* GGUF file to take the tokenizer of gguf/ from instead of the model; or NULL */
	bool gguf_q2;         /* store 2-bit weights as Q2_0 in gguf/, which only recent programs read */
	uint64_t shard_bytes; /* most bytes of weights in a file that holds several tensors; 0 for 5 GB */
	uid_t uid;            /* owner shown, who may then read everything; (uid_t)-1 for that of the source */
	gid_t gid;            /* group shown; (gid_t)-1 for that of the source */
	/* Permission bits to clear from 0444 (directories: 0555) everywhere; (mode_t)-1 for those of the source. */
	mode_t umask;
	/* [lora_count] adapters to merge into every view, in this order: "DIR" or "DIR:SCALE". */
	const char *const *lora;
	size_t lora_count;
	const char *loras;        /* directory of adapters, each with its own views; or NULL */
	bool lora_base_tokenizer; /* keep the model's tokenizer even if an adapter has one */
	bool blobs; /* gptqfs_check also verifies Hugging Face cache blobs against the hashes in their names */
	const char *page_cache;   /* what `info` says about the page cache; NULL for nothing; must outlive the model */
	const char *accel;        /* "none" or NULL, "auto", "cuda", or the absolute path of an accelerator plugin */
	const char *accel_plugin; /* absolute path of the plugin that auto and cuda load; NULL for the installed one */
	size_t accel_memory;      /* most bytes of device memory the plugin may hold */
	const char *sandbox;      /* what `info` says confines this process; NULL for nothing; must outlive the model */
	/* Called with one line without newline, from any thread, possibly concurrently; NULL drops the lines. */
	void (*log)(void *ctx, const char *line);
	void *log_ctx; /* must outlive the model */
};

/* The defaults. An all-zero struct would show everything as owned by root and keep no cache. */
#define GPTQFS_OPTIONS                                                                                        \
	{                                                                                                     \
		.size = sizeof(struct gptqfs_options), .cache_bytes = GPTQFS_CACHE_DEFAULT,                   \
		.accel_memory = GPTQFS_ACCEL_MEMORY, .uid = (uid_t)-1, .gid = (gid_t)-1, .umask = (mode_t)-1, \
	}

/*
 * Opens a model: a directory, or an entry of the Hugging Face cache. On success, free *out with gptqfs_close. On
 * failure *out is NULL, err says why, and the result is one of
 *     -EINVAL                     an option is wrong (unknown view or type, a CPU level this machine lacks)
 *     -ENOENT -ENOTDIR -EACCES    no readable weights
 *     -EBADMSG                    the weights are damaged or incomplete
 *     -ENOTSUP                    the weights are in an unsupported format, or not quantized
 *     -ENOMEM -EIO -EMFILE ...    out of memory, I/O error, too many open files
 * Source files stay open, one descriptor each, and mapped until gptqfs_close: raise RLIMIT_NOFILE for models with many
 * shards. The first open installs a SIGBUS handler for the process, so that a source truncated during a read fails only
 * that read.
 */
int gptqfs_open(const char *dir, const struct gptqfs_options *options, struct gptqfs **out, struct gptqfs_error *err);

/* Frees a model; NULL is allowed. No other call may be in progress, and every reply must have been freed. */
void gptqfs_close(struct gptqfs *m);

/* Returns the canonical path of the directory opened; for a cache entry, of its snapshot. Owned by the model. */
const char *gptqfs_source(const struct gptqfs *m);

/* Returns the name of view `index` ("fp16"), or NULL past the last one. */
const char *gptqfs_view_name(size_t index);

/* ---- the tree ---- */

/* Fills in all attributes of an inode, including st_ino, st_blocks and st_blksize. -ENOENT for an unused number. */
int gptqfs_getattr(const struct gptqfs *m, uint64_t ino, struct stat *out);

/*
 * Looks up a child by name and returns its attributes. ".." is accepted, and "." even if `parent` is a file. -ENOENT,
 * or -ENOTDIR if `parent` is a file.
 */
int gptqfs_lookup(const struct gptqfs *m, uint64_t parent, const char *name, struct stat *out);

struct gptqfs_dirent {
	const char *name; /* owned by the model */
	uint64_t ino;
};

/*
 * Returns entry `index` of a directory: 0 is ".", 1 is "..", then the children in bytewise order. Indices are stable.
 * -ENOENT past the last entry, -ENOTDIR for a file.
 */
int gptqfs_readdir(const struct gptqfs *m, uint64_t ino, uint64_t index, struct gptqfs_dirent *out);

/* True for the file `status` in the root. It is empty here; the server generates its text on each open. */
bool gptqfs_is_status(const struct gptqfs *m, uint64_t ino);

/* True for a file or directory not planned yet: its first use plans it, which may take long. */
bool gptqfs_is_late(const struct gptqfs *m, uint64_t ino);

/* For df: the total size of all virtual files, nothing free. */
void gptqfs_statfs(const struct gptqfs *m, struct statvfs *out);

/* ---- reading ---- */

#define GPTQFS_IOV_MAX 64

/* The result of one read: `bytes` bytes in `count` consecutive pieces. Valid until gptqfs_read_done. */
struct gptqfs_reply {
	size_t bytes;
	int count;
	struct iovec iov[GPTQFS_IOV_MAX]; /* read only */
	void *priv;                       /* owner of the pieces */
};

/*
 * Reads `size` bytes, at most GPTQFS_READ_MAX, at `offset`. Returns fewer only at the end of the file. After success,
 * gptqfs_read_done must be called, from any thread; after failure it must not. -EIO if a source file failed or has
 * changed, -EISDIR, -ENOENT, -ENOMEM.
 */
int gptqfs_read(struct gptqfs *m, uint64_t ino, uint64_t offset, size_t size, struct gptqfs_reply *reply);

/*
 * Frees a reply. Call it after sending the bytes: for a sequential reader it also computes the next read, while the
 * reader is busy with this one. Returns true if gptqfs_work has something to do.
 */
bool gptqfs_read_done(struct gptqfs *m, struct gptqfs_reply *reply);

/*
 * Announces a read. Returns true if recent reads came from a single sequential reader, which few threads serve faster
 * than many. Optional: only for callers that choose their number of threads by it.
 */
bool gptqfs_note_read(struct gptqfs *m, uint64_t ino, uint64_t offset, size_t size);

/*
 * Does about 20 microseconds of background work (mapping pages that a sequential reader will need, unmapping those it
 * has passed). Returns true if more is pending. Call it while no read is waiting; a thread of the library does what
 * remains a little later.
 */
bool gptqfs_work(struct gptqfs *m);

/*
 * Announces that part of a file has been read and will not be needed again soon: unmaps the source of each tensor that
 * ends in it. For programs that read a file in pieces; sequential readers do not need it.
 */
void gptqfs_release(struct gptqfs *m, uint64_t ino, uint64_t offset, uint64_t size);

/* Frees memory unused for two calls. Call it every few seconds. Returns true while any is held. */
bool gptqfs_trim(struct gptqfs *m);

/* ---- the accelerator ---- */

enum gptqfs_accel_state {
	GPTQFS_ACCEL_NONE,    /* not requested */
	GPTQFS_ACCEL_WAITING, /* gptqfs_accel_start has not returned yet */
	GPTQFS_ACCEL_USED,    /* in use */
	GPTQFS_ACCEL_SLOWER,  /* accel=auto, but the CPU was faster */
	GPTQFS_ACCEL_REFUSED, /* could not be loaded, or failed its self-test */
	GPTQFS_ACCEL_FAILED,  /* failed in use; the CPU has taken over for good */
};

/* Speed of decoding 4-bit weights to `bytes` bytes of fp16 at a time, in GB/s of output; 0 if not measured. */
struct gptqfs_accel_speed {
	size_t bytes;
	double accel, cpu;
};

#define GPTQFS_ACCEL_SPEEDS 2 /* the sizes FUSE asks for: 128 KiB without readahead=, 1 MiB with it */

struct gptqfs_accel {
	enum gptqfs_accel_state state;
	char choice[512]; /* the option's value */
	char name[256];   /* the device, as the plugin names it; empty if never opened */
	char text[1024];  /* the state as a sentence, with the reason */
	uint64_t bytes;   /* decoded so far */
	size_t smallest;  /* when in use: smaller pieces are left to the CPU */
	struct gptqfs_accel_speed speeds[GPTQFS_ACCEL_SPEEDS];
};

/* Returns "none", "waiting", "used", "slower", "refused" or "failed". */
const char *gptqfs_accel_state_name(enum gptqfs_accel_state state);

/*
 * Loads, tests and measures the accelerator named in the options, if any; takes up to a few seconds. Call it once, in
 * the process that reads, because a GPU's driver does not survive a fork; other threads may read meanwhile. Cannot
 * fail: without an accelerator the CPU decodes, and a log line says why.
 */
void gptqfs_accel_start(struct gptqfs *m);

/* Returns the current state of the accelerator. */
void gptqfs_accel(struct gptqfs *m, struct gptqfs_accel *out);

/* ---- reports ---- */

/*
 * Makes a line of text printable, in place: replaces control characters, bidirectional marks and invalid UTF-8 by '?'.
 * Messages in struct gptqfs_error and log lines are already printable.
 */
void gptqfs_printable(char *line);

/* Totals since gptqfs_open; cache_bytes and cache_budget are current values. */
struct gptqfs_counters {
	uint64_t reads, bytes_served, bytes_computed, errors;
	uint64_t cache_hits, cache_misses, cache_bytes, cache_budget;
};

void gptqfs_counters(const struct gptqfs *m, struct gptqfs_counters *out);

/* Both strings are valid only during the call. `key` is lower case, [a-z0-9_]. */
typedef void gptqfs_fact_fn(void *ctx, const char *key, const char *value);

/*
 * Calls fn for each fact about an inode, in a fixed order. For the root: kernel and counters. For other inodes: the
 * view, and for weights bits, group_size, shape, dtype, source, ... -ENOENT, -ENOMEM; -EIO if that needs a source that
 * cannot be read.
 */
int gptqfs_facts(const struct gptqfs *m, uint64_t ino, gptqfs_fact_fn *fn, void *ctx);

/*
 * Writes the table of modules and all warnings, as text or JSON. Reads all zeros and scales, which open does not.
 * -EBADMSG if a blob does not match its name, -EIO if a source cannot be read or `out` cannot be written, -ENOMEM.
 */
int gptqfs_check(struct gptqfs *m, bool json, FILE *out, struct gptqfs_error *err);

/*
 * Writes the SHA-256 of every tensor in the safetensors files of the tree, by name:
 *     {"model.norm.weight": {"dtype": "F16", "shape": [576], "sha256": "..."}, ...}
 * For a GGUF file, writes its tensors, with GGUF's types and order of dimensions, and the file itself:
 *     {"model.gguf": {"bytes": 118288224, "sha256": "..."}, "output_norm.weight": {...}, ...}
 * Open the model with the wanted view as the root. Reads and computes everything, with one thread per CPU, in pieces of
 * GPTQFS_READ_MAX. -EIO if something cannot be read or written, -ENOMEM.
 */
int gptqfs_hashes(struct gptqfs *m, FILE *out, struct gptqfs_error *err);

/* ---- statistics ---- */

/* How far weights w are from those of another model, w0. Undefined numbers are NaN. */
struct gptqfs_difference {
	double rel_error;             /* sqrt(sum (w - w0)^2 / sum w0^2) */
	double sqnr_db;               /* -20 log10(rel_error); NaN if there is no error */
	double max_abs;               /* greatest |w - w0|... */
	uint64_t max_row, max_column; /* ...and where it first occurs; the rows of all experts are in sequence */
	double cosine;                /* sum w w0 / sqrt(sum w^2 sum w0^2) */
};

/* One quantized module. Undefined numbers are NaN. */
struct gptqfs_module_stats {
	const char *name, *format; /* "model.layers.0.mlp.up_proj", "GPTQ" */
	const uint64_t *shape;     /* [ndim] of the weight in the dense views */
	unsigned ndim;
	unsigned bits;          /* of a code */
	uint64_t group_size;    /* 0 if scales are not those of groups */
	uint64_t weights;       /* number of weights */
	uint64_t stored_bytes;  /* of all of its tensors */
	double bits_per_weight; /* 8 * stored_bytes / weights */
	/* How often each code occurs, [1 << bits]; NULL if weights have no codes of at most 8 bits. */
	const uint64_t *histogram;
	double entropy;         /* of the codes, in bits */
	double lowest, highest; /* fractions of weights with the lowest and with the highest value */
	/* Of the finite stored scales; the median of an even number of them is the mean of the middle two. */
	double scale_min, scale_median, scale_max;
	bool has_scales;
	uint64_t scales_zero, scales_not_finite;
	double rms, absmax;               /* of the weights in fp32 */
	bool compared;                    /* the other model has a counterpart: */
	struct gptqfs_difference against; /* all NaN unless compared */
};

/* A tensor of one model without a counterpart in the other. */
struct gptqfs_unpaired {
	const char *name;
	const char *reason; /* "absent", "shape" or "transposed" */
	bool of_other;      /* in the other model */
};

/* A tensor that is not quantized but differs. */
struct gptqfs_changed {
	const char *name;
	struct gptqfs_difference against;
};

/* Sums over modules. */
struct gptqfs_stats_total {
	size_t modules, compared;
	uint64_t weights, stored_bytes;
	double bits_per_weight, rms, absmax;
	double rel_error, sqnr_db, cosine; /* of all weights compared, as if they were one module */
};

/* Names are those of the models, which must stay open. */
struct gptqfs_stats {
	struct gptqfs_module_stats *modules; /* [module_count], in the order of the dense views */
	size_t module_count;
	struct gptqfs_unpaired *unpaired; /* [unpaired_count] */
	size_t unpaired_count;
	struct gptqfs_changed *changed; /* [changed_count] */
	size_t changed_count;
	struct gptqfs_stats_total total;
	bool is_compared; /* with another model */
	bool is_complete; /* false if stopped early: unfinished modules are left out */
};

/* Both functions are called from any thread, possibly concurrently; each may be NULL. */
struct gptqfs_stats_control {
	void (*begin)(void *ctx, uint64_t total); /* called once: bytes of fp32 weights that will be computed */
	void (*done)(void *ctx, uint64_t bytes);  /* `bytes` more are done */
	bool (*stop)(void *ctx);                  /* true to stop early */
	void *ctx;
};

/*
 * Computes figures for every quantized module from its fp32 weights, merged adapters included, and if `other` is not
 * NULL their difference from another model of any format. Modules are paired by their names in the dense views; joined
 * ones also pair with separate ones, and stacks with single experts. Sums are in double, in an order that depends on
 * neither threads nor CPU, so the figures are the same everywhere. Uses one thread per CPU and streams: memory does not
 * grow with the model. Both models may have been opened with any options. Free *out with gptqfs_stats_free. -EBADMSG if
 * nothing can be paired, -EIO if a source cannot be read, -ENOMEM.
 */
int gptqfs_stats(struct gptqfs *m, struct gptqfs *other, const struct gptqfs_stats_control *control,
    struct gptqfs_stats **out, struct gptqfs_error *err);

/* Frees statistics; NULL is allowed. */
void gptqfs_stats_free(struct gptqfs_stats *stats);

/* Writes statistics as the JSON object that gptqfs(1) documents. -EIO if `out` cannot be written, -ENOMEM. */
int gptqfs_stats_json(const struct gptqfs_stats *stats, FILE *out, struct gptqfs_error *err);

/* ---- the tree as an image ---- */

/*
 * The tree as one EROFS image, which the kernel can mount from a file. Its metadata is made when read; the bytes of
 * files are those of gptqfs_read. `status`, and what is late (gptqfs_is_late) when the image is laid out, are left out.
 */
struct gptqfs_image;

struct gptqfs_image_options {
	/*
	 * Reports the facts that become extended attributes, "user.gptqfs.KEY", like gptqfs_facts. Called whenever
	 * inodes are read, from any thread; must report the same facts each time. NULL for none.
	 */
	int (*tell)(const void *ctx, uint64_t ino, gptqfs_fact_fn *fn, void *fn_ctx);
	const void *ctx; /* must outlive the image */
	bool closed;     /* only the user of this process may enter the root */
};

/*
 * Lays out the image. Takes 8 bytes for each inode and for each block of a directory. Free *out with gptqfs_image_close
 * before the model. On failure *out is NULL: -EFBIG if the files take more than the format's 16 TiB, -ENOMEM, or as
 * `tell`.
 */
int gptqfs_image_open(struct gptqfs *m, const struct gptqfs_image_options *options, struct gptqfs_image **out,
    struct gptqfs_error *err);

/* Frees an image; NULL is allowed. */
void gptqfs_image_close(struct gptqfs_image *image);

/* Returns its size in bytes, a multiple of 4096. */
uint64_t gptqfs_image_size(const struct gptqfs_image *image);

/* Consecutive bytes of an image that belong to one file, or to none. */
struct gptqfs_image_span {
	uint64_t ino;    /* of the file; 0 for metadata and for gaps */
	uint64_t offset; /* in the file */
	size_t bytes;    /* 0 at the end of the image */
};

/* Finds what the bytes at an offset belong to, at most `size` of them; none past the end. Returns 0 or -errno. */
int gptqfs_image_find(const struct gptqfs_image *image, uint64_t offset, size_t size, struct gptqfs_image_span *out);

/* Copies `size` bytes of an image. -EINVAL if it ends before that; other codes as gptqfs_read and `tell`. */
int gptqfs_image_read(const struct gptqfs_image *image, uint64_t offset, size_t size, void *dst);

#endif
