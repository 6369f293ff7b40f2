/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tree/transpose.h"
#include "../test.h"

/* Element k of row n is base + n * 1000 + k. Checks that whole steps are requested. */
struct numbers {
	struct generator g;
	uint32_t element;
	uint64_t base;
	int error;
};

static int fill_numbers(const struct generator *g, void *dst, const struct rect *r)
{
	const struct numbers *m = (const struct numbers *)g;
	unsigned char *at = dst;

	CHECK(r->row0 + r->nrows <= g->rows && r->from + r->bytes <= g->row_bytes && r->nrows && r->bytes);
	if (g->step)
		CHECK(r->from % g->step == 0 && (r->bytes % g->step == 0 || r->from + r->bytes == g->row_bytes));
	else
		CHECK(r->from == 0 && r->bytes == g->row_bytes);
	for (uint64_t n = r->row0; n < r->row0 + r->nrows; n++)
		for (uint64_t k = r->from / m->element; k < (r->from + r->bytes) / m->element; k++, at += m->element) {
			const uint64_t value = m->base + n * 1000 + k;

			memcpy(at, &value, m->element);
		}
	return m->error;
}

static const struct generator_ops numbers_ops = {.fill = fill_numbers};

static struct numbers numbers_make(uint64_t rows, uint64_t columns, uint32_t element, uint32_t step)
{
	return (struct numbers){
	    .g = {.ops = &numbers_ops, .rows = rows, .row_bytes = columns * element, .step = step * element},
	    .element = element,
	};
}

/* Returns column c of row k of the result. */
static uint64_t expected(const struct transpose *t, uint64_t k, uint64_t c)
{
	const size_t first = (size_t)t->of[0]->rows;
	const size_t i = t->interleaved ? c % t->count : c >= first;
	const uint64_t n = t->interleaved ? c / t->count : c - (i ? first : 0);

	return ((const struct numbers *)t->of[i])->base + n * 1000 + k;
}

static void check_rows(const struct generator *g, const struct transpose *t, uint64_t row0, uint64_t nrows)
{
	const uint64_t columns = g->row_bytes / t->element, mask = t->element == 2 ? 0xffff : 0xffffffff;
	unsigned char *bytes = malloc(nrows * g->row_bytes + 1), *at = bytes;
	size_t wrong = 0;

	bytes[nrows * g->row_bytes] = 77;
	CHECK(generator_fill(g, bytes, row0, nrows) == 0);
	for (uint64_t k = row0; k < row0 + nrows; k++)
		for (uint64_t c = 0; c < columns; c++, at += t->element) {
			uint64_t value = 0;

			memcpy(&value, at, t->element);
			wrong += value != (expected(t, k, c) & mask);
		}
	CHECK(wrong == 0 && bytes[nrows * g->row_bytes] == 77);
	free(bytes);
}

static void check_all(const struct transpose *t, uint32_t run)
{
	struct arena arena = {0};
	const struct generator *g;

	CHECK(transpose_make(&arena, t, &g) == 0);
	CHECK(g->rows == t->of[0]->row_bytes / t->element && g->step == 0);
	CHECK(g->run_rows == run && g->tile_rows % run == 0);
	check_rows(g, t, 0, g->rows);
	check_rows(g, t, 0, 1);
	check_rows(g, t, g->rows - 1, 1);
	for (uint64_t row = 1; row + 7 < g->rows; row += 13)
		check_rows(g, t, row, 7);
	arena_free(&arena);
}

int main(void)
{
	struct numbers a = numbers_make(5, 70, 2, 32), b = numbers_make(9, 70, 2, 16),
		       whole = numbers_make(5, 70, 2, 0);
	struct numbers wide = numbers_make(5, 70, 4, 8), biases = numbers_make(6, 1, 4, 0);
	struct numbers long_rows = numbers_make(3, 9000, 2, 0), many = numbers_make(3000, 40, 2, 8);

	b.base = 500;
	/* One generator; two side by side, of unequal height; two alternating. */
	check_all(&(struct transpose){.of = {&a.g}, .count = 1, .element = 2}, 32);
	check_all(&(struct transpose){.of = {&a.g, &b.g}, .count = 2, .element = 2}, 32);
	b.g.rows = 5;
	check_all(&(struct transpose){.of = {&b.g, &a.g}, .count = 2, .interleaved = true, .element = 2}, 32);
	/* Rows that cannot be cut, and steps without a common multiple: all rows are one run. */
	check_all(&(struct transpose){.of = {&whole.g, &a.g}, .count = 2, .interleaved = true, .element = 2}, 70);
	b.g.step = 40;
	check_all(&(struct transpose){.of = {&a.g, &b.g}, .count = 2, .element = 2}, 70);
	check_all(&(struct transpose){.of = {&wide.g}, .count = 1, .element = 4}, 8);
	check_all(&(struct transpose){.of = {&biases.g, &biases.g}, .count = 2, .interleaved = true, .element = 4}, 1);
	/* Longer than a piece; more rows than a piece holds. */
	check_all(&(struct transpose){.of = {&long_rows.g}, .count = 1, .element = 2}, 9000);
	check_all(&(struct transpose){.of = {&many.g, &many.g}, .count = 2, .element = 2}, 8);
	/* An error of either is returned. */
	b.error = -EIO;
	{
		struct arena arena = {0};
		const struct generator *g;
		unsigned char bytes[2 * 2 * 5];

		CHECK(transpose_make(&arena, &(struct transpose){.of = {&a.g, &b.g}, .count = 2, .element = 2}, &g) ==
		      0);
		CHECK(generator_fill(g, bytes, 0, 1) == -EIO);
		arena_free(&arena);
	}
	return test_done();
}
