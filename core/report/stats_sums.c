/* SPDX-License-Identifier: MIT */
#include "report/stats_sums.h"

#include <math.h>

#define LANES 8

static double lanes_sum(const double lanes[LANES])
{
	double sum = 0;

	for (int j = 0; j < LANES; j++)
		sum += lanes[j];
	return sum;
}

static double lanes_max(const double lanes[LANES])
{
	double max = lanes[0];

	for (int j = 1; j < LANES; j++)
		max = lanes[j] > max ? lanes[j] : max;
	return max;
}

/* NaN is not greater than anything: it shows in the sums. */
static void sum_weights(struct stats_sums *out, const float *w, size_t n)
{
	double squares[LANES] = {0}, max[LANES] = {0};
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		for (int j = 0; j < LANES; j++) {
			const double x = w[i + j], a = fabs(x);

			squares[j] += x * x;
			max[j] = a > max[j] ? a : max[j];
		}
	for (int j = 0; i < n; i++, j++) {
		const double x = w[i], a = fabs(x);

		squares[j] += x * x;
		max[j] = a > max[j] ? a : max[j];
	}
	out->squares = lanes_sum(squares);
	out->absmax = lanes_max(max);
}

struct difference_lanes {
	double other[LANES], products[LANES], errors[LANES], max[LANES];
};

static inline void difference_element(struct difference_lanes *l, int j, double x, double y)
{
	const double d = x - y, a = fabs(d);

	l->other[j] += y * y;
	l->products[j] += x * y;
	l->errors[j] += d * d;
	l->max[j] = a > l->max[j] ? a : l->max[j];
}

static void sum_differences(struct stats_sums *out, const float *w, const float *w0, size_t n)
{
	struct difference_lanes lanes = {0};
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		for (int j = 0; j < LANES; j++)
			difference_element(&lanes, j, w[i + j], w0[i + j]);
	for (int j = 0; i < n; i++, j++)
		difference_element(&lanes, j, w[i], w0[i]);
	out->other_squares = lanes_sum(lanes.other);
	out->products = lanes_sum(lanes.products);
	out->error_squares = lanes_sum(lanes.errors);
	out->error_max = lanes_max(lanes.max);
}

void stats_sums_block(struct stats_sums *s, const float *w, const float *w0, size_t n, uint64_t at)
{
	struct stats_sums block = stats_sums_none();

	sum_weights(&block, w, n);
	if (w0)
		sum_differences(&block, w, w0, n);
	/* Where it is matters only if it is the greatest so far, which soon becomes rare. */
	for (size_t i = 0; block.error_max > s->error_max && i < n; i++)
		if (fabs((double)w[i] - w0[i]) == block.error_max) {
			block.error_at = at + i;
			break;
		}
	stats_sums_add(s, &block);
}

void stats_sums_add(struct stats_sums *s, const struct stats_sums *later)
{
	s->squares += later->squares;
	s->absmax = later->absmax > s->absmax ? later->absmax : s->absmax;
	s->other_squares += later->other_squares;
	s->products += later->products;
	s->error_squares += later->error_squares;
	if (later->error_max > s->error_max) {
		s->error_max = later->error_max;
		s->error_at = later->error_at;
	}
}

struct stats_sums stats_sums_none(void)
{
	return (struct stats_sums){.error_max = 0};
}
