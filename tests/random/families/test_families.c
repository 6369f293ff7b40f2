/* SPDX-License-Identifier: MIT */

/*
 * Random checkpoints of one or several families; see families.h. FAMILY=NAME draws only checkpoints with that family.
 */

#include "families.h"

static const struct packer *const packers[] = {&gptq, &fp8, &fp8_experts, &ct, &awq, &awq_gemv, &awq_fast, &bnb_4bit,
    &bnb_int8, &bnb_conv1d, &mxfp4, &mxfp6, &gptoss, &nvfp4, &mlx, &mlx_experts, &mlx_metal, &hqq, &gemma,
    &gemma_embedding};

#define PALETTE_MAX 4

/* The families of one checkpoint. */
struct palette {
	const struct packer *of[PALETTE_MAX];
	unsigned count;
};

static const struct packer *draw_first(void)
{
	const char *wanted = getenv("FAMILY");

	for (;;) {
		const size_t i = below(COUNT(packers));

		if (!wanted || strcmp(packers[i]->name, wanted) == 0)
			return packers[i];
	}
}

static bool go_together(const struct packer *a, const struct packer *b)
{
	if (a->model_type && b->model_type && strcmp(a->model_type, b->model_type) != 0)
		return false;
	return !a->label || !b->label || a == b || (a->begin == b->begin && a->end == b->end);
}

static void draw_palette(struct palette *p)
{
	const uint64_t more = chance(50) ? 1 + below(PALETTE_MAX - 1) : 0;

	p->of[0] = draw_first();
	p->count = 1;
	for (uint64_t i = 0; i < more; i++) {
		const size_t at = below(COUNT(packers));
		bool fits = true;

		for (unsigned k = 0; k < p->count; k++)
			fits &= go_together(packers[at], p->of[k]);
		if (fits)
			p->of[p->count++] = packers[at];
	}
}

static const struct packer *any_of(const struct palette *p)
{
	return p->of[below(p->count)];
}

static bool is_pure(const struct palette *p)
{
	for (unsigned i = 1; i < p->count; i++)
		if (p->of[i]->begin != p->of[0]->begin)
			return false;
	return true;
}

static bool is_first(const struct palette *p, unsigned i)
{
	for (unsigned k = 0; k < i; k++)
		if (p->of[k]->begin == p->of[i]->begin && p->of[k]->end == p->of[i]->end)
			return false;
	return true;
}

/* Families with a label come first: their configuration limits what others may omit. */
static void begin_all(struct mixture *x, const struct palette *p)
{
	x->model_type = "llama";
	for (unsigned i = 0; i < p->count; i++)
		if (p->of[i]->model_type)
			x->model_type = p->of[i]->model_type;
	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < p->count; i++) {
			const bool labelled = p->of[i]->label != NULL;

			if (labelled != (pass == 0) || !is_first(p, i))
				continue;
			if (labelled)
				x->method = p->of[i]->label;
			if (p->of[i]->begin)
				p->of[i]->begin(x);
		}
}

static void end_all(struct mixture *x, const struct palette *p)
{
	for (unsigned i = 0; i < p->count; i++)
		if (p->of[i]->end && is_first(p, i))
			p->of[i]->end(x);
}

static const char *draw_name(unsigned number)
{
	static const char *const names[] = {"self_attn.q_proj", "self_attn.k_proj", "mlp.down_proj", "mlp.up_proj",
	    "mlp.experts.3.w1", "mlp.experts.10.w2", "block_sparse_moe.experts.0.w3", "o_pr\"oj", "\xc3\xa9tage.x\\y"};

	if (chance(5))
		return say("lm_head%u", number);
	return say("model.layers.%u.%s", number, PICK(names));
}

/* q_proj, k_proj and v_proj of a layer, or gate_proj and up_proj: of any family each, or not quantized. */
static void add_joined(struct mixture *x, const struct palette *p)
{
	static const char *const names[][PARTS_MAX] = {{"q_proj", "k_proj", "v_proj"}, {"gate_proj", "up_proj"}};
	static const char *const at[] = {"self_attn", "mlp"}, *const joined[] = {"qkv_proj", "gate_up_proj"};
	const size_t kind = below(2);
	const unsigned plain = chance(10) ? 100 : 10;
	struct family_of_parts *f = &x->base.families[x->base.family_count++];
	const struct packer *main = any_of(p);
	uint64_t in = 0;

	*f = (struct family_of_parts){.joined = say("model.layers.100.%s.%s", at[kind], joined[kind])};
	for (; f->count < PARTS_MAX && names[kind][f->count]; f->count++) {
		struct part *part = &f->parts[f->count];
		const struct packer *packer = chance(70) ? main : any_of(p);

		part->name = say("model.layers.100.%s.%s", at[kind], names[kind][f->count]);
		if (chance(plain) || !packer->linear) {
			part->stored = add_plain_part(&x->base, part->name, in ? in : draw_size(1));
			in = part->stored->shape[1];
			continue;
		}
		part->weight = packer->add(x, part->name, chance(90) ? in : 0);
		in = part->weight->shape[1];
		part->bias = chance(30) ? add_bias(&x->base, part->name, part->weight->shape[0]) : NULL;
	}
}

static void add_module(struct mixture *x, const struct palette *p, unsigned number)
{
	const struct packer *packer = any_of(p);
	const char *module = draw_name(number);
	const struct weight *w = packer->add(x, module, 0);

	if (packer->linear && chance(30))
		add_bias(&x->base, module, w->shape[0]);
}

/* The places of configurations; a model whose tensors suffice may have none. */
static void add_configs(struct mixture *x)
{
	struct memo memo;

	memo_open(&memo);
	fprintf(memo.out, "{\"model_type\": \"%s\", \"rope_theta\": 10000.0", x->model_type);
	for (unsigned i = 0; i < x->top_count; i++)
		fprintf(memo.out, ", %s", x->tops[i]);
	if (x->method && *x->method) {
		fprintf(memo.out, ", \"quantization_config\": {\"quant_method\": \"%s\"", x->method);
		for (unsigned i = 0; i < x->setting_count; i++)
			fprintf(memo.out, ", %s", x->settings[i]);
		fprintf(memo.out, "}");
	}
	fprintf(memo.out, "%s}", chance(50) ? ", \"torch_dtype\": \"bfloat16\"" : "");
	add_config(&x->base, "config.json", memo_close(&memo));
	x->base.has_config = true;
}

static struct checkpoint *draw(void)
{
	static struct mixture x;
	struct palette p;

	x = (struct mixture){.base = {.no_codes = true}};
	draw_files(&x.base);
	draw_palette(&p);
	x.is_pure = is_pure(&p);
	begin_all(&x, &p);
	if (chance(45))
		add_joined(&x, &p);
	for (unsigned i = 0, count = 1 + (unsigned)below(3); i < count; i++)
		add_module(&x, &p, i);
	end_all(&x, &p);
	add_others(&x.base);
	expect_views(&x.base);
	add_configs(&x);
	return &x.base;
}

static void print(const struct checkpoint *c)
{
	const struct mixture *x = (const struct mixture *)c;

	for (unsigned i = 0; i < c->config_count; i++)
		printf("  %s: %s\n", c->configs[i].name, c->configs[i].text);
	for (unsigned i = 0; i < x->note_count; i++)
		printf("  %s\n", x->notes[i]);
}

int main(void)
{
	static const struct program program = {draw, NULL, print, 2000};

	return run_cases(&program);
}
