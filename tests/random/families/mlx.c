/* SPDX-License-Identifier: MIT */

/* MLX affine, and the same as transformers' metal quantizer names it: a stream of codes along each row. */

#include "families.h"

static uint64_t size;
static unsigned bits;
static bool metal;
static struct memo overrides; /* of modules that differ */

static void begin(struct mixture *x)
{
	static const unsigned char sizes[] = {32, 64, 64, 128}, widths[] = {1, 2, 3, 4, 4, 5, 6, 8};

	size = PICK(sizes);
	bits = PICK(widths);
	metal = false;
	(void)x;
	memo_open(&overrides);
}

static void begin_metal(struct mixture *x)
{
	static const unsigned char widths[] = {2, 4, 8};

	begin(x);
	bits = PICK(widths);
	metal = true;
}

/* One module, or those of several experts in tensors of three dimensions. */
struct module {
	unsigned bits;
	uint64_t size, n, k;
	const struct stored *scales, *biases;
	struct stored *codes;
};

static void draw_module(struct module *m, const char *name, uint64_t in)
{
	static const unsigned char sizes[] = {32, 64, 128}, widths[] = {1, 2, 3, 4, 5, 6, 8};
	const bool own = !metal && chance(30);

	m->bits = own ? PICK(widths) : bits;
	m->size = own ? PICK(sizes) : size;
	m->k = in ? div_up(in, m->size) * m->size : m->size * (1 + below(4));
	m->n = draw_size(1);
	if (!own)
		return;
	fputs(", ", overrides.out);
	put_string(overrides.out, name);
	fprintf(overrides.out, ": {\"group_size\": %" PRIu64 ", \"bits\": %u%s}", m->size, m->bits,
	    chance(50) ? ", \"mode\": \"affine\"" : "");
}

/* Three dimensions, or the last two of them. */
static void add_tensors(struct mixture *x, struct module *m, const char *name, int ndim, uint64_t experts)
{
	static const char *const types[] = {"F16", "BF16", "BF16", "F32"};
	const struct scales type = draw_scales(types, COUNT(types));
	const uint64_t words[] = {experts, m->n, m->k * m->bits / 32}, groups[] = {experts, m->n, m->k / m->size};
	const int skip = 3 - ndim;

	m->codes = add_bytes(x, say("%s.weight", name), "U32", ndim, words + skip);
	m->scales = add_scales(x, say("%s.scales", name), &type, ndim, groups + skip);
	m->biases = add_scales(x, say("%s.%sbiases", name, metal ? "q" : ""), &type, ndim, groups + skip);
	note(x, say("MLX %u bits, [%" PRIu64 ", %" PRIu64 ", %" PRIu64 "], groups of %" PRIu64 ", %s", m->bits, experts,
		    m->n, m->k, m->size, type.dtype));
}

static void fill(const struct module *m, uint64_t expert, double *values)
{
	for (uint64_t r = 0; r < m->n; r++)
		for (uint64_t i = 0; i < m->k; i++) {
			const unsigned q = (unsigned)below(UINT64_C(1) << m->bits);
			const uint64_t row = expert * m->n + r, group = row * (m->k / m->size) + i / m->size;

			put_bits(m->codes->data, (row * m->k + i) * m->bits, m->bits, q);
			values[r * m->k + i] = fl(fl(q * scale_at(m->scales, group)) + scale_at(m->biases, group));
		}
}

static const struct weight *add(struct mixture *x, const char *module, uint64_t in)
{
	struct module m;
	struct weight *weight;

	draw_module(&m, module, in);
	add_tensors(x, &m, module, 2, 1);
	weight = add_weight(x, m.codes->name, 2, (const uint64_t[]){m.n, m.k});
	fill(&m, 0, weight->values);
	return weight;
}

/* mlx-lm stacks the experts of a layer; the model's class names each. */
static const struct weight *add_experts(struct mixture *x, const char *module, uint64_t in)
{
	static const char *const projections[] = {"gate_proj", "up_proj", "down_proj"};
	const char *projection = PICK(projections);
	const char *name = say("%s.mlp.switch_mlp.%s", module, projection);
	const uint64_t experts = 1 + below(11);
	struct weight *weight = NULL;
	struct module m;

	(void)in;
	draw_module(&m, name, 0);
	m.n = 1 + m.n % 40;
	add_tensors(x, &m, name, 3, experts);
	for (uint64_t e = 0; e < experts; e++) {
		weight = add_weight(x, say("%s.mlp.experts.%" PRIu64 ".%s.weight", module, e, projection), 2,
		    (const uint64_t[]){m.n, m.k});
		fill(&m, e, weight->values);
	}
	return weight;
}

static void end(struct mixture *x)
{
	const char *text = memo_close(&overrides), *mode = chance(50) ? ", \"mode\": \"affine\"" : "";
	struct memo memo;

	memo_open(&memo);
	fprintf(memo.out, "\"group_size\": %" PRIu64 ", \"bits\": %u%s%s", size, bits, mode, text);
	text = memo_close(&memo);
	if (metal) {
		say_setting(x, text);
		return;
	}
	memo_open(&memo);
	fprintf(memo.out, "\"quantization\": {%s}", text);
	if (chance(60))
		fprintf(memo.out, ", \"quantization_config\": {%s}", text);
	say_top(x, memo_close(&memo));
}

const struct packer mlx = {"mlx", true, "", NULL, begin, add, end};
const struct packer mlx_experts = {"mlxmoe", false, "", "qwen3_moe", begin, add_experts, end};
const struct packer mlx_metal = {"metal", true, "metal", NULL, begin_metal, add, end};
