/* SPDX-License-Identifier: MIT */
#include "view/coded.h"

#include <errno.h>

const char *coded_refusal(const struct encoded *e, bool has_codes)
{
	if (!has_codes)
		return "not made of integer codes";
	return e->ndim != 2 || e->transposed ? "not stored as a matrix of rows" : NULL;
}

void coded_remark(struct text *out, const struct encoded *e, const char *reason)
{
	text_ascii(out, e->module);
	text_printf(out, ": %s\n", reason);
}

const uint16_t *coded_units(struct arena *arena, uint64_t scales)
{
	uint16_t *units = arena_alloc(arena, scales + 1, sizeof(*units));

	for (uint64_t i = 0; units && i < scales; i++)
		units[i] = GGUF_UNIT;
	return units;
}

static uint32_t common_multiple(uint32_t a, uint32_t b)
{
	uint32_t x = a, y = b;

	while (y) {
		const uint32_t rest = x % y;

		x = y;
		y = rest;
	}
	return a / x * b;
}

/* Returns the columns at multiples of which both blocks and what is decoded at once may end. */
static uint32_t coded_step(const struct coded *c, struct coded_block block)
{
	return common_multiple(c->step, block.weights);
}

int coded_rows(const struct coded *c, struct coded_block block, struct arena *arena, struct generator *g)
{
	struct encoded *e = c->e;
	const struct generator **dense = &e->dense[DTYPE_F16];
	const uint64_t row_bytes = e->shape[1] / block.weights * block.bytes;
	int rc = *dense ? 0 : e->encoding->rows(e, c->kernels, DTYPE_F16, arena, dense);

	if (rc)
		return rc;
	*g = (struct generator){
	    .rows = e->shape[0],
	    .row_bytes = row_bytes,
	    .tile_rows = generator_tile_rows(row_bytes),
	    .step = generator_step((uint64_t)coded_step(c, block) / block.weights * block.bytes),
	    .run_rows = (*dense)->run_rows,
	    .inputs = (*dense)->inputs,
	};
	return 0;
}

void coded_needs(const struct coded *c, const struct rect *r, struct spans *out)
{
	const struct generator *dense = c->e->dense[DTYPE_F16];

	if (dense->ops->needs)
		dense->ops->needs(dense, &(struct rect){r->row0, r->nrows, 0, dense->row_bytes}, out);
}

uint32_t coded_tile_columns(const struct coded *c, struct coded_block block, uint32_t most)
{
	const uint32_t step = coded_step(c, block), columns = (uint32_t)c->e->shape[1];
	const uint32_t whole = step >= most ? step : most / step * step;

	return whole < columns ? whole : columns;
}

struct kernel_rect coded_weights(const struct rect *r, struct coded_block block)
{
	return (struct kernel_rect){
	    .row0 = (uint32_t)r->row0,
	    .rows = (uint32_t)r->nrows,
	    .column0 = (uint32_t)(r->from / block.bytes * block.weights),
	    .columns = (uint32_t)(r->bytes / block.bytes * block.weights),
	};
}

uint32_t coded_runs_max(const struct coded *c, uint32_t columns)
{
	return columns / c->run + 2;
}

void coded_load_runs(const struct coded *c, const struct kernel_rect *tile, uint8_t *zero, uint16_t *half)
{
	const uint32_t first = tile->column0 / c->run, last = (tile->column0 + tile->columns - 1) / c->run;

	for (uint32_t i = first; i <= last; i++) {
		const struct code_rect at = {tile->row0, tile->rows, i == first ? tile->column0 : i * c->run, 1};
		const size_t skip = (size_t)(i - first) * tile->rows;
		const struct codes out = {.zero = zero ? zero + skip : NULL, .half = half ? half + skip : NULL};

		c->e->encoding->codes(c->e, &at, &out);
	}
}
