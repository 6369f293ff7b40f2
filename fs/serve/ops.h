/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_OPS_H
#define GPTQFS_OPS_H

/* The low-level operations, which translate between FUSE and gptqfs.h. Their user data is a struct server. */
struct fuse_lowlevel_ops;
extern const struct fuse_lowlevel_ops ops;

#endif
