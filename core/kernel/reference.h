/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_REFERENCE_H
#define GPTQFS_REFERENCE_H

/* The C references of kernels that write rectangles: all elements, one by one, from a function that is the contract. */

#include "kernel/element.h"
#include "kernel/rect.h"

/*
 * Defines name_f16, name_bf16 and name_f32 for matrices of `type`: elements weight(m, row, column), except for the last
 * rounding.
 */
#define DEFINE_REFERENCE(name, type, weight)                                                                  \
	static void name##_rect(void *dst, const struct type *m, const struct kernel_rect *r, enum dtype out) \
	{                                                                                                     \
		size_t i = 0;                                                                                 \
                                                                                                              \
		for (uint32_t row = r->row0; row < r->row0 + r->rows; row++)                                  \
			for (uint32_t column = r->column0; column < r->column0 + r->columns; column++)        \
				element_store(dst, i++, weight(m, row, column), out);                         \
	}                                                                                                     \
	static void name##_f16(void *dst, const struct type *m, const struct kernel_rect *r)                  \
	{                                                                                                     \
		name##_rect(dst, m, r, DTYPE_F16);                                                            \
	}                                                                                                     \
	static void name##_bf16(void *dst, const struct type *m, const struct kernel_rect *r)                 \
	{                                                                                                     \
		name##_rect(dst, m, r, DTYPE_BF16);                                                           \
	}                                                                                                     \
	static void name##_f32(void *dst, const struct type *m, const struct kernel_rect *r)                  \
	{                                                                                                     \
		name##_rect(dst, m, r, DTYPE_F32);                                                            \
	}

#endif
