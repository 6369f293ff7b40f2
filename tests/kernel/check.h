/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CHECK_H
#define GPTQFS_CHECK_H

/*
 * check_kernel: shared by the cases of all families. Inputs and outputs border on guard pages, at any alignment;
 * outputs are poisoned.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/kernels.h"
#include "kernel/plugin.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))

enum {
	ARENA_BYTES = 25 << 20, /* the largest operand */
	MARGIN = 64,            /* bytes around an output that must stay as they were */
	POISON = 0xa5,
};

/* Memory between two guard pages. */
struct arena {
	unsigned char *start;
	unsigned char *end;
};

enum operand { CODES, ZEROS, SCALES, G_IDX, EXPECTED, OUTPUT, OPERANDS };

struct check {
	uint64_t random;
	enum cpu_level max;
	struct kernels kernels[CPU_LEVELS];
	const struct accel_plugin *plugin; /* or NULL */
	void *plugin_state;
	bool emulated;  /* its device is tests/cuda */
	bool stop;      /* at the first failure */
	unsigned share; /* percent of the cases are run */
	struct arena arena[OPERANDS];
	unsigned long passed, failed;
	unsigned long group_passed, group_failed;
};

/* ---- families ---- */

void check_casts(struct check *c);
void check_gptq(struct check *c); /* or the plugin in its place */
void check_fp8(struct check *c);
void check_bnb(struct check *c);
void check_affine(struct check *c);
void check_fp4(struct check *c);
void check_awq(struct check *c);
void check_hqq(struct check *c);
void check_lora(struct check *c);
void check_gguf(struct check *c);
void check_mlx(struct check *c);

/* ---- chance, memory ---- */

uint32_t rnd(struct check *c);
uint32_t below(struct check *c, uint32_t limit);
/* Mostly one of `of`, otherwise 1 to limit. */
uint32_t pick(struct check *c, const uint16_t *of, size_t count, uint32_t limit);
void fill(struct check *c, void *p, size_t n);

/* Returns p, or exits if it is NULL or MAP_FAILED. */
void *need(void *p);

/* Returns room for an operand: mostly ending at a guard page, sometimes starting at one, sometimes anywhere. */
unsigned char *place(struct check *c, enum operand operand, size_t bytes, unsigned align);

/* Returns room for an output, with poison around it; compares the output, and checks the poison. */
unsigned char *place_output(struct check *c, size_t bytes);
void compare(struct check *c, const unsigned char *out, const unsigned char *expected, size_t bytes, const char *what);

/* True for each case to run: all of them, or a sample. */
bool sampled(struct check *c);

/* ---- results ---- */

void tell(struct check *c, bool ok, const char *what);
void group_end(struct check *c, const char *name);

/* ---- the second implementation of numbers ---- */

struct number_format {
	int exp_bits, man_bits;
};

/* Of F16, BF16, F32, F8_E4M3 and F8_E5M2. */
extern const struct number_format number_formats[DTYPE_COUNT];

double number_decode(uint64_t bits, enum dtype dtype); /* F8_E8M0 too */
uint64_t number_encode(double value, enum dtype dtype);

/* Returns the value rounded to fp32. For a sum or product of floats, rounding to double before changes nothing. */
double number_fp32(double value);

/* Returns a double near the middle of two values of some format, where double rounding would show. */
double number_awkward(struct check *c);

/* accel_job's copy: as a reader of the mount has it. */
int copy_plainly(void *ctx, const struct accel_copy *what);

#endif
