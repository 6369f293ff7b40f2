/* SPDX-License-Identifier: MIT */

/*
 * AWQ: matrices packed as AutoAWQ's writers do, kernels against the reference, and the reference against exact
 * arithmetic of doubles, rounded to fp32 after each step and then to the output. Codes and zeros meet every 16-bit
 * scale.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rects.h"

enum { AWQ_IN_MAX = 4096, AWQ_ELEMENTS_MAX = 1 << 20 };

static const char *const awq_names[AWQ_LAYOUTS] = {"GEMM", "GEMV", "GEMV fast"};

/* A matrix before it is packed. */
struct awq_matrix {
	struct awq_tensor t;
	uint32_t groups;
	uint8_t *codes; /* [out_features, in_features] */
	uint8_t *zeros; /* [out_features, groups]; GEMV fast: unused */
};

/* ---- writers ---- */

static void awq_put_nibble(unsigned char *words, size_t nibble, unsigned value)
{
	words[nibble / 2] |= (unsigned char)(value << nibble % 2 * 4);
}

/* AutoAWQ's order_map: the codes in nibbles 0, 1, 2, ... of a word. */
static void awq_pack_columns(unsigned char *words, uint32_t n, const uint8_t *values, size_t step)
{
	static const unsigned char order[8] = {0, 2, 4, 6, 1, 3, 5, 7};

	for (uint32_t i = 0; i < n; i++)
		awq_put_nibble(words, i, values[(i / 8 * 8 + order[i % 8]) * step]);
}

static void awq_pack_gemm(const struct awq_matrix *m, unsigned char *qweight, unsigned char *qzeros)
{
	const size_t row = m->t.out_features / 2;

	for (uint32_t k = 0; k < m->t.in_features; k++)
		awq_pack_columns(qweight + k * row, m->t.out_features, m->codes + k, m->t.in_features);
	for (uint32_t g = 0; qzeros && g < m->groups; g++)
		awq_pack_columns(qzeros + g * row, m->t.out_features, m->zeros + g, m->groups);
}

static void awq_pack_gemv(const struct awq_matrix *m, unsigned char *qweight, unsigned char *qzeros)
{
	for (uint32_t n = 0; n < m->t.out_features; n++) {
		for (uint32_t k = 0; k < m->t.in_features; k++)
			awq_put_nibble(qweight + (size_t)n * (m->t.in_features / 2), k,
			    m->codes[(size_t)n * m->t.in_features + k]);
		for (uint32_t g = 0; qzeros && g < m->groups; g++)
			awq_put_nibble(qzeros + (size_t)n * (m->t.slots / 2), g, m->zeros[(size_t)n * m->groups + g]);
	}
}

/*
 * gemv_fast.py's pack_intweight: 32 inputs as [4, 4, 2] become [4, 2, 4] by two transpositions, rows are interleaved by
 * fours, 64 inputs of each, and four neighbours are a word.
 */
static void awq_pack_fast(const struct awq_matrix *m, unsigned char *qweight)
{
	const uint32_t in = m->t.in_features;

	for (uint32_t n = 0; n < m->t.out_features; n++)
		for (uint32_t base = 0; base < in; base += 32) {
			const size_t strip = (size_t)(n / 4) * 4 * in + base / 64 * 256 + n % 4 * 64 + base % 64;

			for (unsigned x = 0; x < 4; x++)
				for (unsigned y = 0; y < 4; y++)
					for (unsigned z = 0; z < 2; z++)
						awq_put_nibble(qweight, strip + y * 8 + z * 4 + x,
						    m->codes[(size_t)n * in + base + x * 8 + y * 2 + z]);
		}
}

/* ---- matrices ---- */

static uint64_t awq_scale(struct check *c, enum dtype dtype, bool usual)
{
	static const float odd[] = {
	    0, -0.0f, 0x1p-149f, 0x1p-126f, -0x1p-118f, 0x1p-24f, 0x1.fffffep127f, INFINITY, -INFINITY, NAN, 1};

	if (usual)
		return number_encode((below(c, 20) ? 1 : -1) * 0.001 * (1 + below(c, 99)), dtype);
	if (below(c, 3) == 0)
		return number_encode(odd[below(c, ARRAY_SIZE(odd))], dtype);
	if (below(c, 2))
		return number_encode(number_awkward(c), dtype);
	return rnd(c) & (dtype == DTYPE_F32 ? ~0u : 0xffffu);
}

static unsigned char *awq_floats(struct check *c, enum operand operand, size_t n, enum dtype dtype)
{
	const size_t bytes = dtype_bytes(dtype);
	unsigned char *floats = place(c, operand, n * bytes, 1);
	const bool usual = below(c, 2); /* most tensors have no NaN, inf and the like */

	for (size_t i = 0; i < n; i++) {
		const uint64_t bits = awq_scale(c, dtype, usual);

		memcpy(floats + i * bytes, &bits, bytes);
	}
	return floats;
}

static size_t awq_qweight_bytes(const struct awq_tensor *t)
{
	return (size_t)t->in_features * t->out_features / 2;
}

/* Draws codes, zeros and scales of a matrix whose sizes are known, and packs them. */
static void awq_matrix_make(struct check *c, struct awq_matrix *m, bool has_zeros)
{
	struct awq_tensor *t = &m->t;
	const size_t elements = (size_t)t->in_features * t->out_features, slots = (size_t)t->slots * t->out_features;
	unsigned char *qweight = memset(place(c, CODES, awq_qweight_bytes(t), 1), 0, awq_qweight_bytes(t));
	unsigned char *qzeros = NULL;

	m->groups = (uint32_t)ceil((double)t->in_features / t->group_size);
	m->codes = need(malloc(elements));
	m->zeros = need(malloc((size_t)m->groups * t->out_features));
	for (size_t i = 0; i < elements; i++)
		m->codes[i] = (uint8_t)below(c, 16);
	for (size_t i = 0; i < (size_t)m->groups * t->out_features; i++)
		m->zeros[i] = has_zeros ? (uint8_t)below(c, 16) : 8;
	t->scales = awq_floats(c, SCALES, slots, t->scale_dtype);
	if (t->layout == AWQ_GEMV_FAST)
		t->qzeros = awq_floats(c, ZEROS, slots, t->scale_dtype);
	else if (has_zeros)
		t->qzeros = qzeros = memset(place(c, ZEROS, slots / 2, 1), 0, slots / 2);
	if (t->layout == AWQ_GEMM)
		awq_pack_gemm(m, qweight, qzeros);
	else if (t->layout == AWQ_GEMV)
		awq_pack_gemv(m, qweight, qzeros);
	else
		awq_pack_fast(m, qweight);
	t->qweight = qweight;
}

static void awq_matrix_free(struct awq_matrix *m)
{
	free(m->codes);
	free(m->zeros);
}

static double awq_float_at(const struct awq_matrix *m, const unsigned char *floats, uint32_t n, uint32_t g)
{
	const struct awq_tensor *t = &m->t;
	const size_t i = t->layout == AWQ_GEMV ? (size_t)n * t->slots + g : (size_t)g * t->out_features + n;
	uint64_t bits = 0;

	memcpy(&bits, floats + i * dtype_bytes(t->scale_dtype), dtype_bytes(t->scale_dtype));
	return number_decode(bits, t->scale_dtype);
}

static uint64_t naive_awq(const void *matrix, uint32_t n, uint32_t k, enum dtype out)
{
	const struct awq_matrix *m = matrix;
	const uint32_t g = (k - k % m->t.group_size) / m->t.group_size;
	const int code = m->codes[(size_t)n * m->t.in_features + k];
	const double scale = awq_float_at(m, m->t.scales, n, g);

	if (m->t.layout == AWQ_GEMV_FAST)
		return number_encode(number_fp32(number_fp32(code * scale) + awq_float_at(m, m->t.qzeros, n, g)), out);
	return number_encode(number_fp32((code - m->zeros[(size_t)n * m->groups + g]) * scale), out);
}

/* ---- comparing ---- */

static void describe_awq(char *text, size_t size, const void *matrix)
{
	const struct awq_tensor *t = &((const struct awq_matrix *)matrix)->t;

	snprintf(text, size, "%s scales=%s group_size=%u%s", awq_names[t->layout], dtype_name(t->scale_dtype),
	    t->group_size, t->qzeros ? "" : " no zeros");
}

static void run_awq(const struct kernels *k, enum dtype out, void *dst, const void *matrix, const struct kernel_rect *r)
{
	const struct awq_tensor *t = &((const struct awq_matrix *)matrix)->t;

	k->awq.rows[t->layout][out](dst, t, r);
}

static bool same_awq(const struct kernels *a, const struct kernels *b, const void *matrix, enum dtype out)
{
	const enum awq_layout layout = ((const struct awq_matrix *)matrix)->t.layout;

	return a->awq.rows[layout][out] == b->awq.rows[layout][out];
}

static const struct rect_ops awq_ops = {run_awq, same_awq, naive_awq, describe_awq};

static struct rect_case awq_case(const struct awq_matrix *m)
{
	return (struct rect_case){&awq_ops, m, m->t.out_features, m->t.in_features};
}

/* ---- random shapes ---- */

static void awq_random_sizes(struct check *c, struct awq_tensor *t)
{
	static const uint16_t sizes[] = {16, 32, 64, 128},
			      ins[] = {1, 31, 32, 33, 64, 96, 127, 128, 129, 160, 256, 512};
	static const uint16_t outs[] = {1, 2, 3, 4, 5, 16, 17};
	const uint32_t in_step = t->layout == AWQ_GEMM ? 1 : t->layout == AWQ_GEMV ? 8 : 64;
	uint32_t groups;

	t->in_features = below(c, 10) ? pick(c, ins, ARRAY_SIZE(ins), 600) : 1 + below(c, AWQ_IN_MAX);
	t->in_features = (t->in_features + in_step - 1) / in_step * in_step;
	t->out_features = 8 * pick(c, outs, ARRAY_SIZE(outs), 30);
	if ((size_t)t->in_features * t->out_features > AWQ_ELEMENTS_MAX)
		t->out_features = 8;
	t->group_size = below(c, 5) ? pick(c, sizes, ARRAY_SIZE(sizes), 300) : t->in_features + below(c, 2) * 1000;
	groups = (uint32_t)ceil((double)t->in_features / t->group_size);
	t->slots = t->layout == AWQ_GEMM ? groups : (groups + 7) / 8 * 8 + below(c, 2) * 8;
}

static void check_awq_shapes(struct check *c, const struct awq_tensor *kind)
{
	char name[64];

	for (int i = 0; i < 80; i++) {
		struct awq_matrix m = {.t = *kind};
		struct rect_case k;
		struct kernel_rect r;

		if (!sampled(c))
			continue;
		awq_random_sizes(c, &m.t);
		awq_matrix_make(c, &m, m.t.layout == AWQ_GEMV_FAST || below(c, 4));
		k = awq_case(&m);
		r = random_rect(c, k.rows, k.columns);
		check_rect_outputs(c, &k, &r);
		awq_matrix_free(&m);
	}
	snprintf(name, sizeof(name), "AWQ %s, scales %s", awq_names[kind->layout], dtype_name(kind->scale_dtype));
	group_end(c, name);
}

/* ---- every code, zero and scale ---- */

/* A group of 16 codes for each of 4096 scales from `first` on, in 16 rows. */
static void check_awq_scales_from(struct check *c, enum awq_layout layout, enum dtype scale_dtype, uint32_t first)
{
	struct awq_matrix m = {.t = {.in_features = 4096,
				   .out_features = 16,
				   .group_size = 16,
				   .slots = 256,
				   .layout = layout,
				   .scale_dtype = scale_dtype}};
	const struct kernel_rect all = {0, 16, 0, 4096}, some = {below(c, 16), 1, 0, 4096};
	const struct rect_case k = awq_case(&m);
	unsigned char *scales;

	awq_matrix_make(c, &m, true);
	scales = (unsigned char *)m.t.scales;
	for (uint32_t i = 0; i < 4096; i++)
		memcpy(scales + (size_t)i * 2, &(uint16_t){(uint16_t)(first + i)}, 2);
	for (enum dtype out = 0; out < DTYPE_VIEWS; out++) {
		check_rect_levels(c, &k, &all, out);
		check_rect(c, &k, &some, out);
	}
	awq_matrix_free(&m);
}

/* The word of the specification: nibble i is i, so columns 0 to 7 are 0, 4, 1, 5, 2, 6, 3, 7. */
static void check_awq_word(struct check *c)
{
	static const uint32_t word = 0x76543210;
	static const unsigned char columns[8] = {0, 4, 1, 5, 2, 6, 3, 7};
	const struct awq_tensor t = {1, 8, 1, 1, AWQ_GEMM, DTYPE_F16, (const unsigned char *)&word,
	    (const unsigned char *)&word, (const unsigned char *)&word};

	for (uint32_t n = 0; n < 8; n++)
		tell(c, awq_code(&t, n, 0) == columns[n] && awq_zero(&t, n, 0) == columns[n], "AWQ's order of columns");
}

void check_awq(struct check *c)
{
	static const enum dtype dtypes[] = {DTYPE_F16, DTYPE_BF16, DTYPE_F32};

	check_awq_word(c);
	for (enum awq_layout layout = 0; layout < AWQ_LAYOUTS; layout++)
		for (size_t i = 0; i < ARRAY_SIZE(dtypes); i++)
			check_awq_shapes(c, &(struct awq_tensor){.layout = layout, .scale_dtype = dtypes[i]});
	for (enum awq_layout layout = 0; layout < AWQ_LAYOUTS; layout++)
		for (uint32_t first = 0; first < 65536; first += 4096) {
			if (!sampled(c))
				continue;
			check_awq_scales_from(c, layout, DTYPE_F16, first);
			check_awq_scales_from(c, layout, DTYPE_BF16, first);
		}
	group_end(c, "every 16-bit scale of AWQ");
}

/* ---- speed ---- */

void bench_awq(struct check *c, struct bench *b)
{
	static const struct awq_tensor kinds[] = {{.group_size = 128, .layout = AWQ_GEMM},
	    {.group_size = 32, .layout = AWQ_GEMM}, {.group_size = 128, .layout = AWQ_GEMV},
	    {.group_size = 128, .layout = AWQ_GEMV_FAST}};
	const size_t bytes = (size_t)BENCH_N * BENCH_K / 2, slots = BENCH_K / 32;
	unsigned char *qweight = need(malloc(bytes)), *floats = need(malloc(slots * BENCH_N * 2));

	fill(c, qweight, bytes);
	for (size_t i = 0; i < slots * BENCH_N; i++)
		memcpy(floats + i * 2, &(uint16_t){(uint16_t)(0x2000 + i % 0x400)}, 2);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct awq_matrix m = {.t = kinds[i]};
		const struct rect_case k = {&awq_ops, &m, BENCH_N, BENCH_K};
		struct awq_tensor *t = &m.t;
		char label[64];

		t->in_features = BENCH_K;
		t->out_features = BENCH_N;
		t->slots = BENCH_K / t->group_size;
		t->scale_dtype = DTYPE_F16;
		t->qweight = qweight;
		t->qzeros = t->scales = floats;
		snprintf(label, sizeof(label), "AWQ %-10s g=%u", awq_names[t->layout], t->group_size);
		bench_rects(c, b, &k, label);
	}
	free(qweight);
	free(floats);
}
