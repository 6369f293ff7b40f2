/* SPDX-License-Identifier: MIT */
#include "quant/gptq/packed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "quant/gptq/pack.h"

size_t packed_modules(const struct tensor *t, struct module *modules[JOIN_PARTS_MAX])
{
	if (t->module)
		modules[0] = t->module;
	for (size_t i = 0; i < t->part_count && t->parts[0]->module; i++)
		modules[i] = t->parts[i]->module;
	return t->module ? 1 : t->part_count && t->parts[0]->module ? t->part_count : 0;
}

/* ---- columns side by side: qweight, scales, and zeros that end where a word does ---- */

struct columns {
	struct module *module[JOIN_PARTS_MAX];
	size_t count;
	const unsigned char *data[JOIN_PARTS_MAX];
	uint64_t bytes[JOIN_PARTS_MAX]; /* of a row of each */
	uint64_t row_bytes;             /* of all together */
};

struct job {
	const struct generator *g;
	unsigned char *dst;
	uint64_t row0, nrows;
};

/* Copies from one row after the other, and in a row from one part after the other. */
static void run_columns(void *ctx)
{
	const struct job *job = ctx;
	const struct columns *c = job->g->subject;
	uint64_t left = job->nrows * job->g->row_bytes, at = job->row0 * job->g->row_bytes;
	uint64_t row = at / c->row_bytes, from = at % c->row_bytes;
	unsigned char *dst = job->dst;

	for (size_t i = 0; left; i = i + 1 < c->count ? i + 1 : (row++, 0)) {
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

static int fill_columns(const struct generator *g, void *dst, uint64_t row0, uint64_t nrows)
{
	struct job job = {g, dst, row0, nrows};

	return generator_guard(g, run_columns, &job);
}

/* Rows of the generator are elements; those of the parts are touched in as many places. */
static void needs_of_columns(const struct generator *g, uint64_t row0, uint64_t nrows, struct spans *out)
{
	const struct columns *c = g->subject;
	const uint64_t from = row0 * g->row_bytes / c->row_bytes;
	const uint64_t to = div_up((row0 + nrows) * g->row_bytes, c->row_bytes);

	for (size_t i = 0; i < c->count; i++)
		generator_needs(c->module[i], c->data[i] + from * c->bytes[i], (to - from) * c->bytes[i], out);
}

static const struct st_tensor *stored_part(const struct module *m, enum packed_kind kind)
{
	return kind == PACKED_QWEIGHT  ? m->qweight
	       : kind == PACKED_SCALES ? m->scales
	       : kind == PACKED_QZEROS ? m->qzeros
	                               : m->g_idx;
}

/* ---- zeros that are encoded again ---- */

struct zeros_row {
	struct module *module[JOIN_PARTS_MAX];
	size_t count;
	struct qtensor q; /* what pack.h wants to know */
	uint64_t words;   /* of a row */
};

/* Zero of a column of the joined module; 0 beyond the last one. */
static uint8_t zero_at(const struct zeros_row *z, uint32_t group, uint64_t column)
{
	for (size_t i = 0; i < z->count; i++) {
		const struct qtensor *q = &z->module[i]->q;

		if (column < q->out_features)
			return (uint8_t)qtensor_zero(q, group, (uint32_t)column);
		column -= q->out_features;
	}
	return 0;
}

static void run_zeros(void *ctx)
{
	const struct job *job = ctx;
	const struct zeros_row *z = job->g->subject;

	for (uint64_t i = 0; i < job->nrows; i++) {
		const uint64_t group = (job->row0 + i) / z->words, index = (job->row0 + i) % z->words;
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

static int fill_zeros(const struct generator *g, void *dst, uint64_t row0, uint64_t nrows)
{
	struct job job = {g, dst, row0, nrows};

	return generator_guard(g, run_zeros, &job);
}

/* ---- where bytes come from ---- */

static int add_generator(const struct packed *p, struct generator generator, struct layout *layout)
{
	struct generator *g = arena_alloc(&p->c->arena, 1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	*g = generator;
	layout_add_generator(layout, g);
	return 0;
}

/* Words and scales are the rows of these generators, because all of them can be computed alone: none in vain. */
static struct generator rows_of(const struct packed_tensor *t, const void *subject)
{
	const uint64_t element = dtype_bytes(t->shown.dtype);

	return (struct generator){.rows = t->shown.bytes / element,
	    .row_bytes = element,
	    .tile_rows = 65536 / (uint32_t)element,
	    .subject = subject};
}

static int append_columns(const struct packed *p, const struct packed_tensor *t, struct layout *layout)
{
	struct columns *c = arena_alloc(&p->c->arena, 1, sizeof(*c));
	struct generator g = rows_of(t, c);

	if (!c)
		return -ENOMEM;
	c->count = packed_modules(t->tensor, c->module);
	for (size_t i = 0; i < c->count; i++) {
		const struct st_tensor *stored = stored_part(c->module[i], t->kind);

		c->data[i] = checkpoint_data(p->c, stored);
		c->bytes[i] = stored->bytes / stored->shape[0];
		c->row_bytes += c->bytes[i];
	}
	g.fill = fill_columns;
	g.needs = needs_of_columns;
	g.modules = c->module;
	g.module_count = c->count;
	return add_generator(p, g, layout);
}

static int append_zeros(const struct packed *p, const struct packed_tensor *t, struct layout *layout)
{
	struct zeros_row *z = arena_alloc(&p->c->arena, 1, sizeof(*z));
	struct generator g = rows_of(t, z);

	if (!z)
		return -ENOMEM;
	z->count = packed_modules(t->tensor, z->module);
	z->q = z->module[0]->q;
	z->q.zeros = z->module[0]->convention;
	z->words = t->shown.shape[1];
	g.fill = fill_zeros;
	g.modules = z->module;
	g.module_count = z->count;
	return add_generator(p, g, layout);
}

static void append_stored(const struct packed *p, const struct st_tensor *stored, struct layout *layout)
{
	layout_add_source(layout, checkpoint_file(p->c, stored), stored->begin, stored->bytes);
}

/* Rows of stored tensors follow one another; a missing bias is zeros. */
static int append_rows(const struct packed *p, const struct packed_tensor *t, struct layout *layout)
{
	const struct tensor *tensor = t->tensor;

	for (size_t i = 0; i < tensor->part_count; i++) {
		const struct tensor *part = tensor->parts[i];
		const size_t bytes = (size_t)(part->shape[0] * dtype_bytes(t->shown.dtype));
		const char *zeros = part->stored ? NULL : arena_alloc(&p->c->arena, bytes, 1);

		if (part->stored)
			append_stored(p, part->stored, layout);
		else if (zeros)
			layout_add_bytes(layout, zeros, bytes);
		else
			return -ENOMEM;
	}
	if (tensor->stored)
		append_stored(p, tensor->stored, layout);
	return 0;
}

/* Would encoding the zeros again give the words that are stored? Not if they are not stored, or not as they are read;
 * nor if a part ends inside of a word, which the next one then begins in. */
static bool zeros_stand(struct module *const *modules, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct qtensor *q = &modules[i]->q;

		if (q->zeros == ZEROS_MIDDLE ||
		    (i + 1 < count && (uint64_t)q->out_features * q->bits % q->word_bits != 0))
			return false;
	}
	return true;
}

size_t packed_extents(const struct packed_tensor *t)
{
	return t->kind == PACKED_STORED && t->tensor->part_count ? t->tensor->part_count : 1;
}

int packed_append(const struct packed *p, const struct packed_tensor *t, struct layout *layout)
{
	struct module *modules[JOIN_PARTS_MAX];
	const size_t count = packed_modules(t->tensor, modules);
	size_t i = 0;

	/* Of words and of floats: the file has no one type. */
	layout_note_tensor(layout, t->tensor, t->shown.dtype);
	layout->contents.dtype = NULL;
	if (t->kind == PACKED_STORED)
		return append_rows(p, t, layout);
	if (t->kind == PACKED_QZEROS && !zeros_stand(modules, count))
		return append_zeros(p, t, layout);
	if (t->kind != PACKED_G_IDX && count > 1)
		return append_columns(p, t, layout);
	while (!stored_part(modules[i], t->kind))
		i++;
	append_stored(p, stored_part(modules[i], t->kind), layout);
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

static int add(struct packed *p, const struct tensor *t, enum packed_kind kind, struct st_tensor shown)
{
	if (!shown.name || !shown.shape)
		return -ENOMEM;
	p->list[p->count++] = (struct packed_tensor){kind, t, shown};
	return 0;
}

/* One of the matrices of a module. */
static int add_matrix(struct packed *p, const struct tensor *t, enum packed_kind kind, uint64_t columns)
{
	static const char *const suffixes[] = {
	    [PACKED_QWEIGHT] = "qweight", [PACKED_QZEROS] = "qzeros", [PACKED_SCALES] = "scales"};
	struct module *modules[JOIN_PARTS_MAX];
	const struct st_tensor *like;
	struct st_tensor shown = {.ndim = 2};

	packed_modules(t, modules);
	like = kind == PACKED_SCALES ? modules[0]->scales : modules[0]->qweight;
	shown.dtype = like->dtype;
	shown.name =
	    arena_printf(&p->c->arena, "%.*s.%s", (int)(strlen(t->name) - strlen(".weight")), t->name, suffixes[kind]);
	shown.shape = new_shape(&p->c->arena, kind == PACKED_QWEIGHT ? like->shape[0] : modules[0]->q.groups, columns);
	if (shown.shape)
		shown.bytes = shown.shape[0] * columns * dtype_bytes(shown.dtype);
	return add(p, t, kind, shown);
}

static int add_g_idx(struct packed *p, const struct tensor *t, const struct st_tensor *g_idx)
{
	struct st_tensor shown = *g_idx;

	shown.name = arena_printf(&p->c->arena, "%.*s.g_idx", (int)(strlen(t->name) - strlen(".weight")), t->name);
	return add(p, t, PACKED_G_IDX, shown);
}

static int add_module(struct packed *p, const struct tensor *t)
{
	struct module *modules[JOIN_PARTS_MAX];
	const size_t count = packed_modules(t, modules);
	const struct qtensor *q = &modules[0]->q;
	const struct st_tensor *g_idx = NULL;
	uint64_t columns = 0;
	int rc = 0;

	for (size_t i = 0; i < count; i++) {
		columns += modules[i]->q.out_features;
		g_idx = g_idx ? g_idx : modules[i]->g_idx;
	}
	if (g_idx)
		rc = add_g_idx(p, t, g_idx);
	if (rc == 0)
		rc = add_matrix(p, t, PACKED_QWEIGHT, columns);
	if (rc == 0)
		rc = add_matrix(p, t, PACKED_QZEROS, div_up(columns * q->bits, q->word_bits));
	return rc ? rc : add_matrix(p, t, PACKED_SCALES, columns);
}

static int add_stored(struct packed *p, const struct tensor *t)
{
	struct st_tensor shown = {.name = t->name, .shape = t->shape, .ndim = t->ndim};
	size_t i = 0;

	if (t->stored) {
		shown.dtype = t->stored->dtype;
		shown.bytes = t->stored->bytes;
		return add(p, t, PACKED_STORED, shown);
	}
	/* At least one part of a joined bias is stored, and all that are have one type. */
	while (!t->parts[i]->stored)
		i++;
	shown.dtype = t->parts[i]->stored->dtype;
	shown.bytes = tensor_elements(t) * dtype_bytes(shown.dtype);
	return add(p, t, PACKED_STORED, shown);
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

int packed_list(struct checkpoint *c, const struct source *s, struct packed *out)
{
	struct module *modules[JOIN_PARTS_MAX];
	int rc = 0;

	*out = (struct packed){.c = c, .list = arena_alloc(&c->arena, s->tensor_count * 4, sizeof(*out->list))};
	if (!out->list)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < s->tensor_count; i++)
		rc = packed_modules(&s->tensors[i], modules) ? add_module(out, &s->tensors[i])
		                                             : add_stored(out, &s->tensors[i]);
	qsort(out->list, out->count, sizeof(*out->list), by_alignment_and_name);
	return rc;
}

uint64_t packed_parameters(const struct packed *p)
{
	struct module *modules[JOIN_PARTS_MAX];
	uint64_t n = 0;

	for (size_t i = 0; i < p->count; i++) {
		const struct packed_tensor *t = &p->list[i];

		if (t->kind == PACKED_STORED)
			n += t->shown.bytes * 8 / dtype_bits(t->shown.dtype);
		else if (t->kind == PACKED_QWEIGHT && packed_modules(t->tensor, modules))
			n += t->shown.shape[1] * modules[0]->q.in_features;
	}
	return n;
}
