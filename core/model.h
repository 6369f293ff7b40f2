/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_MODEL_H
#define GPTQFS_MODEL_H

/* An open model, for the files of core/ that implement gptqfs.h. */

#include <stdatomic.h>

#include "gptqfs.h"
#include "lora/lora.h"
#include "read/ahead.h"
#include "read/reader.h"
#include "tensor/join.h"
#include "view/gguf/kv.h"
#include "view/view.h"

struct gptqfs {
	struct checkpoint checkpoint;
	struct tensors tensors, fused, packed;
	struct lora lora;
	struct variants variants;
	const struct lora *merged; /* the adapters in the plan: those of lora=, one of loras=, or NULL */
	struct join_refusals refusals;
	struct plan plan;
	struct kernels kernels;
	struct accel *accel;
	struct tree tree;
	const struct view *root; /* the view shown as the root, or NULL for all of them */
	uint32_t status;         /* its inode, 0 if there is none */
	struct reader reader;
	struct ahead *ahead;
	enum dtype dtype;
	struct {
		atomic_uint_fast64_t reads, served, errors;
	} count;
	uid_t uid;
	gid_t gid;
	mode_t umask;
	bool blobs, gguf_q2;
	uint64_t shard_bytes;
	const char *sandbox, *page_cache;
	struct gguf_kv kv; /* without keys unless one was given */
};

/* Returns the node of an inode number, or NULL. */
static inline const struct node *find_node(const struct gptqfs *m, uint64_t ino)
{
	return ino >= GPTQFS_ROOT && ino < m->tree.count ? &m->tree.nodes[ino] : NULL;
}

/* Plans a late file, or the late files of a directory; call it before using either. Returns 0 or -errno. */
static inline int settle_node(const struct node *n)
{
	return late_run(n->late);
}

#endif
