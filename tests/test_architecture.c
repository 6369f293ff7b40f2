/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "architecture.h"
#include "join.h"
#include "test.h"

static const struct architecture *find(const char *config, struct json **json)
{
	CHECK(json_parse((struct json_text){config, strlen(config)}, "config.json", json, NULL) == 0);
	return architecture_find(*json);
}

static void test_bias(void)
{
	struct json *json;
	const struct architecture *a = find("{\"model_type\":\"llama\"}", &json);

	CHECK(!architecture_has_bias(a, json, "model.layers.0.self_attn.o_proj"));
	json_free(json);
	a = find("{\"model_type\":\"llama\",\"attention_bias\":true}", &json);
	CHECK(architecture_has_bias(a, json, "model.layers.0.self_attn.o_proj"));
	CHECK(!architecture_has_bias(a, json, "model.layers.0.mlp.up_proj"));
	json_free(json);
	a = find("{\"text_config\":{\"model_type\":\"qwen2\"},\"model_type\":\"nobody\"}", &json);
	CHECK(architecture_has_bias(a, json, "model.layers.0.self_attn.q_proj"));
	CHECK(!architecture_has_bias(a, json, "model.layers.0.self_attn.o_proj"));
	json_free(json);
	a = find("{\"model_type\":\"something-new\"}", &json);
	CHECK(architecture_has_bias(a, json, "x.y"));
	json_free(json);
}

static void test_names(void)
{
	struct arena arena = {0};
	struct json *json;
	const struct architecture *a = find("{\"model_type\":\"mixtral\"}", &json);

	CHECK(!strcmp(architecture_rename(a, "model.layers.3.mlp.experts.7.gate_proj.weight", &arena),
	    "model.layers.3.block_sparse_moe.experts.7.w1.weight"));
	CHECK(!strcmp(architecture_rename(a, "model.layers.3.block_sparse_moe.experts.7.w1.weight", &arena),
	    "model.layers.3.block_sparse_moe.experts.7.w1.weight"));
	CHECK(!strcmp(architecture_rename(a, "model.layers.3.mlp.gate.weight", &arena),
	    "model.layers.3.block_sparse_moe.gate.weight"));
	json_free(json);
	a = find("{\"model_type\":\"gpt2\"}", &json);
	CHECK(architecture_keeps_orientation(a, "transformer.h.0.attn.c_attn"));
	CHECK(architecture_keeps_orientation(a, "transformer.wte") && !architecture_keeps_orientation(a, "lm_head"));
	json_free(json);
	a = find("{\"model_type\":\"gpt_bigcode\"}", &json);
	CHECK(!architecture_keeps_orientation(a, "transformer.h.0.attn.c_attn"));
	json_free(json);
	arena_free(&arena);
}

/* gate and up of one layer fit and are joined, with a bias on one side only; those of another do not. */
static void test_join(void)
{
	static const uint64_t wide[] = {6, 8}, narrow[] = {6, 4}, six[] = {6};
	static const struct st_tensor f = {.dtype = DTYPE_F16, .bytes = 96}, i = {.dtype = DTYPE_I64};
	struct tensor tensors[] = {
	    {.name = "a.mlp.gate_proj.bias", .shape = six, .ndim = 1, .stored = &f},
	    {.name = "a.mlp.gate_proj.weight", .shape = wide, .ndim = 2, .stored = &f},
	    {.name = "a.mlp.up_proj.weight", .shape = wide, .ndim = 2, .stored = &f},
	    {.name = "b.mlp.gate_proj.weight", .shape = wide, .ndim = 2, .stored = &f},
	    {.name = "b.mlp.up_proj.weight", .shape = narrow, .ndim = 2, .stored = &f},
	    {.name = "c.visual.mlp.gate_proj.weight", .shape = wide, .ndim = 2, .stored = &f},
	    {.name = "c.visual.mlp.up_proj.weight", .shape = wide, .ndim = 2, .stored = &f},
	    {.name = "d", .ndim = 0, .stored = &i},
	};
	struct source s = {.tensors = tensors, .tensor_count = 8};
	struct arena arena = {0};
	struct json *json;
	const struct architecture *a = find("{\"model_type\":\"phi3\"}", &json);
	const struct tensor *t;

	source_sort(&s);
	CHECK(s.float_count == 7);
	CHECK(join_tensors(&arena, &s, a->joins) == 0);
	CHECK(s.tensor_count == 7 && s.float_count == 6);
	t = source_find(&s, "a.mlp.gate_up_proj.weight");
	CHECK(t && t->part_count == 2 && t->shape[0] == 12 && t->shape[1] == 8 && t->ndim == 2);
	CHECK(t && !strcmp(t->parts[0]->name, "a.mlp.gate_proj.weight"));
	t = source_find(&s, "a.mlp.gate_up_proj.bias");
	CHECK(t && t->part_count == 2 && t->shape[0] == 12 && t->parts[0]->stored && !t->parts[1]->stored);
	CHECK(!source_find(&s, "a.mlp.up_proj.weight") && source_find(&s, "b.mlp.up_proj.weight"));
	CHECK(source_find(&s, "c.visual.mlp.up_proj.weight") && source_find(&s, "d"));
	json_free(json);
	arena_free(&arena);
}

int main(void)
{
	test_bias();
	test_names();
	test_join();
	return test_done();
}
