/* SPDX-License-Identifier: MIT */

/* Microscaling formats and NVFP4: elements of 4 or 6 bits, low bits first, and a scale for each group along a row. */

#include "families.h"

static const double fp4_values[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};

static double e2m1(unsigned code)
{
	return code & 8 ? -fp4_values[code & 7] : fp4_values[code & 7];
}

/* Two bits of exponent, three of fraction. */
static double e2m3(unsigned code)
{
	const unsigned exponent = code >> 3 & 3, fraction = code & 7;
	const double x = exponent ? (8.0 + fraction) / 8 * (1u << (exponent - 1)) : fraction / 8.0;

	return code & 32 ? -x : x;
}

static struct stored *add_codes(struct mixture *x, const char *name, const char *dtype, uint64_t rows, uint64_t bytes)
{
	struct stored *s = add_bytes(x, name, dtype, 2, (const uint64_t[]){rows, bytes});

	for (uint64_t i = 0; i < s->bytes; i++)
		s->data[i] = (unsigned char)any();
	return s;
}

/* ---- MXFP4 and MXFP6, a module each ---- */

static const struct weight *add_mx(struct mixture *x, const char *module, uint64_t in, unsigned bits)
{
	static const struct {
		const char *weight, *dtype, *scale, *scale_dtype;
	} spellings[] = {{"weight_packed", "U8", "weight_scale", "U8"}, {"weight", "U8", "weight_scale", "U8"},
	    {"weight", "I8", "scale", "F8_E8M0"}};
	const size_t how = bits == 4 ? below(COUNT(spellings)) : 0;
	const uint64_t n = draw_size(1), k = in ? div_up(in, 32) * 32 : draw_size(32), groups = k / 32;
	const struct scales type = draw_scales(&spellings[how].scale_dtype, 1);
	const struct stored *w =
	    add_codes(x, say("%s.%s", module, spellings[how].weight), spellings[how].dtype, n, k * bits / 8);
	const struct stored *s =
	    add_scales(x, say("%s.%s", module, spellings[how].scale), &type, 2, (const uint64_t[]){n, groups});
	struct weight *weight = add_weight(x, say("%s.weight", module), 2, (const uint64_t[]){n, k});

	for (uint64_t i = 0; i < n * k; i++) {
		const unsigned code = get_bits(w->data, i * bits, bits);

		weight->values[i] = (bits == 4 ? e2m1(code) : e2m3(code)) * scale_at(s, i / 32);
	}
	note(x, say("MXFP%u %s %s, [%" PRIu64 ", %" PRIu64 "]", bits, spellings[how].weight, w->dtype, n, k));
	return weight;
}

static const struct weight *add_mxfp4(struct mixture *x, const char *module, uint64_t in)
{
	return add_mx(x, module, in, 4);
}

static const struct weight *add_mxfp6(struct mixture *x, const char *module, uint64_t in)
{
	return add_mx(x, module, in, 6);
}

/* ---- gpt-oss: experts of a layer, transposed ---- */

static const struct weight *add_gptoss(struct mixture *x, const char *module, uint64_t in)
{
	static const char *const types[] = {"U8"};
	const struct scales type = draw_scales(types, 1);
	const uint64_t experts = 1 + below(3), rows = draw_size(1), groups = 1 + below(6), inputs = groups * 32;
	const char *name = say("%s.experts.gate_up_proj", module);
	struct stored *w = add_bytes(x, say("%s_blocks", name), "U8", 4, (const uint64_t[]){experts, rows, groups, 16});
	const struct stored *s =
	    add_scales(x, say("%s_scales", name), &type, 3, (const uint64_t[]){experts, rows, groups});
	struct weight *weight = add_weight(x, name, 3, (const uint64_t[]){experts, inputs, rows});

	(void)in;
	for (uint64_t i = 0; i < w->bytes; i++)
		w->data[i] = (unsigned char)any();
	for (uint64_t e = 0; e < experts; e++)
		for (uint64_t r = 0; r < rows; r++)
			for (uint64_t i = 0; i < inputs; i++) {
				const uint64_t row = e * rows + r;
				const unsigned byte = w->data[(row * groups + i / 32) * 16 + i % 32 / 2];

				weight->values[(e * inputs + i) * rows + r] =
				    e2m1(i % 2 ? byte >> 4 : byte & 15) * scale_at(s, row * groups + i / 32);
			}
	note(x, say("gpt-oss [%" PRIu64 ", %" PRIu64 ", %" PRIu64 "]", experts, inputs, rows));
	return weight;
}

/* ---- NVFP4 ---- */

static const struct weight *add_nvfp4(struct mixture *x, const char *module, uint64_t in)
{
	static const char *const types[] = {"F8_E4M3"}, *const wide[] = {"F32"};
	const bool divide = chance(50); /* compressed-tensors; else ModelOpt */
	const uint64_t n = draw_size(1), k = in ? div_up(in, 16) * 16 : draw_size(16), one = 1;
	const struct scales global_type = draw_scales(wide, 1);
	const struct stored *w = add_codes(x, say("%s.weight%s", module, divide ? "_packed" : ""), "U8", n, k / 2);
	struct stored *s = add_bytes(x, say("%s.weight_scale", module), types[0], 2, (const uint64_t[]){n, k / 16});
	const struct stored *g = divide ? add_scales(x, say("%s.weight_global_scale", module), &global_type, 1, &one)
	                                : add_scales(x, say("%s.weight_scale_2", module), &global_type, 0, NULL);
	struct weight *weight = add_weight(x, say("%s.weight", module), 2, (const uint64_t[]){n, k});

	for (uint64_t i = 0; i < s->bytes; i++)
		s->data[i] = (unsigned char)any();
	for (uint64_t i = 0; i < n * k; i++) {
		const double local = scale_at(s, i / 16), global = scale_at(g, 0);
		const double scale = fl(divide ? local / global : local * global);

		weight->values[i] = fl(e2m1(get_bits(w->data, i * 4, 4)) * scale);
	}
	if (chance(30))
		add_scales(x, say("%s.%s", module, divide ? "input_global_scale" : "input_scale"), &global_type,
		    divide ? 1 : 0, &one);
	note(x, say("NVFP4 %s, [%" PRIu64 ", %" PRIu64 "]", divide ? "divided" : "multiplied", n, k));
	return weight;
}

const struct packer mxfp4 = {"mxfp4", true, NULL, NULL, NULL, add_mxfp4, NULL};
const struct packer mxfp6 = {"mxfp6", true, NULL, NULL, NULL, add_mxfp6, NULL};
const struct packer gptoss = {"gptoss", false, NULL, NULL, NULL, add_gptoss, NULL};
const struct packer nvfp4 = {"nvfp4", true, NULL, NULL, NULL, add_nvfp4, NULL};
