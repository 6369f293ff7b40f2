/* SPDX-License-Identifier: MIT */
#include "view/mlx/types.h"

#include "base/half.h"
#include "kernel/mlx.h"

#define GROUP_MIN 32
#define GROUP_MAX 128

#define ROWS 64 /* whose zeros and scales are looked at together */

/* ---- values ---- */

/* What is known of zeros and scales after looking at some of them. */
struct parameters {
	bool exact;              /* no step of the formula rounds */
	bool holds[DTYPE_VIEWS]; /* scales and biases are exact in a type */
};

static bool same_bits(float a, float b)
{
	return bits_of_float(a) == bits_of_float(b);
}

/* At most 16 significant bits, and so small that 8 more do not make it infinite. */
static bool is_short(float scale)
{
	const uint32_t magnitude = bits_of_float(scale) & 0x7fffffff;

	return (magnitude & 0xff) == 0 && magnitude < bits_of_float(0x1p119f);
}

static void look_at(struct parameters *p, float scale, float bias)
{
	p->exact &= is_short(scale);
	p->holds[DTYPE_F16] &= same_bits(float_of_half(half_of_float(scale)), scale) &&
	                       same_bits(float_of_half(half_of_float(bias)), bias);
	p->holds[DTYPE_BF16] &= same_bits(float_of_bf16(bf16_of_float(scale)), scale) &&
	                        same_bits(float_of_bf16(bf16_of_float(bias)), bias);
}

static void look_at_all(const struct encoded *e, uint32_t run, struct parameters *p)
{
	const uint64_t rows = e->shape[0], columns = e->shape[1];
	uint8_t zero[ROWS];
	float scale[ROWS];

	for (uint64_t k = 0; k < columns; k += run)
		for (uint64_t n = 0; n < rows; n += ROWS) {
			const struct code_rect r = {n, rows - n < ROWS ? rows - n : ROWS, k, 1};

			e->encoding->codes(e, &r, &(struct codes){.zero = zero, .scale = scale});
			for (uint64_t i = 0; i < r.rows; i++)
				look_at(p, scale[i], mlx_bias(scale[i], zero[i]));
		}
}

/* ---- types ---- */

/* What a source is read for. */
struct look {
	const struct encoded *e;
	struct code_levels levels;
	struct parameters found;
	const char *reason; /* why MLX has no form for it, found before zeros and scales are compared */
};

static const char *refuse_levels(const struct code_levels *l, uint64_t columns)
{
	if (l->run < GROUP_MIN)
		return "act-order, or groups that groups of 32 do not fit";
	if (columns % GROUP_MIN)
		return "in_features is no multiple of 32";
	return l->bits > MLX_BITS_MAX || l->zero_min < 0 || l->zero_max > UINT8_MAX
	           ? "code or zero takes more than 8 bits"
	           : NULL;
}

static void look_through(void *ctx)
{
	struct look *look = ctx;

	look->e->encoding->levels(look->e, &look->levels);
	look->found = (struct parameters){true, {true, true, true}};
	look->reason = refuse_levels(&look->levels, look->e->shape[1]);
	if (!look->reason)
		look_at_all(look->e, look->levels.run, &look->found);
}

/* Groups of MLX may be parts of those of the checkpoint. */
static uint32_t group_of(uint32_t run, uint64_t columns)
{
	uint32_t group = run < GROUP_MAX ? run : GROUP_MAX;

	while (columns % group)
		group /= 2;
	return group;
}

static enum dtype dtype_of(const struct parameters *p, enum dtype wanted)
{
	const enum dtype other = wanted == DTYPE_BF16 ? DTYPE_F16 : DTYPE_BF16;

	return p->holds[wanted] ? wanted : wanted != DTYPE_F32 && p->holds[other] ? other : DTYPE_F32;
}

static struct mlx_choice mlx_choose_type(const struct look *look, enum dtype dtype)
{
	const struct code_levels *l = &look->levels;
	const char *reason = look->reason;

	if (!reason && !look->found.exact)
		reason = "a scale has more than 16 significant bits, or is not finite";
	if (reason)
		return (struct mlx_choice){.type.reason = reason};
	return (struct mlx_choice){
	    {mlx_bits(l->bits), group_of(l->run, look->e->shape[1]), dtype_of(&look->found, dtype), NULL}, l->run,
	    l->step, l->scales};
}

int mlx_choose(struct encoded *e, enum dtype dtype, struct mlx_choice *out)
{
	const struct inputs in = encoded_inputs(e);
	struct look look = {.e = e};
	int rc;

	*out = (struct mlx_choice){.type.reason = "not made of integer codes with zeros"};
	if (!e->encoding->levels)
		return 0;
	out->type.reason = "not stored as a matrix of rows";
	if (e->ndim != 2 || e->transposed)
		return 0;
	rc = inputs_guard(&in, look_through, &look);
	if (rc == 0)
		*out = mlx_choose_type(&look, dtype);
	return rc;
}

struct mlx_type mlx_type_of_both(struct mlx_type a, struct mlx_type b)
{
	if (!a.bits || !b.bits)
		return a.bits ? b : a;
	a.bits = a.bits > b.bits ? a.bits : b.bits;
	a.group = a.group < b.group ? a.group : b.group;
	a.dtype = a.dtype == b.dtype ? a.dtype : DTYPE_F32;
	return a;
}
