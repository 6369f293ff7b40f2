/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GPTQ_FORM_H
#define GPTQFS_GPTQ_FORM_H

/*
 * A weight in GPTQ's form, as the packed view shows it. GPTQ's own weights are stored in it. Weights of AWQ and
 * compressed-tensors may have an exact one, which is made on read: the same codes, zeros and scales in other places.
 */

#include "kernel/gptq/gptq.h"
#include "tensor/encoding.h"
#include "tensor/join.h"

/* Indices of gptq_form.part. */
enum gptq_part { GPTQ_QWEIGHT, GPTQ_QZEROS, GPTQ_SCALES, GPTQ_G_IDX };

#define GPTQ_PARTS 4

/* The most outputs that can become columns: rows of them are made whole. */
#define GPTQ_FORM_COLUMNS_MAX ((uint64_t)1 << 22)

/* Lines of words or floats, one per output; they become columns in GPTQ's form. */
struct gptq_lines {
	const unsigned char *data;
	uint64_t apart; /* bytes from one to the next; 0: all are the same */
};

struct gptq_form {
	/*
	 * Sizes, widths, groups and the type of scales; zeros MIDDLE if none are stored. Pointers to maps are unused.
	 */
	struct qtensor q;
	enum zeros stored; /* V1 or V2: what stored zeros mean; MIDDLE: none are stored, or they can be made in either
	                      format */
	bool symmetric;
	const struct st_tensor *part[GPTQ_PARTS]; /* stored in GPTQ's form already; NULL: made on read */
	struct gptq_lines codes, scales;          /* what those are made from */
};

struct gptq_form_ops {
	/*
	 * Describes the form. Returns NULL, or why there is none, as words after the module's name. Unsuitable sizes
	 * and types are refused elsewhere.
	 */
	const char *(*describe)(const struct encoded *e, struct gptq_form *out);
	/* Returns a zero, below 1 << bits. Reads maps. */
	uint32_t (*zero)(const struct encoded *e, uint32_t n, uint32_t g);
	/*
	 * Writes columns [column0, column0 + columns) of a row of qweight; both are multiples of 8. form.codes are then
	 * the stored rows, one per input. NULL if they are lines. Reads maps.
	 */
	void (*codes)(const struct encoded *e, uint64_t row, uint32_t column0, uint32_t columns, void *dst);
};

/* A module that a packed weight consists of. */
struct gptq_formed {
	struct encoded *e;
	struct gptq_form form;
};

/* Returns the modules of a weight: one, or those that are joined; 0 if it is not quantized. All must have the form. */
size_t gptq_formed(const struct tensor *t, struct gptq_formed modules[JOIN_PARTS_MAX]);

/* The modules whose columns are side by side in a packed tensor, and their files. */
struct gptq_source {
	struct gptq_formed module[JOIN_PARTS_MAX];
	size_t count;
	struct source_file *files[JOIN_PARTS_MAX * ENCODED_PARTS];
	size_t file_count;
};

void gptq_source_find(struct gptq_source *s, const struct tensor *t);

/*
 * Make generators, in the arena, of a qweight, scales or a g_idx that no module has as stored. Their rows are those of
 * the tensor, of a g_idx the elements. Return 0 or -ENOMEM.
 */
int gptq_form_codes(struct arena *arena, const struct tensor *t, const struct generator **g);
int gptq_form_scales(struct arena *arena, const struct tensor *t, const struct generator **g);
int gptq_form_g_idx(struct arena *arena, const struct tensor *t, const struct generator **g);

#endif
