/* SPDX-License-Identifier: MIT */
#include "rects.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SMALL_RECT 20000 /* outputs */

struct kernel_rect random_rect(struct check *c, uint32_t rows, uint32_t columns)
{
	struct kernel_rect r = {below(c, 2) ? below(c, rows) : 0, 0, below(c, 2) ? below(c, columns) : 0, 0};

	r.rows = below(c, 2) ? 1 + below(c, rows - r.row0) : rows - r.row0;
	r.columns = below(c, 2) ? 1 + below(c, columns - r.column0) : columns - r.column0;
	return r;
}

/* ---- comparing ---- */

static void describe_rect(char *text, size_t size, const struct rect_case *k, const struct kernel_rect *r)
{
	int len;

	k->ops->describe(text, size, k->matrix);
	len = (int)strlen(text);
	snprintf(text + len, size - len, ", %ux%u, rows %u+%u, columns %u+%u", k->rows, k->columns, r->row0, r->rows,
	    r->column0, r->columns);
}

void check_rect_levels(struct check *c, const struct rect_case *k, const struct kernel_rect *r, enum dtype out)
{
	const size_t bytes = (size_t)r->rows * r->columns * dtype_bytes(out);
	unsigned char *expected = c->arena[EXPECTED].start;
	char text[256], what[320];

	k->ops->run(&c->kernels[CPU_C], out, expected, k->matrix, r);
	describe_rect(text, sizeof(text), k, r);
	for (enum cpu_level level = CPU_C; level <= c->max; level++) {
		unsigned char *dst;

		if (level && k->ops->same(&c->kernels[level], &c->kernels[level - 1], k->matrix, out))
			continue;
		dst = place_output(c, bytes);
		k->ops->run(&c->kernels[level], out, dst, k->matrix, r);
		snprintf(what, sizeof(what), "%s %s %s", cpu_name(level), dtype_name(out), text);
		compare(c, dst, expected, bytes, what);
	}
}

static void check_rect_reference(struct check *c, const struct rect_case *k, const struct kernel_rect *r,
    enum dtype out)
{
	const size_t bytes = dtype_bytes(out);
	const unsigned char *p = c->arena[EXPECTED].start;
	char text[256], what[320];

	for (uint32_t i = r->row0; i < r->row0 + r->rows; i++) {
		for (uint32_t j = r->column0; j < r->column0 + r->columns; j++, p += bytes) {
			const uint64_t expected = k->ops->naive(k->matrix, i, j, out);

			if (!memcmp(p, &expected, bytes))
				continue;
			describe_rect(text, sizeof(text), k, r);
			snprintf(what, sizeof(what), "reference %s %s: [%u][%u] is not %llx", dtype_name(out), text, i,
			    j, (unsigned long long)expected);
			tell(c, false, what);
			return;
		}
	}
	tell(c, true, "");
}

void check_rect(struct check *c, const struct rect_case *k, const struct kernel_rect *r, enum dtype out)
{
	check_rect_levels(c, k, r, out);
	check_rect_reference(c, k, r, out);
}

void check_rect_outputs(struct check *c, const struct rect_case *k, const struct kernel_rect *r)
{
	for (enum dtype out = 0; out < DTYPE_VIEWS; out++) {
		check_rect_levels(c, k, r, out);
		if ((size_t)r->rows * r->columns < SMALL_RECT)
			check_rect_reference(c, k, r, out);
	}
}

/* ---- timing ---- */

/* Returns the seconds a row takes. */
static double bench_rows(struct bench *b, const struct kernels *kernels, enum dtype out, const struct rect_case *k)
{
	const uint32_t block = (uint32_t)(BENCH_BLOCK / (k->columns * dtype_bytes(out)));
	const uint32_t rows = kernels->level == CPU_C ? 32 : k->rows;
	struct kernel_rect r = {0, 0, 0, k->columns};
	double start;

	bench_flush(b);
	start = bench_seconds();
	for (; r.row0 < rows; r.row0 += r.rows) {
		r.rows = rows - r.row0 < block ? rows - r.row0 : block;
		k->ops->run(kernels, out, b->block, k->matrix, &r);
	}
	return (bench_seconds() - start) / rows;
}

void bench_rects(struct check *c, struct bench *b, const struct rect_case *k, const char *label)
{
	for (enum cpu_level level = CPU_C; level <= c->max; level++)
		for (enum dtype out = 0; out < DTYPE_VIEWS; out++) {
			const struct kernels *kernels = &c->kernels[level];
			const size_t row_bytes = k->columns * dtype_bytes(out);
			double copy = 1e9, kernel = 1e9;

			if (level && k->ops->same(kernels, kernels - 1, k->matrix, out))
				continue;
			for (int i = 0; i < BENCH_REPEAT; i++) {
				copy = fmin(copy, bench_memcpy(b, k->rows * row_bytes) / k->rows);
				kernel = fmin(kernel, bench_rows(b, kernels, out, k));
			}
			printf("%-10s %-36s %-4s %8.2f %8.2f %7.3f\n", cpu_name(level), label, dtype_name(out),
			    row_bytes / kernel / 1e9, row_bytes / copy / 1e9, copy / kernel);
			fflush(stdout);
		}
}
