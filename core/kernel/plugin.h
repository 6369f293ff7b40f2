/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PLUGIN_H
#define GPTQFS_PLUGIN_H

/*
 * The interface of accelerator plugins: shared objects that decode rows of quantized matrices somewhere else than on
 * this CPU. This header is all of gptqfs that a plugin includes. gptqfs never links one: it loads the plugin it was
 * told to, by absolute path, and uses it only after its rows were compared, byte for byte, with the C reference, and
 * its speed with the CPU's. Whatever a plugin does wrong costs one line in the log; from then on the CPU decodes, and
 * no reader sees an error.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/dtype.h"
#include "kernel/gptq.h"

#define ACCEL_VERSION 2
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

/* An encoding and the struct that describes a matrix of it. */
struct accel_encoding {
	const char *name;
	uint32_t matrix_size; /* sizeof the struct */
};

#define ACCEL_GPTQ "gptq" /* struct qtensor, rows as a gptq_fn writes them */

/*
 * One call: rows [row0, row0 + nrows) of a matrix to dst.
 *
 * What the matrix points at lies in mapped files, which may be cut short or changed at any time. So a plugin never
 * touches it: it has pieces copied by `copy`, which returns 0 for bytes that are those of the unchanged file. If it
 * returns anything else, the plugin drops what it holds of this matrix and returns that value.
 */
struct accel_job {
	const char *encoding; /* one that the plugin listed */
	const void *matrix;   /* the struct of that encoding */
	enum dtype out;       /* DTYPE_F16, DTYPE_BF16 or DTYPE_F32 */
	uint32_t row0, nrows;
	size_t row_bytes; /* of dst, which has no gaps */
	void *dst;
	bool keep; /* more rows will be wanted: until forget() the same address means the same matrix */
	int (*copy)(void *copy_ctx, const struct accel_copy *what);
	void *copy_ctx;
};

struct accel_plugin {
	/* Compared before anything else here is touched, each with the value that gptqfs was built with. */
	uint32_t size;     /* sizeof(struct accel_plugin) */
	uint32_t version;  /* ACCEL_VERSION */
	uint32_t job_size; /* sizeof(struct accel_job) */

	/* What it decodes, ended by a NULL name. It never gets a job of another encoding. */
	const struct accel_encoding *encodings;

	/* Prepares the device. 0 and a state for the calls below, with the name of the device in `text`; or -errno,
	 * with the reason there. */
	int (*open)(const struct accel_config *config, void **state, struct accel_text *text);
	/* Runs in any number of threads. 0; -ENOTSUP if it decodes no such matrix; what `copy` returned; any other
	 * -errno, with the reason, if the device failed: it is not asked again. */
	int (*dequant)(void *state, const struct accel_job *job, struct accel_text *why);
	/* Drops what was kept of this matrix; no call for it is in progress. */
	void (*forget)(void *state, const void *matrix);
	/* Frees the state; no call is in progress. */
	void (*close)(void *state);
};

/* Copies as told. */
static inline void accel_copy_run(const struct accel_copy *what)
{
	for (size_t i = 0; i < what->rows; i++)
		memcpy((char *)what->dst + i * what->dst_stride, (const char *)what->src + i * what->src_stride,
		    what->width);
}

#endif
