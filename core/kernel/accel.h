/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ACCEL_H
#define GPTQFS_ACCEL_H

/* The accelerator in use: loads a plugin (plugin.h), puts it on trial, and falls back to the CPU when it fails. */

#include <stddef.h>
#include <stdint.h>

#include "gptqfs.h"
#include "kernel/plugin.h"

struct accel;
struct kernels;

struct accel_options {
	const char *choice; /* "none" or NULL, "auto", "cuda", or the absolute path of a plugin */
	const char *plugin; /* absolute path that auto and cuda stand for, or NULL for where it is installed */
	uint64_t memory;    /* struct accel_config's */
	void (*log)(void *ctx, const char *line); /* NULL for silence */
	void *log_ctx;
};

/* Looks at the options only. *out is NULL if no accelerator is wanted. 0, -EINVAL or -ENOMEM, with the reason. */
int accel_new(const struct accel_options *options, struct accel **out, struct gptqfs_error *err);

/* Closes the plugin and frees everything; NULL is allowed. */
void accel_free(struct accel *a);

/*
 * Loads, tests and measures the plugin, beside the kernels that decode otherwise. To be called once, by the process
 * that reads: what a device's driver sets up does not survive a fork. Readers may be at work meanwhile. Writes the
 * outcome to the log as one line.
 */
void accel_start(struct accel *a, const struct kernels *kernels);

/*
 * Has a job done. 0 if it is; -EIO if `copy` failed; 1 if it is left to the CPU, because the accelerator is not used,
 * has failed, decodes so few bytes more slowly than the CPU, or knows no such matrices.
 */
int accel_dequant(struct accel *a, const struct accel_job *job);

/* Reports state and figures; NULL means no accelerator. */
void accel_tell(struct accel *a, struct gptqfs_accel *out);

#endif
