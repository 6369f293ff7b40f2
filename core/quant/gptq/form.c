/* SPDX-License-Identifier: MIT */

/* Makes GPTQ's tensors from what another family stores elsewhere, or does not store. */

#include "quant/gptq/form.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "tree/transpose.h"

/* Lines are cut at multiples of this many bytes: a cache line of each is read at once. */
#define LINE_STEP 64

/* Codes of 4 bits in a word, each from its own row of stored codes. */
#define WORD_CODES 8

size_t gptq_formed(const struct tensor *t, struct gptq_formed modules[JOIN_PARTS_MAX])
{
	size_t count;
	const struct tensor *const *parts = tensor_parts(&t, &count);

	if (!tensor_encoded(parts[0]))
		return 0;
	for (size_t i = 0; i < count; i++) {
		struct encoded *e = tensor_encoded(parts[i]);

		modules[i] = (struct gptq_formed){.e = e};
		e->encoding->gptq->describe(e, &modules[i].form);
	}
	return count;
}

void gptq_source_find(struct gptq_source *s, const struct tensor *t)
{
	s->count = gptq_formed(t, s->module);
	s->file_count = 0;
	for (size_t i = 0; i < s->count; i++)
		for (uint8_t k = 0; k < s->module[i].e->file_count; k++)
			s->files[s->file_count++] = s->module[i].e->files[k];
}

struct form_job {
	const struct generator *g;
	unsigned char *dst;
	const struct rect *r;
};

/* ---- lines that become columns ---- */

struct line_rows {
	struct generator g; /* first; a row is a line */
	struct gptq_source source;
	bool scales;
};

static const struct gptq_lines *lines_of(const struct line_rows *rows, size_t i)
{
	const struct gptq_form *form = &rows->source.module[i].form;

	return rows->scales ? &form->scales : &form->codes;
}

static void run_lines(void *ctx)
{
	const struct form_job *job = ctx;
	const struct line_rows *rows = (const struct line_rows *)job->g;
	const struct rect *r = job->r;
	uint64_t row = r->row0, left = r->nrows;
	unsigned char *dst = job->dst;

	for (size_t i = 0; left; i++) {
		const struct gptq_lines *lines = lines_of(rows, i);
		const uint64_t all = rows->source.module[i].form.q.out_features;

		for (; left && row < all; row++, left--, dst += r->bytes)
			memcpy(dst, lines->data + row * lines->apart + r->from, r->bytes);
		row -= all;
	}
}

static int fill_lines(const struct generator *g, void *dst, const struct rect *r)
{
	struct form_job job = {g, dst, r};

	return inputs_guard(&g->inputs, run_lines, &job);
}

/* Any column needs all lines. */
static void lines_need(const struct generator *g, const struct rect *r, struct spans *out)
{
	const struct line_rows *rows = (const struct line_rows *)g;

	(void)r;
	for (size_t i = 0; i < rows->source.count; i++) {
		const struct gptq_lines *lines = lines_of(rows, i);
		const uint64_t all = rows->source.module[i].form.q.out_features;

		inputs_add_span(&g->inputs, lines->data, (all - 1) * lines->apart + g->row_bytes, out);
	}
}

/* `columns` elements of each line. */
static int make_lines(struct arena *arena, struct line_rows *rows, uint64_t columns, uint32_t element,
    const struct generator **g)
{
	static const struct generator_ops ops = {fill_lines, lines_need};
	const struct transpose transpose = {.of = {&rows->g}, .count = 1, .element = element};

	rows->g = (struct generator){
	    .ops = &ops,
	    .row_bytes = columns * element,
	    .tile_rows = generator_tile_rows(columns * element),
	    .step = LINE_STEP,
	    .inputs = {rows->source.files, rows->source.file_count, NULL},
	};
	for (size_t i = 0; i < rows->source.count; i++)
		rows->g.rows += rows->source.module[i].form.q.out_features;
	return transpose_make(arena, &transpose, g);
}

int gptq_form_scales(struct arena *arena, const struct tensor *t, const struct generator **g)
{
	struct line_rows *rows = arena_alloc(arena, 1, sizeof(*rows));
	const struct qtensor *q;

	if (!rows)
		return -ENOMEM;
	gptq_source_find(&rows->source, t);
	rows->scales = true;
	q = &rows->source.module[0].form.q;
	return make_lines(arena, rows, q->groups, (uint32_t)dtype_bytes(q->scale_dtype), g);
}

/* ---- codes that are packed otherwise ---- */

struct code_rows {
	struct generator g; /* first; a row is one of qweight */
	struct gptq_source source;
};

/* Writes columns [from, from + columns) of a row, which may belong to several modules. */
static void make_row(const struct code_rows *rows, uint64_t row, struct rect part, unsigned char *dst)
{
	uint64_t from = part.from / sizeof(uint32_t), left = part.bytes / sizeof(uint32_t);

	for (size_t i = 0; left; i++) {
		const struct gptq_formed *m = &rows->source.module[i];
		const uint64_t all = m->form.q.out_features;
		uint64_t columns;

		if (from >= all) {
			from -= all;
			continue;
		}
		columns = all - from < left ? all - from : left;
		m->e->encoding->gptq->codes(m->e, row, (uint32_t)from, (uint32_t)columns, dst);
		dst += columns * sizeof(uint32_t);
		left -= columns;
		from = 0;
	}
}

static void run_codes(void *ctx)
{
	const struct form_job *job = ctx;
	const struct rect *r = job->r;

	for (uint64_t i = 0; i < r->nrows; i++)
		make_row((const struct code_rows *)job->g, r->row0 + i, *r, job->dst + i * r->bytes);
}

static int fill_codes(const struct generator *g, void *dst, const struct rect *r)
{
	struct form_job job = {g, dst, r};

	return inputs_guard(&g->inputs, run_codes, &job);
}

static void codes_need(const struct generator *g, const struct rect *r, struct spans *out)
{
	const struct code_rows *rows = (const struct code_rows *)g;

	for (size_t i = 0; i < rows->source.count; i++) {
		const struct gptq_form *form = &rows->source.module[i].form;
		const uint64_t from = r->row0 * WORD_CODES, to = (r->row0 + r->nrows) * WORD_CODES;
		const uint64_t end = to < form->q.in_features ? to : form->q.in_features;

		inputs_add_span(&g->inputs, form->codes.data + from * form->codes.apart,
		    (end - from) * form->codes.apart, out);
	}
}

static int make_codes(struct arena *arena, const struct tensor *t, const struct generator **g)
{
	static const struct generator_ops ops = {fill_codes, codes_need};
	struct code_rows *rows = arena_alloc(arena, 1, sizeof(*rows));
	uint64_t columns = 0;

	if (!rows)
		return -ENOMEM;
	gptq_source_find(&rows->source, t);
	for (size_t i = 0; i < rows->source.count; i++)
		columns += rows->source.module[i].form.q.out_features;
	rows->g = (struct generator){
	    .ops = &ops,
	    .rows = div_up(rows->source.module[0].form.q.in_features, WORD_CODES),
	    .row_bytes = columns * sizeof(uint32_t),
	    .tile_rows = generator_tile_rows(columns * sizeof(uint32_t)),
	    .step = WORD_CODES * sizeof(uint32_t),
	    .inputs = {rows->source.files, rows->source.file_count, NULL},
	};
	*g = &rows->g;
	return 0;
}

int gptq_form_codes(struct arena *arena, const struct tensor *t, const struct generator **g)
{
	struct line_rows *rows;
	struct gptq_formed modules[JOIN_PARTS_MAX];

	gptq_formed(t, modules);
	if (modules[0].e->encoding->gptq->codes)
		return make_codes(arena, t, g);
	rows = arena_alloc(arena, 1, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	gptq_source_find(&rows->source, t);
	return make_lines(arena, rows, div_up((uint64_t)modules[0].form.q.in_features * modules[0].form.q.bits, 32),
	    sizeof(uint32_t), g);
}

/* ---- groups ---- */

struct g_idx_rows {
	struct generator g; /* first; a row is an element */
	const uint32_t *g_idx;
	uint32_t group_size;
};

static int fill_g_idx(const struct generator *g, void *dst, const struct rect *r)
{
	const struct g_idx_rows *rows = (const struct g_idx_rows *)g;

	for (uint64_t i = 0; i < r->nrows; i++) {
		const uint64_t k = r->row0 + i;
		const uint32_t group = rows->g_idx ? rows->g_idx[k] : (uint32_t)(k / rows->group_size);

		memcpy((unsigned char *)dst + i * sizeof(group), &group, sizeof(group));
	}
	return 0;
}

int gptq_form_g_idx(struct arena *arena, const struct tensor *t, const struct generator **g)
{
	static const struct generator_ops ops = {.fill = fill_g_idx};
	struct g_idx_rows *rows = arena_alloc(arena, 1, sizeof(*rows));
	struct gptq_formed modules[JOIN_PARTS_MAX];

	if (!rows)
		return -ENOMEM;
	gptq_formed(t, modules);
	*rows = (struct g_idx_rows){.g_idx = modules[0].form.q.g_idx, .group_size = modules[0].form.q.group_size};
	rows->g = (struct generator){.ops = &ops,
	    .rows = modules[0].form.q.in_features,
	    .row_bytes = sizeof(uint32_t),
	    .tile_rows = 65536 / sizeof(uint32_t)};
	*g = &rows->g;
	return 0;
}
