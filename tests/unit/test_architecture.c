/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "tensor/architecture.h"
#include "tensor/encoding.h"
#include "tensor/join.h"
#include "../test.h"

static const struct architecture *find(const char *config, struct json **json)
{
	CHECK(json_parse((struct json_text){config, strlen(config)}, "config.json", json, NULL) == 0);
	return architecture_find(*json);
}

static bool has_bias(const struct architecture *a, const struct json *config, const char *module)
{
	struct biases biases;

	architecture_biases(config, &biases);
	return architecture_has_bias(a, &biases, module);
}

static void test_bias(void)
{
	struct json *json;
	const struct architecture *a = find("{\"model_type\":\"llama\"}", &json);

	CHECK(!has_bias(a, json, "model.layers.0.self_attn.o_proj"));
	json_free(json);
	a = find("{\"model_type\":\"llama\",\"attention_bias\":true}", &json);
	CHECK(has_bias(a, json, "model.layers.0.self_attn.o_proj"));
	CHECK(!has_bias(a, json, "model.layers.0.mlp.up_proj"));
	json_free(json);
	a = find("{\"text_config\":{\"model_type\":\"qwen2\"},\"model_type\":\"nobody\"}", &json);
	CHECK(has_bias(a, json, "model.layers.0.self_attn.q_proj"));
	CHECK(!has_bias(a, json, "model.layers.0.self_attn.o_proj"));
	json_free(json);
	a = find("{\"model_type\":\"something-new\"}", &json);
	CHECK(has_bias(a, json, "x.y"));
	json_free(json);
}

/* Names of transformers 5 in memory, and those of the classes of transformers 4.57 (modeling_X.py). */
static void test_experts(void)
{
	static const struct {
		const char *config, *saved, *hub;
	} cases[] = {
	    {"{\"model_type\":\"phimoe\"}", "model.layers.0.mlp.experts.15.up_proj.weight",
		"model.layers.0.block_sparse_moe.experts.15.w3.weight"},
	    {"{\"model_type\":\"phimoe\"}", "model.layers.0.mlp.router.weight",
		"model.layers.0.block_sparse_moe.gate.weight"},
	    {"{\"model_type\":\"minimax\"}", "model.layers.0.mlp.experts.1.down_proj.weight",
		"model.layers.0.block_sparse_moe.experts.1.w2.weight"},
	    {"{\"model_type\":\"minimax_m2\"}", "model.layers.0.mlp.e_score_correction_bias",
		"model.layers.0.block_sparse_moe.e_score_correction_bias"},
	    {"{\"model_type\":\"lfm2_moe\"}", "model.layers.2.feed_forward.experts.3.gate_proj.weight",
		"model.layers.2.feed_forward.experts.3.w1.weight"},
	    {"{\"model_type\":\"lfm2_moe\"}", "model.layers.0.feed_forward.w1.weight",
		"model.layers.0.feed_forward.w1.weight"},
	    {"{\"model_type\":\"ernie4_5_moe\"}", "model.layers.1.mlp.gate.moe_statics.e_score_correction_bias",
		"model.layers.1.mlp.moe_statics.e_score_correction_bias"},
	};
	struct arena arena = {0};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct json *json;
		const struct architecture *a = find(cases[i].config, &json);

		CHECK(!strcmp(architecture_rename(a, cases[i].saved, &arena), cases[i].hub));
		CHECK(!strcmp(architecture_rename(a, cases[i].hub, &arena), cases[i].hub));
		json_free(json);
	}
	arena_free(&arena);
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
	arena_free(&arena);
}

static bool keeps(const char *config, const char *module, int64_t in, int64_t out)
{
	struct tables tables;
	struct json *json;
	const struct architecture *a = find(config, &json);

	architecture_tables(json, &tables);
	json_free(json);
	return architecture_keeps_orientation(a, &tables, (struct linear){module, in, out});
}

static void test_orientation(void)
{
	static const char gpt2[] = "{\"model_type\":\"gpt2\"}";
	static const char mamba[] = "{\"model_type\":\"mamba2\",\"vocab_size\":50288,\"hidden_size\":2560}";
	static const char gemma[] = "{\"text_config\":{\"vocab_size\":262400,\"vocab_size_per_layer_input\":262144,"
				    "\"hidden_size\":2048,\"max_position_embeddings\":32768}}";
	static const char speech[] = "{\"hidden_size\":1024,\"num_attention_heads\":16,\"head_dim\":128,"
				     "\"speech_config\":{\"codebook_size\":2048}}";
	static const char opt[] = "{\"vocab_size\":50272,\"max_position_embeddings\":2048,\"hidden_size\":2048}";

	CHECK(keeps(gpt2, "transformer.h.0.attn.c_attn", 768, 2304));
	CHECK(keeps(gpt2, "transformer.wte", 50257, 768) && !keeps(gpt2, "lm_head", 768, 50257));
	CHECK(!keeps("{\"model_type\":\"gpt_bigcode\"}", "transformer.h.0.attn.c_attn", 768, 2304));
	CHECK(keeps(mamba, "backbone.embeddings", 50288, 2560) && !keeps(mamba, "lm_head", 2560, 50288));
	CHECK(keeps(gemma, "model.language_model.embed_tokens_per_layer", 262144, 7680));
	CHECK(keeps(gemma, "model.language_model.embed_tokens", 262400, 2048));
	/* Codes along the other axis: the quantizer did not treat it as a Linear of 262400 inputs. */
	CHECK(!keeps(gemma, "model.language_model.embed_tokens", 2048, 262400));
	CHECK(keeps(opt, "model.decoder.embed_positions", 2050, 2048) && keeps(opt, "x.position_embedding", 2048, 512));
	CHECK(!keeps(opt, "model.decoder.layers.0.self_attn.q_proj", 2048, 2048));
	/* A layer width that equals the vocabulary by chance is no evidence; names still are. */
	CHECK(!keeps("{\"vocab_size\":1024,\"d_model\":1024}", "decoder.fc", 1024, 64));
	CHECK(keeps("{\"vocab_size\":1024,\"d_model\":1024}", "decoder.embed_tokens", 1024, 1024));
	CHECK(!keeps(speech, "model.layers.0.self_attn.o_proj", 2048, 1024) && keeps(speech, "codes", 2048, 1024));
	CHECK(!keeps("[]", "a", 1, 1) && !keeps("{\"vocab_size\":-5,\"x_vocab\":\"8\"}", "a", 8, 1));
}

static void test_ties(void)
{
	static const struct {
		const char *config;
		bool ties, said;
	} cases[] = {
	    {"{}", false, false},
	    {"{\"tie_word_embeddings\":true}", true, true},
	    {"{\"tie_word_embeddings\":false}", false, true},
	    {"{\"model_type\":\"gemma2\",\"architectures\":[\"Gemma2ForCausalLM\"]}", true, false},
	    {"{\"model_type\":\"gemma2\",\"architectures\":[\"Gemma2Model\"]}", false, false},
	    {"{\"model_type\":\"gemma2\",\"architectures\":[\"Gemma2ForCausalLM\"],\"tie_word_embeddings\":false}",
		false, true},
	    {"{\"tie_word_embeddings\":false,\"text_config\":{\"tie_word_embeddings\":true}}", true, true},
	    {"{\"thinker_config\":{\"text_config\":{\"tie_word_embeddings\":true}}}", true, true},
	    {"{\"vision_config\":{\"tie_word_embeddings\":true},\"audio_config\":{\"tie_word_embeddings\":true}}",
		false, false},
	    {"{\"tie_word_embeddings\":\"true\"}", false, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct json *json;

		find(cases[i].config, &json);
		if (!CHECK(architecture_ties_head(json, false) == cases[i].ties &&
			   architecture_ties_head(json, true) == (cases[i].ties || !cases[i].said)))
			printf("  %s\n", cases[i].config);
		json_free(json);
	}
}

/* gate and up of one layer fit and are joined, with a bias on one side only; those of another do not. */
static void test_join(void)
{
	static const uint64_t wide[] = {6, 8}, narrow[] = {6, 4}, six[] = {6};
	static const struct st_tensor f = {.dtype = DTYPE_F16, .bytes = 96}, i = {.dtype = DTYPE_I64};
	struct tensor tensors[] = {
	    {.name = "a.mlp.gate_proj.bias", .shape = six, .ndim = 1, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "a.mlp.gate_proj.weight", .shape = wide, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "a.mlp.up_proj.weight", .shape = wide, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "b.mlp.gate_proj.weight", .shape = wide, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "b.mlp.up_proj.weight", .shape = narrow, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "c.visual.mlp.gate_proj.weight", .shape = wide, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "c.visual.mlp.up_proj.weight", .shape = wide, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "d", .ndim = 0, .origin = TENSOR_STORED, .stored = &i},
	};
	struct tensors s = {.list = tensors, .count = 8};
	struct arena arena = {0};
	struct json *json;
	const struct architecture *a = find("{\"model_type\":\"phi3\"}", &json);
	const struct tensor *t;

	tensors_sort(&s);
	CHECK(s.float_count == 7);
	CHECK(join_tensors(&arena, &s, a->joins) == 0);
	CHECK(s.count == 7 && s.float_count == 6);
	t = tensors_find(&s, "a.mlp.gate_up_proj.weight");
	CHECK(t && t->part_count == 2 && t->shape[0] == 12 && t->shape[1] == 8 && t->ndim == 2);
	CHECK(t && !strcmp(t->parts[0]->name, "a.mlp.gate_proj.weight"));
	t = tensors_find(&s, "a.mlp.gate_up_proj.bias");
	CHECK(t && t->part_count == 2 && t->shape[0] == 12 && t->parts[0]->origin == TENSOR_STORED &&
	      t->parts[1]->origin == TENSOR_ZEROS);
	CHECK(!tensors_find(&s, "a.mlp.up_proj.weight") && tensors_find(&s, "b.mlp.up_proj.weight"));
	CHECK(tensors_find(&s, "c.visual.mlp.up_proj.weight") && tensors_find(&s, "d"));
	json_free(json);
	arena_free(&arena);
}

static const char *why(const struct join_refusals *r, const char *module)
{
	for (size_t i = 0; i < r->count; i++)
		if (strcmp(r->list[i].module, module) == 0)
			return r->list[i].reason;
	return "";
}

/* The fused views join for any class, in towers too, but nothing twice, and report what does not fit. */
static void test_fused(void)
{
	static const uint64_t wide[] = {6, 8}, low[] = {2, 8}, narrow[] = {6, 4}, cube[] = {6, 8, 1}, two[] = {2};
	static const struct st_tensor f = {.dtype = DTYPE_F16}, b = {.dtype = DTYPE_BF16}, e = {.dtype = DTYPE_F8_E8M0};
	static struct encoded module, transposed = {.transposed = true};
	struct tensor tensors[] = {
	    {.name = "a.self_attn.k_proj.bias", .shape = two, .ndim = 1, .origin = TENSOR_STORED, .stored = &b},
	    {.name = "a.self_attn.k_proj.weight",
		.shape = low,
		.ndim = 2,
		.origin = TENSOR_ENCODED,
		.encoded = &module},
	    {.name = "a.self_attn.q_proj.weight", .shape = wide, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "a.self_attn.v_proj.weight",
		.shape = low,
		.ndim = 2,
		.origin = TENSOR_ENCODED,
		.encoded = &module},
	    {.name = "a.vision.self_attn.k_proj.weight",
		.shape = wide,
		.ndim = 2,
		.origin = TENSOR_STORED,
		.stored = &f},
	    {.name = "a.vision.self_attn.q_proj.weight",
		.shape = wide,
		.ndim = 2,
		.origin = TENSOR_STORED,
		.stored = &f},
	    {.name = "a.vision.self_attn.v_proj.weight",
		.shape = wide,
		.ndim = 2,
		.origin = TENSOR_STORED,
		.stored = &f},
	    {.name = "b.self_attn.q_proj.weight", .shape = wide, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "c.mlp.experts.0.gate_proj.weight",
		.shape = wide,
		.ndim = 2,
		.origin = TENSOR_STORED,
		.stored = &f},
	    {.name = "c.mlp.experts.0.up_proj.weight", .shape = wide, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "d.mlp.gate_proj.weight", .shape = wide, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "d.mlp.gate_up_proj.bias", .shape = two, .ndim = 1, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "d.mlp.up_proj.weight", .shape = wide, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "e.mlp.gate_proj.weight", .shape = wide, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "e.mlp.up_proj.weight", .shape = wide, .ndim = 2, .origin = TENSOR_STORED, .stored = &e},
	    {.name = "f.mlp.gate_proj.weight", .shape = wide, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "f.mlp.up_proj.weight",
		.shape = wide,
		.ndim = 2,
		.origin = TENSOR_ENCODED,
		.encoded = &transposed},
	    {.name = "g.mlp.gate_proj.weight", .shape = wide, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "g.mlp.up_proj.weight", .shape = narrow, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "h.mlp.gate_proj.weight", .shape = cube, .ndim = 3, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "h.mlp.up_proj.weight", .shape = wide, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "i.mlp.gate_proj.weight", .shape = wide, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "i.mlp.up_proj.bias", .shape = two, .ndim = 1, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "i.mlp.up_proj.weight", .shape = wide, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "j.mlp.up_proj.weight", .shape = wide, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	    {.name = "j.self_attn.qkv_proj.weight", .shape = wide, .ndim = 2, .origin = TENSOR_STORED, .stored = &f},
	};
	struct tensors s = {.list = tensors, .count = sizeof(tensors) / sizeof(*tensors)}, fused;
	struct join_refusals refusals = {0};
	struct arena arena = {0};
	const struct tensor *t;

	tensors_sort(&s);
	CHECK(join_fused(&arena, &s, &fused, &refusals) == 0);
	CHECK(s.list == tensors && fused.count == s.count - 4 - 3 + 3);
	t = tensors_find(&fused, "a.self_attn.qkv_proj.weight");
	CHECK(t && t->part_count == 3 && t->shape[0] == 10 && t->shape[1] == 8);
	CHECK(t && !strcmp(t->parts[0]->name, "a.self_attn.q_proj.weight"));
	CHECK(t && !strcmp(t->parts[1]->name, "a.self_attn.k_proj.weight") && t->parts[1]->encoded == &module);
	t = tensors_find(&fused, "a.self_attn.qkv_proj.bias");
	CHECK(t && t->shape[0] == 10 && t->parts[0]->shape[0] == 6 && t->parts[0]->origin == TENSOR_ZEROS);
	CHECK(t && t->parts[1]->stored == &b && t->parts[2]->shape[0] == 2 && t->parts[2]->origin == TENSOR_ZEROS);
	CHECK(tensors_find(&fused, "a.vision.self_attn.qkv_proj.weight"));
	CHECK(tensors_find(&fused, "c.mlp.experts.0.gate_proj.weight"));
	CHECK(tensors_find(&fused, "j.self_attn.qkv_proj.weight"));
	CHECK(refusals.count == 7);
	CHECK(!strcmp(why(&refusals, "b.self_attn.qkv_proj"), "there is no k_proj"));
	CHECK(!strcmp(why(&refusals, "d.mlp.gate_up_proj"), "a tensor of that name already exists"));
	CHECK(!strcmp(why(&refusals, "e.mlp.gate_up_proj"), "up_proj is of type F8_E8M0"));
	CHECK(!strcmp(why(&refusals, "f.mlp.gate_up_proj"), "up_proj is not a matrix [out_features, in_features]"));
	CHECK(!strcmp(why(&refusals, "g.mlp.gate_up_proj"), "gate_proj has 8 in_features, up_proj 4"));
	CHECK(!strcmp(why(&refusals, "h.mlp.gate_up_proj"), "gate_proj is not a matrix [out_features, in_features]"));
	CHECK(!strcmp(why(&refusals, "i.mlp.gate_up_proj"),
	    "the bias of up_proj is not one number for each of its rows"));
	arena_free(&arena);
}

int main(void)
{
	test_bias();
	test_names();
	test_experts();
	test_orientation();
	test_ties();
	test_join();
	test_fused();
	return test_done();
}
