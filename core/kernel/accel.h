/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ACCEL_H
#define GPTQFS_ACCEL_H

/*
 * Accelerators: shared objects that decode rows of quantized matrices somewhere else than on this CPU. This header is
 * all that a plugin needs of gptqfs, and the first half of it is the whole interface. gptqfs never links a plugin: it
 * loads the one it was told to, by absolute path, and believes nothing of it before its rows were compared, byte for
 * byte, with the C reference, and its speed with the CPU's. Whatever a plugin does wrong costs one line in the log;
 * from then on the CPU decodes, and no reader sees an error.
 */

#include <stddef.h>
#include <stdint.h>

#include "gptqfs.h"
#include "kernel/dequant.h"

/* ---- what a plugin implements ---- */

#define ACCEL_VERSION 1
#define ACCEL_SYMBOL "gptqfs_accel_plugin" /* a const struct accel_plugin, exported */

/* Where a plugin says why it failed: a sentence without a newline. */
struct accel_text {
	char text[256];
};

struct accel_config {
	uint64_t memory; /* bytes of the device's memory that may be held at any time */
};

/* `rows` pieces of `width` bytes that lie src_stride bytes apart, to be put dst_stride bytes apart. */
struct accel_copy {
	void *dst;
	const void *src;
	size_t width, rows;
	size_t src_stride, dst_stride;
};

/*
 * One call: rows [row0, row0 + nrows) of a matrix, as a dequant_fn writes them, to dst.
 *
 * What q points at lies in mapped files, which may be cut short or changed at any time. So a plugin never touches it:
 * it has pieces copied by `copy`, which returns 0 for bytes that are those of the unchanged file. If it does not, the
 * plugin lets go of what it has of this matrix and returns that value.
 */
struct accel_job {
	const struct qtensor *q;
	enum dtype out; /* DTYPE_F16, DTYPE_BF16 or DTYPE_F32 */
	uint32_t row0, nrows;
	void *dst;
	bool keep; /* more rows will be wanted: until forget() the same q means the same bytes */
	int (*copy)(void *copy_ctx, const struct accel_copy *what);
	void *copy_ctx;
};

struct accel_plugin {
	/* Compared before anything else here is touched, each with the value that gptqfs was built with. */
	uint32_t size;         /* sizeof(struct accel_plugin) */
	uint32_t version;      /* ACCEL_VERSION */
	uint32_t job_size;     /* sizeof(struct accel_job) */
	uint32_t qtensor_size; /* sizeof(struct qtensor) */

	/* Prepares the device. 0 and a state for the calls below, with the name of the device in `text`; or -errno,
	 * with the reason there. */
	int (*open)(const struct accel_config *config, void **state, struct accel_text *text);
	/* Any number of threads. 0; -ENOTSUP if such a matrix is none of its business; what `copy` returned; any other
	 * -errno, with the reason, if the device failed: it is not asked again. */
	int (*dequant)(void *state, const struct accel_job *job, struct accel_text *why);
	/* Lets go of what was kept for this matrix; no call for it is in progress. */
	void (*forget)(void *state, const struct qtensor *q);
	/* Frees the state; no call is in progress. */
	void (*close)(void *state);
};

/* ---- how gptqfs uses one ---- */

struct accel;

struct accel_options {
	const char *choice; /* "none" or NULL, "auto", "cuda", or the absolute path of a plugin */
	const char
	    *plugin;     /* the absolute path of the one that auto and cuda mean, or NULL for where it is installed */
	uint64_t memory; /* struct accel_config's */
	void (*log)(void *ctx, const char *line); /* NULL for silence */
	void *log_ctx;
};

/* Looks at the options only. *out is NULL if no accelerator is wanted. 0, -EINVAL or -ENOMEM, with the reason. */
int accel_new(const struct accel_options *options, struct accel **out, struct gptqfs_error *err);

/* Ends it; NULL is allowed. */
void accel_free(struct accel *a);

/*
 * Loads, tests and measures the plugin, beside the kernels that decode otherwise. To be called once, by the process
 * that reads: what a device's driver sets up does not survive a fork. Readers may be at work meanwhile. Tells the log
 * in one line what came of it.
 */
void accel_start(struct accel *a, const struct kernels *kernels);

/*
 * Has a job done. 0 if it is, -EIO if `copy` failed, 1 if it is left to the CPU: because the accelerator is not used,
 * or has failed now, or decodes so few bytes more slowly than the CPU, or knows no such matrices.
 */
int accel_dequant(struct accel *a, const struct accel_job *job);

/* Copies as accel_copy says. */
void accel_copy_run(const struct accel_copy *what);

/* NULL, for none, is allowed. */
void accel_tell(struct accel *a, struct gptqfs_accel *out);

#endif
