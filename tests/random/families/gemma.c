/* SPDX-License-Identifier: MIT */

/* Gemma: signed codes with half of their range added, a scale for each row, or for blocks of an embedding's. */

#include "families.h"

static unsigned bits;
static struct memo overrides;
static bool any_override;

static void begin(struct mixture *x)
{
	static const unsigned char widths[] = {2, 4, 8};

	(void)x;
	bits = PICK(widths);
	any_override = false;
	memo_open(&overrides);
}

/* The width of a module: the default, or that of a pattern. */
static unsigned draw_bits(const char *module)
{
	static const unsigned char widths[] = {2, 4, 8};
	const unsigned own = PICK(widths);

	if (strspn(module, "abcdefghijklmnopqrstuvwxyz0123456789._") != strlen(module) || chance(60))
		return bits;
	fprintf(overrides.out, "%s\"", any_override ? ", " : "");
	for (const char *p = module; *p; p++)
		fprintf(overrides.out, *p == '.' ? "\\\\." : "%c", *p);
	fprintf(overrides.out, "$\": {\"num_bits\": %u}", own);
	any_override = true;
	return own;
}

/* A table of codes [rows, columns] and its values. */
static const struct weight *add_table(struct mixture *x, const char *module, const char *suffix, uint64_t in,
    uint64_t blocks)
{
	static const char *const types[] = {"F32"};
	const struct scales type = draw_scales(types, 1);
	const unsigned b = draw_bits(module), half = 1u << (b - 1);
	const uint64_t step = 8 * blocks, k = in ? div_up(in, step) * step : draw_size(step), n = draw_size(1);
	const bool embedding = strcmp(suffix, "weight") != 0;
	struct stored *codes =
	    add_bytes(x, say("%s.%s", module, suffix), b == 8 ? "I8" : "U8", 2, (const uint64_t[]){n, k * b / 8});
	const struct stored *scales = add_scales(x, say("%s.%s_scale", module, embedding ? "embedding" : "weight"),
	    &type, 2, (const uint64_t[]){n, blocks});
	struct weight *weight = add_weight(x, say("%s.weight", module), 2, (const uint64_t[]){n, k});

	for (uint64_t i = 0; i < n * k; i++) {
		const unsigned field = (unsigned)below(UINT64_C(1) << b);
		const int code = (int)field - (int)half;

		/* Bytes are signed. */
		put_bits(codes->data, i * b, b, b == 8 ? (unsigned)code & 255 : field);
		weight->values[i] = fl(scale_at(scales, i / k * blocks + i % k / (k / blocks)) * code);
	}
	note(x, say("Gemma %s %u bits, [%" PRIu64 ", %" PRIu64 "], %" PRIu64 " blocks", suffix, b, n, k, blocks));
	return weight;
}

static const struct weight *add(struct mixture *x, const char *module, uint64_t in)
{
	static const char *const hidden[] = {"output_activation_scale", "k_cache_scale", "v_cache_scale"};
	static const char *const types[] = {"F32", "BF16"};
	const struct scales type = draw_scales(types, COUNT(types));
	const struct weight *w = add_table(x, module, "weight", in, 1);

	add_scales(x, say("%s.input_activation_scale", module), &type, 0, NULL);
	if (chance(30))
		add_scales(x, say("%s.%s", module, PICK(hidden)), &type, 0, NULL);
	return w;
}

static const struct weight *add_embedding(struct mixture *x, const char *module, uint64_t in)
{
	return add_table(x, module, "embedding_quantized", in, chance(50) ? 1 : 1 + below(4));
}

static void end(struct mixture *x)
{
	const char *text = memo_close(&overrides);

	say_setting(x, say("\"num_bits\": %u", bits));
	if (any_override) {
		struct memo memo;

		memo_open(&memo);
		fprintf(memo.out, "\"module_quant_configs\": {%s}", text);
		say_setting(x, memo_close(&memo));
	}
}

const struct packer gemma = {"gemma", true, "gemma", NULL, begin, add, end};
const struct packer gemma_embedding = {"gemma", true, "gemma", NULL, begin, add_embedding, end};
