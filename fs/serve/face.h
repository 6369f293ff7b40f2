/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FACE_H
#define GPTQFS_FACE_H

/*
 * The face of a mount by EROFS, if libfuse has passthrough (3.17): the attached mount is the same as without EROFS, but
 * the kernel reads and maps its files through their twins in the EROFS mount, which is attached nowhere. The helper
 * opens those, one by one, as the server names them. So both hidden mounts end with the visible one, `status` and late
 * views exist, and no other program can name what is behind.
 *
 * The visible mount comes first, as the kernel accepts files only for a session: until all are open it is served by
 * FUSE alone, and if they cannot be opened it is removed again.
 */

#include <stdbool.h>
#include <stdint.h>

#define FACE_FILES_MAX 4096 /* each takes kernel memory as long as the mount lives */

struct face;
struct fuse_conn_info;
struct fuse_file_info;
struct gptqfs;

/* True if libfuse is new enough. */
bool face_is_built(void);

/* ---- by the server ---- */

/*
 * Lists the files to pass through: all, or the largest ones, at most FACE_FILES_MAX. Free *out with face_free. Returns
 * 0 or -errno.
 */
int face_new(const struct gptqfs *model, struct face **out);

/* Frees it; NULL is allowed. */
void face_free(struct face *face);

/* Asks the kernel for passthrough. NULL is allowed. */
void face_init(struct face *face, struct fuse_conn_info *conn);

/* True if the kernel has passthrough, once it has made contact. */
bool face_is_possible(const struct face *face);

/* Records the kernel's number for the file named last, if any. Returns the next path, or "" at the end. */
const char *face_next(struct face *face, int number);

/*
 * Decides how an open file is read, and prepares the reply. The kernel requires that all concurrent opens of a file are
 * alike: through EROFS, or, if the first one is with O_DIRECT, through FUSE. Returns 0, or -EINVAL for O_DIRECT of a
 * file that is open through EROFS, which lacks it. NULL is allowed.
 */
int face_open(struct face *face, uint64_t ino, struct fuse_file_info *fi);

/* Call it when the file is closed, or its open was interrupted. NULL is allowed. */
void face_release(struct face *face, uint64_t ino);

/* ---- by the helper ---- */

/*
 * Opens a file of the EROFS mount `image` for the session of `device`. Returns the kernel's number for it, which is
 * positive and lasts as long as the session, or -errno; -ECANCELED if the other end of the socket `life` is closed
 * meanwhile.
 */
int face_back(int image, int device, const char *path, int life);

#endif
