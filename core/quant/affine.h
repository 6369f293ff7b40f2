/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_QUANT_AFFINE_H
#define GPTQFS_QUANT_AFFINE_H

/*
 * What families have in common whose weights are integer codes along rows (kernel/affine/affine.h): each has a struct
 * encoding of its own, with its name and the suffixes of its tensors, made of these operations.
 */

#include "kernel/affine/affine.h"
#include "quant/family.h"
#include "quant/matrix_rows.h"

struct affine_module {
	struct encoded e; /* first */
	struct affine_matrix m;
	uint8_t bits; /* nominal width: codes in bytes may use fewer than 8 */
};

/*
 * Members of struct encoding. `codes`, `units`, `blocks` and `levels` are for weights with zeros, lines for those with
 * biases.
 */
extern const struct matrix_ops affine_matrix_ops;
void affine_codes(const struct encoded *e, const struct code_rect *r, const struct codes *out);
void affine_units(const struct encoded *e, const struct kernels *k, const uint16_t *units, void *dst,
    const struct kernel_rect *r);
bool affine_blocks(const struct encoded *e, const struct kernels *k, enum gguf_block type, void *dst,
    const struct kernel_rect *r);
bool affine_words(const struct encoded *e, const struct kernels *k, unsigned bits, void *dst,
    const struct kernel_rect *r);
void affine_levels(const struct encoded *e, struct code_levels *out);
void affine_lines(const struct encoded *e, const struct code_rect *r, const struct lines *out);
bool affine_line_levels(const struct encoded *e, struct code_levels *out);
void affine_describe(const struct encoded *e, struct facts *out);
void affine_summarize(const struct encoded *e, struct text *out);
void affine_examine(const struct encoded *e, struct findings *out);

/* Initialisers of a struct encoding: what all have; weights with zeros; weights with biases. */
#define AFFINE_MEMBERS(label, names)                                                         \
	.name = label, .suffixes = names, .rows = matrix_rows, .matrix = &affine_matrix_ops, \
	.describe = affine_describe, .summarize = affine_summarize, .examine = affine_examine
#define AFFINE_CODES                                                                                  \
	.codes = affine_codes, .units = affine_units, .blocks = affine_blocks, .words = affine_words, \
	.levels = affine_levels
#define AFFINE_ENCODING(label, names)                      \
	{                                                  \
		AFFINE_MEMBERS(label, names), AFFINE_CODES \
	}
#define AFFINE_BIASES_ENCODING(label, names)                                                \
	{                                                                                   \
		AFFINE_MEMBERS(label, names), .words = affine_words, .lines = affine_lines, \
					      .line_levels = affine_line_levels,            \
	}

/* The widths of layer inputs that a model's configuration gives. */
#define AFFINE_WIDTHS_MAX 32

struct affine_widths {
	uint64_t list[AFFINE_WIDTHS_MAX];
	size_t count;
};

void affine_widths_read(const struct json *config, struct affine_widths *out);
bool affine_has_width(const struct affine_widths *w, uint64_t columns);

#endif
