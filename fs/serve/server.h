/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SERVER_H
#define GPTQFS_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "gptqfs.h"

/* The user data of the session, shared by operations and status. */
struct face;
struct server {
	struct gptqfs *model;
	struct gptqfs_image *image; /* what is served with pagecache=erofs, or NULL */
	const char *image_name;     /* of the mount */
	struct face *face;          /* what the kernel serves by EROFS, or NULL */
	struct loop *loop;          /* NULL with libfuse's own loop */
	bool direct_io, noxattr;
	unsigned max_read;
	uint32_t generation;   /* of every inode but the root, so that file handles of an earlier mount are stale */
	atomic_uint readahead; /* of the mount in KiB, 0 if unknown */
	time_t started;        /* CLOCK_BOOTTIME, seconds */
	const char *sandbox;   /* what confines the process: see struct sandbox */
	int event;             /* descriptor that gets an 'i' when the kernel has made contact, and an 'x' at the end */
};

#endif
