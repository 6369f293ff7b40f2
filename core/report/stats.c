/* SPDX-License-Identifier: MIT */

/*
 * Computes the figures. The unit of work is a chunk of rows of a tensor, with sums of its own that are added in order
 * once all chunks are done: so threads may take them in any order.
 */

#include "report/stats.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/crew.h"
#include "base/err.h"
#include "file/pages.h"

/* Both are part of the definition of the sums: changing them changes the last bits. */
#define BLOCK_WEIGHTS ((uint64_t)128 << 10)
#define CHUNK_BLOCKS 32

/* A tensor being computed. */
struct subject {
	const struct tensor *tensor;
	struct encoded *e; /* NULL if it is not quantized */
	const struct generator *rows;
	struct stats_rows other; /* count 0: not compared */
	uint64_t columns;
	uint64_t block; /* rows */
	uint64_t *histogram;
	unsigned code_bits; /* 0 unless there are codes */
	struct stored_codes ends;
	bool odd_codes; /* a code is out of range: no histogram then */
	size_t module;  /* in stats.modules */
	size_t chunks, left;
};

struct chunk {
	size_t subject;
	uint64_t row0, rows;
	struct stats_sums sums;
};

struct stats_run {
	const struct plan *p;
	const struct gptqfs_stats_control *control;
	struct gptqfs_stats *stats;
	struct gptqfs_error *err;
	struct stats_leaves mine, other;
	struct subject *subjects; /* [count] */
	size_t count;
	struct chunk *chunks; /* [chunk_count] in order of subjects and rows */
	size_t chunk_count;
	atomic_size_t next;
	atomic_int failed;
	atomic_bool stopped;
	pthread_mutex_t lock; /* of histograms and what is left of subjects */
};

/* ---- chunks ---- */

/* What a thread computes into. */
struct bench {
	float *w, *w0;
	uint8_t *codes;
	size_t room;
};

static int bench_reserve(struct bench *b, size_t n)
{
	if (b->room >= n)
		return 0;
	free(b->w);
	free(b->w0);
	free(b->codes);
	b->w = malloc(n * sizeof(*b->w));
	b->w0 = malloc(n * sizeof(*b->w0));
	b->codes = malloc(n);
	b->room = b->w && b->w0 && b->codes ? n : 0;
	return b->room ? 0 : -ENOMEM;
}

static bool stops(struct stats_run *x)
{
	if (x->control->stop && !atomic_load(&x->stopped) && x->control->stop(x->control->ctx))
		atomic_store(&x->stopped, true);
	return atomic_load(&x->stopped) || atomic_load(&x->failed);
}

/* Counts the codes of a block, of which only `room` and rows are given. */
static int count_codes(const struct stats_run *x, const struct subject *s, struct stats_codes *c, uint64_t *histogram)
{
	c->e = s->e;
	c->kernels = x->p->kernels;
	c->bits = s->code_bits;
	c->columns = s->columns;
	c->all_rows = s->rows->rows;
	c->stored = checkpoint_data(x->p->c, s->e->part[0]);
	return stats_codes_count(c, histogram);
}

static int do_block(const struct stats_run *x, struct bench *b, struct chunk *c, uint64_t row, uint64_t *histogram)
{
	const struct subject *s = &x->subjects[c->subject];
	const uint64_t end = c->row0 + c->rows, rows = end - row < s->block ? end - row : s->block;
	const size_t n = (size_t)(rows * s->columns);
	int rc = generator_fill(s->rows, b->w, row, rows);

	if (rc == 0 && s->other.count)
		rc = stats_rows_fill(&s->other, b->w0, row, rows);
	if (rc == 0)
		stats_sums_block(&c->sums, b->w, s->other.count ? b->w0 : NULL, n, row * s->columns);
	if (rc == 0 && s->code_bits)
		rc = count_codes(x, s, &(struct stats_codes){.room = b->codes, .row0 = row, .rows = rows}, histogram);
	return rc;
}

/* Unmaps what rows were computed from, so that memory does not grow with the model. */
static void release_rows(const struct generator *g)
{
	struct spans spans = {0};

	if (g->ops->needs)
		g->ops->needs(g, &(struct rect){0, g->rows, 0, g->row_bytes}, &spans);
	for (int i = 0; i < spans.count; i++)
		source_file_unpopulate(spans.span[i].file, spans.span[i].offset, spans.span[i].bytes);
}

static void finish_chunk(struct stats_run *x, struct subject *s, const uint64_t histogram[STATS_CODES_MAX])
{
	bool last;

	pthread_mutex_lock(&x->lock);
	for (size_t i = 0; s->code_bits && i < STATS_CODES_MAX; i++) {
		if (i < (size_t)1 << s->code_bits)
			s->histogram[i ^ s->ends.flip] += histogram[i];
		else
			s->odd_codes |= histogram[i] != 0;
	}
	last = --s->left == 0;
	pthread_mutex_unlock(&x->lock);
	if (last)
		release_rows(s->rows);
	for (size_t i = 0; last && i < s->other.count; i++)
		release_rows(s->other.list[i]);
}

static int do_chunk(struct stats_run *x, struct bench *b, struct chunk *c)
{
	struct subject *s = &x->subjects[c->subject];
	uint64_t histogram[STATS_CODES_MAX] = {0};
	int rc = bench_reserve(b, (size_t)(s->block * s->columns));

	if (rc == 0 && c->row0 == 0 && s->e)
		rc = stats_scales(x->p->c, s->e, &x->stats->modules[s->module]);
	for (uint64_t row = c->row0; rc == 0 && row < c->row0 + c->rows; row += s->block) {
		if (stops(x))
			return 0;
		rc = do_block(x, b, c, row, histogram);
	}
	if (rc)
		return rc;
	finish_chunk(x, s, histogram);
	if (x->control->done)
		x->control->done(x->control->ctx, c->rows * s->columns * sizeof(float));
	return 0;
}

static void *do_chunks(void *ctx)
{
	struct stats_run *x = ctx;
	struct bench b = {0};
	size_t i;

	while (!stops(x) && (i = atomic_fetch_add(&x->next, 1)) < x->chunk_count) {
		const int rc = do_chunk(x, &b, &x->chunks[i]);

		if (rc && atomic_compare_exchange_strong(&x->failed, &(int){0}, rc))
			err_set(x->err, rc, "tensor %.200s cannot be computed: %s",
			    x->subjects[x->chunks[i].subject].tensor->name, strerror(-rc));
	}
	free(b.w);
	free(b.w0);
	free(b.codes);
	return NULL;
}

/* ---- planning ---- */

static int note_unpaired(struct gptqfs_stats *stats, const char *name, const char *reason, bool of_other)
{
	struct gptqfs_unpaired *list;

	/* At every power of two. */
	if ((stats->unpaired_count & (stats->unpaired_count - 1)) == 0) {
		const size_t room = stats->unpaired_count ? stats->unpaired_count * 2 : 1;

		list = reallocarray(stats->unpaired, room, sizeof(*list));
		if (!list)
			return -ENOMEM;
		stats->unpaired = list;
	}
	stats->unpaired[stats->unpaired_count++] = (struct gptqfs_unpaired){name, reason, of_other};
	return 0;
}

/* Rows of a block; a transposed generator computes whole runs of them. */
static uint64_t block_rows(const struct subject *s)
{
	const uint64_t rows = BLOCK_WEIGHTS / s->columns;

	return rows < 1 ? 1 : rows > 16 ? rows / 16 * 16 : rows;
}

static struct gptqfs_module_stats module_none(const struct tensor *t, const struct encoded *e)
{
	const struct gptqfs_difference none = {NAN, NAN, NAN, 0, 0, NAN};

	return (struct gptqfs_module_stats){
	    .name = e->module,
	    .format = e->encoding->name,
	    .shape = t->shape,
	    .ndim = t->ndim,
	    .weights = tensor_elements(t),
	    .stored_bytes = e->stored_bytes,
	    .entropy = NAN,
	    .lowest = NAN,
	    .highest = NAN,
	    .scale_min = NAN,
	    .scale_median = NAN,
	    .scale_max = NAN,
	    .rms = NAN,
	    .absmax = NAN,
	    .against = none,
	};
}

static int plan_module(struct stats_run *x, struct subject *s)
{
	struct gptqfs_module_stats *m = &x->stats->modules[x->stats->module_count];
	const struct fact *bits, *group;
	struct facts facts = {0};

	s->module = x->stats->module_count++;
	*m = module_none(s->tensor, s->e);
	s->e->encoding->describe(s->e, &facts);
	bits = facts_find(&facts, "bits");
	group = facts_find(&facts, "group_size");
	if (!group)
		group = facts_find(&facts, "block_size");
	m->bits = bits && bits->kind == FACT_NUMBER ? (unsigned)bits->number : 0;
	m->group_size = group && group->kind == FACT_NUMBER ? group->number : 0;
	m->bits_per_weight = m->weights ? 8.0 * (double)m->stored_bytes / (double)m->weights : NAN;
	s->code_bits = stats_code_bits(s->e);
	s->ends = stats_codes_ends(s->e, s->code_bits);
	if (s->code_bits)
		s->histogram = calloc((size_t)1 << s->code_bits, sizeof(*s->histogram));
	m->histogram = s->histogram;
	return s->code_bits && !s->histogram ? -ENOMEM : 0;
}

/* What is not quantized is of interest only if it is compared. */
static int plan_leaf(struct stats_run *x, const struct tensor *t)
{
	const struct dense d = {x->p->c, x->p->kernels, DTYPE_F32};
	struct subject s = {.tensor = t, .e = tensor_encoded(t), .columns = t->ndim ? t->shape[t->ndim - 1] : 1};
	const char *reason = NULL;
	int rc = 0;

	if (!tensor_elements(t) || (!s.e && !x->other.plan))
		return 0;
	if (x->other.plan)
		rc = stats_pair(&x->mine, t, &x->other, &s.other, &reason);
	if (rc == 0 && reason)
		rc = note_unpaired(x->stats, t->name, reason, false);
	if (rc || (reason && !s.e))
		return rc;
	rc = dense_rows(&d, t, &s.rows);
	if (rc == 0 && s.e)
		rc = plan_module(x, &s);
	s.block = block_rows(&s);
	s.chunks = s.left =
	    (size_t)((s.rows ? s.rows->rows : 0) + s.block * CHUNK_BLOCKS - 1) / (s.block * CHUNK_BLOCKS);
	x->subjects[x->count++] = s;
	x->chunk_count += s.chunks;
	return rc;
}

static int plan_chunks(struct stats_run *x)
{
	uint64_t total = 0;
	size_t n = 0;

	x->chunks = calloc(x->chunk_count + 1, sizeof(*x->chunks));
	if (!x->chunks)
		return -ENOMEM;
	for (size_t i = 0; i < x->count; i++) {
		const struct subject *s = &x->subjects[i];
		const uint64_t rows = s->rows->rows, step = s->block * CHUNK_BLOCKS;

		for (uint64_t row = 0; row < rows; row += step)
			x->chunks[n++] =
			    (struct chunk){i, row, rows - row < step ? rows - row : step, stats_sums_none()};
		total += rows * s->columns * sizeof(float);
	}
	if (x->control->begin)
		x->control->begin(x->control->ctx, total);
	return 0;
}

/* Each leaf once, in the order of the dense views. */
static int plan_subjects(struct stats_run *x)
{
	const struct tensors *ts = x->p->tensors;
	int rc = 0;

	x->subjects = calloc(x->mine.count + 1, sizeof(*x->subjects));
	x->stats->modules = calloc(x->mine.count + 1, sizeof(*x->stats->modules));
	if (!x->subjects || !x->stats->modules)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < ts->count; i++) {
		const struct tensor *t = &ts->list[i];
		size_t count;
		const struct tensor *const *parts = tensor_parts(&t, &count);

		for (size_t k = 0; rc == 0 && tensor_is_float(t) && k < count; k++)
			if (parts[k]->origin != TENSOR_ZEROS)
				rc = plan_leaf(x, parts[k]);
	}
	for (size_t i = 0; rc == 0 && i < x->other.count; i++) {
		const struct stats_leaf *l = &x->other.list[i];

		if (!l->used && (i == 0 || strcmp(l->name, l[-1].name) != 0))
			rc = note_unpaired(x->stats, l->name, "absent", true);
	}
	return rc ? rc : plan_chunks(x);
}

static int check_pairs(const struct stats_run *x)
{
	if (!x->other.plan)
		return 0;
	for (size_t i = 0; i < x->count; i++)
		if (x->subjects[i].e && x->subjects[i].other.count)
			return 0;
	return err_set(x->err, -EBADMSG, "%.800s: no module has a counterpart of the same name and shape in %.800s",
	    x->p->c->dir.path, x->other.plan->c->dir.path);
}

/* ---- results ---- */

static struct gptqfs_difference difference_of(const struct stats_sums *s, uint64_t columns)
{
	struct gptqfs_difference d = {
	    .rel_error = s->error_squares == 0 ? 0 : sqrt(s->error_squares / s->other_squares),
	    .max_abs = s->error_max,
	    .max_row = s->error_at / columns,
	    .max_column = s->error_at % columns,
	    .cosine = s->products / sqrt(s->squares * s->other_squares),
	};

	d.sqnr_db = d.rel_error > 0 ? 10 * log10(s->other_squares / s->error_squares) : NAN;
	return d;
}

static void tell_codes(const struct subject *s, struct gptqfs_module_stats *m)
{
	const size_t count = (size_t)1 << s->code_bits;
	double total = 0, sum = 0;

	if (s->odd_codes) {
		free(s->histogram);
		m->histogram = NULL;
	}
	if (!m->histogram)
		return;
	for (size_t i = 0; i < count; i++)
		total += (double)s->histogram[i];
	for (size_t i = 0; i < count; i++) {
		const double share = (double)s->histogram[i] / total;

		sum += share > 0 ? share * -log2(share) : 0;
	}
	m->entropy = sum;
	m->lowest = (double)s->histogram[s->ends.lowest] / total;
	m->highest = (double)s->histogram[s->ends.highest] / total;
}

static void tell_module(struct stats_run *x, const struct subject *s, const struct stats_sums *sums,
    struct stats_sums *all)
{
	struct gptqfs_module_stats *m = &x->stats->modules[s->module];
	struct gptqfs_stats_total *t = &x->stats->total;

	m->rms = sqrt(sums->squares / (double)m->weights);
	m->absmax = sums->absmax;
	tell_codes(s, m);
	t->modules++;
	t->weights += m->weights;
	t->stored_bytes += m->stored_bytes;
	all[0].squares += sums->squares;
	all[0].absmax = sums->absmax > all[0].absmax ? sums->absmax : all[0].absmax;
	if (!s->other.count)
		return;
	m->compared = true;
	m->against = difference_of(sums, s->columns);
	t->compared++;
	stats_sums_add(&all[1], sums);
}

static int tell_changed(struct stats_run *x, const struct subject *s, const struct stats_sums *sums)
{
	struct gptqfs_stats *stats = x->stats;

	if (sums->error_squares == 0)
		return 0;
	if (!stats->changed) {
		stats->changed = calloc(x->count, sizeof(*stats->changed));
		if (!stats->changed)
			return -ENOMEM;
	}
	stats->changed[stats->changed_count++] =
	    (struct gptqfs_changed){s->tensor->name, difference_of(sums, s->columns)};
	return 0;
}

static void tell_total(struct gptqfs_stats_total *t, const struct stats_sums all[2])
{
	const struct gptqfs_difference d = difference_of(&all[1], 1);

	t->bits_per_weight = t->weights ? 8.0 * (double)t->stored_bytes / (double)t->weights : NAN;
	t->rms = t->weights ? sqrt(all[0].squares / (double)t->weights) : NAN;
	t->absmax = t->weights ? all[0].absmax : NAN;
	t->rel_error = t->compared ? d.rel_error : NAN;
	t->sqnr_db = t->compared ? d.sqnr_db : NAN;
	t->cosine = t->compared ? d.cosine : NAN;
}

/* Leaves out modules that were not finished. */
static void drop_unfinished(struct stats_run *x)
{
	size_t kept = 0;

	for (size_t i = 0; i < x->count; i++) {
		const struct subject *s = &x->subjects[i];

		if (s->e && s->left)
			free(s->histogram);
		else if (s->e)
			x->stats->modules[kept++] = x->stats->modules[s->module];
		x->stats->is_complete &= !s->left;
	}
	x->stats->module_count = kept;
}

static int tell_all(struct stats_run *x)
{
	struct stats_sums all[2] = {stats_sums_none(), stats_sums_none()};
	const struct chunk *c = x->chunks;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < x->count; i++) {
		const struct subject *s = &x->subjects[i];
		struct stats_sums sums = stats_sums_none();

		for (size_t k = 0; k < s->chunks; k++)
			stats_sums_add(&sums, &c++->sums);
		if (s->left)
			continue;
		if (s->e)
			tell_module(x, s, &sums, all);
		else
			rc = tell_changed(x, s, &sums);
	}
	tell_total(&x->stats->total, all);
	return rc;
}

static int run_all(struct stats_run *x)
{
	int rc = stats_leaves_make(&x->mine, x->p);

	if (rc == 0 && x->other.plan)
		rc = stats_leaves_make(&x->other, x->other.plan);
	if (rc == 0)
		rc = plan_subjects(x);
	if (rc)
		return err_memory(x->err);
	rc = check_pairs(x);
	if (rc)
		return rc;
	crew_run(do_chunks, x);
	rc = atomic_load(&x->failed);
	if (rc)
		return rc;
	rc = tell_all(x) ? err_memory(x->err) : 0;
	if (rc == 0)
		drop_unfinished(x);
	return rc;
}

int stats_make(const struct plan *p, const struct plan *other, const struct gptqfs_stats_control *control,
    struct gptqfs_stats **out, struct gptqfs_error *err)
{
	static const struct gptqfs_stats_control none;
	struct stats_run x = {.p = p,
	    .control = control ? control : &none,
	    .err = err,
	    .other = {.plan = other},
	    .stats = calloc(1, sizeof(**out))};
	int rc;

	*out = NULL;
	if (!x.stats)
		return err_memory(err);
	x.stats->is_complete = true;
	x.stats->is_compared = other != NULL;
	pthread_mutex_init(&x.lock, NULL);
	rc = run_all(&x);
	pthread_mutex_destroy(&x.lock);
	stats_leaves_free(&x.mine);
	stats_leaves_free(&x.other);
	free(x.subjects);
	free(x.chunks);
	if (rc)
		gptqfs_stats_free(x.stats);
	else
		*out = x.stats;
	return rc;
}

void gptqfs_stats_free(struct gptqfs_stats *stats)
{
	if (!stats)
		return;
	for (size_t i = 0; i < stats->module_count; i++)
		free((uint64_t *)stats->modules[i].histogram);
	free(stats->modules);
	free(stats->unpaired);
	free(stats->changed);
	free(stats);
}
