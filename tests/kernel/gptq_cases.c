/* SPDX-License-Identifier: MIT */

/* GPTQ: kernels, or a plugin, against the reference, and the reference against gptq_matrix.c. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "gptq_matrix.h"

/* --- Kernels against the reference --- */

struct rows {
	uint32_t row0, nrows;
};

static void describe(char *text, size_t size, const struct matrix *m, struct rows r)
{
	const struct spec *s = &m->spec;

	snprintf(text, size, "%u-bit %s/%u zeros=%s scales=%s g_idx=%s group_size=%u K=%u N=%u rows %u+%u", s->bits,
	    packing_name[s->packing], s->word_bits, zeros_name[s->zeros], dtype_name(s->scale_dtype),
	    indices_name[s->indices], s->group_size, s->in_features, s->out_features, r.row0, r.nrows);
}

/* Runs small matrices that may be kept twice: the second time they are resident. */
static void run_plugin(struct check *c, const struct matrix *m, struct rows r, enum dtype out_dtype)
{
	const size_t bytes = (size_t)r.nrows * m->spec.in_features * dtype_bytes(out_dtype);
	unsigned char *expected = c->arena[EXPECTED].start, *out = place_output(c, bytes);
	const struct accel_job job = {ACCEL_GPTQ, &m->q, out_dtype, r.row0, r.nrows,
	    m->spec.in_features * dtype_bytes(out_dtype), out, below(c, 2), copy_plainly, NULL};
	struct accel_text why = {"no reason given"};
	char text[256], what[640];
	int rc = c->plugin->dequant(c->plugin_state, &job, &why);

	if (rc == 0 && job.keep && bytes < 1 << 17) {
		memset(out, POISON, bytes);
		rc = c->plugin->dequant(c->plugin_state, &job, &why);
	}
	c->plugin->forget(c->plugin_state, &m->q);
	describe(text, sizeof(text), m, r);
	snprintf(what, sizeof(what), "%s %s%s", dtype_name(out_dtype), text, job.keep ? " kept" : "");
	if (rc == 0) {
		compare(c, out, expected, bytes, what);
		return;
	}
	snprintf(what, sizeof(what), "%s: %s: %s", text, strerror(-rc), why.text);
	tell(c, false, what);
}

/* Threads of a GPU run in any order; those emulated by tests/cuda in the order given here. */
static void check_plugin(struct check *c, const struct matrix *m, struct rows r, enum dtype out_dtype)
{
	static const char *const orders[] = {"forward", "reversed", "shuffled"};

	for (size_t i = 0; i < (c->emulated ? ARRAY_SIZE(orders) : 1); i++) {
		if (c->emulated)
			setenv("FAKE_CUDA", orders[i], 1);
		run_plugin(c, m, r, out_dtype);
	}
}

/* Runs all levels with their own kernel for this matrix, or the plugin. */
static void check_levels(struct check *c, const struct matrix *m, struct rows r, enum dtype out_dtype)
{
	const size_t bytes = (size_t)r.nrows * m->spec.in_features * dtype_bytes(out_dtype);
	unsigned char *expected = c->arena[EXPECTED].start;
	gptq_fn *reference = gptq_rows(&c->kernels[CPU_C].gptq, &m->q, out_dtype), *last = reference;
	char text[256], what[320];

	describe(text, sizeof(text), m, r);
	reference(expected, &m->q, r.row0, r.nrows);
	if (c->plugin) {
		check_plugin(c, m, r, out_dtype);
		return;
	}
	for (enum cpu_level level = bytes < 1 << 20 ? CPU_C : CPU_VECTOR; level <= c->max; level++) {
		gptq_fn *kernel = gptq_rows(&c->kernels[level].gptq, &m->q, out_dtype);
		unsigned char *out;

		if (level != CPU_C && kernel == last)
			continue;
		last = kernel;
		out = place_output(c, bytes);
		kernel(out, &m->q, r.row0, r.nrows);
		snprintf(what, sizeof(what), "%s %s %s", cpu_name(level), dtype_name(out_dtype), text);
		compare(c, out, expected, bytes, what);
	}
}

/* Compares the reference in c->arena[EXPECTED] with the naive implementation. */
static void check_reference(struct check *c, const struct matrix *m, struct rows r, enum dtype out)
{
	const size_t bytes = dtype_bytes(out);
	gptq_fn *reference = gptq_rows(&c->kernels[CPU_C].gptq, &m->q, out);
	unsigned char *p = c->arena[EXPECTED].start;
	char text[256], what[320];

	reference(p, &m->q, r.row0, r.nrows);
	for (uint32_t n = r.row0; n < r.row0 + r.nrows; n++) {
		for (uint32_t k = 0; k < m->spec.in_features; k++, p += bytes) {
			const uint64_t expected = naive_weight(m, k, n, out);

			if (!memcmp(p, &expected, bytes))
				continue;
			describe(text, sizeof(text), m, r);
			snprintf(what, sizeof(what), "reference %s %s: w[%u][%u] is not %llx", dtype_name(out), text, n,
			    k, (unsigned long long)expected);
			tell(c, false, what);
			return;
		}
	}
	tell(c, true, "");
}

/* Compares some inputs of some rows, if the matrix can be cut, with those of whole rows. */
static void check_inputs(struct check *c, const struct matrix *m, struct rows r, enum dtype out_dtype)
{
	const size_t width = dtype_bytes(out_dtype);
	const uint32_t features = m->spec.in_features, step = qtensor_step(&m->q);
	const uint32_t k0 = step ? below(c, (features + step - 1) / step) * step : 0;
	const uint32_t nk = step && below(c, 2) ? step * (1 + below(c, (features - k0) / step + 1)) : features - k0;
	const uint32_t count = nk < features - k0 ? nk : features - k0;
	const struct qtensor part = qtensor_inputs(&m->q, k0, count);
	unsigned char *whole = c->arena[EXPECTED].start, *expected = whole + r.nrows * features * width;
	char text[256], what[320];

	gptq_rows(&c->kernels[CPU_C].gptq, &m->q, out_dtype)(whole, &m->q, r.row0, r.nrows);
	for (uint32_t n = 0; n < r.nrows; n++)
		memcpy(expected + n * count * width, whole + (n * features + k0) * width, count * width);
	describe(text, sizeof(text), m, r);
	snprintf(what, sizeof(what), "inputs %u+%u of %s", k0, count, text);
	for (enum cpu_level level = CPU_C; level <= c->max; level++) {
		unsigned char *out = place_output(c, r.nrows * count * width);

		gptq_rows(&c->kernels[level].gptq, &part, out_dtype)(out, &part, r.row0, r.nrows);
		compare(c, out, expected, r.nrows * count * width, what);
	}
}

static struct rows random_rows(struct check *c, uint32_t n)
{
	const uint32_t row0 = below(c, 3) ? below(c, n) : 0;

	return (struct rows){row0, below(c, 2) ? 1 + below(c, n - row0) : n - row0};
}

/* Compares rows of the packed orientation with all rows of the other one. */
static void check_as_packed(struct check *c, const struct matrix *m, enum dtype out_dtype)
{
	const size_t width = dtype_bytes(out_dtype);
	const uint32_t features = m->spec.in_features, columns = m->spec.out_features;
	const struct rows r = random_rows(c, features);
	unsigned char *whole = c->arena[EXPECTED].start, *expected = whole + (size_t)columns * features * width;
	char text[256], what[320];

	gptq_rows(&c->kernels[CPU_C].gptq, &m->q, out_dtype)(whole, &m->q, 0, columns);
	for (uint32_t i = 0; i < r.nrows; i++)
		for (uint32_t n = 0; n < columns; n++)
			memcpy(expected + ((size_t)i * columns + n) * width,
			    whole + ((size_t)n * features + r.row0 + i) * width, width);
	describe(text, sizeof(text), m, r);
	for (enum cpu_level level = CPU_C; level <= c->max; level++) {
		const size_t bytes = (size_t)r.nrows * columns * width;
		unsigned char *out = place_output(c, bytes);

		gptq_inputs(&c->kernels[level].gptq, &m->q, out_dtype)(out, &m->q, r.row0, r.nrows);
		snprintf(what, sizeof(what), "%s %s as packed, %s", cpu_name(level), dtype_name(out_dtype), text);
		compare(c, out, expected, bytes, what);
	}
}

static void random_shape(struct check *c, struct spec *s)
{
	static const uint16_t features[] = {1, 7, 31, 32, 33, 63, 64, 96, 100, 128, 129, 160, 255, 256, 320, 383};
	static const uint16_t rows[] = {1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 17, 23, 31, 32, 33, 48};
	static const int sizes[] = {-1, 1, 8, 16, 32, 64, 96, 128, 0};
	const int size = sizes[below(c, ARRAY_SIZE(sizes))];

	s->in_features = pick(c, features, ARRAY_SIZE(features), 400);
	s->out_features = pick(c, rows, ARRAY_SIZE(rows), 50);
	if (size == 1)
		s->in_features += 300; /* sometimes more groups than a kernel keeps */
	if (s->packing == PACKING_PLANAR && s->bits & (s->bits - 1)) {
		s->in_features = (s->in_features + 31) / 32 * 32;
		s->out_features = (s->out_features + 31) / 32 * 32;
	}
	s->group_size = size < 0 ? s->in_features : size ? (uint32_t)size : 1 + 2 * below(c, 40);
}

static void check_spec(struct check *c, const struct spec *s)
{
	struct matrix m;
	struct rows r;

	matrix_init(c, &m, s);
	r = random_rows(c, s->out_features);
	for (enum dtype out = 0; out < DTYPE_VIEWS; out++)
		check_levels(c, &m, r, out);
	if (!c->plugin) {
		check_reference(c, &m, r, below(c, DTYPE_VIEWS));
		check_inputs(c, &m, r, below(c, DTYPE_VIEWS));
		check_as_packed(c, &m, below(c, DTYPE_VIEWS));
	}
	matrix_free(&m);
}

static bool legal(unsigned bits, enum packing packing, unsigned word_bits)
{
	if (packing == PACKING_PLANAR)
		return bits >= 2 && word_bits == 32;
	if (bits == 3)
		return word_bits == 32;
	return bits == 2 || bits == 4 || bits == 8;
}

static void check_format(struct check *c, unsigned bits, enum packing packing, unsigned word_bits)
{
	const unsigned zeros_known = packing == PACKING_PLANAR && bits & (bits - 1) ? 1 : 0; /* no v1 */
	const int rounds = word_bits == 32 ? 6 : 1;
	char name[64];

	if (!legal(bits, packing, word_bits))
		return;
	for (int i = 0; i < rounds * INDICES_COUNT * 3 * DTYPE_VIEWS; i++) {
		struct spec s = {.bits = bits, .packing = packing, .word_bits = word_bits};

		s.indices = i % INDICES_COUNT;
		s.zeros = i / INDICES_COUNT % 3;
		s.scale_dtype = i / INDICES_COUNT / 3 % DTYPE_VIEWS;
		if ((s.zeros == ZEROS_V1 && zeros_known) || !sampled(c))
			continue;
		random_shape(c, &s);
		check_spec(c, &s);
	}
	snprintf(name, sizeof(name), "%u-bit %s, %u-bit words", bits, packing_name[packing], word_bits);
	group_end(c, name);
}

/* --- Every scale --- */

/* 65536 (group, column) pairs get all scales; codes and zeros are shifted so that every pair of them occurs. */
static void check_scales_of(struct check *c, const struct spec *s)
{
	const struct rows rows = {0, s->out_features};
	const uint32_t mask = (1u << s->bits) - 1;
	struct matrix m;
	uint32_t zero0;

	matrix_init(c, &m, s);
	zero0 = below(c, 1u << s->bits);
	for (uint32_t i = 0; i < 65536; i++) {
		const uint16_t scale = i * 40503u; /* odd, so all of them, mixed */

		memcpy((unsigned char *)m.q.scales + i * 2, &scale, 2);
		m.zeros[i] = (zero0 + i) & mask;
	}
	for (size_t i = 0; i < (size_t)s->in_features * s->out_features; i++)
		m.codes[i] = (m.codes[i] & ~15) | ((i / s->out_features + i) & 15 & mask);
	pack_weights(&m, (unsigned char *)m.q.qweight);
	if (s->zeros != ZEROS_MIDDLE)
		pack_zeros(&m, (unsigned char *)m.q.qzeros);
	for (enum dtype out = 0; out < DTYPE_VIEWS; out++)
		check_levels(c, &m, rows, out);
	matrix_free(&m);
}

static void check_scales(struct check *c)
{
	static const struct {
		unsigned bits;
		enum packing packing;
	} formats[] = {{2, PACKING_STREAM}, {3, PACKING_STREAM}, {4, PACKING_STREAM}, {8, PACKING_STREAM},
	    {3, PACKING_PLANAR}, {5, PACKING_PLANAR}, {6, PACKING_PLANAR}, {7, PACKING_PLANAR}};

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		struct spec s = {.bits = formats[i].bits,
		    .word_bits = 32,
		    .packing = formats[i].packing,
		    .zeros = ZEROS_V2,
		    .scale_dtype = i & 1 ? DTYPE_BF16 : DTYPE_F16,
		    .group_size = 32,
		    .in_features = 256 * 32,
		    .out_features = 256};

		if (!sampled(c))
			continue;
		check_scales_of(c, &s);
		/* Kernels decode one such group at a time, but several of 32: by lookup, and by the formula. */
		s.group_size = 96;
		s.in_features = 256 * 96;
		if (s.bits == 4 || s.bits == 7)
			check_scales_of(c, &s);
		s.scale_dtype = DTYPE_F16;
		s.group_size = 8;
		s.in_features = s.bits & 1 ? 256 * 8 : 1024 * 8; /* more groups than a kernel keeps */
		s.out_features = s.bits & 1 ? 256 : 64;
		s.indices = INDICES_ACT_ORDER;
		check_scales_of(c, &s);
	}
	group_end(c, "every 16-bit scale");
}

/* All 16-bit scales x all 16 zeros x all 16 codes, for the format that matters most. */
static void check_scales_zeros(struct check *c)
{
	struct spec s = {.in_features = 256 * 32,
	    .out_features = 256,
	    .group_size = 32,
	    .bits = 4,
	    .word_bits = 32,
	    .packing = PACKING_STREAM,
	    .zeros = ZEROS_V1,
	    .scale_dtype = DTYPE_F16};
	const struct rows rows = {0, s.out_features};
	struct matrix m;

	matrix_init(c, &m, &s);
	for (uint32_t i = 0; i < 65536; i++) {
		const uint16_t scale = i;

		memcpy((unsigned char *)m.q.scales + i * 2, &scale, 2);
	}
	for (size_t i = 0; i < (size_t)s.in_features * s.out_features; i++)
		m.codes[i] = i / s.out_features & 15;
	pack_weights(&m, (unsigned char *)m.q.qweight);
	for (unsigned zero = 0; zero < 16; zero++) {
		if (!sampled(c))
			continue;
		memset(m.zeros, zero, 65536);
		pack_zeros(&m, (unsigned char *)m.q.qzeros);
		check_levels(c, &m, rows, zero % 2 ? DTYPE_F16 : DTYPE_BF16);
		check_levels(c, &m, rows, zero % 2 ? DTYPE_BF16 : DTYPE_F16);
	}
	matrix_free(&m);
	group_end(c, "every fp16 scale, zero and 4-bit code");
}

/* --- Known bytes --- */

static void check_words(struct check *c, const uint32_t *words, unsigned bits, const uint8_t *values)
{
	struct qtensor q = {.in_features = 32,
	    .out_features = 1,
	    .groups = 1,
	    .group_size = 32,
	    .bits = bits,
	    .word_bits = 32,
	    .packing = PACKING_STREAM,
	    .zeros = ZEROS_V2,
	    .qweight = (const unsigned char *)words,
	    .qzeros = (const unsigned char *)words};
	bool ok = true;

	for (uint32_t i = 0; i < 32; i++)
		ok = ok && qtensor_code(&q, i, 0) == values[i];
	q.out_features = 32;
	for (uint32_t i = 0; i < 32; i++)
		ok = ok && qtensor_zero(&q, 0, i) == values[i];
	tell(c, ok, "known words");
}

static void check_vectors(struct check *c)
{
	static const struct {
		unsigned value;
		uint32_t words[3];
	} equal[] = {{1, {0x49249249, 0x92492492, 0x24924924}}, {3, {0xdb6db6db, 0xb6db6db6, 0x6db6db6d}},
	    {4, {0x24924924, 0x49249249, 0x92492492}}};
	static const uint32_t v1 = 0x7777773f;
	const unsigned char *word = (const unsigned char *)&v1;
	struct qtensor q = {.in_features = 8,
	    .out_features = 8,
	    .groups = 1,
	    .group_size = 8,
	    .bits = 4,
	    .word_bits = 32,
	    .packing = PACKING_STREAM,
	    .zeros = ZEROS_V1,
	    .qweight = word,
	    .qzeros = word};
	uint8_t values[32];

	for (size_t i = 0; i < ARRAY_SIZE(equal); i++) {
		memset(values, equal[i].value, sizeof(values));
		check_words(c, equal[i].words, 3, values);
	}
	/* z = (0, 5, 8, 8, ...) is 0x88888850; less 0x11111111, with the borrow: */
	for (uint32_t n = 0; n < 8; n++)
		tell(c, qtensor_zero(&q, 0, n) == (n == 0 ? 0 : n == 1 ? 5 : 8), "v1 zeros after a borrow");
	q.zeros = ZEROS_MIDDLE;
	tell(c, qtensor_zero(&q, 0, 3) == 8, "the middle zero");
	group_end(c, "known words");
}

void check_gptq(struct check *c)
{
	static const unsigned words[] = {32, 8, 16, 64};

	if (!c->plugin)
		check_vectors(c);
	for (size_t w = 0; w < ARRAY_SIZE(words); w++)
		for (unsigned bits = 2; bits <= 8; bits++)
			for (enum packing packing = 0; packing < 2; packing++)
				check_format(c, bits, packing, words[w]);
	check_scales(c);
	check_scales_zeros(c);
}
