/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_OPS_H
#define GPTQFS_OPS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "../core/gptqfs.h"

/* The user data of the session. */
struct server {
	struct gptqfs *model;
	struct loop *loop; /* that serves, told what is read; NULL where it does not want to know */
	bool direct_io, noxattr;
	unsigned max_read;
	atomic_uint readahead; /* KiB that the mount has, 0 where that is not known */
	time_t started;        /* in seconds of CLOCK_BOOTTIME */
	int event;             /* descriptor to which 'i' is written when the kernel has made contact */
};

/* The low-level operations. Between FUSE and gptqfs.h, and nothing else. */
struct fuse_lowlevel_ops;
extern const struct fuse_lowlevel_ops ops;

#endif
