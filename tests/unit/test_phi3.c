/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "view/phi3.h"
#include "../test.h"

#define SIZES                                                                                                              \
	"\"vocab_size\":96,\"hidden_size\":64,\"intermediate_size\":48,\"num_hidden_layers\":1,\"num_attention_heads\":4," \
	"\"max_position_embeddings\":512,\"rms_norm_eps\":1e-6,"
#define LLAMA "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"]," SIZES
#define MISTRAL \
	"{\"model_type\":\"mistral\",\"architectures\":[\"MistralForCausalLM\"]," SIZES "\"num_key_value_heads\":2,"

static const uint64_t qkv[] = {64 + 2 * 32, 64}, wide[] = {3 * 64, 64}, gate_up[] = {96, 64}, any[] = {64, 64};

/* A layer with 4 heads of 16, 2 of them for keys and values; `extra` is one tensor more. */
static const char *refusal(const char *config, const uint64_t *qkv_shape, const char *extra, struct phi3 *out)
{
	static struct arena arena;
	struct tensor list[] = {
	    {.name = "lm_head.weight", .shape = any, .ndim = 2},
	    {.name = "model.embed_tokens.weight", .shape = any, .ndim = 2},
	    {.name = "model.layers.0.input_layernorm.weight", .shape = any, .ndim = 1},
	    {.name = "model.layers.0.mlp.down_proj.weight", .shape = any, .ndim = 2},
	    {.name = "model.layers.0.mlp.gate_up_proj.weight", .shape = gate_up, .ndim = 2},
	    {.name = "model.layers.0.post_attention_layernorm.weight", .shape = any, .ndim = 1},
	    {.name = "model.layers.0.self_attn.o_proj.weight", .shape = any, .ndim = 2},
	    {.name = "model.layers.0.self_attn.qkv_proj.weight", .shape = qkv_shape, .ndim = 2},
	    {.name = extra ? extra : "model.norm.weight", .shape = any, .ndim = 1},
	};
	const struct tensors ts = {.list = list, .count = sizeof(list) / sizeof(*list), .float_count = 9};
	struct json *json;
	const char *reason;

	CHECK(json_parse((struct json_text){config, strlen(config)}, "config.json", &json, NULL) == 0);
	reason = phi3_refusal(&ts, json, &arena, out);
	json_free(json);
	return reason;
}

static const char *member(const struct phi3 *p, const char *key)
{
	for (size_t i = 0; i < p->count; i++)
		if (strcmp(p->members[i].key, key) == 0)
			return p->members[i].value;
	return "absent";
}

static void test_fits(void)
{
	struct phi3 p;

	CHECK(!refusal(LLAMA "\"num_key_value_heads\":2,\"head_dim\":null,\"pad_token_id\":5,"
			     "\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":1}}",
	    qkv, NULL, &p));
	CHECK(!strcmp(member(&p, "architectures"), "[\"Phi3ForCausalLM\"]") &&
	      !strcmp(member(&p, "model_type"), "\"phi3\"") && !strcmp(member(&p, "partial_rotary_factor"), "1.0"));
	CHECK(!strcmp(member(&p, "original_max_position_embeddings"), "512") && !strcmp(member(&p, "head_dim"), "16"));
	/* Llama's, not Phi-3's; what config.json tells is left alone. */
	CHECK(!strcmp(member(&p, "bos_token_id"), "1") && !strcmp(member(&p, "eos_token_id"), "2"));
	CHECK(!strcmp(member(&p, "pad_token_id"), "absent") && !strcmp(member(&p, "sliding_window"), "absent"));
	CHECK(!refusal(LLAMA "\"bos_token_id\":0}", wide, NULL, &p));
	CHECK(!strcmp(member(&p, "pad_token_id"), "null") && !strcmp(member(&p, "bos_token_id"), "absent"));
	/* Mistral's default window; the classes treat one alike. */
	CHECK(!refusal(MISTRAL "\"rope_theta\":1e6}", qkv, NULL, &p) && !strcmp(member(&p, "sliding_window"), "4096"));
	CHECK(!refusal(MISTRAL "\"sliding_window\":null}", qkv, NULL, &p));
	CHECK(!strcmp(member(&p, "sliding_window"), "absent"));
	/* A Phi-3 is one already. */
	CHECK(!refusal("{\"model_type\":\"phi3\",\"architectures\":[\"Phi3ForCausalLM\"]}", qkv, "x", &p) && !p.count);
}

static void test_refusals(void)
{
	static const struct {
		const char *config, *extra, *says;
	} cases[] = {
	    {"{\"model_type\":\"qwen2\",\"architectures\":[\"Qwen2ForCausalLM\"]}", NULL, "neither"},
	    {"{\"model_type\":\"llama\",\"architectures\":[\"LlamaModel\"]}", NULL, "neither"},
	    {"{\"model_type\":\"llama\"}", NULL, "neither"},
	    {"{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"]}", NULL, "sizes"},
	    {LLAMA "\"auto_map\":{}}", NULL, "auto_map"},
	    {LLAMA "\"attention_bias\":true}", NULL, "biases"},
	    {LLAMA "\"pretraining_tp\":2}", NULL, "pretraining_tp"},
	    {LLAMA "\"sliding_window\":64}", NULL, "sliding_window"},
	    {LLAMA "\"layer_types\":[\"full_attention\"]}", NULL, "layer_types"},
	    {LLAMA "\"head_dim\":32}", NULL, "head_dim"},
	    {LLAMA "\"num_key_value_heads\":3.5}", NULL, "num_key_value_heads"},
	    {LLAMA "\"rope_scaling\":{\"rope_type\":\"llama3\"}}", NULL, "rotary"},
	    {LLAMA "\"rope_parameters\":{\"rope_type\":\"yarn\",\"factor\":4.0}}", NULL, "rotary"},
	    {LLAMA "\"rope_parameters\":{\"partial_rotary_factor\":0.5}}", NULL, "rotary"},
	    {LLAMA "\"partial_rotary_factor\":0.5}", NULL, "rotary"},
	    {LLAMA "\"a\":0}", NULL, "self_attn.qkv_proj.weight"},
	    {MISTRAL "\"a\":0}", "model.layers.0.self_attn.q_norm.weight", "q_norm"},
	    {MISTRAL "\"a\":0}", "model.layers.0.self_attn.qkv_proj.bias", "qkv_proj.bias"},
	    {MISTRAL "\"a\":0}", "model.layers.1.self_attn.qkv_proj.weight", "layers.1"},
	};
	struct phi3 p;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *reason = refusal(cases[i].config, qkv, cases[i].extra, &p);

		if (!CHECK(reason && strstr(reason, cases[i].says)))
			printf("  %s: %s\n", cases[i].config, reason ? reason : "(taken)");
	}
}

int main(void)
{
	test_fits();
	test_refusals();
	return test_done();
}
