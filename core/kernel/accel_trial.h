/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ACCEL_TRIAL_H
#define GPTQFS_ACCEL_TRIAL_H

/* Trials of a plugin before use: it must produce the bytes of the C reference for every layout. Measures its speed. */

#include "gptqfs.h"
#include "kernel/plugin.h"

struct kernels;

/* An opened plugin on trial, and the kernels that it would replace. */
struct accel_trial {
	const struct accel_plugin *plugin;
	void *state;
	const struct kernels *kernels;
};

/* Compares tiles of every layout and output type with the C reference. Returns 0, or -errno with the reason. */
int accel_trial_tiles(const struct accel_trial *t, struct accel_text *why);

/* Measures both sides for every speed->bytes of the array. Returns 0, or -errno with the reason. */
int accel_trial_speeds(const struct accel_trial *t, struct gptqfs_accel_speed *speeds, size_t count,
    struct accel_text *why);

#endif
