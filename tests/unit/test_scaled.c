/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "quant/scaled.h"
#include "../test.h"

struct spec {
	const char *name;
	enum dtype dtype;
	int ndim;
	bool taken;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct spec *)a)->name, ((const struct spec *)b)->name);
}

/* Returns what is found among these tensors: "WEIGHT SCALE", or "". */
static const char *found_among(const struct spec *specs, char out[256])
{
	struct st_tensor tensors[8];
	struct spec sorted[8];
	struct checkpoint c = {.tensors = tensors};
	struct scaled found;
	bool taken[8];

	while (c.tensor_count < 8 && specs[c.tensor_count].name) {
		sorted[c.tensor_count] = specs[c.tensor_count];
		c.tensor_count++;
	}
	qsort(sorted, c.tensor_count, sizeof(*sorted), by_name);
	for (size_t i = 0; i < c.tensor_count; i++) {
		tensors[i] = (struct st_tensor){
		    .name = sorted[i].name, .dtype = (uint8_t)sorted[i].dtype, .ndim = (uint8_t)sorted[i].ndim};
		taken[i] = sorted[i].taken;
	}
	*out = 0;
	if (scaled_find(&c, taken, &found) == 1)
		snprintf(out, 256, "%s %s", found.weight->name, found.scale->name);
	return out;
}

#define W "m.0.attn.q_proj.weight"

static void test_found(void)
{
	static const struct {
		struct spec specs[6];
		const char *found;
	} cases[] = {
	    {{{W, DTYPE_F8_E4M3, 2, 0}, {W "_scale", DTYPE_F32, 1, 0}}, W " " W "_scale"},
	    {{{W, DTYPE_F8_E4M3, 2, 0}, {W "_scale_inv", DTYPE_BF16, 2, 0}}, W " " W "_scale_inv"},
	    {{{W, DTYPE_I8, 2, 0}, {"m.0.attn.q_proj.scale", DTYPE_F16, 1, 0}}, W " m.0.attn.q_proj.scale"},
	    {{{W, DTYPE_I8, 2, 0}, {W "_wobble", DTYPE_F16, 1, 0}}, W " " W "_wobble"},
	    {{{W, DTYPE_I8, 2, 0}, {"m.0.attn.scale_of_q_proj", DTYPE_F16, 1, 0}}, W " m.0.attn.scale_of_q_proj"},
	    {{{W, DTYPE_I8, 2, 0}, {"zz/scales." W, DTYPE_F16, 1, 0}}, W " zz/scales." W},
	    {{{W, DTYPE_I8, 2, 0}, {"Scales.m.0.attn.q_proj", DTYPE_F16, 1, 0}}, W " Scales.m.0.attn.q_proj"},
	    {{{W, DTYPE_I8, 2, 0}, {"x_m.0.attn.q_proj_my-SCALE.7", DTYPE_F16, 1, 0}},
		W " x_m.0.attn.q_proj_my-SCALE.7"},
	    {{{W, DTYPE_U8, 2, 0}, {W "_scale", DTYPE_F8_E4M3, 2, 0}}, W " " W "_scale"},
	    {{{"a.weight", DTYPE_F8_E5M2, 2, 0}, {"elsewhere.descale", DTYPE_F32, 0, 0}}, "a.weight elsewhere.descale"},
	    {{{"w", DTYPE_F4, 2, 0}, {"s_scale", DTYPE_F8_E8M0, 2, 0}}, "w s_scale"},
	    {{{"e.embedding_quantized", DTYPE_U8, 2, 0}, {"e.scale", DTYPE_F32, 1, 0}},
		"e.embedding_quantized e.scale"},
	    /* No scale, or taken by a family, or bytes that are not weights. */
	    {{{W, DTYPE_F8_E4M3, 2, 0}, {"m.0.attn.q_proj.bias", DTYPE_F16, 1, 0}, {"m.norm.weight", DTYPE_F16, 1, 0}},
		""},
	    {{{W, DTYPE_F8_E4M3, 2, 0}, {"x.qweight", DTYPE_I32, 2, 1}, {"x.scales", DTYPE_F16, 2, 1}}, ""},
	    {{{W, DTYPE_F8_E4M3, 2, 1}, {W "_scale", DTYPE_F32, 1, 1}}, ""},
	    {{{"h.0.attn.bias", DTYPE_U8, 4, 0}, {"h.0.attn.masked_bias", DTYPE_F32, 0, 0},
		 {"logit_scale", DTYPE_F32, 0, 0}},
		""},
	    {{{W, DTYPE_I8, 2, 0}, {"b.logit_scale", DTYPE_F32, 0, 0}}, ""},
	    {{{W, DTYPE_F16, 2, 0}, {W "_scale", DTYPE_F32, 0, 0}}, ""},
	    {{{"layer_scale", DTYPE_F8_E4M3, 1, 0}}, ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char found[256];

		if (!CHECK(strcmp(found_among(cases[i].specs, found), cases[i].found) == 0))
			printf("  case %zu: \"%s\", expected \"%s\"\n", i, found, cases[i].found);
	}
}

int main(void)
{
	test_found();
	return test_done();
}
