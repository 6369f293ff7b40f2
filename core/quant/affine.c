/* SPDX-License-Identifier: MIT */
#include "quant/affine.h"

#include <string.h>

#include "kernel/element.h"

static const struct affine_matrix *affine_of(const struct encoded *e)
{
	return &((const struct affine_module *)e)->m;
}

static void add_width(struct affine_widths *w, int64_t width)
{
	if (w->count < AFFINE_WIDTHS_MAX)
		w->list[w->count++] = (uint64_t)width;
}

static bool read_width(const struct json *config, const char *key, int64_t *out)
{
	return json_integer(json_get(config, key), out) && *out > 0 && *out <= INT32_MAX;
}

void affine_widths_read(const struct json *config, struct affine_widths *out)
{
	static const char *const keys[] = {"hidden_size", "intermediate_size", "moe_intermediate_size",
	    "shared_expert_intermediate_size", "q_lora_rank", "kv_lora_rank"};
	static const char *const head_keys[] = {"head_dim", "global_head_dim"};
	int64_t heads, width;

	out->count = 0;
	for (; config; config = json_get(config, "text_config")) {
		for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
			if (read_width(config, keys[i], &width))
				add_width(out, width);
		/* In Gemma 4, layers without keys and values of their own. */
		if (json_bool(json_get(config, "use_double_wide_mlp"), false) &&
		    read_width(config, "intermediate_size", &width))
			add_width(out, 2 * width);
		for (size_t i = 0; i < sizeof(head_keys) / sizeof(*head_keys); i++)
			if (read_width(config, "num_attention_heads", &heads) &&
			    read_width(config, head_keys[i], &width))
				add_width(out, heads * width);
	}
}

bool affine_has_width(const struct affine_widths *w, uint64_t columns)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->list[i] == columns)
			return true;
	return false;
}

/* ---- rows ---- */

static void affine_fill(const struct matrix_part *p, void *dst)
{
	p->kernels->affine.rows[p->out](dst, affine_of(p->e), &p->rect);
}

/* The words of packed zeros that hold those of some rows. */
static void need_packed_zeros(const struct affine_matrix *m, const struct inputs *in, const struct kernel_rect *r,
    struct spans *out)
{
	const uint32_t per_word = 32 / m->bits, last = r->row0 + r->rows - 1;
	const bool stream = m->packing == AFFINE_STREAM;
	const uint64_t from = stream ? (uint64_t)r->row0 * m->bits / 32 : r->row0 / per_word;
	const uint64_t to = stream ? ((uint64_t)last * m->bits + m->bits - 1) / 32 : last / per_word;
	const uint64_t row = (uint64_t)m->groups * 4;

	inputs_add_span(in, m->offsets + from * row, (to - from + 1) * row, out);
}

static void affine_needs(const struct matrix_part *p, const struct inputs *in, struct spans *out)
{
	const struct kernel_rect *r = &p->rect;
	const struct affine_matrix *m = affine_of(p->e);
	const size_t from = affine_scale_index(m, r->row0, 0);
	const size_t scales = affine_scale_index(m, r->row0 + r->rows - 1, m->groups) - from;
	const size_t width = dtype_bytes(m->scale_dtype), beside = m->offset == AFFINE_BIASES ? width : 1;

	inputs_add_span(in, m->scales + from * width, scales * width, out);
	if (m->offset == AFFINE_ZEROS_PACKED)
		need_packed_zeros(m, in, r, out);
	else if (m->offset != AFFINE_MIDDLE)
		inputs_add_span(in, m->offsets + from * beside, scales * beside, out);
	inputs_add_span(in, m->codes + (uint64_t)r->row0 * m->row_bytes, (uint64_t)r->rows * m->row_bytes, out);
}

const struct matrix_ops affine_matrix_ops = {affine_fill, affine_needs, .cut = MATRIX_CUT};

/* A signed zero may not fit in a byte; then both it and the code are shifted by the same amount. */
void affine_codes(const struct encoded *e, const struct code_rect *r, const struct codes *out)
{
	const struct affine_matrix *m = affine_of(e);
	size_t i = 0;

	for (uint32_t n = (uint32_t)r->row0; n < r->row0 + r->rows; n++)
		for (uint32_t k = (uint32_t)r->column0; k < r->column0 + r->columns; k++, i++) {
			const uint32_t g = affine_group(m, k);
			const int32_t zero = out->code || out->zero ? affine_zero(m, n, g) : 0,
				      move = zero < 0 ? -zero : 0;

			if (out->code)
				out->code[i] = (uint8_t)((int32_t)affine_code(m, n, k) + move);
			if (out->zero)
				out->zero[i] = (uint8_t)(zero + move);
			if (out->scale)
				out->scale[i] = element_load(m->scales, affine_scale_index(m, n, g), m->scale_dtype);
			if (out->half)
				out->half[i] = element_half(m->scales, affine_scale_index(m, n, g), m->scale_dtype);
		}
}

void affine_units(const struct encoded *e, const struct kernels *k, const uint16_t *units, void *dst,
    const struct kernel_rect *r)
{
	struct affine_matrix m = *affine_of(e);

	m.scales = (const unsigned char *)units;
	m.scale_dtype = DTYPE_F16;
	k->affine.rows[DTYPE_F16](dst, &m, r);
}

/* Words of 32 bits that whole fields fill are a stream of fields. */
bool affine_words(const struct encoded *e, const struct kernels *k, unsigned bits, void *dst,
    const struct kernel_rect *r)
{
	const struct affine_matrix *m = affine_of(e);
	const bool stream = m->packing == AFFINE_STREAM || (m->packing == AFFINE_WORDS && 32 % m->bits == 0);
	const size_t bytes = (size_t)r->columns / 8 * bits;

	(void)k;
	if (!stream || m->bits != bits)
		return false;
	for (uint32_t i = 0; i < r->rows; i++)
		memcpy((unsigned char *)dst + i * bytes,
		    m->codes + (r->row0 + i) * m->row_bytes + (size_t)r->column0 / 8 * bits, bytes);
	return true;
}

void affine_lines(const struct encoded *e, const struct code_rect *r, const struct lines *out)
{
	const struct affine_matrix *m = affine_of(e);
	size_t i = 0;

	for (uint32_t n = (uint32_t)r->row0; n < r->row0 + r->rows; n++)
		for (uint32_t k = (uint32_t)r->column0; k < r->column0 + r->columns; k++, i++) {
			const size_t at = affine_scale_index(m, n, affine_group(m, k));

			if (out->code)
				out->code[i] = (uint8_t)affine_code(m, n, k);
			if (out->scale)
				out->scale[i] = element_load(m->scales, at, m->scale_dtype);
			if (out->bias)
				out->bias[i] = element_load(m->offsets, at, m->scale_dtype);
		}
}

bool affine_line_levels(const struct encoded *e, struct code_levels *out)
{
	const struct affine_matrix *m = affine_of(e);

	*out = code_levels_begin(m->bits, code_levels_run(m->columns, m->block_columns, m->g_idx), 0);
	return true;
}

void affine_levels(const struct encoded *e, struct code_levels *out)
{
	const struct affine_matrix *m = affine_of(e);
	const uint32_t rows = m->offset == AFFINE_MIDDLE ? 1 : m->rows;
	const uint64_t all = affine_scale_index(m, m->rows - 1, m->groups),
		       scales = m->scale_dtype == DTYPE_F16 ? 0 : all;

	*out = code_levels_begin(m->bits, code_levels_run(m->columns, m->block_columns, m->g_idx), all);
	for (uint32_t n = 0; n < rows; n++)
		for (uint32_t g = 0; g < m->groups; g++)
			code_levels_zero(out, affine_zero(m, n, g));
	for (uint64_t i = 0; i < scales; i++)
		code_levels_scale(out, element_load(m->scales, i, m->scale_dtype));
}

/* ---- telling ---- */

static const char *packing_name(const struct affine_matrix *m)
{
	static const char *const names[] = {"stream", "words", "bytes"};

	return names[m->packing];
}

void affine_describe(const struct encoded *e, struct facts *out)
{
	const struct affine_matrix *m = affine_of(e);

	facts_number(out, "bits", ((const struct affine_module *)e)->bits);
	facts_word(out, "packing", packing_name(m));
	facts_number(out, "group_size", m->block_columns);
	facts_number(out, "groups", m->groups);
	if (m->block_rows > 1)
		facts_number(out, "block_rows", m->block_rows);
	facts_truth(out, "act_order", m->g_idx != NULL);
	if (m->offset == AFFINE_BIASES)
		facts_truth(out, "biases", true);
	else
		facts_truth(out, "symmetric", m->offset == AFFINE_MIDDLE);
	facts_word(out, "scale_dtype", dtype_name(m->scale_dtype));
}

void affine_summarize(const struct encoded *e, struct text *out)
{
	const struct affine_matrix *m = affine_of(e);

	text_printf(out, "%u-bit, ", ((const struct affine_module *)e)->bits);
	if (m->block_rows == 1 && m->groups > 1)
		text_printf(out, "group size %u", m->block_columns);
	else
		text_printf(out, "a scale for each %ux%u", m->block_rows, m->block_columns);
	text_printf(out, ", %s%s",
	    m->offset == AFFINE_BIASES   ? "with biases"
	    : m->offset == AFFINE_MIDDLE ? "symmetric"
					 : "asymmetric",
	    m->g_idx ? ", act-order" : "");
}

static const struct finding biases_not_finite = {.key = "Biases_not_finite", .remark = true};

void affine_examine(const struct encoded *e, struct findings *out)
{
	const struct affine_matrix *m = affine_of(e);
	const uint64_t count = affine_scale_index(m, m->rows - 1, m->groups);
	struct scale_counts scales = {0}, biases = {0};

	scale_count_all(&scales, m->scales, count, m->scale_dtype);
	findings_add_scales(out, &scales);
	if (m->offset != AFFINE_BIASES)
		return;
	scale_count_all(&biases, m->offsets, count, m->scale_dtype);
	findings_add(out, &biases_not_finite, biases.not_finite);
}
