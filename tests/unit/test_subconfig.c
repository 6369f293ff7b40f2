/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "checkpoint/subconfig.h"
#include "../test.h"

static int list(const char *text, struct arena *arena, struct subconfigs *out, struct gptqfs_error *err)
{
	struct json *json;
	int rc = json_parse((struct json_text){text, strlen(text)}, "config.json", &json, err);

	if (rc == 0)
		rc = subconfig_list(json, arena, out, err);
	json_free(json);
	return rc;
}

static void test_places(void)
{
	static const struct {
		const char *text, *places;
	} cases[] = {
	    {"{}", ""},
	    {"{\"quantization_config\":null,\"a\":\"quantization_config\"}", ""},
	    {"{\"quantization_config\":{\"n\":1,\"quantization_config\":{}}}", "config.json;"},
	    {"{\"text_config\":{\"quantization_config\":{}},\"quantization_config\":{}}",
		"config.json;config.json (text_config);"},
	    {"{\"thinker_config\":{\"audio_config\":{\"quantization_config\":{}},"
	     "\"text_config\":{\"quantization_config\":{}}}}",
		"config.json (thinker_config.text_config);config.json (thinker_config.audio_config);"},
	    {"{\"a\":{\"quantization_config\":{}},\"vision_config\":{\"quantization_config\":{}},"
	     "\"decoder\":{\"quantization_config\":{}}}",
		"config.json (decoder);config.json (a);config.json (vision_config);"},
	    {"{\"language_config\":{\"x\":{\"quantization_config\":{}},\"quantization_config\":{}}}",
		"config.json (language_config);config.json (language_config.x);"},
	    {"{\"llm_config\":[{\"quantization_config\":{}}]}", "config.json (llm_config.[]);"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct arena arena = {0};
		struct subconfigs found;
		char places[512] = "";

		CHECK(list(cases[i].text, &arena, &found, NULL) == 0);
		for (size_t k = 0; k < found.count; k++)
			strcat(strcat(places, found.list[k].where), ";");
		if (!CHECK(strcmp(places, cases[i].places) == 0))
			printf("  %s\n", places);
		arena_free(&arena);
	}
}

/* Long keys above many configurations must not multiply. */
static void test_bounds(void)
{
	static char text[40000];
	struct arena arena = {0};
	struct subconfigs found;
	struct gptqfs_error err = {""};
	size_t at = 2;

	memset(text, 'k', 20000);
	memcpy(text, "{\"", 2);
	at = 20000;
	at += (size_t)sprintf(text + at, "\":{");
	for (int i = 0; i < 17; i++)
		at += (size_t)sprintf(text + at, "%s\"%d\":{\"quantization_config\":{}}", i ? "," : "", i);
	sprintf(text + at, "}}");
	CHECK(list(text, &arena, &found, &err) == -EBADMSG && strstr(err.text, "more than 16"));
	arena_free(&arena);
}

int main(void)
{
	test_places();
	test_bounds();
	return test_done();
}
