/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "checkpoint/index.h"
#include "../test.h"

static int parse(const char *text, const char *name, struct arena *arena, struct index *index, struct gptqfs_error *err)
{
	return index_parse((struct json_text){text, strlen(text)}, name, arena, index, err);
}

static void test_good(void)
{
	struct arena arena = {0};
	struct index index;
	struct gptqfs_error err;

	CHECK(
	    parse(
		"{\"metadata\":{\"total_size\":1},\"weight_map\":{\"b\":\"2.safetensors\",\"a\":\"sub/1.safetensors\","
		"\"c\":\"2.safetensors\"}}",
		"index.json", &arena, &index, &err) == 0);
	CHECK(index.count == 3 && index.shard_count == 2);
	CHECK(!strcmp(index.shards[0], "2.safetensors") && !strcmp(index.shards[1], "sub/1.safetensors"));
	CHECK(index_find(&index, "a") == 1 && index_find(&index, "b") == 0 && index_find(&index, "d") == -1);
	CHECK(parse("{\"weight_map\":{\"a\":\"1.st\"}}", "sub/dir/index.json", &arena, &index, &err) == 0);
	CHECK(!strcmp(index.shards[0], "sub/dir/1.st"));
	CHECK(parse("{\"weight_map\":{\"a\":\"./1.st\",\"b\":\"1.st\",\"c\":\"././2.st\"}}", "index.json", &arena,
		  &index, &err) == 0);
	CHECK(index.shard_count == 2 && !strcmp(index.shards[0], "1.st") && !strcmp(index.shards[1], "2.st"));
	arena_free(&arena);
}

static void test_bad(void)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
	    {"", "malformed"},
	    {"[]", "weight_map"},
	    {"{}", "weight_map"},
	    {"{\"weight_map\":[]}", "weight_map"},
	    {"{\"weight_map\":{}}", "lists no tensors"},
	    {"{\"weight_map\":{\"a\":\"x\"},\"weight_map\":{\"a\":\"x\"}}", "one object"},
	    {"{\"weight_map\":{\"a\":\"x\"},\"w\\u0065ight_map\":{\"a\":\"y\"}}", "one object"},
	    {"{\"weight_map\":{\"a\":\"x\",\"\\u0061\":\"y\"}}", "twice"},
	    {"{\"weight_map\":{\"a\":1}}", "map of names"},
	    {"{\"weight_map\":{\"a\":\"../x\"}}", "inside the model"},
	    {"{\"weight_map\":{\"a\":\"x/../../y\"}}", "inside the model"},
	    {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "inside the model"},
	    {"{\"weight_map\":{\"a\":\"./../x\"}}", "inside the model"},
	    {"{\"weight_map\":{\"a\":\".//x\"}}", "inside the model"},
	    {"{\"weight_map\":{\"a\":\"./\"}}", "inside the model"},
	    {"{\"weight_map\":{\"a\":\"x/./y\"}}", "inside the model"},
	    {"{\"weight_map\":{\"a\":\"x//y\"}}", "inside the model"},
	    {"{\"weight_map\":{\"a\":\"x/\"}}", "inside the model"},
	    {"{\"weight_map\":{\"a\":\"\"}}", "inside the model"},
	    {"{\"weight_map\":{\"a\":\"\\u002e./x\"}}", "inside the model"},
	    {"{\"weight_map\":{\"a\":\"x\",\"b\":\"y\",\"a\":\"z\"}}", "twice"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct arena arena = {0};
		struct index index;
		struct gptqfs_error err = {""};

		CHECK(parse(cases[i].text, "index.json", &arena, &index, &err) == -EBADMSG);
		if (!CHECK(strstr(err.text, cases[i].says)))
			printf("  %s: %s\n", cases[i].text, err.text);
		arena_free(&arena);
	}
}

int main(void)
{
	test_good();
	test_bad();
	return test_done();
}
