/* SPDX-License-Identifier: MIT */
#include "tensor/encoding.h"

#include "base/half.h"

void encoded_add_part(struct encoded *e, size_t i, const struct st_tensor *t, struct source_file *f)
{
	uint8_t k = 0;

	e->part[i] = t;
	e->stored_bytes += t->bytes;
	while (k < e->file_count && e->files[k] != f)
		k++;
	e->files[k] = f;
	e->file_count += k == e->file_count;
}

struct inputs encoded_inputs(struct encoded *e)
{
	return (struct inputs){e->files, e->file_count, &e->resident};
}

/* ---- levels ---- */

#define RUN_MAX 256
#define RUN_STEP 64 /* unless the encoding knows better */

uint32_t code_levels_run(uint64_t columns, uint64_t group_size, const uint32_t *g_idx)
{
	uint32_t run = RUN_MAX;

	for (uint64_t k = 1; g_idx && k < columns; k++)
		while (g_idx[k] != g_idx[k - 1] && k % run)
			run /= 2;
	while (!g_idx && group_size < columns && group_size % run)
		run /= 2;
	return run;
}

struct code_levels code_levels_begin(unsigned bits, uint32_t run, uint64_t scales)
{
	return (struct code_levels){.bits = bits,
	    .zero_min = INT32_MAX,
	    .zero_max = INT32_MIN,
	    .run = run,
	    .half = true,
	    .scales = scales,
	    .step = RUN_STEP};
}

void code_levels_zero(struct code_levels *levels, int32_t zero)
{
	if (zero < levels->zero_min)
		levels->zero_min = zero;
	if (zero > levels->zero_max)
		levels->zero_max = zero;
}

void code_levels_scale(struct code_levels *levels, float scale)
{
	levels->half &= bits_of_float(float_of_half(half_of_float(scale))) == float_canonical(bits_of_float(scale));
}

/* ---- examination ---- */

struct examination {
	const struct encoded *e;
	struct findings *out;
};

static void run_examination(void *ctx)
{
	const struct examination *x = ctx;

	x->e->encoding->examine(x->e, x->out);
}

int encoded_examine(struct encoded *e, struct findings *out)
{
	const struct inputs in = encoded_inputs(e);

	return inputs_guard(&in, run_examination, &(struct examination){e, out});
}
