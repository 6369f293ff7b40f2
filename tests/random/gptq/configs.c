/* SPDX-License-Identifier: MIT */

/* The configurations of a GPTQ checkpoint. */

#include "gptq.h"

/* Writes a name as a pattern that matches nothing else in this checkpoint. */
static void put_pattern(FILE *out, const char *name)
{
	char pattern[1024], *to = pattern;

	for (; *name; *to++ = *name++)
		if (strchr(".\\+*?[](){}^$|", *name))
			*to++ = '\\';
	strcpy(to, "$");
	put_string(out, pattern);
}

/* Overrides for modules that differ. They repeat what shapes show, for readers that rely on them. */
static void put_overrides(FILE *out, const struct gptq *g)
{
	fprintf(out, g->family == FAMILY_AUTOROUND ? ", \"extra_config\": {" : ", \"dynamic\": {\"-:.*router\": {}");
	for (unsigned i = 0; i < g->module_count; i++) {
		const struct module *m = &g->modules[i];

		fprintf(out, g->family == FAMILY_AUTOROUND ? i ? "," : "" : ",");
		(g->family == FAMILY_AUTOROUND ? put_string : put_pattern)(out, m->name);
		fprintf(out, ": {\"bits\": %u, \"group_size\": %" PRId64 "}", m->bits, m->group_size);
	}
	putc('}', out);
}

static void put_label(FILE *out, const char *key, const char *label)
{
	if (label)
		fprintf(out, ", \"%s\": \"%s\"", key, label);
}

static char *quant_text(const struct gptq *g)
{
	static const char *const methods[] = {"auto-round", "intel/auto-round"};
	static const char *const bits[] = {"bits", "w_bit", "wbits"};
	const char *method = g->family == FAMILY_AUTOROUND ? PICK(methods) : NULL;
	struct memo memo;

	memo_open(&memo);
	fprintf(memo.out, "{\"desc_act\": %s", chance(50) ? "true" : "false");
	put_label(memo.out, "checkpoint_format", g->checkpoint_format);
	put_label(memo.out, "format", g->format);
	put_label(memo.out, "packing_format", g->packing_format);
	if (method || chance(60))
		put_label(memo.out, method || chance(80) ? "quant_method" : "method", method ? method : "gptq");
	if (g->says_bits)
		fprintf(memo.out, ", \"%s\": %u", chance(80) ? "bits" : PICK(bits), g->bits);
	if (g->says_group_size)
		fprintf(memo.out, ", \"%sgroup_size\": %" PRId64, chance(90) ? "" : "q_", g->group_size);
	if (g->says_sym && chance(90))
		fprintf(memo.out, ", \"sym\": %s", g->sym ? "true" : "false");
	else if (g->says_sym)
		fprintf(memo.out, ", \"zero_point\": %s", g->sym ? "false" : "true");
	if (g->version || chance(30))
		fprintf(memo.out,
		    ", \"damp_percent\": 0.01, \"meta\": {\"quantizer\": [\"gptqmodel:%s\"], \"v2\": false}",
		    g->version ? g->version : "7.7.0");
	if (g->mixed)
		put_overrides(memo.out, g);
	putc('}', memo.out);
	return memo_close(&memo);
}

/* Another configuration, which contradicts all settings of this checkpoint's own one, and has no others. */
static char *other_text(const struct gptq *g)
{
	struct memo memo;

	memo_open(&memo);
	fprintf(memo.out, "{\"desc_act\": true");
	if (g->says_bits)
		fprintf(memo.out, ", \"bits\": 6");
	if (g->says_group_size)
		fprintf(memo.out, ", \"group_size\": 24");
	if (g->says_sym)
		fprintf(memo.out, ", \"sym\": %s", g->sym ? "false" : "true");
	if (g->checkpoint_format || g->format || g->packing_format)
		fprintf(memo.out, ", \"checkpoint_format\": \"gptq_p\"");
	putc('}', memo.out);
	return memo_close(&memo);
}

/* The first of these files with a setting counts; later ones must not matter. */
void add_configs(struct gptq *g)
{
	static const char *const files[] = {"quantize_config.json", "quant_config.json", "quantization_config.json"};
	const unsigned places = g->base.has_config ? 5 : 3;
	const char *at[5] = {NULL};
	unsigned first = (unsigned)below(places);

	if (g->family != FAMILY_NONE) {
		at[first] = g->quant_text = quant_text(g);
		for (unsigned i = first + 1; i < places; i++)
			at[i] = chance(10) ? other_text(g) : NULL;
	}
	for (unsigned i = 0; i < 3; i++)
		if (at[i])
			add_config(&g->base, files[i], at[i]);
	if (g->base.has_config) {
		struct memo memo;

		memo_open(&memo);
		fprintf(memo.out, "{\"rope_theta\": 10000.0%s", chance(50) ? ", \"model_type\": \"llama\"" : "");
		if (at[3])
			fprintf(memo.out, ", \"quantization_config\": %s", at[3]);
		fprintf(memo.out, "%s", chance(50) ? ", \"torch_dtype\": \"bfloat16\"" : "");
		if (at[4])
			fprintf(memo.out, ", \"text_config\": {\"quantization_config\": %s}", at[4]);
		fprintf(memo.out, "}");
		add_config(&g->base, "config.json", memo_close(&memo));
	}
}
