/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "tensor/complete.h"
#include "../test.h"

static struct checkpoint checkpoint;
static struct gptqfs_error error;

/* Names are separated by blanks. Returns what complete_check does; its last warning is in checkpoint.warnings. */
static int check_names(const char *config, const char *names)
{
	static const struct st_tensor f16 = {.dtype = DTYPE_F16};
	struct tensor list[64];
	struct tensors ts = {.list = list};
	char copy[2048], *save = NULL;
	int rc;

	snprintf(copy, sizeof(copy), "%s", names);
	for (char *name = strtok_r(copy, " ", &save); name; name = strtok_r(NULL, " ", &save))
		list[ts.count++] = (struct tensor){.name = name, .origin = TENSOR_STORED, .stored = &f16};
	tensors_sort(&ts);
	error.text[0] = 0;
	checkpoint.warning_count = 0;
	CHECK(json_parse((struct json_text){config, strlen(config)}, "config.json", &checkpoint.config_json, NULL) ==
	      0);
	rc = complete_check(&checkpoint, &ts, &error);
	json_free(checkpoint.config_json);
	return rc;
}

#define ENDS "model.embed_tokens.weight model.norm.weight "
#define LAYER(n) "model.layers." n ".input_layernorm.weight model.layers." n ".mlp.down_proj.weight "
#define MOE(n) "model.layers." n ".input_layernorm.weight model.layers." n ".mlp.experts.0.down_proj.weight "

static void test_refused(void)
{
	static const struct {
		const char *config, *names, *says;
	} cases[] = {
	    {"{\"num_hidden_layers\":3}", LAYER("0") LAYER("2"), "model.layers.1"},
	    {"{\"num_hidden_layers\":3}", LAYER("0") LAYER("1"), "model.layers.2"},
	    {"{\"num_hidden_layers\":1000000000000}", LAYER("0") LAYER("1"), "model.layers.2"},
	    {"{\"text_config\":{\"num_hidden_layers\":2},\"num_hidden_layers\":1}",
		"model.language_model.layers.0.a model.visual.layers.1.a", "model.language_model.layers.1"},
	    {"{\"thinker_config\":{\"text_config\":{\"num_hidden_layers\":2}}}", "thinker.model.layers.1.a",
		"thinker.model.layers.0"},
	    {"{\"n_layer\":2}", "transformer.h.0.a", "transformer.h.1"},
	    {"{\"num_hidden_layers\":1,\"model_type\":\"llama\"}", LAYER("0") "model.norm.weight",
		"model.embed_tokens.weight"},
	    {"{\"num_hidden_layers\":1,\"model_type\":\"qwen3\"}", LAYER("0") "model.embed_tokens.weight",
		"model.norm.weight"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		CHECK(check_names(cases[i].config, cases[i].names) == -EBADMSG);
		if (!CHECK(strstr(error.text, cases[i].says) && strstr(error.text, "fetch")))
			printf("  case %zu: %s\n", i, error.text);
	}
}

static void test_taken(void)
{
	static const struct {
		const char *config, *names, *warns;
	} cases[] = {
	    {"{\"num_hidden_layers\":2,\"model_type\":\"llama\"}", ENDS LAYER("0") LAYER("1"), NULL},
	    /* More layers than are counted: DeepSeek's for predicting a second token. */
	    {"{\"num_hidden_layers\":1}", LAYER("0") LAYER("1"), NULL},
	    /* The configuration says nothing, or the class is unknown. */
	    {"{}", LAYER("5"), NULL},
	    {"{\"num_hidden_layers\":\"3\"}", LAYER("5"), NULL},
	    {"{\"num_hidden_layers\":3}", "encoder.blocks.0.a", NULL},
	    {"{\"num_hidden_layers\":3,\"model_type\":\"olmo\"}", LAYER("0") LAYER("1") LAYER("2"), NULL},
	    {"{\"num_hidden_layers\":3,\"is_encoder_decoder\":true}", "model.decoder.layers.0.a", NULL},
	    {"{\"num_hidden_layers\":3,\"block_configs\":[]}", LAYER("0") LAYER("2"), NULL},
	    /* One layer lacks one tensor; one is of another kind: dense before mixtures of experts. */
	    {"{\"num_hidden_layers\":3}", LAYER("0") "model.layers.1.input_layernorm.weight " LAYER("2"),
		"model.layers.1 lacks mlp.down_proj.weight"},
	    {"{\"num_hidden_layers\":3}", LAYER("0") MOE("1") MOE("2"), NULL},
	    {"{\"num_hidden_layers\":2}", LAYER("0") "model.layers.1.input_layernorm.weight", NULL},
	    {"{\"num_hidden_layers\":3}", LAYER("0") LAYER("1") LAYER("01") LAYER("2") LAYER("99999999999999999999"),
		NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		if (!CHECK(check_names(cases[i].config, cases[i].names) == 0))
			printf("  case %zu: %s\n", i, error.text);
		CHECK(checkpoint.warning_count == (cases[i].warns != NULL));
		CHECK(!cases[i].warns || strstr(checkpoint.warnings[0], cases[i].warns));
	}
}

int main(void)
{
	checkpoint.dir.path = "model";
	test_refused();
	test_taken();
	arena_free(&checkpoint.arena);
	return test_done();
}
