/* SPDX-License-Identifier: MIT */
#include "view/config_json.h"
#include "fuzz.h"
#include "quant/gptq/config.h"

/* A quantization configuration is read; as config.json it is rewritten, and what comes out is JSON again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct json_text text = {(const char *)data, size};
	struct arena arena = {0};
	struct gptqfs_error err;
	struct json *json;

	if (json_check(text, "fuzz", &err) == 0 && json_parse(text, "fuzz", &json, &err) == 0) {
		struct quant_config_input in = {"fuzz", json};
		struct quant_config config;
		struct text out = {0};

		quant_config_read(&in, &arena, &config, &err);
		if (json_is_object(json)) {
			config_rewrite(text, DTYPE_BF16, &out);
			FUZZ_CHECK(json_check((struct json_text){out.data, out.len}, "rewritten", NULL) == 0);
			out.len = 0;
			config_rewrite_packed(text, (struct json_text){"{}", 2}, &out);
			FUZZ_CHECK(json_check((struct json_text){out.data, out.len}, "rewritten", NULL) == 0);
		}
		text_free(&out);
		json_free(json);
	}
	arena_free(&arena);
	return 0;
}
