/* SPDX-License-Identifier: MIT */
#include "view/gguf/types.h"

#include "view/coded.h"

struct gguf_type gguf_type_of(enum gguf_block block, enum dtype dtype)
{
	static const uint32_t ids[DTYPE_VIEWS] = {[DTYPE_F16] = 1, [DTYPE_BF16] = 30, [DTYPE_F32] = 0};
	const struct gguf_layout *layout;

	if (block == GGUF_BLOCKS)
		return (struct gguf_type){dtype_name(dtype), ids[dtype], 1, (uint32_t)dtype_bytes(dtype)};
	layout = gguf_layout(block);
	return (struct gguf_type){layout->name, layout->id, layout->weights, layout->bytes};
}

bool gguf_type_find(uint32_t id, struct gguf_type *out)
{
	for (enum dtype d = 0; d < DTYPE_VIEWS; d++) {
		*out = gguf_type_of(GGUF_BLOCKS, d);
		if (out->id == id)
			return true;
	}
	for (enum gguf_block b = 0; b < GGUF_BLOCKS; b++) {
		*out = gguf_type_of(b, DTYPE_F16);
		if (out->id == id)
			return true;
	}
	return false;
}

struct levels_job {
	const struct encoded *e;
	struct code_levels levels;
};

static void read_levels(void *ctx)
{
	struct levels_job *job = ctx;

	job->e->encoding->levels(job->e, &job->levels);
}

/* Q2_0 has d times -1, 0, 1 and 2: as with a zero of 1, or of 2 with the sign inverted. */
static bool fits_q2(const struct code_levels *l, uint64_t columns)
{
	return l->bits == 2 && l->zero_min >= 1 && l->zero_max <= 2 && l->run >= 64 && columns % 64 == 0;
}

static struct gguf_choice choose(const struct encoded *e, const struct code_levels *l, bool q2)
{
	const int32_t low = -l->zero_max, high = (1 << l->bits) - 1 - l->zero_min;
	const uint64_t columns = e->shape[1];

	if (l->run < 32)
		return (struct gguf_choice){
		    .block = GGUF_BLOCKS, .reason = "act-order, or groups that blocks of 32 do not fit"};
	if (columns % 32)
		return (struct gguf_choice){.block = GGUF_BLOCKS, .reason = "in_features is not a multiple of 32"};
	if (!l->half)
		return (struct gguf_choice){.block = GGUF_BLOCKS, .reason = "a scale is not exactly an fp16"};
	if (q2 && fits_q2(l, columns))
		return (struct gguf_choice){GGUF_Q2_0, NULL, l->run, l->step, l->scales};
	for (enum gguf_block b = GGUF_Q4_0; b < GGUF_BLOCKS; b++)
		if (low >= gguf_layout(b)->low && high <= gguf_layout(b)->high)
			return (struct gguf_choice){b, NULL, l->run, l->step, l->scales};
	return (struct gguf_choice){.block = GGUF_BLOCKS, .reason = "code - zero takes more than 8 bits"};
}

int gguf_choose(struct encoded *e, bool q2, struct gguf_choice *out)
{
	const struct inputs in = encoded_inputs(e);
	struct levels_job job = {.e = e};
	int rc;

	*out = (struct gguf_choice){.block = GGUF_BLOCKS, .reason = coded_refusal(e, e->encoding->levels != NULL)};
	if (out->reason)
		return 0;
	rc = inputs_guard(&in, read_levels, &job);
	if (rc == 0)
		*out = choose(e, &job.levels, q2);
	return rc;
}
