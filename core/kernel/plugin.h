/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PLUGIN_H
#define GPTQFS_PLUGIN_H

/*
 * The interface of accelerator plugins: shared objects that decode rows of quantized matrices on another device. A
 * plugin includes no other header of gptqfs. gptqfs does not link plugins: it loads one by absolute path, and uses it
 * only after comparing its rows, byte for byte, with the C reference, and its speed with the CPU's. If a plugin fails,
 * that costs one log line; from then on the CPU decodes, and no reader sees an error.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/dtype.h"
#include "kernel/gptq/gptq.h"

#define ACCEL_VERSION 2
#define ACCEL_SYMBOL "gptqfs_accel_plugin" /* a const struct accel_plugin, exported */

/* Receives a plugin's reason for a failure: a sentence without a newline. */
struct accel_text {
	char text[256];
};

struct accel_config {
	uint64_t memory; /* most bytes of device memory held at any time */
};

/* `rows` pieces of `width` bytes, src_stride bytes apart in the source and dst_stride in the destination. */
struct accel_copy {
	void *dst;
	const void *src;
	size_t width, rows;
	size_t src_stride, dst_stride;
};

/* An encoding and its struct for a matrix. */
struct accel_encoding {
	const char *name;
	uint32_t matrix_size; /* sizeof the struct */
};

#define ACCEL_GPTQ "gptq" /* struct qtensor, rows as a gptq_fn writes them */

/*
 * A call: decode rows [row0, row0 + nrows) of a matrix to dst.
 *
 * The matrix points into mapped files, which may be truncated or changed at any time. So a plugin must not touch that
 * memory, but get pieces through `copy`, which returns 0 if the bytes are those of the unchanged file. If it returns
 * anything else, the plugin must drop what it holds of this matrix and return that value.
 */
struct accel_job {
	const char *encoding; /* listed by the plugin */
	const void *matrix;   /* its struct */
	enum dtype out;       /* DTYPE_F16, DTYPE_BF16 or DTYPE_F32 */
	uint32_t row0, nrows;
	size_t row_bytes; /* size of dst, which has no gaps */
	void *dst;
	bool keep; /* more rows will follow: until forget(), the same address means the same matrix */
	int (*copy)(void *copy_ctx, const struct accel_copy *what);
	void *copy_ctx;
};

struct accel_plugin {
	/* Checked before anything else is accessed, against the values that gptqfs was built with. */
	uint32_t size;     /* sizeof(struct accel_plugin) */
	uint32_t version;  /* ACCEL_VERSION */
	uint32_t job_size; /* sizeof(struct accel_job) */

	/* Supported encodings, up to a NULL name. The plugin gets no jobs of others. */
	const struct accel_encoding *encodings;

	/*
	 * Prepares the device. Returns 0, a state for the calls below and the name of the device in `text`; or -errno,
	 * with the reason there.
	 */
	int (*open)(const struct accel_config *config, void **state, struct accel_text *text);
	/*
	 * Must be thread-safe. Returns 0; -ENOTSUP for unsupported matrices; a failure of `copy`; or any other -errno,
	 * with the reason, if the device failed: the plugin is then not used again.
	 */
	int (*dequant)(void *state, const struct accel_job *job, struct accel_text *why);
	/* Drops what was kept of a matrix; no call for it is in progress. */
	void (*forget)(void *state, const void *matrix);
	/* Frees the state; no call is in progress. */
	void (*close)(void *state);
};

/* Copies the pieces. */
static inline void accel_copy_run(const struct accel_copy *what)
{
	for (size_t i = 0; i < what->rows; i++)
		memcpy((char *)what->dst + i * what->dst_stride, (const char *)what->src + i * what->src_stride,
		    what->width);
}

#endif
