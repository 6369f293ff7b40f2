/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SERVER_H
#define GPTQFS_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "../core/gptqfs.h"

/* The user data of the session: what operations and status share. */
struct server {
	struct gptqfs *model;
	struct loop *loop; /* told what is read; NULL with libfuse's own loop */
	bool direct_io, noxattr;
	unsigned max_read;
	uint32_t generation;   /* of every inode but the root; file handles of an earlier mount are stale */
	atomic_uint readahead; /* of the mount in KiB, 0 if not known */
	time_t started;        /* in seconds of CLOCK_BOOTTIME */
	int event;             /* descriptor to which 'i' is written when the kernel has made contact */
};

#endif
