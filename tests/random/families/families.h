/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TEST_RANDOM_FAMILIES_H
#define GPTQFS_TEST_RANDOM_FAMILIES_H

/*
 * Checkpoints of all families, also several in one. Each family has a packer, in a file of its own, written from the
 * description of the format, independently of the decoder.
 */

#include "../random.h"

#define MODULES_MAX 8
#define SETTINGS_MAX 24
#define NOTES_MAX 16

/* A checkpoint and its configuration. */
struct mixture {
	struct checkpoint base;             /* first */
	const char *settings[SETTINGS_MAX]; /* members of quantization_config: "\"bits\": 4" */
	unsigned setting_count;
	const char *tops[SETTINGS_MAX]; /* of config.json itself */
	unsigned top_count;
	const char *notes[NOTES_MAX]; /* the modules, for the report of a failure */
	unsigned note_count;
	const char *model_type;
	const char *method;     /* quant_method, or NULL if there is no such configuration */
	bool has_config_groups; /* its blocks may be taken for those of FP8 */
	bool is_pure;           /* of one family alone */
};

/* A family, for this test. */
struct packer {
	const char *name;
	bool linear; /* has MODULE.weight of [out, in], which fused views may join */
	/*
	 * Its quant_method; NULL if its tensors suffice, under any label; "" if there must be none. Families with
	 * different labels cannot be combined.
	 */
	const char *label;
	/* The class of the model, if only one will do. */
	const char *model_type;
	/* Draws what all its modules in a checkpoint share; may be NULL. */
	void (*begin)(struct mixture *x);
	/*
	 * Adds the tensors of a module and the expected ones, and returns its weight. `in` is 0, or the in_features of
	 * siblings, which it may round up.
	 */
	const struct weight *(*add)(struct mixture *x, const char *module, uint64_t in);
	/* Writes its configuration, after all modules; may be NULL. */
	void (*end)(struct mixture *x);
};

extern const struct packer awq, awq_gemv, awq_fast, bnb_4bit, bnb_conv1d, bnb_int8, ct, fp8, fp8_experts, gemma,
    gemma_embedding, gptoss, gptq, hqq, mlx, mlx_experts, mlx_metal, mxfp4, mxfp6, nvfp4;

/* ---- common.c ---- */

void say_setting(struct mixture *x, const char *text);
void say_top(struct mixture *x, const char *text);
void note(struct mixture *x, const char *text);
uint64_t draw_size(uint64_t step);

/* fp32 arithmetic: the exact result, or one that rounds to the same fp32. See common.c. */
double fl(double x);
double e4m3(unsigned code);
double e5m2(unsigned code);
double e8m0(unsigned code);

/* A field of bits from bit `at` on, the lowest of the first byte being bit 0. */
void put_bits(unsigned char *data, uint64_t at, unsigned bits, unsigned value);
unsigned get_bits(const unsigned char *data, uint64_t at, unsigned bits);

/* The type of a scale: a format, or NULL for an exponent in one byte. */
struct scales {
	const char *dtype;
	const struct format *format;
	unsigned hard; /* percentage of values that are hard to multiply by */
};

struct scales draw_scales(const char *const *dtypes, size_t count);
struct stored *add_bytes(struct mixture *x, const char *name, const char *dtype, int ndim, const uint64_t *shape);
void fill_any(struct stored *s);
struct stored *add_scales(struct mixture *x, const char *name, const struct scales *s, int ndim, const uint64_t *shape);
double scale_at(const struct stored *s, uint64_t i);
struct weight *add_weight(struct mixture *x, const char *name, int ndim, const uint64_t *shape);

#endif
