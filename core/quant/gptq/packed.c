/* SPDX-License-Identifier: MIT */
#include "quant/gptq/packed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "quant/gptq/pack.h"
#include "tensor/contents.h"

enum packed_kind {
	PACKED_STORED, /* not quantized: as stored */
	PACKED_G_IDX,
	PACKED_QWEIGHT,
	PACKED_QZEROS,
	PACKED_SCALES,
};

enum zeros packed_zeros(const struct tensors *ts)
{
	struct gptq_form form = {0};

	if (ts->encoded[0]->encoding == &gptq_encoding)
		return gptq_module_of(ts->encoded[0])->config->zeros;
	for (size_t i = 0; i < ts->encoded_count; i++) {
		ts->encoded[i]->encoding->gptq->describe(ts->encoded[i], &form);
		if (form.q.zeros != ZEROS_MIDDLE)
			return ZEROS_V2;
	}
	return ZEROS_V1;
}

/* ---- columns side by side: qweight, scales, and zeros that end where a word does ---- */

struct columns {
	struct generator g; /* first */
	struct gptq_source source;
	const unsigned char *data[JOIN_PARTS_MAX];
	uint64_t bytes[JOIN_PARTS_MAX]; /* bytes of a row of each */
	uint64_t row_bytes;             /* of all */
};

struct packed_job {
	const struct generator *g;
	unsigned char *dst;
	const struct rect *r;
};

/* Copies row by row, and within a row part by part. */
static void run_columns(void *ctx)
{
	const struct packed_job *job = ctx;
	const struct columns *c = (const struct columns *)job->g;
	uint64_t left = job->r->nrows * job->g->row_bytes, at = job->r->row0 * job->g->row_bytes;
	uint64_t row = at / c->row_bytes, from = at % c->row_bytes;
	unsigned char *dst = job->dst;

	for (; left; row++, from = 0)
		for (size_t i = 0; left && i < c->source.count; i++) {
			uint64_t n;

			if (from >= c->bytes[i]) {
				from -= c->bytes[i];
				continue;
			}
			n = c->bytes[i] - from < left ? c->bytes[i] - from : left;
			memcpy(dst, c->data[i] + row * c->bytes[i] + from, n);
			dst += n;
			left -= n;
			from = 0;
		}
}

static int fill_columns(const struct generator *g, void *dst, const struct rect *r)
{
	struct packed_job job = {g, dst, r};

	return inputs_guard(&g->inputs, run_columns, &job);
}

/* Rows of the generator are elements, but pages are needed from all parts. */
static void columns_need(const struct generator *g, const struct rect *r, struct spans *out)
{
	const struct columns *c = (const struct columns *)g;
	const uint64_t from = r->row0 * g->row_bytes / c->row_bytes;
	const uint64_t to = div_up((r->row0 + r->nrows) * g->row_bytes, c->row_bytes);

	for (size_t i = 0; i < c->source.count; i++)
		inputs_add_span(&g->inputs, c->data[i] + from * c->bytes[i], (to - from) * c->bytes[i], out);
}

/* Returns the tensor that stores these bytes; NULL if they are made. */
static const struct st_tensor *stored_part(const struct gptq_formed *m, int kind)
{
	static const enum gptq_part parts[] = {[PACKED_G_IDX] = GPTQ_G_IDX,
	    [PACKED_QWEIGHT] = GPTQ_QWEIGHT,
	    [PACKED_QZEROS] = GPTQ_QZEROS,
	    [PACKED_SCALES] = GPTQ_SCALES};

	return m->form.part[parts[kind]];
}

/* ---- zeros that are encoded again ---- */

struct zeros_rows {
	struct generator g; /* first */
	struct gptq_source source;
	struct qtensor q; /* for pack.h */
	uint64_t words;   /* of a row */
};

/* Returns the zero of a column of the joined module; 0 beyond the last one. */
static uint8_t zero_at(const struct zeros_rows *z, uint32_t group, uint64_t column)
{
	for (size_t i = 0; i < z->source.count; i++) {
		const struct gptq_formed *m = &z->source.module[i];

		if (column < m->form.q.out_features)
			return (uint8_t)m->e->encoding->gptq->zero(m->e, (uint32_t)column, group);
		column -= m->form.q.out_features;
	}
	return 0;
}

static void run_zeros(void *ctx)
{
	const struct packed_job *job = ctx;
	const struct zeros_rows *z = (const struct zeros_rows *)job->g;

	for (uint64_t i = 0; i < job->r->nrows; i++) {
		const uint64_t group = (job->r->row0 + i) / z->words, index = (job->r->row0 + i) % z->words;
		uint8_t zeros[PACK_ZEROS_MAX];
		uint64_t first, word;
		unsigned count;

		pack_range(&z->q, index, &first, &count);
		for (unsigned k = 0; k < count; k++)
			zeros[k] = zero_at(z, (uint32_t)group, first + k);
		word = pack_zeros(&z->q, index, zeros);
		memcpy(job->dst + i * job->g->row_bytes, &word, job->g->row_bytes);
	}
}

static int fill_zeros(const struct generator *g, void *dst, const struct rect *r)
{
	struct packed_job job = {g, dst, r};

	return inputs_guard(&g->inputs, run_zeros, &job);
}

/* ---- where bytes come from ---- */

/* The rows of these generators are words or scales: each can be computed alone, so none is decoded and discarded. */
static struct generator element_rows(const struct packed_tensor *t, const struct generator_ops *ops,
    const struct gptq_source *source)
{
	const uint32_t element = (uint32_t)dtype_bytes(t->shown.dtype);

	return (struct generator){
	    .ops = ops,
	    .rows = t->shown.bytes / element,
	    .row_bytes = element,
	    .tile_rows = 65536 / element,
	    .inputs = {source->files, source->file_count, NULL},
	};
}

static int append_columns(const struct packed *p, const struct packed_tensor *t, struct layout *layout)
{
	static const struct generator_ops ops = {fill_columns, columns_need};
	struct columns *c = arena_alloc(&p->c->arena, 1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	gptq_source_find(&c->source, t->tensor);
	for (size_t i = 0; i < c->source.count; i++) {
		const struct st_tensor *stored = stored_part(&c->source.module[i], t->kind);

		c->data[i] = checkpoint_data(p->c, stored);
		c->bytes[i] = stored->bytes / stored->shape[0];
		c->row_bytes += c->bytes[i];
	}
	c->g = element_rows(t, &ops, &c->source);
	layout_add_generator(layout, &c->g);
	return 0;
}

/* How the zeros of a module are written. */
static enum zeros packed_written(const struct packed *p, const struct gptq_form *form)
{
	return form->stored == ZEROS_MIDDLE ? (enum zeros)p->convention : form->stored;
}

static int packed_append_zeros(const struct packed *p, const struct packed_tensor *t, struct layout *layout)
{
	static const struct generator_ops ops = {.fill = fill_zeros};
	struct zeros_rows *z = arena_alloc(&p->c->arena, 1, sizeof(*z));

	if (!z)
		return -ENOMEM;
	gptq_source_find(&z->source, t->tensor);
	z->q = z->source.module[0].form.q;
	z->q.zeros = packed_written(p, &z->source.module[0].form);
	z->words = t->shown.shape[1];
	z->g = element_rows(t, &ops, &z->source);
	layout_add_generator(layout, &z->g);
	return 0;
}

static void packed_append_stored(const struct packed *p, const struct st_tensor *stored, struct layout *layout)
{
	layout_add_source(layout, checkpoint_file(p->c, stored), stored->begin, stored->bytes);
}

/* The rows of stored tensors in sequence; a missing bias is zeros. */
static int append_rows(const struct packed *p, const struct packed_tensor *t, struct layout *layout)
{
	size_t count;
	const struct tensor *const *parts = tensor_parts(&t->tensor, &count);

	for (size_t i = 0; i < count; i++) {
		const bool is_stored = parts[i]->origin == TENSOR_STORED;
		const size_t bytes = is_stored ? 0 : (size_t)(parts[i]->shape[0] * dtype_bytes(t->shown.dtype));
		const char *zeros = is_stored ? NULL : arena_alloc(&p->c->arena, bytes, 1);

		if (is_stored)
			packed_append_stored(p, parts[i]->stored, layout);
		else if (zeros)
			layout_add_bytes(layout, zeros, bytes);
		else
			return -ENOMEM;
	}
	return 0;
}

/*
 * True if the stored words can be passed through: zeros are stored, need no repair, and no part but the last ends
 * inside a word.
 */
static bool can_pass_zeros(const struct gptq_formed *modules, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct qtensor *q = &modules[i].form.q;

		if (!stored_part(&modules[i], PACKED_QZEROS) || q->zeros == ZEROS_MIDDLE ||
		    (i + 1 < count && (uint64_t)q->out_features * q->bits % q->word_bits != 0))
			return false;
	}
	return true;
}

size_t packed_extents(const struct packed_tensor *t)
{
	size_t count;

	tensor_parts(&t->tensor, &count);
	return t->kind == PACKED_STORED ? count : 1;
}

/* Makes what no module stores. */
static int append_made(const struct packed *p, const struct packed_tensor *t, struct layout *layout)
{
	const struct generator *g;
	int rc;

	if (t->kind == PACKED_QZEROS)
		return packed_append_zeros(p, t, layout);
	if (t->kind == PACKED_G_IDX)
		rc = gptq_form_g_idx(&p->c->arena, t->tensor, &g);
	else if (t->kind == PACKED_SCALES)
		rc = gptq_form_scales(&p->c->arena, t->tensor, &g);
	else
		rc = gptq_form_codes(&p->c->arena, t->tensor, &g);
	if (rc == 0)
		layout_add_generator(layout, g);
	return rc;
}

int packed_append(const struct packed *p, const struct packed_tensor *t, struct layout *layout)
{
	struct gptq_formed modules[JOIN_PARTS_MAX];
	const size_t count = gptq_formed(t->tensor, modules);
	size_t i = 0;

	/* Words and floats: the file has no single type. */
	if (contents_note(layout, &p->c->arena, t->tensor, DTYPE_COUNT))
		return -ENOMEM;
	if (t->kind == PACKED_STORED)
		return append_rows(p, t, layout);
	while (i < count && !stored_part(&modules[i], t->kind))
		i++;
	if (i == count || (t->kind == PACKED_QZEROS && !can_pass_zeros(modules, count)))
		return append_made(p, t, layout);
	if (t->kind != PACKED_G_IDX && count > 1)
		return append_columns(p, t, layout);
	packed_append_stored(p, stored_part(&modules[i], t->kind), layout);
	return 0;
}

/* ---- the list ---- */

static uint64_t *new_shape(struct arena *arena, uint64_t rows, uint64_t columns)
{
	uint64_t *shape = arena_alloc(arena, 2, sizeof(*shape));

	if (shape) {
		shape[0] = rows;
		shape[1] = columns;
	}
	return shape;
}

static int packed_add_entry(struct packed *p, const struct tensor *t, enum packed_kind kind, struct st_tensor shown)
{
	if (!shown.name || !shown.shape)
		return -ENOMEM;
	p->list[p->count++] = (struct packed_tensor){kind, t, shown};
	return 0;
}

static const char *packed_name(const struct packed *p, const struct tensor *t, const char *suffix)
{
	return arena_printf(&p->c->arena, "%.*s%s", (int)(strlen(t->name) - strlen(".weight")), t->name, suffix);
}

/* Adds one of the matrices of a module. */
static int add_packed_matrix(struct packed *p, const struct tensor *t, enum packed_kind kind, uint64_t columns)
{
	static const char *const suffixes[] = {
	    [PACKED_QWEIGHT] = ".qweight", [PACKED_QZEROS] = ".qzeros", [PACKED_SCALES] = ".scales"};
	struct gptq_formed modules[JOIN_PARTS_MAX];
	const struct st_tensor *words;
	const struct qtensor *q;
	struct st_tensor shown = {.ndim = 2, .name = packed_name(p, t, suffixes[kind])};
	uint64_t rows;

	gptq_formed(t, modules);
	q = &modules[0].form.q;
	words = stored_part(&modules[0], PACKED_QWEIGHT);
	rows = div_up((uint64_t)q->in_features * q->bits, q->word_bits);
	shown.dtype = (uint8_t)(kind == PACKED_SCALES ? q->scale_dtype : words ? words->dtype : DTYPE_I32);
	shown.shape = new_shape(&p->c->arena, kind == PACKED_QWEIGHT ? rows : q->groups, columns);
	if (shown.shape)
		shown.bytes = shown.shape[0] * columns * dtype_bytes(shown.dtype);
	return packed_add_entry(p, t, kind, shown);
}

static int add_g_idx(struct packed *p, const struct tensor *t, uint64_t in_features)
{
	uint64_t *shape = arena_alloc(&p->c->arena, 1, sizeof(*shape));

	if (!shape)
		return -ENOMEM;
	*shape = in_features;
	return packed_add_entry(p, t, PACKED_G_IDX,
	    (struct st_tensor){.name = packed_name(p, t, ".g_idx"),
		.shape = shape,
		.ndim = 1,
		.dtype = DTYPE_I32,
		.bytes = in_features * sizeof(uint32_t)});
}

/* GPTQ's own modules may lack a g_idx. Those that are made get one: some readers want it, and it has the inputs. */
static int packed_add_module(struct packed *p, const struct tensor *t)
{
	struct gptq_formed modules[JOIN_PARTS_MAX];
	const size_t count = gptq_formed(t, modules);
	const struct qtensor *q = &modules[0].form.q;
	uint64_t columns = 0;
	bool g_idx = false;
	int rc = 0;

	for (size_t i = 0; i < count; i++) {
		columns += modules[i].form.q.out_features;
		g_idx |= modules[i].form.part[GPTQ_G_IDX] || !modules[i].form.part[GPTQ_QWEIGHT];
	}
	if (g_idx)
		rc = add_g_idx(p, t, q->in_features);
	if (rc == 0)
		rc = add_packed_matrix(p, t, PACKED_QWEIGHT, columns);
	if (rc == 0)
		rc = add_packed_matrix(p, t, PACKED_QZEROS, div_up(columns * q->bits, q->word_bits));
	return rc ? rc : add_packed_matrix(p, t, PACKED_SCALES, columns);
}

static int packed_add_stored(struct packed *p, const struct tensor *t)
{
	struct st_tensor shown = {.name = t->name, .shape = t->shape, .ndim = t->ndim};
	size_t count, i = 0;
	const struct tensor *const *parts = tensor_parts(&t, &count);

	/* At least one part of a joined bias is stored, and all stored ones have the same type. */
	while (tensor_stored_dtype(parts[i]) == DTYPE_COUNT)
		i++;
	shown.dtype = (uint8_t)tensor_stored_dtype(parts[i]);
	shown.bytes = count > 1 ? tensor_elements(t) * dtype_bytes(shown.dtype) : tensor_stored_bytes(t);
	return packed_add_entry(p, t, PACKED_STORED, shown);
}

static bool is_odd(const struct st_tensor *t)
{
	return t->bytes % 8 != 0;
}

static int by_alignment_and_name(const void *a, const void *b)
{
	const struct st_tensor *x = &((const struct packed_tensor *)a)->shown;
	const struct st_tensor *y = &((const struct packed_tensor *)b)->shown;
	const int sizes = (int)dtype_bits(y->dtype) - (int)dtype_bits(x->dtype);

	if (is_odd(x) != is_odd(y))
		return is_odd(x) - is_odd(y);
	return is_odd(x) && sizes ? sizes : strcmp(x->name, y->name);
}

int packed_list(struct checkpoint *c, const struct tensors *ts, struct packed *out)
{
	struct gptq_formed modules[JOIN_PARTS_MAX];
	int rc = 0;

	*out = (struct packed){.c = c,
	    .list = arena_alloc(&c->arena, ts->count * GPTQ_PARTS, sizeof(*out->list)),
	    .convention = packed_zeros(ts)};
	if (!out->list)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < ts->count; i++)
		rc = gptq_formed(&ts->list[i], modules) ? packed_add_module(out, &ts->list[i])
		                                        : packed_add_stored(out, &ts->list[i]);
	qsort(out->list, out->count, sizeof(*out->list), by_alignment_and_name);
	return rc;
}

uint64_t packed_parameters(const struct packed *p)
{
	struct gptq_formed modules[JOIN_PARTS_MAX];
	uint64_t n = 0;

	for (size_t i = 0; i < p->count; i++) {
		const struct packed_tensor *t = &p->list[i];

		if (t->kind == PACKED_STORED)
			n += t->shown.bytes * 8 / dtype_bits(t->shown.dtype);
		else if (t->kind == PACKED_QWEIGHT && gptq_formed(t->tensor, modules))
			n += t->shown.shape[1] * modules[0].form.q.in_features;
	}
	return n;
}
