/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_COMPRESSED_SCHEMES_H
#define GPTQFS_COMPRESSED_SCHEMES_H

/*
 * What the configuration of a compressed-tensors checkpoint says about weights: schemes (config_groups), and which
 * modules they are for (targets). Shapes take precedence; targets only decide where the shapes of a module fit several
 * schemes.
 */

#include "quant/family.h"

struct scheme {
	uint8_t bits;
	uint32_t group_size; /* 0: not said */
	uint32_t block[2];   /* rows, columns; 0: not said */
};

#define SCHEMES_MAX 64 /* different ones; the largest models have three */

struct schemes {
	struct scheme list[SCHEMES_MAX]; /* integers only; those of floats are other families' */
	size_t count;
	struct scheme_target *targets; /* [target_count] names first, then patterns, each by text */
	size_t target_count, name_count;
	const struct scheme_target *linear, *embedding; /* those of a class, or NULL */
	struct patterns *set;
	bool labelled;    /* a configuration names compressed-tensors */
	bool other_label; /* one names something else */
	bool streams;     /* made by a version that packs 3, 5, 6 and 7 bits as a stream */
};

/*
 * Reads all configurations of the checkpoint. Everything goes to its arena. Returns 0; -ENOTSUP, with a message, for
 * formats that cannot be undone by reading weights; -EBADMSG; -ENOMEM.
 */
int schemes_read(struct opening *o, struct schemes *out);

/*
 * Finds the scheme whose target comes first for a module: exact names, then patterns, then classes. Returns 0, with
 * NULL if there is none; -ENOTSUP if a pattern that would have to be tried cannot be, with *pattern set to it.
 */
int schemes_find(const struct schemes *s, const char *module, const struct scheme **found, const char **pattern);

/* Reads the size of a block, [rows, columns] or the text "128x128"; sets zeros for anything else. */
void schemes_read_block(const struct json *value, uint32_t block[2]);

#endif
