/* SPDX-License-Identifier: MIT */

/* What names of tensors in adapters say. */

#include "lora/names.h"

#include <string.h>

#include "../test.h"

static const struct {
	const char *name;
	enum lora_role role;
	const char *module, *leaf, *who;
	unsigned depth;
} cases[] = {
    {"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight", LORA_A, "model.layers.0.mlp.up_proj", "", "", 0},
    {"base_model.model.x.lora_B.default.weight", LORA_B, "x", "", "default", 0},
    {"base_model.model.x.lora_B.bias", LORA_BIAS, "x", "", "", 0},
    {"base_model.x.lora_A.weight", LORA_A, "x", "", "", 0},
    {"model.x.lora_A.weight", LORA_A, "model.x", "", "", 0},
    {"base_model.model._orig_mod.a._fsdp_wrapped_module.b.lora_A.w.weight", LORA_A, "a.b", "", "w", 0},
    {"base_model.model.e.lora_embedding_A", LORA_EMBEDDING_A, "e", "", "", 0},
    {"base_model.model.e.lora_embedding_B.other", LORA_EMBEDDING_B, "e", "", "other", 0},
    {"base_model.model.x.lora_magnitude_vector", LORA_MAGNITUDE, "x", "", "", 0},
    {"base_model.model.x.lora_magnitude_vector.weight", LORA_MAGNITUDE, "x", "", "", 0},
    {"base_model.model.x.lora_magnitude_vector.default.weight", LORA_MAGNITUDE, "x", "", "default", 0},
    {"model.x.lora_a", LORA_MLX_A, "model.x", "", "", 0},
    {"model.x.lora_b", LORA_MLX_B, "model.x", "", "", 0},
    {"base_model.model.e.token_adapter.trainable_tokens_delta", LORA_TOKENS, "e", "", "", 0},
    {"base_model.model.e.token_adapter.base_layer.weight", LORA_REPLACES, "e", "weight", "", 1},
    {"base_model.model.e.token_adapter.base_layer.bias", LORA_UNKNOWN, "", "", "", 1},
    {"base_model.model.m.experts.base_layer.lora_A.weight", LORA_A, "m.experts", "", "", 1},
    {"base_model.model.m.experts.base_layer.base_layer.lora_A.weight", LORA_A, "m.experts", "", "", 2},
    {"base_model.model.x.base_layer.weight", LORA_REPLACES, "x", "weight", "", 1},
    {"base_model.model.lm_head.weight", LORA_REPLACES, "lm_head", "weight", "", 0},
    {"base_model.model.score.modules_to_save.default.weight", LORA_REPLACES, "score", "weight", "default", 0},
    {"base_model.model.score.modules_to_save.weight", LORA_REPLACES, "score", "weight", "", 0},
    {"base_model.model.score.original_module.weight", LORA_IGNORED, "", "", "", 0},
    {"base_model.model.x.lora_C.weight", LORA_UNKNOWN, "", "", "", 0},
    {"base_model.model.x.lora_A.a.b.weight", LORA_UNKNOWN, "", "", "", 0},
    {"base_model.model.x.lora_A", LORA_UNKNOWN, "", "", "", 0},
    {"base_model.model.x.token_adapter.weight", LORA_UNKNOWN, "", "", "", 0},
    {"", LORA_REPLACES, "", "", "", 0},
    {"lora_A.weight", LORA_A, "", "", "", 0},
    {"base_model.model", LORA_REPLACES, "", "", "", 0},
    {"...", LORA_REPLACES, "..", "", "", 0},
};

int main(void)
{
	struct arena arena = {0};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct lora_name n;

		CHECK(lora_name_parse(cases[i].name, &arena, &n) == 0);
		CHECK(n.role == cases[i].role);
		if (n.role == LORA_UNKNOWN || n.role == LORA_IGNORED)
			continue;
		CHECK(strcmp(n.module, cases[i].module) == 0);
		CHECK(strcmp(n.leaf, cases[i].leaf) == 0);
		CHECK(n.role == LORA_REPLACES || strcmp(n.who, cases[i].who) == 0);
		CHECK(n.depth == cases[i].depth);
	}
	arena_free(&arena);
	return test_done();
}
