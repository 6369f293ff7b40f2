/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ENCODING_H
#define GPTQFS_ENCODING_H

/*
 * How one family stores one weight. The family's own struct begins with struct encoded; its struct encoding has the
 * operations. To add a family, see core/README.md.
 */

#include <stdatomic.h>

#include "checkpoint/checkpoint.h"
#include "kernel/kernels.h"
#include "tensor/facts.h"
#include "tensor/findings.h"
#include "tree/generator.h"

#define ENCODED_PARTS 6

/* One quantized weight. */
struct encoded {
	const struct encoding *encoding;
	const char *module;    /* "model.layers.0.mlp.up_proj" */
	const uint64_t *shape; /* [ndim] as served: [out_features, in_features], with experts before it if stacked */
	uint8_t ndim;
	bool transposed; /* served as [in_features, out_features], so rows cannot be joined: a Conv1D or an embedding */
	uint8_t file_count;
	const struct st_tensor *part[ENCODED_PARTS]; /* in the order of encoding->suffixes; NULL if absent */
	struct source_file *files[ENCODED_PARTS];    /* [file_count] the shards of its parts, without duplicates */
	uint64_t stored_bytes;                       /* of all parts */
	atomic_bool resident;                        /* see struct inputs */
	const struct generator *dense[DTYPE_VIEWS];  /* made while views are planned, shared by all views */
};

/* A rectangle of weights: out_features [row0, row0 + rows), in_features [column0, column0 + columns). */
struct code_rect {
	uint64_t row0, rows, column0, columns;
};

/*
 * The components of weights: weight = scale * (code - zero) in fp32. Each array is [rows * columns], or NULL if it is
 * not wanted. `half` is the scale as an fp16, if it is one exactly. Files of other programs are made from these: GGUF's
 * blocks from half and zero (and `units`), MLX's from code, zero and scale.
 */
struct codes {
	uint8_t *code, *zero;
	float *scale;
	uint16_t *half;
};

/*
 * The components of weights whose zeros are not integers: weight = scale * code + bias, in two steps of fp32. Each
 * array is [rows * columns], or NULL if it is not wanted.
 */
struct lines {
	uint8_t *code;
	float *scale, *bias;
};

/* Bounds of the components of a weight. */
struct code_levels {
	unsigned bits; /* codes are below 2^bits */
	int32_t zero_min, zero_max;
	uint32_t run;    /* columns [i * run, (i + 1) * run) of a row share zero and scale; a power of two up to 256 */
	bool half;       /* every scale is exactly an fp16 */
	uint64_t scales; /* number of scales */
	uint32_t step;   /* rectangles of `units` begin and end at multiples of this many columns */
};

/* The meaning of the codes stored in part[0] of a weight, for statistics. */
struct stored_codes {
	uint8_t flip;            /* xor stored codes with this: signed integers become unsigned ones */
	uint8_t lowest, highest; /* the codes of the lowest and of the highest value */
};

struct matrix_ops;

struct encoding {
	const char *name;            /* "GPTQ" */
	const char *const *suffixes; /* of a module's stored tensors, NULL-terminated: ".qweight", ... */
	/* Makes the generator of the weight's rows in type `out`, in the arena. Returns 0 or -ENOMEM. */
	int (*rows)(struct encoded *e, const struct kernels *k, enum dtype out, struct arena *arena,
	    const struct generator **g);
	const struct matrix_ops *matrix; /* what rows are decoded by, if `rows` is matrix_rows (quant/matrix_rows.h) */
	/*
	 * Returns codes, zeros and scales of a rectangle. Reads maps, so call it under inputs_guard. NULL unless
	 * weights consist of integer codes of at most 8 bits.
	 */
	void (*codes)(const struct encoded *e, const struct code_rect *r, const struct codes *out);
	/*
	 * Writes the weights of a rectangle as fp16, with `units` for scales: as many as levels->scales, each 2^-24. So
	 * code - zero, which must be below 1024, becomes a sign and a magnitude. Reads maps. NULL if `codes` is.
	 */
	void (*units)(const struct encoded *e, const struct kernels *k, const uint16_t *units, void *dst,
	    const struct kernel_rect *r);
	/*
	 * Writes a rectangle as blocks of GGUF, faster than by way of `units`. Returns false, with nothing written, if
	 * it cannot. Reads maps. NULL if it never can.
	 */
	bool (*blocks)(const struct encoded *e, const struct kernels *k, enum gguf_block type, void *dst,
	    const struct kernel_rect *r);
	/*
	 * Writes the codes of a rectangle, whose columns begin and end at multiples of 32, as fields of `bits` bits
	 * along each row, faster than by way of `units`. Returns false, with nothing written, if it cannot. Reads maps.
	 * NULL if it never can.
	 */
	bool (*words)(const struct encoded *e, const struct kernels *k, unsigned bits, void *dst,
	    const struct kernel_rect *r);
	/* Returns the bounds of `codes`, found in zeros and scales alone. Reads maps. NULL if `codes` is. */
	void (*levels)(const struct encoded *e, struct code_levels *out);
	/*
	 * Returns codes, scales and biases of a rectangle. Reads maps. NULL if there is `codes`, or if weights have no
	 * such form.
	 */
	void (*lines)(const struct encoded *e, const struct code_rect *r, const struct lines *out);
	/*
	 * Sets bits, run and step of what `lines` returns. False if that differs from the weights in more than the sign
	 * of a zero. Reads maps. NULL if `lines` is.
	 */
	bool (*line_levels)(const struct encoded *e, struct code_levels *out);
	/*
	 * For codes that are not integers, or that no other program reads. If not NULL, part[0] holds a code for each
	 * weight, of as many bits as `describe` says, in any order, in bytes or in a stream of bits. NULL if there is
	 * `codes` or `lines`.
	 */
	struct stored_codes (*stored_codes)(const struct encoded *e);
	/* Report the facts of .info, attributes, info.json and --check; the first line of .info ("4-bit, ..."). */
	void (*describe)(const struct encoded *e, struct facts *out);
	void (*summarize)(const struct encoded *e, struct text *out);
	/* Counts findings that require reading all of the weight. Reads maps, so call it under inputs_guard. */
	void (*examine)(const struct encoded *e, struct findings *out);
	/* Joins modules in packed form (quant/repack.h). NULL if the family cannot; there is then no packed view. */
	const struct repack_ops *repack;
	const struct gptq_form_ops *gptq; /* the form in which `repack` joins weights (quant/gptq/form.h); or NULL */
};

/* Sets a stored tensor as part `i` of the weight. */
void encoded_add_part(struct encoded *e, size_t i, const struct st_tensor *t, struct source_file *f);

struct inputs encoded_inputs(struct encoded *e);

/* For `levels`: returns the run for groups of group_size columns, or for g_idx if that is not NULL. */
uint32_t code_levels_run(uint64_t columns, uint64_t group_size, const uint32_t *g_idx);

/* For `levels`: returns bounds without any zero or scale; these add one. */
struct code_levels code_levels_begin(unsigned bits, uint32_t run, uint64_t scales);
void code_levels_zero(struct code_levels *levels, int32_t zero);
void code_levels_scale(struct code_levels *levels, float scale);

/*
 * Counts findings that require reading all of the weight. Returns 0, or -EIO if a file was changed or cannot be read.
 */
int encoded_examine(struct encoded *e, struct findings *out);

#endif
