/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "tensor/experts.h"
#include "../test.h"

static struct json *parse(const char *config)
{
	struct json *json;

	CHECK(json_parse((struct json_text){config, strlen(config)}, "config.json", &json, NULL) == 0);
	return json;
}

/* Classes by their model_type, and by that of the text model inside. */
static void test_classes(void)
{
	static const struct {
		const char *config;
		bool known;
		const char *first; /* stack of the class, or NULL */
		uint64_t count;
	} cases[] = {
	    {"{\"model_type\":\"gpt_oss\",\"num_local_experts\":32}", true, ".mlp.experts.gate_up_proj", 32},
	    {"{\"model_type\":\"llama4\",\"text_config\":{\"model_type\":\"llama4_text\",\"num_local_experts\":16}}",
		true, ".feed_forward.experts.gate_up_proj", 16},
	    {"{\"model_type\":\"mistral3\",\"text_config\":{\"model_type\":\"mistral4\",\"n_routed_experts\":8}}", true,
		".experts.gate_up_proj", 8},
	    {"{\"model_type\":\"granitemoe\",\"num_local_experts\":-1}", true, ".block_sparse_moe.input_linear.weight",
		0},
	    {"{\"model_type\":\"granitemoe\",\"num_local_experts\":\"8\"}", true,
		".block_sparse_moe.input_linear.weight", 0},
	    {"{\"model_type\":\"qwen3_moe\",\"num_experts\":128}", true, NULL, 0},
	    {"{\"model_type\":\"brand_new_moe\",\"num_experts\":128}", false, NULL, 0},
	    {"{\"model_type\":7}", false, NULL, 0},
	    {"{}", false, NULL, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct json *json = parse(cases[i].config);
		const struct expert_class *class = experts_find(json);

		CHECK((class != NULL) == cases[i].known);
		CHECK(!class || !class->stacks == !cases[i].first);
		CHECK(!class || !class->stacks || !strcmp(class->stacks->name, cases[i].first));
		CHECK(!class || experts_count(class, json) == cases[i].count);
		json_free(json);
	}
}

/* Who cut gate and up of gpt-oss, and how. */
static void test_cut(void)
{
	static const struct {
		const char *config, *producer;
		enum experts_cut cut;
	} cases[] = {
	    {"{\"transformers_version\":\"4.57.1\"}", NULL, CUT_INTERLEAVED},
	    {"{\"transformers_version\":\"5.4.0\"}", NULL, CUT_HALVES},
	    {"{\"transformers_version\":\"4.57.1\"}", "gptqmodel:7.7.0", CUT_HALVES},
	    {"{\"transformers_version\":\"4.57.1\"}", "auto_gptq:0.7.1", CUT_INTERLEAVED},
	    {"{\"transformers_version\":\"5.1.0\",\"quantization_config\":{\"autoround_version\":\"0.9.7\"}}", NULL,
		CUT_INTERLEAVED},
	    {"{\"transformers_version\":\"5.1.0\",\"quantization_config\":{\"autoround_version\":\"0.10.2\"}}", NULL,
		CUT_HALVES},
	    {"{\"quantization_config\":{\"autoround_version\":\"1.0\"}}", NULL, CUT_UNKNOWN},
	    {"{\"transformers_version\":\"main\"}", NULL, CUT_UNKNOWN},
	    {"{\"transformers_version\":5}", NULL, CUT_UNKNOWN},
	    {"{}", NULL, CUT_UNKNOWN},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct json *json = parse(cases[i].config);

		CHECK(experts_cut_of(json, cases[i].producer) == cases[i].cut);
		json_free(json);
	}
	CHECK(experts_cut_of(NULL, NULL) == CUT_UNKNOWN && experts_find(NULL) == NULL);
}

int main(void)
{
	test_classes();
	test_cut();
	return test_done();
}
