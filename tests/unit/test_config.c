/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "view/config_json.h"
#include "quant/gptq/config.h"
#include "../test.h"

static struct json_text text_of(const char *s)
{
	return (struct json_text){s, strlen(s)};
}

static void test_rewrite(void)
{
#define BOTH "\"torch_dtype\": \"float16\""
#define ALSO "\"dtype\": \"float16\""
	static const struct {
		const char *from, *to;
	} cases[] = {
	    {"{}", "{" BOTH "," ALSO "}"},
	    {"{\n  \"a\": 10000.0,\n  \"quantization_config\": {\"bits\": 4},\n  \"b\": 1e-06\n}\n",
		"{\n  \"a\": 10000.0,\n  \"b\": 1e-06,\n  " BOTH ",\n  " ALSO "\n}\n"},
	    {"{\"quantization_config\":{\"x\":[1,2]},\"dtype\":\"bfloat16\",\"n\":12345678901234567890}",
		"{\"dtype\":\"float16\",\"n\":12345678901234567890," BOTH "}"},
	    {"{\"torch_dtype\" : \"bfloat16\" , \"quantization_config\": 1}",
		"{\"torch_dtype\" : \"float16\"," ALSO "}"},
	    {"{ \"quantization_config\": {} }", "{ " BOTH ", " ALSO " }"},
	    {"{\"s\": \"\xc3\xa9\\u00e9\", \"compression_config\": 0, \"torch_dtype\": null, \"dtype\": \"x\"}",
		"{\"s\": \"\xc3\xa9\\u00e9\", " BOTH ", " ALSO "}"},
	    {"{\"text_config\": {\"quantization_config\": {}, \"dtype\": \"bfloat16\", \"h\": 8}, \"dtype\": \"bfloat16\","
	     "\"torch_dtype\": \"x\", \"vision_config\": {\"torch_dtype\": \"float32\", \"dtype\": 5}}",
		"{\"text_config\": { \"dtype\": \"float16\", \"h\": 8}, \"dtype\": \"float16\","
		"\"torch_dtype\": \"float16\", \"vision_config\": {\"torch_dtype\": \"float16\", \"dtype\": 5}}"},
	    {"{\"dtype\":\"a\" ,\n\"torch_dtype\":\"b\"}", "{\"dtype\":\"float16\" ,\n\"torch_dtype\":\"float16\"}"},
	    {"{\"a\":1,\"quantization_config\":2,\"compression_config\":3}", "{\"a\":1," BOTH "," ALSO "}"},
	    /* At any depth, under any key; types only in configurations of parts. */
	    {"{\"thinker_config\":{\"text_config\":{\"quantization_config\":{},\"dtype\":\"x\"}},\"dtype\":\"x\"}",
		"{\"thinker_config\":{\"text_config\":{\"dtype\":\"float16\"}},\"dtype\":\"float16\"," BOTH "}"},
	    {"{\"decoder\":{\"torch_dtype\":\"x\",\"a\":{\"b\":{\"quantization_config\":1,\"dtype\":\"x\"}}}}",
		"{\"decoder\":{\"torch_dtype\":\"float16\",\"a\":{\"b\":{\"dtype\":\"x\"}}}," BOTH "," ALSO "}"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct text out = {0};

		CHECK(json_check(text_of(cases[i].from), "from", NULL) == 0);
		config_rewrite(text_of(cases[i].from), &(struct config_view){.dtype = DTYPE_F16}, &out);
		if (!CHECK(out.len == strlen(cases[i].to) && !memcmp(out.data, cases[i].to, out.len)))
			printf("  case %zu: %.*s\n", i, (int)out.len, out.data);
		CHECK(json_check((struct json_text){out.data, out.len}, "to", NULL) == 0);
		text_free(&out);
	}
}

/*
 * Members that transformers 5 renamed, both ways. Expected values were verified by loading them in 4.57.6 and 5.23.0.
 */
static void test_spellings(void)
{
#define TYPES ",\"dtype\":\"a\",\"torch_dtype\":\"b\""
#define TYPED ",\"dtype\":\"float16\",\"torch_dtype\":\"float16\""
#define LLAMA "\"model_type\":\"llama\",\"hidden_size\":64,"
	static const struct {
		const char *from, *to;
	} cases[] = {
	    /* Plain: no scaling to speak of. */
	    {"{" LLAMA "\"rope_parameters\":{\"rope_theta\":1e5,\"rope_type\":\"default\"}" TYPES "}",
		"{" LLAMA "\"rope_parameters\":{\"rope_theta\":1e5,\"rope_type\":\"default\"}" TYPED
		",\"rope_theta\": 1e5}"},
	    {"{" LLAMA "\"rope_parameters\":{\"rope_type\":\"yarn\",\"factor\":4.0,\"rope_theta\":100000.0}" TYPES "}",
		"{" LLAMA "\"rope_parameters\":{\"rope_type\":\"yarn\",\"factor\":4.0,\"rope_theta\":100000.0}" TYPED
		",\"rope_theta\": 100000.0,\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0}}"},
	    {"{\"rope_parameters\":{\"rope_theta\":7,\"partial_rotary_factor\":0.5,\"mrope_section\":[1,2]}" TYPES "}",
		"{\"rope_parameters\":{\"rope_theta\":7,\"partial_rotary_factor\":0.5,\"mrope_section\":[1,2]}" TYPED
		",\"rope_theta\": 7,\"partial_rotary_factor\": 0.5,\"rope_scaling\": {\"mrope_section\": [1,2]}}"},
	    /* A rope_theta beside it does not count. */
	    {"{\"rope_theta\":6,\"rope_parameters\":{\"rope_theta\":7,\"rope_type\":\"linear\",\"factor\":2}" TYPES "}",
		"{\"rope_theta\":6,\"rope_parameters\":{\"rope_theta\":7,\"rope_type\":\"linear\",\"factor\":2}" TYPED
		",\"rope_scaling\": {\"rope_theta\": 7, \"rope_type\": \"linear\", \"factor\": 2}}"},
	    /* One set per type of layer. */
	    {"{\"model_type\":\"gemma3_text\",\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1e6,\"rope_type\":"
	     "\"linear\",\"factor\":8.0},\"sliding_attention\":{\"rope_theta\":1e4}}" TYPES "}",
		"{\"model_type\":\"gemma3_text\",\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1e6,\"rope_type\":"
		"\"linear\",\"factor\":8.0},\"sliding_attention\":{\"rope_theta\":1e4}}" TYPED
		",\"rope_theta\": 1e6,\"rope_local_base_freq\": 1e4,\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8.0}}"},
	    /* Phi-3 of 4.57 wants three members, and "type". */
	    {"{\"model_type\":\"phi3\",\"rope_parameters\":{\"rope_theta\":1,\"rope_type\":\"longrope\",\"factor\":32,"
	     "\"long_factor\":[1],\"short_factor\":[2],\"original_max_position_embeddings\":4096}" TYPES "}",
		"{\"model_type\":\"phi3\",\"rope_parameters\":{\"rope_theta\":1,\"rope_type\":\"longrope\",\"factor\":32,"
		"\"long_factor\":[1],\"short_factor\":[2],\"original_max_position_embeddings\":4096}" TYPED
		",\"rope_theta\": 1,\"original_max_position_embeddings\": 4096,"
		"\"rope_scaling\": {\"type\": \"longrope\", \"long_factor\": [1], \"short_factor\": [2]}}"},
	    {"{\"model_type\":\"gpt_neox\",\"rope_parameters\":{\"rope_theta\":5,\"partial_rotary_factor\":0.25}" TYPES
	     "}",
		"{\"model_type\":\"gpt_neox\",\"rope_parameters\":{\"rope_theta\":5,\"partial_rotary_factor\":0.25}" TYPED
		",\"rope_theta\": 5,\"partial_rotary_factor\": 0.25,\"rotary_emb_base\": 5,\"rotary_pct\": 0.25}"},
	    /* The other way round, and in a part. */
	    {"{\"text_config\":{" LLAMA
	     "\"rope_theta\":5e5,\"rope_scaling\":{\"factor\":8.0,\"rope_type\":\"llama3\"}}" TYPES "}",
		"{\"text_config\":{" LLAMA
		"\"rope_theta\":5e5,\"rope_scaling\":{\"factor\":8.0,\"rope_type\":\"llama3\"},"
		"\"rope_parameters\": {\"rope_theta\": 5e5, \"rope_type\": \"llama3\", \"factor\": 8.0}}" TYPED "}"},
	    {"{" LLAMA "\"rope_theta\":5e5,\"rope_scaling\":null,\"partial_rotary_factor\":0.5" TYPES "}",
		"{" LLAMA "\"rope_theta\":5e5,\"rope_scaling\":null,\"partial_rotary_factor\":0.5" TYPED
		",\"rope_parameters\": {\"rope_theta\": 5e5, \"rope_type\": \"default\", \"partial_rotary_factor\": 0.5}}"},
	    {"{" LLAMA "\"rope_theta\":5,\"rope_scaling\":{\"type\":\"mrope\",\"mrope_section\":[1]}" TYPES "}",
		"{" LLAMA "\"rope_theta\":5,\"rope_scaling\":{\"type\":\"mrope\",\"mrope_section\":[1]}" TYPED
		",\"rope_parameters\": {\"rope_theta\": 5, \"rope_type\": \"default\", \"mrope_section\": [1]}}"},
	    /* Not in a model with its own classes, nor with a set per type of layer. */
	    {"{" LLAMA "\"auto_map\":{},\"rope_theta\":5" TYPES "}",
		"{" LLAMA "\"auto_map\":{},\"rope_theta\":5" TYPED "}"},
	    {"{\"model_type\":\"olmo3\",\"hidden_size\":8,\"rope_theta\":5" TYPES "}",
		"{\"model_type\":\"olmo3\",\"hidden_size\":8,\"rope_theta\":5" TYPED "}"},
	    {"{\"model_type\":\"dbrx\",\"attn_config\":{\"model_type\":\"\",\"rope_theta\":5}" TYPES "}",
		"{\"model_type\":\"dbrx\",\"attn_config\":{\"model_type\":\"\",\"rope_theta\":5}" TYPED "}"},
	    {"{\"model_type\":\"qwen3_moe\",\"num_local_experts\":12" TYPES "}",
		"{\"model_type\":\"qwen3_moe\",\"num_local_experts\":12" TYPED ",\"num_experts\": 12}"},
	    {"{\"model_type\":\"mixtral\",\"num_local_experts\":12" TYPES "}",
		"{\"model_type\":\"mixtral\",\"num_local_experts\":12" TYPED "}"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct text out = {0};

		CHECK(json_check(text_of(cases[i].from), "from", NULL) == 0);
		config_rewrite(text_of(cases[i].from), &(struct config_view){.dtype = DTYPE_F16}, &out);
		if (!CHECK(out.len == strlen(cases[i].to) && !memcmp(out.data, cases[i].to, out.len)))
			printf("  case %zu: %.*s\n", i, (int)out.len, out.data);
		text_free(&out);
	}
}

/* A view's own members: replaced if present, else added. Nothing is added to a bare one. */
static void test_own_members(void)
{
	static const struct config_member own[] = {
	    {.key = "model_type", .value = "\"phi3\""}, {.key = "pad_token_id", .value = "null"}};
	static const char from[] = "{\"model_type\":\"llama\",\"text_config\":{\"model_type\":\"llama\"}}";
	static const char to[] =
	    "{\"model_type\":\"phi3\",\"text_config\":{\"model_type\":\"llama\"},\"pad_token_id\": null,"
	    "\"torch_dtype\": \"float32\",\"dtype\": \"float32\"}";
	static const char bare[] = "{\"_class_name\":\"Flux\",\"model_type\":\"x\",\"hidden_size\":1,\"rope_theta\":2}";
	struct text out = {0};

	config_rewrite(text_of(from), &(struct config_view){.dtype = DTYPE_F32, .members = own, .count = 2}, &out);
	if (!CHECK(out.len == strlen(to) && !memcmp(out.data, to, out.len)))
		printf("  %.*s\n", (int)out.len, out.data);
	out.len = 0;
	config_rewrite(text_of(bare), &(struct config_view){.dtype = DTYPE_F32, .bare = true}, &out);
	CHECK(out.len == strlen(bare) && !memcmp(out.data, bare, out.len));
	text_free(&out);
}

/* The packed view's: the value is replaced where it is, and added only where it is missing. */
static void test_rewrite_packed(void)
{
	static const struct {
		const char *from, *to;
	} cases[] = {
	    {"{}", "{\"quantization_config\": Q}"},
	    {"{ }", "{\"quantization_config\": Q }"},
	    {"{\n  \"a\": 10000.0,\n  \"dtype\": \"bfloat16\"\n}\n",
		"{\n  \"a\": 10000.0,\n  \"dtype\": \"bfloat16\",\n  \"quantization_config\": Q\n}\n"},
	    {"{\"quantization_config\" : {\"x\":[1,2]} ,\"b\":1e-06}", "{\"quantization_config\" : Q ,\"b\":1e-06}"},
	    {"{\"a\":1, \"quantization_config\": 2, \"compression_config\": 3}",
		"{\"a\":1, \"quantization_config\": Q}"},
	    {"{\"compression_config\":{\"a\":1}}", "{\"quantization_config\": Q}"},
	    {"{\"text_config\": {\"quantization_config\": {}, \"dtype\": \"bfloat16\"}, \"b\": {}}",
		"{\"text_config\": {\"quantization_config\": Q, \"dtype\": \"bfloat16\"}, \"b\": {}}"},
	    {"{\"text_config\":{\"h\":8,\"quantization_config\":{}},\"quantization_config\":{}}",
		"{\"text_config\":{\"h\":8,\"quantization_config\":Q},\"quantization_config\":Q}"},
	    {"{\"text_config\":{\"h\":8}}", "{\"text_config\":{\"h\":8},\"quantization_config\": Q}"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct text out = {0};

		config_rewrite(text_of(cases[i].from), &(struct config_view){.quantization = text_of("Q")}, &out);
		if (!CHECK(out.len == strlen(cases[i].to) && !memcmp(out.data, cases[i].to, out.len)))
			printf("  case %zu: %.*s\n", i, (int)out.len, out.data);
		text_free(&out);
	}
}

static int read_config(const char *text, struct arena *arena, struct quant_config *q, struct gptqfs_error *err)
{
	struct quant_config_input in = {.file = "quantize_config.json"};
	struct json *json;
	int rc = json_parse(text_of(text), in.file, &json, err);

	in.json = json;
	if (rc == 0)
		rc = quant_config_read(&in, arena, q, err);
	json_free(json);
	return rc;
}

static void test_fields(void)
{
	struct arena arena = {0};
	struct quant_config q, r;
	struct gptqfs_error err;

	CHECK(read_config("{\"bits\":4,\"group_size\":-1,\"desc_act\":true,\"sym\":false,\"quant_method\":\"GPTQ\","
			  "\"meta\":{\"quantizer\":[\"gptqmodel:7.7.0\"]}}",
		  &arena, &q, &err) == 0);
	CHECK(q.bits == 4 && q.group_size == -1 && q.desc_act && q.has_sym && !q.sym && q.zeros == ZEROS_V1 &&
	      !q.planar);
	CHECK(!strcmp(q.producer, "gptqmodel:7.7.0") && !strcmp(q.method, "gptq"));
	CHECK(read_config("{\"w_bit\":8,\"q_group_size\":64,\"zero_point\":true,\"checkpoint_format\":\"gptq_v2\","
			  "\"format\":\"gptq\"}",
		  &arena, &r, &err) == 0);
	CHECK(r.bits == 8 && r.group_size == 64 && !r.sym && r.zeros == ZEROS_V2);
	CHECK(r.doubt && !q.doubt);
	CHECK(!strcmp(quant_config_merge(&q, &r), "bits"));
	CHECK(read_config("{\"sym\":false,\"meta\":{\"quantizer\":[\"gptqmodel:5.0.0-dev0\"]}}", &arena, &q, &err) ==
	      0);
	CHECK(q.doubt && q.zeros == ZEROS_V1 && q.gptqmodel == 50000);
	CHECK(read_config("{\"sym\":true,\"meta\":{\"quantizer\":\"gptqmodel:5.0.0-dev0\"}}", &arena, &q, &err) == 0);
	CHECK(!q.doubt && q.gptqmodel == 50000);
	CHECK(read_config("{\"sym\":false,\"meta\":{\"quantizer\":[\"gptqmodel:5.0.0\"]}}", &arena, &q, &err) == 0);
	CHECK(!q.doubt && q.gptqmodel == 50000);
	CHECK(read_config("{\"format\":\"gptq_p\"}", &arena, &q, &err) == 0 && q.planar && q.zeros == ZEROS_V2 &&
	      q.sym);
	arena_free(&arena);
}

/* Settings missing in one configuration may come from the next. */
static void test_merge(void)
{
	struct arena arena = {0};
	struct quant_config q, r;

	CHECK(read_config("{\"bits\":4}", &arena, &q, NULL) == 0 && q.zeros == ZEROS_V1 && q.sym && !q.has_sym);
	CHECK(read_config("{\"bits\":4,\"group_size\":64,\"sym\":false,\"checkpoint_format\":\"gptq_v2\","
			  "\"meta\":{\"quantizer\":\"x:1\"},\"dynamic\":{\"a\":{\"bits\":8}}}",
		  &arena, &r, NULL) == 0);
	CHECK(quant_config_merge(&q, &r) == NULL);
	CHECK(q.zeros == ZEROS_V2 && q.has_sym && !q.sym && q.group_size == 64 && !strcmp(q.producer, "x:1"));
	CHECK(q.overrides.count == 1 && !strcmp(q.format, "gptq_v2"));
	CHECK(read_config("{\"sym\":true}", &arena, &r, NULL) == 0);
	CHECK(!strcmp(quant_config_merge(&q, &r), "sym") && !q.sym);
	CHECK(read_config("{\"format\":\"gptq\"}", &arena, &r, NULL) == 0);
	CHECK(!strcmp(quant_config_merge(&q, &r), "checkpoint_format") && q.zeros == ZEROS_V2);
	arena_free(&arena);
}

/* Plain GPTQ under other names, and names that say more. */
static void test_methods(void)
{
	static const struct {
		const char *text;
		enum zeros zeros;
	} cases[] = {
	    {"{\"quant_method\":\"gptq_marlin\"}", ZEROS_V1},
	    {"{\"quant_method\":\"GPTQ_Marlin\",\"checkpoint_format\":\"gptq_v2\"}", ZEROS_V2},
	    {"{\"quant_method\":\"gptqmodel\"}", ZEROS_V1},
	    {"{\"quant_method\":\"exllamav2\"}", ZEROS_V1},
	    {"{\"quant_method\":\"gptq_v2\"}", ZEROS_V2},
	    {"{\"quant_method\":\"gptq_v2\",\"format\":\"gptq\"}", ZEROS_V1},
	    {"{\"method\":\"gptq\",\"format\":\"gptq_v2:exllama\"}", ZEROS_V2},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct arena arena = {0};
		struct quant_config q;

		if (!CHECK(read_config(cases[i].text, &arena, &q, NULL) == 0 && q.zeros == cases[i].zeros))
			printf("  %s\n", cases[i].text);
		arena_free(&arena);
	}
}

static void test_range(void)
{
	static const char *const bad[] = {"{\"group_size\":4294967296}", "{\"group_size\":-2}",
	    "{\"group_size\":1e300}", "{\"q_group_size\":0.5}", "{\"bits\":-4}", "{\"w_bit\":65}",
	    "{\"bits\":9007199254740993}", "{\"bits\":Infinity}",
	    "{\"extra_config\":{\"q\":{\"group_size\":4294967296}}}"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct arena arena = {0};
		struct quant_config q;
		struct gptqfs_error err = {""};

		if (!CHECK(read_config(bad[i], &arena, &q, &err) == -EBADMSG && strstr(err.text, "whole number")))
			printf("  %s: %s\n", bad[i], err.text);
		arena_free(&arena);
	}
}

/* What the packers of AutoRound 0.2, 0.3.1, 0.4.7, 0.5.1, 0.6.0 and 0.9.7 store under the labels they write. */
static void test_autoround(void)
{
	static const struct {
		const char *fields;
		enum zeros zeros;
	} cases[] = {
	    {"\"x\":0", ZEROS_V1},
	    {"\"backend\":\"auto\"", ZEROS_V1},
	    {"\"backend\":\"gptq:exllamav2\"", ZEROS_V1},
	    {"\"backend\":\"auto_round:gptq:exllamav2\"", ZEROS_V1},
	    {"\"backend\":\"auto_gptq\"", ZEROS_V1},
	    {"\"backend\":\"auto_round:exllamav2\"", ZEROS_V2},
	    {"\"backend\":\"auto_round:tritonv2\"", ZEROS_V2},
	    {"\"backend\":\"autoround:triton\"", ZEROS_V2},
	    {"\"packing_format\":\"auto_round:auto_gptq:exllamav2\"", ZEROS_V1},
	    {"\"packing_format\":\"auto_round:gptq\"", ZEROS_V1},
	    {"\"packing_format\":\"auto_round:gptqmodel\"", ZEROS_V2},
	    {"\"packing_format\":\"Auto_Round\"", ZEROS_V2},
	    {"\"packing_format\":\"auto_round:tritonv2\"", ZEROS_V2},
	    {"\"packing_format\":\"auto_round\",\"backend\":\"auto_gptq\"", ZEROS_V2},
	};
	static const char *const methods[] = {"auto-round", "intel/auto-round"};

	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(*cases); i++) {
		struct arena arena = {0};
		struct quant_config q = {0};
		struct gptqfs_error err = {""};
		char text[256];

		snprintf(text, sizeof(text), "{\"quant_method\":\"%s\",\"sym\":false,%s}", methods[i % 2],
		    cases[i / 2].fields);
		if (!CHECK(read_config(text, &arena, &q, &err) == 0 && q.zeros == cases[i / 2].zeros && q.format))
			printf("  %s: %s\n", text, err.text);
		arena_free(&arena);
	}
}

static void test_refused(void)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
	    {"{\"quant_method\":\"awq\"}", "\"awq\" is unknown"},
	    {"{\"quant_method\":\"compressed-tensors\"}", "compressed-tensors"},
	    {"{\"quant_method\":\"fp8\"}", "FP8"},
	    {"{\"quant_method\":\"bitsandbytes\"}", "bitsandbytes"},
	    {"{\"quant_method\":\"hqq\"}", "HQQ"},
	    {"{\"quant_method\":\"exl3\"}", "EXL3"},
	    {"{\"quant_method\":\"marlin\"}", "Marlin"},
	    {"{\"quant_method\":\"gptq_marlin_24\"}", "unknown"},
	    {"{\"quant_method\":\"something\"}", "unknown"},
	    {"{\"quant_method\":\"gptq\",\"checkpoint_format\":\"marlin\"}", "Marlin"},
	    {"{\"checkpoint_format\":\"bitblas\"}", "BitBLAS"},
	    {"{\"format\":\"qqq\"}", "QQQ"},
	    {"{\"format\":\"newer\"}", "unknown"},
	    {"{\"is_marlin_format\":true}", "Marlin"},
	    {"{\"quant_method\":\"auto-round\",\"packing_format\":\"auto_round:auto_awq\"}", "\"auto_awq\" is unknown"},
	    {"{\"quant_method\":\"auto-round\",\"backend\":\"auto_round:awq:gemm\"}", "\"awq:gemm\" is unknown"},
	    {"{\"quant_method\":\"auto-round\",\"backend\":\"auto_round:newer\"}", "\"newer\" is unknown"},
	    {"{\"quant_method\":\"auto-round\",\"packing_format\":\"auto_round:llm_compressor\"}", "unknown"},
	    {"{\"rotation\":\"hadamard\"}", "rotated"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct arena arena = {0};
		struct quant_config q;
		struct gptqfs_error err = {""};

		CHECK(read_config(cases[i].text, &arena, &q, &err) == -ENOTSUP);
		if (!CHECK(strstr(err.text, cases[i].says) && strstr(err.text, "quantize_config.json")))
			printf("  %s\n", err.text);
		arena_free(&arena);
	}
}

int main(void)
{
	test_rewrite();
	test_spellings();
	test_own_members();
	test_rewrite_packed();
	test_fields();
	test_merge();
	test_methods();
	test_range();
	test_autoround();
	test_refused();
	return test_done();
}
