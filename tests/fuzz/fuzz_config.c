/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "checkpoint/subconfig.h"
#include "fuzz.h"
#include "quant/gptq/config.h"
#include "view/config_json.h"

/* Overrides of single modules, wherever they are, must be evaluated quickly. */
static void look_around(const struct json *json, struct quant_config *config, struct arena *arena)
{
	static const char *const modules[] = {
	    "model.layers.0.self_attn.q_proj", "lm_head", "", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"};
	struct subconfigs found;
	struct gptqfs_error err;

	for (size_t i = 0; i < sizeof(modules) / sizeof(*modules); i++) {
		const struct override *override = NULL;
		const int rc = overrides_find(&config->overrides, modules[i], &override);

		FUZZ_CHECK(rc == 0 || (rc == -ENOTSUP && override && override->pattern.fault));
		FUZZ_CHECK(!override || (override->group_size >= -1 && override->group_size <= INT32_MAX));
	}
	if (subconfig_list(json, arena, &found, &err) == 0)
		for (size_t i = 0; i < found.count; i++) {
			struct quant_config_input in = {found.list[i].where, found.list[i].json};
			struct quant_config other;

			if (quant_config_read(&in, arena, &other, &err) == 0)
				quant_config_merge(config, &other);
		}
	FUZZ_CHECK(config->bits >= 0 && config->bits <= 64 && config->group_size >= -1);
}

/* Reads the input as a quantization configuration, and rewrites it as config.json; the output must be JSON again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct config_view dense = {.dtype = DTYPE_BF16}, packed = {.quantization = {"{}", 2}};
	const struct json_text text = {(const char *)data, size};
	struct arena arena = {0};
	struct gptqfs_error err;
	struct json *json;

	if (json_check_python(text, "fuzz", &err) == 0 && json_parse(text, "fuzz", &json, &err) == 0) {
		struct quant_config_input in = {"fuzz", json};
		struct quant_config config;
		struct text out = {0};

		if (quant_config_read(&in, &arena, &config, &err) == 0)
			look_around(json, &config, &arena);
		if (json_is_object(json)) {
			config_rewrite(text, &dense, &out);
			FUZZ_CHECK(json_check_python((struct json_text){out.data, out.len}, "rewritten", NULL) == 0);
			out.len = 0;
			config_rewrite(text, &packed, &out);
			FUZZ_CHECK(json_check_python((struct json_text){out.data, out.len}, "rewritten", NULL) == 0);
		}
		text_free(&out);
		json_free(json);
	}
	arena_free(&arena);
	return 0;
}
