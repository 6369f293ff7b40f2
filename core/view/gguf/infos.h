/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GGUF_INFOS_H
#define GPTQFS_GGUF_INFOS_H

/* Where the tensors of a GGUF file are. */

#include "base/arena.h"
#include "view/gguf/types.h"

#define GGUF_DIMENSIONS 4

struct gguf_info {
	const char *name;
	struct gguf_type type;
	uint64_t shape[GGUF_DIMENSIONS]; /* innermost first */
	uint8_t ndim;
	uint64_t begin, bytes; /* in the file */
};

struct gguf_infos {
	struct gguf_info *list; /* [count] arena */
	uint64_t count;
};

/*
 * Reads them from the first `len` bytes of an untrusted file. Returns 0; -EINVAL if these bytes do not reach up to the
 * data, are not GGUF, or have a tensor of a type not written here; or -ENOMEM.
 */
int gguf_infos_parse(const unsigned char *bytes, size_t len, struct arena *arena, struct gguf_infos *out);

#endif
