/* SPDX-License-Identifier: MIT */
#include "tensor/adapted.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

/* Columns merged at a time: their panels stay in the L1 and L2 caches. */
#define CHUNK 256
/*
 * The base is computed in tiles of about this many bytes; in larger ones if its rows cannot be cut, because factors are
 * widened again for each tile.
 */
#define TILE_BYTES ((size_t)256 << 10)
#define WHOLE_BYTES ((size_t)2 << 20)

struct adapted_rows {
	struct generator g; /* first */
	const struct adapted *a;
	const struct generator *base;
	const struct kernels *kernels;
	const unsigned char *given; /* values of given rows, or NULL */
	enum dtype out;
	uint64_t columns;
	uint64_t each; /* rows of a matrix */
	uint32_t rank; /* the greatest */
	cast_fn *to_float[DTYPE_VIEWS];
	struct inputs adapters; /* their files alone */
};

/* A tile of a matrix, and the memory to compute it. */
struct merge {
	const struct adapted_rows *rows;
	uint64_t matrix, row0; /* counted from the first matrix */
	uint64_t column0;
	uint32_t count, columns;
	size_t layers;    /* up to the last one that changes the matrix */
	lora_fn *bounded; /* the kernel that takes floats, or NULL */
	unsigned char *dst;
	size_t dst_step;
	float *base;          /* [count][columns] */
	double *sums;         /* the same for sums of several layers */
	unsigned char *left;  /* [layers] panels of L, left_size bytes each */
	unsigned char *right; /* a panel of R */
	size_t left_size;
};

static const struct adapted_term *term_of(const struct merge *m, size_t layer)
{
	return &m->rows->a->terms[layer][m->matrix];
}

static bool is_vector(const struct merge *m)
{
	return m->rows->each == 1 && !term_of(m, 0)->l.data;
}

/* Returns the number of layers up to the last one that changes the matrix. */
static size_t touching(const struct merge *m)
{
	size_t count = m->rows->a->layers;

	while (count && !term_of(m, count - 1)->rank)
		count--;
	return count;
}

/* Returns the kernel that takes floats, if a single layer changes the matrix and there is one; else NULL. */
static lora_fn *bounded_kernel(const struct merge *m)
{
	const struct adapted_rows *rows = m->rows;

	for (size_t i = 0; i + 1 < m->layers; i++)
		if (term_of(m, i)->rank)
			return NULL;
	if (!m->layers || rows->a->magnitude || rows->out == DTYPE_F32 ||
	    term_of(m, m->layers - 1)->rank > LORA_BOUNDED_RANK)
		return NULL;
	return rows->kernels->lora.bounded[rows->out];
}

/* ---- factors ---- */

struct right_piece {
	const struct merge *m;
	size_t layer;
	uint32_t from, columns; /* of the tile */
};

static void pack_left(void *ctx)
{
	const struct merge *m = ctx;

	for (size_t i = 0; i < m->layers; i++) {
		const struct adapted_term *t = term_of(m, i);
		const struct lora_piece piece = {
		    &t->l, m->row0 % m->rows->each, m->count, t->rank, LORA_ROWS, m->bounded != NULL};

		if (t->rank)
			lora_pack(m->left + i * m->left_size, &piece, m->rows->to_float);
	}
}

static void pack_right(void *ctx)
{
	const struct right_piece *p = ctx;
	const struct adapted_term *t = term_of(p->m, p->layer);
	const struct lora_piece piece = {
	    &t->r, p->m->column0 + p->from, p->columns, t->rank, LORA_COLUMNS, p->m->bounded != NULL};

	lora_pack(p->m->right, &piece, p->m->rows->to_float);
}

/* ---- matrices ---- */

/*
 * Adds a layer to columns [p->from, p->from + p->columns) of the base, or of earlier sums, into the sums or the result.
 */
static int merge_layer(const struct right_piece *p, bool first, bool last)
{
	const struct merge *m = p->m;
	const struct adapted_rows *rows = m->rows;
	const struct adapted_term *t = term_of(m, p->layer);
	const struct lora_tile tile = {
	    .w = first ? (const void *)(m->base + p->from) : m->sums + p->from,
	    .w_step = m->columns,
	    .l = m->left + p->layer * m->left_size,
	    .r = m->right,
	    .scale = t->scale,
	    .rank = t->rank,
	    .rows = m->count,
	    .columns = p->columns,
	    .dst = last ? (void *)(m->dst + p->from * dtype_bytes(rows->out)) : m->sums + p->from,
	    .dst_step = last ? m->dst_step : m->columns * sizeof(*m->sums),
	};
	int rc = inputs_guard(&rows->adapters, pack_right, (void *)p);

	if (rc)
		return rc;
	if (m->bounded)
		m->bounded(&tile);
	else
		rows->kernels->lora.merge[!first][last ? rows->out : DTYPE_F64](&tile);
	return 0;
}

static int merge_layers(const struct merge *m)
{
	int rc = 0;

	for (uint32_t from = 0; rc == 0 && from < m->columns; from += CHUNK) {
		const uint32_t columns = m->columns - from < CHUNK ? m->columns - from : CHUNK;
		bool first = true;

		for (size_t i = 0; rc == 0 && i < m->layers; i++) {
			const struct right_piece p = {m, i, from, columns};

			if (!term_of(m, i)->rank)
				continue;
			rc = merge_layer(&p, first, i + 1 == m->layers && !m->rows->a->magnitude);
			first = false;
		}
	}
	return rc;
}

/* ---- vectors ---- */

static void add_vectors(void *ctx)
{
	const struct merge *m = ctx;

	for (uint32_t k = 0; k < m->columns; k++)
		m->sums[k] = m->base[k];
	for (size_t i = 0; i < m->rows->a->layers; i++) {
		const struct adapted_term *t = term_of(m, i);
		const struct lora_piece piece = {&t->r, m->column0, m->columns, 1, 1, false};
		const double *added = (const double *)m->right;

		lora_pack(m->right, &piece, m->rows->to_float);
		for (uint32_t k = 0; k < m->columns; k++)
			m->sums[k] += t->scale * added[k];
	}
}

static int merge_vector(const struct merge *m)
{
	int rc = inputs_guard(&m->rows->adapters, add_vectors, (void *)m);

	if (rc == 0)
		m->rows->kernels->cast[DTYPE_F64][m->rows->out](m->dst, m->sums, m->columns);
	return rc;
}

/* ---- DoRA, and rows that are given ---- */

static void scale_rows(void *ctx)
{
	const struct merge *m = ctx;
	const struct adapted_rows *rows = m->rows;
	const struct lora_factor *f = rows->a->magnitude;

	for (uint32_t n = 0; n < m->count; n++) {
		float magnitude;

		rows->to_float[f->dtype](&magnitude, f->data + (m->row0 + n) * f->across * dtype_bytes(f->dtype), 1);
		rows->kernels->lora.dora[rows->out](m->dst + n * m->dst_step, m->sums + (size_t)n * m->columns,
		    m->columns, magnitude);
	}
}

/* Returns the first given row that is not before this one. */
static size_t find_given(const struct adapted_given *given, uint64_t row)
{
	size_t low = 0, high = given->count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (given->rows[middle].row < row)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void put_given(void *ctx)
{
	const struct merge *m = ctx;
	const struct adapted_rows *rows = m->rows;
	const struct adapted_given *given = &rows->a->given;
	const enum dtype dtype = given->stored->dtype;

	for (size_t i = find_given(given, m->row0); i < given->count; i++) {
		const struct given_row *row = &given->rows[i];

		if (row->row >= m->row0 + m->count)
			break;
		rows->kernels->cast[dtype][rows->out](m->dst + (row->row - m->row0) * m->dst_step,
		    rows->given + (row->at * rows->columns + m->column0) * dtype_bytes(dtype), m->columns);
	}
}

/* ---- tiles ---- */

static int fill_base(const struct merge *m, void *dst, enum dtype dtype)
{
	const size_t width = dtype_bytes(dtype);
	const struct rect r = {m->row0, m->count, m->column0 * width, m->columns * width};

	return m->rows->base->ops->fill(m->rows->base, dst, &r);
}

static void cast_tile(const struct merge *m)
{
	cast_fn *cast = m->rows->kernels->cast[DTYPE_F32][m->rows->out];

	for (uint32_t n = 0; n < m->count; n++)
		cast(m->dst + n * m->dst_step, m->base + (size_t)n * m->columns, m->columns);
}

static int fill_merged(const struct merge *m)
{
	const struct adapted_rows *rows = m->rows;
	int rc = fill_base(m, m->base, DTYPE_F32);

	if (rc)
		return rc;
	if (!m->layers) {
		cast_tile(m);
		return 0;
	}
	rc = is_vector(m) ? merge_vector(m) : merge_layers(m);
	if (rc == 0 && rows->a->magnitude)
		rc = inputs_guard(&rows->adapters, scale_rows, (void *)m);
	return rc;
}

/* Sets the size of tiles; they are a chunk wide if rows of the base can be cut. */
static void choose_tile(const struct adapted_rows *rows, const struct rect *r, struct merge *m)
{
	const uint32_t step = rows->a->magnitude ? 0 : rows->base->step / (uint32_t)sizeof(float);
	const uint64_t columns = r->bytes / dtype_bytes(rows->out), chunk = step ? div_up(CHUNK, step) * step : columns;
	const size_t bytes = step ? TILE_BYTES : WHOLE_BYTES;
	uint64_t count;

	m->columns = (uint32_t)(chunk < columns ? chunk : columns);
	count = bytes / (m->columns * sizeof(float));
	if (count < rows->base->run_rows)
		count = rows->base->run_rows;
	if (count > r->nrows)
		count = r->nrows;
	m->count = count ? (uint32_t)count : 1;
}

/* Allocates the memory of tiles in one piece, which begins with m->base. Returns 0 or -ENOMEM. */
static int make_room(struct merge *m)
{
	const struct adapted_rows *rows = m->rows;
	const uint32_t chunk = rows->each == 1 ? m->columns : CHUNK;
	const struct lora_piece left = {.count = m->count, .rank = rows->rank, .width = LORA_ROWS};
	const struct lora_piece right = {.count = chunk, .rank = rows->rank, .width = LORA_COLUMNS};
	/* Kernels read rows up to a multiple of LORA_COLUMNS. */
	const size_t elements = ((size_t)m->count * m->columns + 2 * LORA_COLUMNS) / LORA_COLUMNS * LORA_COLUMNS;
	size_t bytes;

	m->left_size = lora_panel_bytes(&left);
	bytes = elements * (sizeof(*m->base) + sizeof(*m->sums)) + rows->a->layers * m->left_size +
	        lora_panel_bytes(&right);
	m->base = aligned_alloc(64, (bytes + 63) / 64 * 64);
	if (!m->base)
		return -ENOMEM;
	m->sums = (double *)(m->base + elements);
	m->left = (unsigned char *)(m->sums + elements);
	m->right = m->left + rows->a->layers * m->left_size;
	return 0;
}

/* Prepares what the tiles of a band have in common. */
static int begin_band(struct merge *m)
{
	m->matrix = m->row0 / m->rows->each;
	m->layers = touching(m);
	m->bounded = bounded_kernel(m);
	return m->layers && !is_vector(m) ? inputs_guard(&m->rows->adapters, pack_left, m) : 0;
}

/* Computes rows [m->row0, m->row0 + m->count) of one matrix, for all columns of the rectangle. */
static int fill_band(struct merge *m, const struct rect *r, uint32_t tile)
{
	const size_t width = dtype_bytes(m->rows->out);
	const uint64_t first = r->from / width, end = first + r->bytes / width;
	unsigned char *const dst = m->dst;
	int rc = begin_band(m);

	for (m->column0 = first; rc == 0 && m->column0 < end; m->column0 += m->columns) {
		m->columns = (uint32_t)(end - m->column0 < tile ? end - m->column0 : tile);
		m->dst = dst + (m->column0 - first) * width;
		rc = fill_merged(m);
	}
	m->dst = dst;
	return rc;
}

static int fill_adapted(const struct generator *g, void *dst, const struct rect *r)
{
	const struct adapted_rows *rows = (const struct adapted_rows *)g;
	struct merge m = {.rows = rows, .dst = dst, .dst_step = r->bytes};
	uint32_t count, columns;
	int rc;

	choose_tile(rows, r, &m);
	count = m.count;
	columns = m.columns;
	rc = make_room(&m);
	for (m.row0 = r->row0; rc == 0 && m.row0 < r->row0 + r->nrows; m.row0 += m.count) {
		const uint64_t left = r->row0 + r->nrows - m.row0, within = rows->each - m.row0 % rows->each;

		m.count = (uint32_t)(left < within ? left : within);
		m.count = m.count < count ? m.count : count;
		rc = fill_band(&m, r, columns);
		m.dst += m.count * m.dst_step;
	}
	free(m.base);
	return rc;
}

/* Copies the base, except given rows. */
static int fill_given(const struct generator *g, void *dst, const struct rect *r)
{
	const struct adapted_rows *rows = (const struct adapted_rows *)g;
	const size_t width = dtype_bytes(rows->out);
	struct merge m = {.rows = rows,
	    .row0 = r->row0,
	    .count = (uint32_t)r->nrows,
	    .column0 = r->from / width,
	    .columns = (uint32_t)(r->bytes / width),
	    .dst = dst,
	    .dst_step = r->bytes};
	int rc = rows->base->ops->fill(rows->base, dst, r);

	return rc ? rc : inputs_guard(&rows->adapters, put_given, &m);
}

/* ---- needs ---- */

/* Adds the part of a factor that rows or columns [first, first + count) need. */
static void needs_of_factor(const struct adapted_rows *rows, const struct lora_factor *f, const uint64_t piece[2],
    uint32_t rank, struct spans *out)
{
	const size_t width = dtype_bytes(f->dtype);
	const uint64_t begin = piece[0] * f->across,
		       end = (piece[0] + piece[1] - 1) * f->across + (rank - 1) * f->along;

	if (f->data)
		inputs_add_span(&rows->adapters, f->data + begin * width, (end - begin + 1) * width, out);
}

static void needs_of_adapted(const struct generator *g, const struct rect *r, struct spans *out)
{
	const struct adapted_rows *rows = (const struct adapted_rows *)g;
	const size_t width = dtype_bytes(rows->out), base_width = rows->base->row_bytes / rows->columns;
	const struct rect base = {r->row0, r->nrows, r->from / width * base_width, r->bytes / width * base_width};
	const uint64_t matrix = r->row0 / rows->each, row = r->row0 % rows->each, left = rows->each - row;

	if (rows->base->ops->needs)
		rows->base->ops->needs(rows->base, &base, out);
	for (size_t i = 0; i < rows->a->layers; i++) {
		const struct adapted_term *t = &rows->a->terms[i][matrix];

		if (!t->rank)
			continue;
		needs_of_factor(rows, &t->l, (uint64_t[]){row, r->nrows < left ? r->nrows : left}, t->rank, out);
		needs_of_factor(rows, &t->r, (uint64_t[]){r->from / width, r->bytes / width}, t->rank, out);
	}
}

/* ---- making them ---- */

static int adapted_begin(struct arena *arena, struct tensor *t)
{
	struct adapted *a = arena_alloc(arena, 1, sizeof(*a));
	struct tensor *base = arena_alloc(arena, 1, sizeof(*base));

	if (!a || !base)
		return -ENOMEM;
	*base = *t;
	a->base = base;
	a->matrices = 1;
	for (int i = 0; i + 2 < t->ndim; i++)
		a->matrices *= t->shape[i];
	t->origin = TENSOR_ADAPTED;
	t->adapted = a;
	return 0;
}

static int adapted_add_file(struct arena *arena, struct adapted *a, struct source_file *file)
{
	struct source_file **files;

	for (size_t i = 0; i < a->file_count; i++)
		if (a->files[i] == file)
			return 0;
	files = arena_alloc(arena, a->file_count + 1, sizeof(*files));
	if (!files)
		return -ENOMEM;
	if (a->file_count)
		memcpy(files, a->files, a->file_count * sizeof(*files));
	files[a->file_count++] = file;
	a->files = files;
	return 0;
}

int adapted_add(struct arena *arena, struct tensor *t, const struct adapted_layer *layer)
{
	struct adapted_term **terms;
	struct adapted *a;

	if (t->origin != TENSOR_ADAPTED && adapted_begin(arena, t))
		return -ENOMEM;
	a = t->adapted;
	a->bytes += layer->bytes;
	if (adapted_add_file(arena, a, layer->file))
		return -ENOMEM;
	if (!layer->terms)
		return 0;
	terms = arena_alloc(arena, a->layers + 1, sizeof(*terms));
	if (!terms)
		return -ENOMEM;
	if (a->layers)
		memcpy(terms, a->terms, a->layers * sizeof(*terms));
	terms[a->layers++] = layer->terms;
	a->terms = terms;
	return 0;
}

enum dtype adapted_base_dtype(const struct adapted *a, enum dtype out)
{
	return a->layers ? DTYPE_F32 : out;
}

static uint32_t greatest_rank(const struct adapted *a)
{
	uint32_t rank = 1;

	for (size_t i = 0; i < a->layers; i++)
		for (uint64_t m = 0; m < a->matrices; m++)
			if (a->terms[i][m].rank > rank)
				rank = a->terms[i][m].rank;
	return rank;
}

/* The files of the base, and those of the adapters. */
static int gather_inputs(struct arena *arena, const struct adapted_rows *rows, struct inputs *out)
{
	const struct inputs *base = &rows->base->inputs;
	struct source_file **files = arena_alloc(arena, base->count + rows->a->file_count, sizeof(*files));

	if (!files)
		return -ENOMEM;
	for (size_t i = 0; i < base->count; i++)
		files[i] = base->files[i];
	memcpy(files + base->count, rows->a->files, rows->a->file_count * sizeof(*files));
	*out = (struct inputs){files, base->count + rows->a->file_count, base->resident};
	return 0;
}

int adapted_rows(struct arena *arena, const struct adapted_make *make, const struct generator **g)
{
	static const struct generator_ops merged = {fill_adapted, needs_of_adapted},
					  given = {fill_given, needs_of_adapted};
	const struct adapted *a = make->adapted;
	const struct tensor *t = a->base;
	const size_t width = dtype_bytes(make->out), base_width = dtype_bytes(adapted_base_dtype(a, make->out));
	struct adapted_rows *rows = arena_alloc(arena, 1, sizeof(*rows));

	if (!rows)
		return -ENOMEM;
	*rows = (struct adapted_rows){
	    .a = a,
	    .base = make->base,
	    .kernels = make->kernels,
	    .given = a->given.count ? checkpoint_data(make->c, a->given.stored) : NULL,
	    .out = make->out,
	    .columns = t->shape[t->ndim - 1],
	    .each = t->ndim > 1 ? t->shape[t->ndim - 2] : 1,
	    .rank = greatest_rank(a),
	    .adapters = {a->files, a->file_count, NULL},
	};
	for (enum dtype d = 0; d < DTYPE_VIEWS; d++)
		rows->to_float[d] = make->kernels->cast[d][DTYPE_F32];
	rows->g = (struct generator){
	    .ops = a->layers ? &merged : &given,
	    .rows = make->base->rows,
	    .row_bytes = rows->columns * width,
	    .tile_rows = generator_tile_rows(rows->columns * width),
	    .step = a->magnitude ? 0 : (uint32_t)(make->base->step / base_width * width),
	    .run_rows = make->base->run_rows,
	};
	*g = &rows->g;
	return gather_inputs(arena, rows, &rows->g.inputs);
}
