/* SPDX-License-Identifier: MIT */

/* The C reference of blocks that are made of GPTQ's words, by way of codes. */

#include <string.h>

#include "kernel/element.h"
#include "kernel/gguf/gguf.h"

bool gguf_gptq_fits(const struct qtensor *q, enum gguf_block type)
{
	return q->bits == (type == GGUF_Q8_0 ? 8 : 4) && q->word_bits == 32 && q->packing == PACKING_STREAM &&
	       !q->g_idx && q->scale_dtype == DTYPE_F16 && (q->group_size >= q->in_features || q->group_size % 32 == 0);
}

static void gptq_blocks(void *dst, const struct qtensor *q, const struct kernel_rect *r, enum gguf_block type)
{
	unsigned char *to = dst;

	for (uint32_t n = r->row0; n < r->row0 + r->rows; n++)
		for (uint32_t k = r->column0; k < r->column0 + r->columns; k += 32, to += gguf_layout(type)->bytes) {
			const uint32_t g = k / q->group_size, zero = qtensor_zero(q, g, n);
			const uint16_t scale = element_half(q->scales, (size_t)g * q->out_features + n, DTYPE_F16);
			uint16_t level[32];

			for (uint32_t i = 0; i < 32; i++) {
				const int number = (int)qtensor_code(q, k + i, n) - (int)zero;

				level[i] = (uint16_t)(number < 0 ? 0x8000 | -number : number);
			}
			gguf_reference[type](to, &(struct gguf_row){level, &scale, NULL}, 1);
		}
}

static void gptq_q4_0(void *dst, const struct qtensor *q, const struct kernel_rect *r)
{
	gptq_blocks(dst, q, r, GGUF_Q4_0);
}

static void gptq_q5_0(void *dst, const struct qtensor *q, const struct kernel_rect *r)
{
	gptq_blocks(dst, q, r, GGUF_Q5_0);
}

static void gptq_q8_0(void *dst, const struct qtensor *q, const struct kernel_rect *r)
{
	gptq_blocks(dst, q, r, GGUF_Q8_0);
}

gguf_gptq_fn *const gguf_gptq_reference[GGUF_BLOCKS] = {
    [GGUF_Q4_0] = gptq_q4_0, [GGUF_Q5_0] = gptq_q5_0, [GGUF_Q8_0] = gptq_q8_0};
