/* SPDX-License-Identifier: MIT */

/* Codes, zeros and scales of an encoding must yield the fp32 weights of its rows. */

#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "file/guard.h"
#include "quant/quant.h"
#include "tensor/encoding.h"

static struct kernels kernels;

/* Some rows in the middle of the weight, and columns that begin and end inside groups. */
static struct code_rect middle_of(const struct encoded *e)
{
	const uint64_t rows = e->shape[0], columns = e->shape[1];

	return (struct code_rect){rows / 3, rows / 3 + 1, columns / 5, columns / 2};
}

static void compare(struct encoded *e, struct arena *arena)
{
	const struct code_rect r = middle_of(e);
	const size_t n = r.rows * r.columns;
	struct codes c = {.code = arena_alloc(arena, n, 1),
	    .zero = arena_alloc(arena, n, 1),
	    .scale = arena_alloc(arena, n, sizeof(float))};
	float *row = arena_alloc(arena, e->shape[1], sizeof(*row));
	const struct generator *g;
	uint64_t unlike = 0;

	CHECK(c.code && c.zero && c.scale && row && e->encoding->rows(e, &kernels, DTYPE_F32, arena, &g) == 0);
	e->encoding->codes(e, &r, &c);
	for (uint64_t i = 0; i < r.rows; i++) {
		CHECK(generator_fill(g, row, r.row0 + i, 1) == 0);
		for (uint64_t k = 0; k < r.columns; k++) {
			const size_t at = i * r.columns + k;
			const float weight = c.scale[at] * (float)(c.code[at] - c.zero[at]);

			unlike += memcmp(&weight, &row[r.column0 + k], sizeof(weight)) != 0;
		}
	}
	CHECK(unlike == 0);
}

static void test_codes(const char *path)
{
	const struct checkpoint_options options = {0};
	struct gptqfs_error err;
	struct checkpoint c;
	struct tensors ts = {0};

	CHECK(checkpoint_open(&c, path, &options, &err) == 0 && quant_open(&c, &ts, &err) == 0);
	CHECK(ts.encoded_count > 0);
	for (size_t i = 0; i < ts.encoded_count; i++)
		if (ts.encoded[i]->encoding->codes && !ts.encoded[i]->transposed)
			compare(ts.encoded[i], &c.arena);
	checkpoint_close(&c);
}

int main(void)
{
	source_guard_install();
	kernels_init(&kernels, CPU_C);
	test_codes("tests/data/models/tiny-llama-4b-g32-asym-act");
	test_codes("tests/data/models/tiny-llama-3b-g32-asym");
	test_codes("tests/data/models/tiny-llama-5b-planar");
	test_codes("tests/data/models/tiny-llama-4b-g128-ragged");
	test_codes("tests/data/float/models/f-fp8-experts-3d");
	test_codes("tests/data/int/models/ct-bits-2to7");
	test_codes("tests/data/int/models/ct012-actorder-group");
	test_codes("tests/data/int/models/gemma-int248");
	test_codes("tests/data/int/models/awq-gemm-g32");
	return test_done();
}
