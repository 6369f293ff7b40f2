/* SPDX-License-Identifier: MIT */

/* Casts: every value of 8 and 16 bits, random and awkward ones of 32 and 64. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static void check_cast(struct check *c, enum dtype from, enum dtype to, const void *src, size_t n)
{
	const size_t bytes = n * dtype_bytes(to);
	unsigned char *in = place(c, CODES, n * dtype_bytes(from), 1);
	cast_fn *last = NULL;
	char what[64];

	memcpy(in, src, n * dtype_bytes(from));
	for (enum cpu_level level = CPU_C; level <= c->max; level++) {
		unsigned char *out;

		if (c->kernels[level].cast[from][to] == last)
			continue;
		last = c->kernels[level].cast[from][to];
		out = place_output(c, bytes);
		last(out, in, n);
		snprintf(what, sizeof(what), "%s %s to %s", cpu_name(level), dtype_name(from), dtype_name(to));
		compare(c, out, c->arena[EXPECTED].start, bytes, what);
	}
}

/* Casts n elements at src, all or some of them, and compares with the naive implementation. */
static void check_casts_of(struct check *c, enum dtype from, const void *src, size_t n)
{
	const size_t from_bytes = dtype_bytes(from);
	unsigned char *expected = c->arena[EXPECTED].start;

	for (enum dtype to = 0; to < DTYPE_VIEWS; to++) {
		const size_t bytes = dtype_bytes(to), part = below(c, 100), start = below(c, n - part);

		for (size_t i = 0; i < n; i++) {
			uint64_t bits = 0;
			double value;

			memcpy(&bits, (const char *)src + i * from_bytes, from_bytes);
			memcpy(&value, &bits, sizeof(value));
			if (from != to)
				bits = number_encode(from == DTYPE_F64 ? value : number_decode(bits, from), to);
			memcpy(expected + i * bytes, &bits, bytes);
		}
		check_cast(c, from, to, src, n);
		memmove(expected, expected + start * bytes, part * bytes);
		check_cast(c, from, to, (const char *)src + start * from_bytes, part);
	}
}

void check_casts(struct check *c)
{
	enum { COUNT = 200000 };
	uint16_t *halves = need(malloc(65536 * sizeof(*halves)));
	float *floats = need(malloc(COUNT * sizeof(*floats)));
	double *doubles = need(malloc(COUNT * sizeof(*doubles)));

	for (unsigned i = 0; i < 65536; i++)
		halves[i] = i;
	check_casts_of(c, DTYPE_F16, halves, 65536);
	check_casts_of(c, DTYPE_BF16, halves, 65536);
	check_casts_of(c, DTYPE_F8_E4M3, halves, 2 * 65536);
	check_casts_of(c, DTYPE_F8_E5M2, halves, 2 * 65536);
	fill(c, floats, COUNT * sizeof(*floats));
	fill(c, doubles, COUNT * sizeof(*doubles));
	for (unsigned i = 0; i < COUNT; i++) {
		if (i % 4)
			doubles[i] = number_awkward(c);
		if (i % 4)
			floats[i] = (float)number_awkward(c);
	}
	check_casts_of(c, DTYPE_F32, floats, COUNT);
	check_casts_of(c, DTYPE_F64, doubles, COUNT);
	free(halves);
	free(floats);
	free(doubles);
	group_end(c, "casts");
}
