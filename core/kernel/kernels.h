/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_KERNELS_H
#define GPTQFS_KERNELS_H

/*
 * The kernels in use: a table per encoding, and the casts. An encoding is X.h (numeric contract and table), X.c (the C
 * reference, which suffices) and, if measured to pay, X_ISA.c for an instruction set. Every kernel produces the bits of
 * the reference; there are no tolerances.
 */

#include "kernel/bnb/bnb.h"
#include "kernel/affine/affine.h"
#include "kernel/awq/awq.h"
#include "kernel/cast.h"
#include "kernel/cpu.h"
#include "kernel/fp4/fp4.h"
#include "kernel/fp8/fp8.h"
#include "kernel/gguf/gguf.h"
#include "kernel/gptq/gptq.h"
#include "kernel/hqq/hqq.h"
#include "kernel/lora/lora.h"
#include "kernel/mlx/mlx.h"

struct accel;

/* The best kernels of one CPU level; filled once, then constant. */
struct kernels {
	enum cpu_level level;
	struct accel *accel; /* tried before the kernels (accel.h), or NULL; owned by the model */
	struct gptq_dsp gptq;
	struct fp8_dsp fp8;
	struct bnb_dsp bnb;
	struct affine_dsp affine;
	struct fp4_dsp fp4;
	struct awq_dsp awq;
	struct hqq_dsp hqq;
	struct lora_dsp lora;
	struct gguf_dsp gguf;
	struct mlx_dsp mlx;
	cast_fn *cast[DTYPE_CASTS][DTYPE_VIEWS]; /* [from][to] */
};

/* Fills the tables with the references, then lets each level up to `level` override slots. */
void kernels_init(struct kernels *k, enum cpu_level level);

#endif
