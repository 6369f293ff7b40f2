/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ACCEL_H
#define GPTQFS_ACCEL_H

/* The accelerator in use: loads a plugin (plugin.h), tests and measures it, and falls back to the CPU when it fails. */

#include <stddef.h>
#include <stdint.h>

#include "gptqfs.h"
#include "kernel/plugin.h"

struct accel;
struct kernels;

struct accel_options {
	const char *choice; /* "none" or NULL, "auto", "cuda", or the absolute path of a plugin */
	const char *plugin; /* absolute path of the plugin for auto and cuda, or NULL for the installed one */
	uint64_t memory;    /* struct accel_config's */
	void (*log)(void *ctx, const char *line); /* may be NULL */
	void *log_ctx;
};

/*
 * Checks the options only. *out is NULL if no accelerator is wanted. Returns 0, or -EINVAL or -ENOMEM with the reason.
 */
int accel_new(const struct accel_options *options, struct accel **out, struct gptqfs_error *err);

/* Closes the plugin and frees everything; NULL is allowed. */
void accel_free(struct accel *a);

/*
 * Loads and tests the plugin, and measures it against the kernels. Call it once, in the process that reads: the state
 * of a device's driver does not survive a fork. Other threads may read meanwhile. Logs the outcome as one line.
 */
void accel_start(struct accel *a, const struct kernels *kernels);

/*
 * Runs a job. Returns 0 if done; -EIO if `copy` failed; 1 to leave it to the CPU, because the accelerator is not in
 * use, has failed, is slower than the CPU for so few bytes, or does not support such matrices.
 */
int accel_dequant(struct accel *a, const struct accel_job *job);

/* Reports state and figures; NULL means no accelerator. */
void accel_tell(struct accel *a, struct gptqfs_accel *out);

#endif
