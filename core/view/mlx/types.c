/* SPDX-License-Identifier: MIT */
#include "view/mlx/types.h"

#include <math.h>

#include "base/half.h"
#include "kernel/mlx/mlx.h"
#include "view/coded.h"

#define GROUP_MIN 32
#define GROUP_MAX 128

/* ---- values ---- */

void mlx_parameters(const struct encoded *e, const struct code_rect *r, float *scale, float *bias)
{
	uint8_t zero[MLX_ROWS];

	if (e->encoding->lines) {
		e->encoding->lines(e, r, &(struct lines){.scale = scale, .bias = bias});
		return;
	}
	e->encoding->codes(e, r, &(struct codes){.zero = zero, .scale = scale});
	for (uint64_t i = 0; i < r->rows; i++)
		bias[i] = mlx_bias(scale[i], zero[i]);
}

/* What is known about the scales and biases examined so far. */
struct parameters {
	bool finite, exact;      /* exact: no step of the formula rounds */
	bool holds[DTYPE_VIEWS]; /* all are exact in a type */
};

static bool same_bits(float a, float b)
{
	return bits_of_float(a) == bits_of_float(b);
}

static void look_at(struct parameters *p, float scale, float bias)
{
	p->finite &= isfinite(scale) && isfinite(bias);
	p->exact &= mlx_is_exact(scale);
	p->holds[DTYPE_F16] &= same_bits(float_of_half(half_of_float(scale)), scale) &&
	                       same_bits(float_of_half(half_of_float(bias)), bias);
	p->holds[DTYPE_BF16] &= same_bits(float_of_bf16(bf16_of_float(scale)), scale) &&
	                        same_bits(float_of_bf16(bf16_of_float(bias)), bias);
}

static void look_at_all(const struct encoded *e, uint32_t run, struct parameters *p)
{
	const uint64_t rows = e->shape[0], columns = e->shape[1];
	float scale[MLX_ROWS], bias[MLX_ROWS];

	for (uint64_t k = 0; k < columns; k += run)
		for (uint64_t n = 0; n < rows; n += MLX_ROWS) {
			const struct code_rect r = {n, rows - n < MLX_ROWS ? rows - n : MLX_ROWS, k, 1};

			mlx_parameters(e, &r, scale, bias);
			for (uint64_t i = 0; i < r.rows; i++)
				look_at(p, scale[i], bias[i]);
		}
}

/* ---- types ---- */

/* What a source is read for. */
struct look {
	const struct encoded *e;
	struct code_levels levels;
	struct parameters found;
	bool exact_lines;
	const char *reason; /* why MLX has no form for it */
};

static const char *refuse_levels(const struct code_levels *l, uint64_t columns)
{
	if (l->run < GROUP_MIN)
		return "act-order, or groups that groups of 32 do not fit";
	if (columns % GROUP_MIN)
		return "in_features is not a multiple of 32";
	return l->bits > MLX_BITS_MAX ? "codes have more than 8 bits" : NULL;
}

static const char *refuse_zeros(const struct code_levels *l)
{
	return l->zero_min < 0 || l->zero_max > UINT8_MAX ? "a zero takes more than 8 bits" : NULL;
}

static const char *refuse_parameters(const struct look *look, bool lines)
{
	const char *const rounds = "a scale, or a zero, has so many bits that MLX would round in another place";

	if (!look->found.finite)
		return "a scale is not finite";
	return (lines ? look->exact_lines : look->found.exact) ? NULL : rounds;
}

static void look_through(void *ctx)
{
	struct look *look = ctx;
	const struct encoding *encoding = look->e->encoding;
	const bool lines = encoding->lines != NULL;

	if (lines)
		look->exact_lines = encoding->line_levels(look->e, &look->levels);
	else
		encoding->levels(look->e, &look->levels);
	look->found = (struct parameters){true, true, {true, true, true}};
	look->reason = refuse_levels(&look->levels, look->e->shape[1]);
	if (!look->reason && !lines)
		look->reason = refuse_zeros(&look->levels);
	if (look->reason)
		return;
	look_at_all(look->e, look->levels.run, &look->found);
	look->reason = refuse_parameters(look, lines);
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

	if (look->reason)
		return (struct mlx_choice){.type.reason = look->reason};
	return (struct mlx_choice){
	    {mlx_bits(l->bits), group_of(l->run, look->e->shape[1]), dtype_of(&look->found, dtype), NULL}, l->run,
	    l->step, l->scales};
}

int mlx_choose(struct encoded *e, enum dtype dtype, struct mlx_choice *out)
{
	const struct inputs in = encoded_inputs(e);
	struct look look = {.e = e};
	int rc;

	*out = (struct mlx_choice){.type.reason = coded_refusal(e, e->encoding->levels || e->encoding->lines)};
	if (out->type.reason)
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
