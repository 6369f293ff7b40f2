/* SPDX-License-Identifier: MIT */

/*
 * Checks every kernel of every CPU level this machine has: each must give the bits of the C reference, and the
 * reference those of a second, naive implementation in this file, which packs known codes itself. Inputs and outputs
 * lie against pages that cannot be touched, at any alignment; outputs are poisoned. `--bench` times the same kernels
 * instead. `--accel=PLUGIN` has an accelerator plugin decode the same cases in their place (and timed beside them);
 * with `--emulated`, three times, with the threads of its kernels in another order each. `--stop` ends at the first
 * failure.
 */

#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kernel/kernels.h"
#include "kernel/plugin.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))

enum {
	ARENA_BYTES = 25 << 20, /* the largest operand there is */
	MARGIN = 64,            /* bytes around an output that must stay as they were */
	POISON = 0xa5,
};

/* Memory between two pages that cannot be touched. */
struct arena {
	unsigned char *start;
	unsigned char *end;
};

enum operand { QWEIGHT, QZEROS, SCALES, G_IDX, EXPECTED, OUTPUT, OPERANDS };

struct check {
	uint64_t random;
	enum cpu_level max;
	struct kernels kernels[CPU_LEVELS];
	const struct accel_plugin *plugin; /* or NULL */
	void *plugin_state;
	bool emulated; /* its device is tests/cuda */
	bool stop;     /* at the first failure */
	struct arena arena[OPERANDS];
	unsigned long passed, failed;
	unsigned long group_passed, group_failed;
};

/* What a matrix is made of; the rest is random. */
enum indices { INDICES_NONE, INDICES_RANDOM, INDICES_ACT_ORDER, INDICES_TRIVIAL, INDICES_COUNT };

struct spec {
	uint32_t in_features, out_features, group_size;
	unsigned bits, word_bits;
	enum packing packing;
	enum zeros zeros;
	enum dtype scale_dtype;
	enum indices indices;
};

/* A matrix as kernels see it, and the codes and zeros that it was packed from. */
struct matrix {
	struct spec spec;
	struct qtensor q;
	uint8_t *codes; /* [in_features, out_features] */
	uint8_t *zeros; /* [groups, out_features] */
};

static const char *const zeros_name[] = {"v1", "v2", "middle"};
static const char *const packing_name[] = {"stream", "planar"};
static const char *const indices_name[] = {"none", "random", "act-order", "trivial"};

/* --- Small things --- */

static uint32_t rnd(struct check *c)
{
	c->random ^= c->random << 13;
	c->random ^= c->random >> 7;
	c->random ^= c->random << 17;
	return c->random * 0x2545f4914f6cdd1dull >> 32;
}

static uint32_t below(struct check *c, uint32_t limit)
{
	return (uint64_t)rnd(c) * limit >> 32;
}

static void *need(void *p)
{
	if (p && p != MAP_FAILED)
		return p;
	perror("check_kernel");
	exit(1);
}

static void fill(struct check *c, void *p, size_t n)
{
	for (size_t i = 0; i < n; i += 4) {
		uint32_t x = rnd(c);

		memcpy((char *)p + i, &x, n - i < 4 ? n - i : 4);
	}
}

static void arena_init(struct arena *a, size_t bytes)
{
	const size_t page = sysconf(_SC_PAGESIZE);

	a->start = need(mmap(NULL, bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	a->start += page;
	a->end = a->start + bytes;
	if (mprotect(a->start, bytes, PROT_READ | PROT_WRITE))
		need(NULL);
}

/* Mostly against the page behind, sometimes against the page before, sometimes anywhere. */
static unsigned char *place(struct check *c, enum operand operand, size_t bytes, unsigned align)
{
	const struct arena *a = &c->arena[operand];
	const unsigned way = below(c, 4);

	if (bytes + MARGIN > (size_t)(a->end - a->start)) {
		fprintf(stderr, "check_kernel: a test needs %zu bytes\n", bytes);
		exit(1);
	}
	if (way == 0)
		return a->start;
	return a->end - bytes - (way == 1 ? below(c, MARGIN) / align * align : 0);
}

static void tell(struct check *c, bool ok, const char *what)
{
	c->group_passed += ok;
	c->group_failed += !ok;
	if (!ok)
		printf("  FAILED: %s\n", what);
	if (!ok && c->stop)
		exit(1);
}

static void group_end(struct check *c, const char *name)
{
	printf("%-44s %7lu passed, %lu failed\n", name, c->group_passed, c->group_failed);
	fflush(stdout);
	c->passed += c->group_passed;
	c->failed += c->group_failed;
	c->group_passed = c->group_failed = 0;
}

/* --- The second implementation: formats, written from their description --- */

/* Word i of a run of words that lie `stride` bytes apart. */
struct run {
	unsigned char *first;
	size_t stride;
	unsigned word_bits;
};

static void set_bits(const struct run *run, uint64_t bit, unsigned value, unsigned count)
{
	for (unsigned i = 0; i < count; i++, bit++) {
		unsigned char *word = run->first + bit / run->word_bits * run->stride;
		unsigned in_word = bit % run->word_bits;

		word[in_word / 8] &= ~(1 << in_word % 8);
		word[in_word / 8] |= (value >> i & 1) << in_word % 8;
	}
}

/* Value i of a run: one after the other, or in planes of 4, 2 and 1 bits of every 32 values. */
static void pack(const struct run *run, const struct spec *s, uint64_t i, unsigned value)
{
	static const unsigned char planes[9][4] = {
	    [2] = {2}, [3] = {2, 1}, [4] = {4}, [5] = {4, 1}, [6] = {4, 2}, [7] = {4, 2, 1}, [8] = {8}};
	uint64_t bit = i / 32 * 32 * s->bits;

	if (s->packing == PACKING_STREAM) {
		set_bits(run, i * s->bits, value, s->bits);
		return;
	}
	for (unsigned p = 0; planes[s->bits][p]; p++) {
		const unsigned width = planes[s->bits][p];

		set_bits(run, bit + i % 32 * width, value, width);
		value >>= width;
		bit += 32 * width;
	}
}

static uint64_t word_count(uint64_t values, const struct spec *s)
{
	return (values * s->bits + s->word_bits - 1) / s->word_bits;
}

static void pack_weights(struct matrix *m, unsigned char *qweight)
{
	const size_t bytes = m->spec.word_bits / 8, columns = m->spec.out_features;

	for (uint32_t n = 0; n < columns; n++) {
		const struct run column = {qweight + n * bytes, columns * bytes, m->spec.word_bits};

		for (uint32_t k = 0; k < m->spec.in_features; k++)
			pack(&column, &m->spec, k, m->codes[(size_t)k * columns + n]);
	}
}

/* v1 of 2, 4 and 8 bits: 1 is taken from every field of the finished word, and borrows run on. */
static void subtract_ones(unsigned char *word, unsigned word_bits, unsigned bits)
{
	for (unsigned bit = 0; bit < word_bits; bit += bits) {
		unsigned at = bit / 8, take = 1u << bit % 8;

		while (at < word_bits / 8) {
			const bool borrow = word[at] < take;

			word[at++] -= take;
			if (!borrow)
				break;
			take = 1;
		}
	}
}

static void pack_zeros(struct matrix *m, unsigned char *qzeros)
{
	const struct spec *s = &m->spec;
	const size_t bytes = s->word_bits / 8, per_row = word_count(s->out_features, s);
	const bool words = s->zeros == ZEROS_V1 && s->bits != 3;

	for (uint32_t g = 0; g < m->q.groups; g++) {
		const struct run row = {qzeros + g * per_row * bytes, bytes, s->word_bits};

		for (uint32_t n = 0; n < s->out_features; n++) {
			const unsigned zero = m->zeros[(size_t)g * s->out_features + n];

			pack(&row, s, n, s->zeros == ZEROS_V1 && !words ? zero + 7 : zero);
		}
		for (size_t i = 0; words && i < per_row; i++)
			subtract_ones(row.first + i * bytes, s->word_bits, s->bits);
	}
}

/* --- The second implementation: numbers --- */

struct number_format {
	int exp_bits, man_bits;
};

static const struct number_format number_formats[] = {
    [DTYPE_F16] = {5, 10}, [DTYPE_BF16] = {8, 7}, [DTYPE_F32] = {8, 23}, [DTYPE_F8_E4M3] = {4, 3},
    [DTYPE_F8_E5M2] = {5, 2}};

static double decode(uint64_t bits, enum dtype dtype)
{
	const struct number_format f = number_formats[dtype];
	const int exp = bits >> f.man_bits & ((1 << f.exp_bits) - 1), bias = (1 << (f.exp_bits - 1)) - 1;
	const double man = bits & ((1ull << f.man_bits) - 1), one = 1ull << f.man_bits;
	const double sign = bits >> (f.exp_bits + f.man_bits) & 1 ? -1 : 1;

	if (dtype == DTYPE_F8_E4M3 && (bits & 0x7f) == 0x7f)
		return (double)NAN;
	if (exp == (1 << f.exp_bits) - 1 && dtype != DTYPE_F8_E4M3)
		return man ? (double)NAN : sign * (double)INFINITY;
	return sign * ldexp(exp ? one + man : man, (exp ? exp : 1) - bias - f.man_bits);
}

/* Counts how many steps of the format fit into the value, to the nearest even number. */
static uint64_t encode(double value, enum dtype dtype)
{
	const struct number_format f = number_formats[dtype];
	const int bias = (1 << (f.exp_bits - 1)) - 1;
	const uint64_t infinity = ((1ull << f.exp_bits) - 1) << f.man_bits;
	const uint64_t sign = (uint64_t) !!signbit(value) << (f.exp_bits + f.man_bits);
	const double magnitude = fabs(value);
	double steps, whole;
	int exp;

	if (isnan(value))
		return infinity | 1ull << (f.man_bits - 1);
	if (isinf(value) || value == 0)
		return value == 0 ? sign : sign | infinity;
	frexp(magnitude, &exp);
	exp = exp - 1 > 1 - bias ? exp - 1 : 1 - bias;
	if (exp > bias)
		return sign | infinity;
	steps = ldexp(magnitude, f.man_bits - exp);
	whole = (double)(uint64_t)steps;
	whole += steps - whole > 0.5 || (steps - whole == 0.5 && (uint64_t)whole % 2);
	/* Steps from zero and bits of a format run alike, but for the exponent's field starting at 1 with a full step.
	 */
	return sign | (((uint64_t)(exp - 1 + bias) << f.man_bits) + (uint64_t)whole);
}

static double scale_at(const struct qtensor *q, size_t i)
{
	const size_t bytes = q->scale_dtype == DTYPE_F32 ? 4 : 2;
	uint32_t bits = 0;

	memcpy(&bits, q->scales + i * bytes, bytes);
	return decode(bits, q->scale_dtype);
}

/* The contract once more: an exact product, rounded to fp32 (which only F32 scales need), then to the output. */
static uint64_t naive_weight(const struct matrix *m, uint32_t k, uint32_t n, enum dtype out)
{
	const size_t columns = m->spec.out_features;
	const uint32_t g = m->q.g_idx ? m->q.g_idx[k] : k / m->spec.group_size;
	const int zero = m->spec.zeros == ZEROS_MIDDLE ? 1 << (m->spec.bits - 1) : m->zeros[g * columns + n];
	const double product = scale_at(&m->q, g * columns + n) * (m->codes[k * columns + n] - zero);

	return encode(decode(encode(product, DTYPE_F32), DTYPE_F32), out);
}

/* --- Matrices --- */

static uint32_t group_of(struct check *c, const struct spec *s, uint32_t k, uint32_t groups)
{
	/* As desc_act does it: the rank of k in some order, here multiplication by a number prime to K, by groups. */
	uint32_t step = s->in_features / 2 + 1, a, b, t;

	if (s->indices == INDICES_RANDOM)
		return below(c, groups);
	if (s->indices == INDICES_TRIVIAL)
		return k / s->group_size;
	for (;; step++) {
		for (a = step, b = s->in_features; b; t = a % b, a = b, b = t)
			;
		if (a == 1)
			return (uint64_t)k * step % s->in_features / s->group_size;
	}
}

static void random_scales(struct check *c, unsigned char *scales, size_t n, enum dtype dtype)
{
	const size_t bytes = dtype_bytes(dtype);

	fill(c, scales, n * bytes);
	if (below(c, 2))
		return;
	/* Like real ones: from 2^-12 to 2^-4, of either sign. */
	for (size_t i = 0; i < n; i++) {
		const double value = ldexp(below(c, 2) ? 1 : -1, -(int)below(c, 8) - 5) * (1 + below(c, 1000) / 1024.0);
		const uint64_t bits = encode(value, dtype);

		memcpy(scales + i * bytes, &bits, bytes);
	}
}

static void matrix_init(struct check *c, struct matrix *m, const struct spec *s)
{
	const uint32_t groups = (s->in_features - 1) / s->group_size + 1;
	const size_t weights = (size_t)s->in_features * s->out_features, scales = (size_t)groups * s->out_features;
	const size_t word = s->word_bits / 8, weight_bytes = word_count(s->in_features, s) * s->out_features * word;
	const size_t zero_bytes = groups * word_count(s->out_features, s) * word;
	unsigned char *qweight = place(c, QWEIGHT, weight_bytes, 1), *qzeros = place(c, QZEROS, zero_bytes, 1);
	unsigned char *scale = place(c, SCALES, scales * dtype_bytes(s->scale_dtype), 1);
	uint32_t *g_idx = (uint32_t *)place(c, G_IDX, s->in_features * 4, 4);

	*m = (struct matrix){.spec = *s, .codes = need(malloc(weights)), .zeros = need(malloc(scales))};
	m->q = (struct qtensor){s->in_features, s->out_features, groups, s->group_size, s->bits, s->word_bits,
	    s->packing, s->zeros, s->scale_dtype, qweight, s->zeros == ZEROS_MIDDLE ? NULL : qzeros, scale,
	    s->indices ? g_idx : NULL};
	fill(c, qweight, weight_bytes); /* what tails of words hold must not matter */
	fill(c, qzeros, zero_bytes);
	random_scales(c, scale, scales, s->scale_dtype);
	for (size_t i = 0; i < weights; i++)
		m->codes[i] = below(c, 1u << s->bits);
	for (size_t i = 0; i < scales; i++)
		m->zeros[i] = below(c, 1u << s->bits);
	for (uint32_t k = 0; s->indices && k < s->in_features; k++)
		g_idx[k] = group_of(c, s, k, groups);
	pack_weights(m, qweight);
	if (s->zeros != ZEROS_MIDDLE)
		pack_zeros(m, qzeros);
}

static void matrix_free(struct matrix *m)
{
	free(m->codes);
	free(m->zeros);
}

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

/* True if the bytes around an output, as far as there are any, still are poison. */
static bool margins_intact(const struct arena *a, const unsigned char *out, size_t bytes)
{
	for (const unsigned char *p = out - a->start > MARGIN ? out - MARGIN : a->start; p < out; p++)
		if (*p != POISON)
			return false;
	for (const unsigned char *p = out + bytes; p < a->end && p < out + bytes + MARGIN; p++)
		if (*p != POISON)
			return false;
	return true;
}

static unsigned char *place_output(struct check *c, size_t bytes)
{
	const struct arena *a = &c->arena[OUTPUT];
	unsigned char *out = place(c, OUTPUT, bytes, 1);
	unsigned char *from = out - a->start > MARGIN ? out - MARGIN : a->start;
	unsigned char *to = a->end - (out + bytes) > MARGIN ? out + bytes + MARGIN : a->end;

	memset(from, POISON, to - from);
	return out;
}

static void compare(struct check *c, const unsigned char *out, const unsigned char *expected, size_t bytes,
    const char *what)
{
	char text[512];
	size_t i = 0;

	if (!memcmp(out, expected, bytes)) {
		snprintf(text, sizeof(text), "%s: bytes around the output changed", what);
		tell(c, margins_intact(&c->arena[OUTPUT], out, bytes), text);
		return;
	}
	while (out[i] == expected[i])
		i++;
	i &= ~(size_t)1;
	snprintf(text, sizeof(text), "%s: at byte %zu of %zu %02x%02x, expected %02x%02x", what, i, bytes, out[i + 1],
	    out[i], expected[i + 1], expected[i]);
	tell(c, false, text);
}

/* As a reader has it: pieces are copied for the plugin, which may keep the matrix. */
static int copy_plainly(void *ctx, const struct accel_copy *what)
{
	(void)ctx;
	accel_copy_run(what);
	return 0;
}

/* Twice if it may be kept and is small: the second time it is there already. */
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

/* Threads of a GPU run in any order; those that tests/cuda emulates do as they are told. */
static void check_plugin(struct check *c, const struct matrix *m, struct rows r, enum dtype out_dtype)
{
	static const char *const orders[] = {"forward", "reversed", "shuffled"};

	for (size_t i = 0; i < (c->emulated ? ARRAY_SIZE(orders) : 1); i++) {
		if (c->emulated)
			setenv("FAKE_CUDA", orders[i], 1);
		run_plugin(c, m, r, out_dtype);
	}
}

/* Every level that has a kernel of its own for this matrix; or the plugin. */
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

/* The reference in c->arena[EXPECTED] against the naive implementation. */
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

/* Some of the inputs of some rows, where the matrix can be cut, against those of whole rows. */
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

/* Rows of the matrix as it is packed, against what all rows of the other orientation say. */
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

static uint32_t pick(struct check *c, const uint16_t *of, size_t count, uint32_t limit)
{
	return below(c, 3) ? of[below(c, count)] : below(c, limit) + 1;
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
		s->in_features += 300; /* more groups than a kernel keeps at hand, at times */
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
		if (s.zeros == ZEROS_V1 && zeros_known)
			continue;
		random_shape(c, &s);
		check_spec(c, &s);
	}
	snprintf(name, sizeof(name), "%u-bit %s, %u-bit words", bits, packing_name[packing], word_bits);
	group_end(c, name);
}

/* --- Every scale --- */

/* 65536 (group, column) pairs get all scales; codes and zeros are shifted so that every pair of them is met. */
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

		check_scales_of(c, &s);
		/* Kernels take one such group at a time, but several of 32: a look-up, and the formula. */
		s.group_size = 96;
		s.in_features = 256 * 96;
		if (s.bits == 4 || s.bits == 7)
			check_scales_of(c, &s);
		s.scale_dtype = DTYPE_F16;
		s.group_size = 8;
		s.in_features = s.bits & 1 ? 256 * 8 : 1024 * 8; /* more groups than a kernel keeps at hand */
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
	tell(c, ok, "words of formats.md, section 1");
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

/* --- Casts --- */

static void check_cast(struct check *c, enum dtype from, enum dtype to, const void *src, size_t n)
{
	const size_t bytes = n * dtype_bytes(to);
	unsigned char *in = place(c, QWEIGHT, n * dtype_bytes(from), 1);
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

/* Casts n elements at src, all and some of them, and compares with the naive implementation. */
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
				bits = encode(from == DTYPE_F64 ? value : decode(bits, from), to);
			memcpy(expected + i * bytes, &bits, bytes);
		}
		check_cast(c, from, to, src, n);
		memmove(expected, expected + start * bytes, part * bytes);
		check_cast(c, from, to, (const char *)src + start * from_bytes, part);
	}
}

/* A double near what halves a step of some format: where a second rounding would show. */
static double awkward(struct check *c)
{
	const enum dtype near = below(c, DTYPE_VIEWS);
	const double value = decode(near == DTYPE_F32 ? rnd(c) : rnd(c) & 0xffff, near);
	const double step = ldexp(1, (int)below(c, 60) - 59);

	return value * (1 + ldexp(1, -number_formats[near].man_bits - (int)below(c, 3))) *
	       (1 + (below(c, 2) ? step : -step));
}

static void check_casts(struct check *c)
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
			doubles[i] = awkward(c);
		if (i % 4)
			floats[i] = (float)awkward(c);
	}
	check_casts_of(c, DTYPE_F32, floats, COUNT);
	check_casts_of(c, DTYPE_F64, doubles, COUNT);
	free(halves);
	free(floats);
	free(doubles);
	group_end(c, "casts");
}

/* --- Names of levels --- */

static void check_names(struct check *c)
{
	enum cpu_level level;

	for (enum cpu_level i = CPU_C; i <= cpu_detect(); i++)
		tell(c, cpu_parse(cpu_name(i), &level) == 0 && level == i, cpu_name(i));
	tell(c, cpu_parse("mmx", &level) == -EINVAL, "mmx is no level");
#if !defined(__aarch64__)
	tell(c, cpu_parse("neon", &level) == -ENOTSUP, "neon elsewhere");
#else
	tell(c, cpu_parse("avx2", &level) == -ENOTSUP, "avx2 elsewhere");
#endif
	group_end(c, "CPU levels");
}

static void check_all(struct check *c)
{
	static const unsigned words[] = {32, 8, 16, 64};

	if (!c->plugin) {
		check_names(c);
		check_vectors(c);
		check_casts(c);
	}
	for (size_t w = 0; w < ARRAY_SIZE(words); w++)
		for (unsigned bits = 2; bits <= 8; bits++)
			for (enum packing packing = 0; packing < 2; packing++)
				check_format(c, bits, packing, words[w]);
	check_scales(c);
	check_scales_zeros(c);
	printf("%lu passed, %lu failed\n", c->passed, c->failed);
}

/* --- Speed --- */

enum {
	BENCH_K = 4096,
	BENCH_N = 11008,
	BENCH_BLOCK = 1 << 20,  /* what FUSE asks for at a time */
	BENCH_FLUSH = 96 << 20, /* written to empty the caches of what was there */
	BENCH_REPEAT = 4,
};

struct bench {
	struct qtensor q;
	bool as_packed;           /* rows are inputs */
	unsigned char *from, *to; /* as large as the largest view */
	unsigned char *block;
	unsigned char *flush;
};

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void bench_flush(struct bench *b)
{
	static const int anything = 1;

	for (size_t i = 0; i < BENCH_FLUSH; i += 64)
		b->flush[i] += anything;
}

static double bench_memcpy(struct bench *b, size_t bytes)
{
	double start;

	bench_flush(b);
	start = seconds();
	memcpy(b->to, b->from, bytes);
	return seconds() - start;
}

/* The first rows of the matrix into one buffer that is used again and again, as a reader of the mount has it. */
static double bench_dequant(struct bench *b, gptq_fn *kernel, uint32_t rows, size_t row_bytes)
{
	const uint32_t step = BENCH_BLOCK / row_bytes;
	double start;

	bench_flush(b);
	start = seconds();
	for (uint32_t row = 0; row < rows; row += step)
		kernel(b->block, &b->q, row, rows - row < step ? rows - row : step);
	return seconds() - start;
}

static gptq_fn *bench_choice(const struct check *c, const struct bench *b, enum cpu_level level, enum dtype out)
{
	return b->as_packed ? gptq_inputs(&c->kernels[level].gptq, &b->q, out)
	                    : gptq_rows(&c->kernels[level].gptq, &b->q, out);
}

/* Best times, memcpy and kernel by turns, because the speed of memory changes from second to second. */
static void bench_kernel(struct check *c, struct bench *b, enum cpu_level level, enum dtype out)
{
	const uint32_t all = b->as_packed ? BENCH_K : BENCH_N, rows = level == CPU_C ? 32 : all;
	const size_t row_bytes = (size_t)BENCH_K * BENCH_N / all * dtype_bytes(out);
	double copy = 1e9, kernel = 1e9, t;

	for (int i = 0; i < BENCH_REPEAT; i++) {
		t = bench_memcpy(b, all * row_bytes) / all;
		copy = t < copy ? t : copy;
		t = bench_dequant(b, bench_choice(c, b, level, out), rows, row_bytes) / rows;
		kernel = t < kernel ? t : kernel;
	}
	printf("%-10s %u-bit %-6s g=%-5u %-9s %-4s %8.2f %8.2f %7.3f\n", cpu_name(level), b->q.bits,
	    packing_name[b->q.packing], b->q.group_size,
	    b->as_packed ? "as packed"
	    : b->q.g_idx ? "act-order"
			 : "",
	    dtype_name(out), row_bytes / kernel / 1e9, row_bytes / copy / 1e9, copy / kernel);
	fflush(stdout);
}

/* The same by the plugin, which may keep the matrix: from memory to memory, over whatever is between. */
static void bench_plugin(struct check *c, struct bench *b, enum dtype out)
{
	const size_t row_bytes = BENCH_K * dtype_bytes(out);
	const uint32_t step = BENCH_BLOCK / row_bytes;
	struct accel_job job = {ACCEL_GPTQ, &b->q, out, 0, step, row_bytes, b->block, true, copy_plainly, NULL};
	struct accel_text why = {""};
	double best = 1e9;
	int rc = 0;

	for (int i = 0; rc == 0 && i <= BENCH_REPEAT; i++) { /* the first time, it is sent there */
		const double start = seconds();

		for (job.row0 = 0; rc == 0 && job.row0 + step <= BENCH_N; job.row0 += step)
			rc = c->plugin->dequant(c->plugin_state, &job, &why);
		if (i && seconds() - start < best)
			best = seconds() - start;
	}
	c->plugin->forget(c->plugin_state, &b->q);
	printf("plugin     %u-bit %-6s g=%-5u %-9s %-4s %8.2f %s\n", b->q.bits, packing_name[b->q.packing],
	    b->q.group_size, b->q.g_idx ? "act-order" : "", dtype_name(out),
	    (double)(BENCH_N / step) * BENCH_BLOCK / best / 1e9, rc ? why.text : "");
	fflush(stdout);
}

static void bench_cast(struct check *c, struct bench *b, enum dtype from, enum dtype to)
{
	const size_t n = BENCH_BLOCK / dtype_bytes(to), count = (size_t)BENCH_N * BENCH_K / n;

	for (enum cpu_level level = CPU_C; level <= c->max; level++) {
		cast_fn *cast = c->kernels[level].cast[from][to];
		double start, t;

		if (level && cast == c->kernels[level - 1].cast[from][to])
			continue;
		bench_flush(b);
		start = seconds();
		for (size_t i = 0; i < count; i++)
			cast(b->block, b->from + i * n * dtype_bytes(from), n);
		t = seconds() - start;
		printf("%-10s cast %s to %-25s %8.2f\n", cpu_name(level), dtype_name(from), dtype_name(to),
		    count * BENCH_BLOCK / t / 1e9);
	}
}

static void bench_matrix(struct check *c, struct bench *b, const struct spec *s)
{
	const uint32_t groups = BENCH_K / s->group_size;
	uint32_t *g_idx = need(malloc(BENCH_K * sizeof(*g_idx)));
	unsigned char *qweight = need(malloc((size_t)BENCH_K * s->bits / 8 * BENCH_N));
	unsigned char *qzeros = need(malloc((size_t)groups * s->bits * BENCH_N / 8));
	unsigned char *scales = need(malloc((size_t)groups * BENCH_N * 2));

	fill(c, qweight, (size_t)BENCH_K * s->bits / 8 * BENCH_N);
	fill(c, qzeros, (size_t)groups * s->bits * BENCH_N / 8);
	for (size_t i = 0; i < (size_t)groups * BENCH_N; i++)
		memcpy(scales + i * 2, &(uint16_t){0x2000 + i % 0x400}, 2);
	for (uint32_t k = 0; k < BENCH_K; k++)
		g_idx[k] = below(c, groups);
	b->q = (struct qtensor){BENCH_K, BENCH_N, groups, s->group_size, s->bits, 32, s->packing, ZEROS_V2, DTYPE_F16,
	    qweight, qzeros, scales, s->indices ? g_idx : NULL};
	for (enum dtype out = 0; c->plugin && !b->as_packed && out < DTYPE_VIEWS; out++)
		bench_plugin(c, b, out);
	for (enum cpu_level level = CPU_C; level <= c->max; level++)
		for (enum dtype out = 0; out < DTYPE_VIEWS; out++)
			if (!level || bench_choice(c, b, level, out) != bench_choice(c, b, level - 1, out))
				bench_kernel(c, b, level, out);
	free(g_idx);
	free(qweight);
	free(qzeros);
	free(scales);
}

static void bench(struct check *c)
{
	static const struct spec specs[] = {
	    {.bits = 4, .group_size = 128},
	    {.bits = 4, .group_size = 128, .indices = INDICES_RANDOM},
	    {.bits = 4, .group_size = 64},
	    {.bits = 4, .group_size = 32},
	    {.bits = 2, .group_size = 128},
	    {.bits = 3, .group_size = 128},
	    {.bits = 3, .group_size = 128, .indices = INDICES_RANDOM},
	    {.bits = 8, .group_size = 128},
	    {.bits = 8, .group_size = 128, .indices = INDICES_RANDOM},
	    {.bits = 3, .group_size = 128, .packing = PACKING_PLANAR},
	    {.bits = 5, .group_size = 128, .packing = PACKING_PLANAR},
	    {.bits = 6, .group_size = 128, .packing = PACKING_PLANAR},
	    {.bits = 7, .group_size = 128, .packing = PACKING_PLANAR},
	    {.bits = 7, .group_size = 128, .packing = PACKING_PLANAR, .indices = INDICES_RANDOM},
	};
	const size_t bytes = (size_t)BENCH_N * BENCH_K * 4;
	struct bench b = {.from = need(malloc(bytes)), .to = need(malloc(bytes))};

	b.block = need(aligned_alloc(64, BENCH_BLOCK));
	b.flush = need(calloc(1, BENCH_FLUSH));
	fill(c, b.from, bytes);
	memset(b.to, 0, bytes);
	printf("K=%u N=%u, one thread, blocks of %u KiB, cold input; output and memcpy in GB/s, and their ratio\n",
	    BENCH_K, BENCH_N, BENCH_BLOCK >> 10);
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++)
		bench_matrix(c, &b, &specs[i]);
	b.as_packed = true;
	bench_matrix(c, &b, &specs[0]);
	for (enum dtype from = 0; from <= DTYPE_F32; from++)
		for (enum dtype to = 0; to < DTYPE_VIEWS; to++)
			bench_cast(c, &b, from, to);
	free(b.from);
	free(b.to);
	free(b.block);
	free(b.flush);
}

static void load_plugin(struct check *c, const char *path)
{
	const struct accel_config config = {(uint64_t)64 << 20};
	struct accel_text text = {"cannot be opened"};
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	c->plugin = library ? dlsym(library, ACCEL_SYMBOL) : NULL;
	if (!c->plugin || c->plugin->open(&config, &c->plugin_state, &text)) {
		fprintf(stderr, "check_kernel: %s: %s\n", path, library ? text.text : dlerror());
		exit(1);
	}
	printf("%s\n", text.text);
}

int main(int argc, char **argv)
{
	struct check *c = need(calloc(1, sizeof(*c)));
	unsigned long long seed = (unsigned long long)time(NULL) * 1000 + getpid() % 1000;
	bool timing = false;
	int failed;

	c->max = cpu_detect();
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--bench"))
			timing = true;
		else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
			seed = strtoull(argv[++i], NULL, 0);
		else if (!strncmp(argv[i], "--accel=", 8))
			load_plugin(c, argv[i] + 8);
		else if (!strcmp(argv[i], "--emulated"))
			c->emulated = true;
		else if (!strcmp(argv[i], "--stop"))
			c->stop = true;
		else if (strncmp(argv[i], "--cpu=", 6) || cpu_parse(argv[i] + 6, &c->max)) {
			fprintf(stderr,
			    "usage: check_kernel [--seed N] [--cpu=LEVEL] [--accel=PLUGIN [--emulated]] [--stop] [--bench]\n");
			return 1;
		}
	}
	printf("check_kernel --seed %llu --cpu=%s\n", seed, cpu_name(c->max));
	c->random = seed * 2 + 1;
	for (enum cpu_level level = CPU_C; level <= c->max; level++)
		kernels_init(&c->kernels[level], level);
	for (unsigned i = 0; i < OPERANDS; i++)
		arena_init(&c->arena[i], ARENA_BYTES);
	if (timing)
		bench(c);
	else
		check_all(c);
	failed = c->failed != 0;
	if (c->plugin)
		c->plugin->close(c->plugin_state);
	free(c);
	return failed;
}
