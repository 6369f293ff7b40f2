/* SPDX-License-Identifier: MIT */

/* GPTQ as an encoding: facts, findings and codes of a module. */

#include <string.h>

#include "kernel/element.h"
#include "quant/gptq/gptq.h"
#include "quant/repack.h"

static void gptq_codes(const struct encoded *e, const struct code_rect *r, const struct codes *out)
{
	const struct qtensor *q = &gptq_const_module_of(e)->q;
	size_t i = 0;

	for (uint64_t n = r->row0; n < r->row0 + r->rows; n++)
		for (uint64_t k = r->column0; k < r->column0 + r->columns; k++, i++) {
			const uint32_t g = q->g_idx ? q->g_idx[k] : (uint32_t)k / q->group_size;

			if (out->code)
				out->code[i] = (uint8_t)qtensor_code(q, (uint32_t)k, (uint32_t)n);
			if (out->zero)
				out->zero[i] = (uint8_t)qtensor_zero(q, g, (uint32_t)n);
			if (out->scale)
				out->scale[i] =
				    element_load(q->scales, (size_t)g * q->out_features + n, q->scale_dtype);
			if (out->half)
				out->half[i] = element_half(q->scales, (size_t)g * q->out_features + n, q->scale_dtype);
		}
}

static void gptq_units(const struct encoded *e, const struct kernels *k, const uint16_t *units, void *dst,
    const struct kernel_rect *r)
{
	struct qtensor q = gptq_const_module_of(e)->q;

	q.scales = (const unsigned char *)units;
	q.scale_dtype = DTYPE_F16;
	if (r->columns != q.in_features)
		q = qtensor_inputs(&q, r->column0, r->columns);
	gptq_rows(&k->gptq, &q, DTYPE_F16)(dst, &q, r->row0, r->rows);
}

static bool gptq_gguf_blocks(const struct encoded *e, const struct kernels *k, enum gguf_block type, void *dst,
    const struct kernel_rect *r)
{
	const struct qtensor *q = &gptq_const_module_of(e)->q;

	if (!k->gguf.gptq[type] || !gguf_gptq_fits(q, type))
		return false;
	k->gguf.gptq[type](dst, q, r);
	return true;
}

/* Words run down the columns, in the order of MLX. */
static bool gptq_words(const struct encoded *e, const struct kernels *k, unsigned bits, void *dst,
    const struct kernel_rect *r)
{
	const struct qtensor *q = &gptq_const_module_of(e)->q;
	const size_t row = (size_t)q->out_features * 4;
	const uint32_t words = r->columns / 32 * bits;
	const struct mlx_transpose transpose = {
	    .src = q->qweight + r->column0 / 32 * bits * row + (size_t)r->row0 * 4,
	    .src_row = row,
	    .dst_row = (size_t)words * 4,
	    .rows = r->rows,
	    .columns = words,
	};

	if (q->bits != bits || q->word_bits != 32 || qtensor_is_planar(q))
		return false;
	k->mlx.transpose(dst, &transpose);
	return true;
}

static void gptq_levels(const struct encoded *e, struct code_levels *out)
{
	const struct qtensor *q = &gptq_const_module_of(e)->q;
	const uint64_t all = (uint64_t)q->groups * q->out_features, scales = q->scale_dtype == DTYPE_F16 ? 0 : all;

	*out = code_levels_begin(q->bits, code_levels_run(q->in_features, q->group_size, q->g_idx), all);
	out->step = qtensor_step(q) ? qtensor_step(q) : q->in_features;
	if (q->zeros == ZEROS_MIDDLE)
		code_levels_zero(out, 1 << (q->bits - 1));
	for (uint32_t g = 0; q->zeros != ZEROS_MIDDLE && g < q->groups; g++)
		for (uint32_t n = 0; n < q->out_features; n++)
			code_levels_zero(out, (int32_t)qtensor_zero(q, g, n));
	for (uint64_t i = 0; i < scales; i++)
		code_levels_scale(out, element_load(q->scales, i, q->scale_dtype));
}

/* ---- telling ---- */

static const char *zeros_name(enum zeros zeros)
{
	static const char *const names[] = {[ZEROS_V1] = "v1", [ZEROS_V2] = "v2", [ZEROS_MIDDLE] = "middle"};

	return names[zeros];
}

static void gptq_describe(const struct encoded *e, struct facts *out)
{
	const struct gptq_module *m = gptq_const_module_of(e);
	const struct qtensor *q = &m->q;

	facts_number(out, "bits", q->bits);
	facts_number(out, "group_size", q->group_size);
	facts_number(out, "groups", q->groups);
	facts_truth(out, "act_order", q->g_idx != NULL);
	facts_truth(out, "symmetric", m->symmetric);
	facts_word(out, "zeros", zeros_name(q->zeros));
	facts_word(out, "scale_dtype", dtype_name(q->scale_dtype));
	facts_word(out, "repair", m->repair);
}

static void gptq_summarize(const struct encoded *e, struct text *out)
{
	const struct gptq_module *m = gptq_const_module_of(e);

	text_printf(out, "%d-bit, group size %u, %s, %s", m->q.bits, m->q.group_size,
	    m->symmetric ? "symmetric" : "asymmetric", m->q.g_idx ? "act-order" : "no act-order");
}

/* ---- reading everything ---- */

static const struct finding zeros_read = {.key = "Zeros_read"};
static const struct finding zeros_maximal = {
    .key = "Zeros_v1_maximal", .note = "fields that readers disagree on", .remark = true};
static const struct finding zeros_uneven = {
    .key = "Zeros_uneven", .note = "not the middle value, in modules whose first row is", .remark = true};

/* Repairs are decided by row 0; the other rows must agree. */
static uint64_t uneven_rows(const struct gptq_module *m)
{
	const struct st_tensor *qzeros = m->e.part[GPTQ_QZEROS];
	const unsigned char *data = m->qzeros;
	const size_t row = (size_t)(qzeros->bytes / m->q.groups);
	uint64_t uneven = 0;

	for (uint32_t g = 1; g < m->q.groups; g++)
		uneven += memcmp(data, data + g * row, row) != 0;
	return uneven;
}

static uint64_t count_zeros(const struct qtensor *q, uint32_t value, bool equal)
{
	uint64_t count = 0;

	for (uint32_t g = 0; g < q->groups; g++)
		for (uint32_t n = 0; n < q->out_features; n++)
			count += (qtensor_zero(q, g, n) == value) == equal;
	return count;
}

static void gptq_examine(const struct encoded *e, struct findings *out)
{
	const struct gptq_module *m = gptq_const_module_of(e);
	const struct qtensor *q = &m->q;
	const uint64_t count = (uint64_t)q->groups * q->out_features;
	const bool has_zeros = q->zeros != ZEROS_MIDDLE;
	struct qtensor raw = *q;
	struct scale_counts scales = {0};
	uint64_t uneven = 0;

	raw.zeros = ZEROS_V2;
	scale_count_all(&scales, q->scales, count, q->scale_dtype);
	if (m->repair && !has_zeros)
		uneven = uneven_rows(m);
	else if (has_zeros && m->symmetric)
		uneven = count_zeros(q, 1u << (q->bits - 1), false);
	findings_add(out, &zeros_read, has_zeros ? count : 0);
	findings_add(out, &zeros_maximal, q->zeros == ZEROS_V1 ? count_zeros(&raw, (1u << q->bits) - 1, true) : 0);
	findings_add(out, &zeros_uneven, uneven);
	findings_add_scales(out, &scales);
}

/* ---- packed form ---- */

static const char *gptq_own_form(const struct encoded *e, struct gptq_form *out)
{
	const struct gptq_module *m = gptq_const_module_of(e);

	*out = (struct gptq_form){.q = m->q, .stored = m->stored, .symmetric = m->symmetric};
	memcpy(out->part, e->part, sizeof(out->part));
	return gptq_copied_zeros(m) ? "has zeros whose meaning depends on the version of their writer" : NULL;
}

static uint32_t gptq_own_zero(const struct encoded *e, uint32_t n, uint32_t g)
{
	return qtensor_zero(&gptq_const_module_of(e)->q, g, n);
}

static const struct gptq_form_ops gptq_own = {gptq_own_form, gptq_own_zero, NULL};

const char *const gptq_suffixes[] = {".qweight", ".qzeros", ".scales", ".g_idx", NULL};

const struct encoding gptq_encoding = {
    .name = "GPTQ",
    .suffixes = gptq_suffixes,
    .rows = gptq_dense_rows,
    .codes = gptq_codes,
    .units = gptq_units,
    .blocks = gptq_gguf_blocks,
    .words = gptq_words,
    .levels = gptq_levels,
    .describe = gptq_describe,
    .summarize = gptq_summarize,
    .examine = gptq_examine,
    .repack = &gptq_repack,
    .gptq = &gptq_own,
};
