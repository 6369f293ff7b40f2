/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PAGECACHE_H
#define GPTQFS_PAGECACHE_H

/*
 * -o pagecache=erofs: the kernel fills the page cache of a FUSE file in single pages, and that of EROFS in large
 * folios, by direct reads of the file that EROFS is mounted from. Here that file is the only one in a FUSE mount that
 * is never attached anywhere, and its bytes are computed: gptqfs_image_open. The visible mount is EROFS. It pins the
 * hidden one, so both end together.
 *
 * Needs CAP_SYS_ADMIN outside of containers, and Linux 6.12 or later with the fix of CVE-2026-23224.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "serve/loop.h"

struct fuse_lowlevel_ops;
struct gptqfs_error;
struct options;

/*
 * Returns the name of the image, which is what a mount of type erofs shows: o->fsname, or the path of the model. Server
 * and helper both need it.
 */
const char *pagecache_name(const struct options *o, const char *source);

/* ---- by the server ---- */

/*
 * EROFS asks for the next piece while the last is being sent, and FUSE cuts it into requests of this many bytes: few
 * enough to be in the CPU's cache when they are sent, and requests for several threads. Computing ahead would only
 * delay requests that are waiting already.
 */
#define PAGECACHE_REQUEST (256u << 10)

/*
 * Returns a team of a thread per CPU. More would take turns, each with a buffer that is no longer in the CPU's cache.
 * Random readers are served by all threads.
 */
struct loop_teams pagecache_teams(void);

/* The operations of a session that serves only the image. Their user data is a struct server with an image. */
extern const struct fuse_lowlevel_ops pagecache_ops;

/* ---- by the helper ---- */

/*
 * Decides between FUSE and EROFS: sets o->erofs, and what `info` says. Returns 0, or -errno after a message if EROFS
 * was requested but cannot be used.
 */
int pagecache_choose(struct options *o, const char *mountpoint);

/*
 * Call it when the kernel has refused the mount. Returns true if FUSE is to be used instead, and sets what `info` says;
 * else prints the reason.
 */
bool pagecache_fall_back(struct options *o, const char *reason);

struct pagecache {
	int hidden;        /* the FUSE mount, or -1 */
	int image, device; /* with a face, until all files are open: the EROFS mount, and the session of the face */
};

#define PAGECACHE_NONE     \
	{                  \
		-1, -1, -1 \
	}

/* Makes the hidden mount. *device gets /dev/fuse for the session. Returns 0, or -errno with the reason in err. */
int pagecache_open(struct pagecache *p, const struct options *o, int *device, struct gptqfs_error *err);

/* What to mount, and where. */
struct pagecache_mount {
	const char *path, *source; /* the mountpoint, canonical, or NULL below a face, and the name */
	unsigned readahead;        /* wanted, in KiB; afterwards the actual one, 0 if unknown */
};

/*
 * Mounts the image, once the session is served, and sets the readahead. Returns 0, or -errno with the reason in err.
 * Afterwards this process holds nothing of either mount, except p->image if that is attached nowhere.
 */
int pagecache_mount(struct pagecache *p, const struct options *o, struct pagecache_mount *m, struct gptqfs_error *err);

/* Closes everything. */
void pagecache_close(struct pagecache *p);

#endif
