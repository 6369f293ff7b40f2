/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/safetensors.h"
#include "../test.h"

static int parse(const char *header, uint64_t data, struct arena *arena, struct safetensors *st,
    struct gptqfs_error *err)
{
	struct safetensors_input in = {"f.safetensors", header, strlen(header), 8 + strlen(header) + data};

	err->text[0] = 0;
	return safetensors_parse(&in, arena, st, err);
}

static void test_good(void)
{
	struct arena arena = {0};
	struct safetensors st;
	struct gptqfs_error err;
	const char *header =
	    "{\"b\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[4,16]},\"__metadata__\":{\"format\":\"pt\"},"
	    "\"empty\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[4,4]},"
	    "\"a\":{\"shape\":[],\"dtype\":\"I32\",\"data_offsets\":[0,4],\"extra\":null}}  \n";

	CHECK(parse(header, 16, &arena, &st, &err) == 0);
	CHECK(st.count == 3 && !strcmp(st.tensors[0].name, "a") && !strcmp(st.tensors[1].name, "b"));
	CHECK(st.tensors[0].ndim == 0 && st.tensors[0].bytes == 4 && st.tensors[0].begin == 8 + strlen(header));
	CHECK(st.tensors[1].ndim == 2 && st.tensors[1].shape[1] == 3 && st.tensors[1].dtype == DTYPE_F16);
	safetensors_free(&st);
	CHECK(parse("{}", 0, &arena, &st, &err) == 0 && st.count == 0);
	safetensors_free(&st);
	CHECK(parse("{\"__metadata__\":null}", 0, &arena, &st, &err) == 0);
	safetensors_free(&st);
	CHECK(parse("{\"x\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,2]}}", 2, &arena, &st, &err) == 0);
	safetensors_free(&st);
	arena_free(&arena);
}

#define ONE(dtype, shape, offsets) "{\"t\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void test_bad(void)
{
	static const struct {
		const char *header;
		uint64_t data;
		const char *says;
	} cases[] = {
	    {ONE("\"F16\"", "[4]", "[0,8]"), 9, "the tensors end at byte"},
	    {ONE("\"F16\"", "[4]", "[0,8]"), 7, "truncated"},
	    {ONE("\"F16\"", "[4]", "[1,9]"), 9, "leave a gap"},
	    {ONE("\"F16\"", "[5]", "[0,8]"), 8, "do not fill"},
	    {ONE("\"F16\"", "[4]", "[8,0]"), 8, "data_offsets"},
	    {ONE("\"F16\"", "[4]", "[0]"), 8, "data_offsets"},
	    {ONE("\"F16\"", "[4]", "[-1,7]"), 8, "data_offsets"},
	    {ONE("\"F16\"", "[4]", "[0.5,8]"), 8, "data_offsets"},
	    {ONE("\"F16\"", "[-4]", "[0,8]"), 8, "dimension"},
	    {ONE("\"F16\"", "[1e30]", "[0,8]"), 8, "dimension"},
	    {ONE("\"F16\"", "[4294967296,4294967296]", "[0,8]"), 8, "too large"},
	    {ONE("\"F16\"", "[4611686018427387904,2]", "[0,0]"), 0, ""},
	    {ONE("\"F16\"", "7", "[0,8]"), 8, "expected a shape"},
	    /* Neither does the format's own reader take these. */
	    {ONE("\"F16\"", "\"4\"", "[0,8]"), 8, "expected a shape"},
	    {ONE("\"F16\"", "null", "[0,2]"), 2, "expected a shape"},
	    {ONE("\"F16\"", "{\"a\":4}", "[0,8]"), 8, "expected a shape"},
	    {ONE("\"F16\"", "[4.0]", "[0,8]"), 8, "dimension"},
	    {ONE("\"F16\"", "[4e0]", "[0,8]"), 8, "dimension"},
	    {ONE("\"F16\"", "[-0]", "[0,0]"), 0, "dimension"},
	    {ONE("\"F16\"", "[[4]]", "[0,8]"), 8, "dimension"},
	    {ONE("\"F16\"", "[18446744073709551620]", "[0,8]"), 8, "dimension"},
	    {ONE("\"F16\"", "[4]", "{\"a\":0,\"b\":8}"), 8, "data_offsets"},
	    {ONE("\"F16\"", "[4]", "[0,8,8]"), 8, "data_offsets"},
	    {ONE("\"F16\"", "[4]", "[0,8.0]"), 8, "data_offsets"},
	    {ONE("\"F16\"", "[4],\"sh\\u0061pe\":[4]", "[0,8]"), 8, "occurs twice"},
	    {ONE("\"F16\",\"dtype\":\"F16\"", "[4]", "[0,8]"), 8, "occurs twice"},
	    {ONE("[]", "[4]", "[0,8]"), 8, "dtype"},
	    {"{\"__metadata__\":{},\"__meta\\u0064ata__\":{}}", 0, "occurs twice"},
	    {"{\"__meta\\u0064ata__\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, "strings only"},
	    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
	     "\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
		0, "occurs twice"},
	    {ONE("\"f16\"", "[4]", "[0,8]"), 8, "a newer gptqfs"},
	    {ONE("16", "[4]", "[0,8]"), 8, "expected the name"},
	    {ONE("\"F16\"", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,4]", "[0,8]"), 8, "16 dimensions"},
	    {"[]", 0, "not a JSON object"},
	    {"{\"t\":1}", 0, "expected an object"},
	    {"{\"t\":{}}", 0, "expected dtype"},
	    {"{\"t\":{}", 0, "malformed JSON"},
	    {"{\"__metadata__\":{\"a\":1}}", 0, "strings only"},
	    {"{\"__metadata__\":[]}", 0, "an object"},
	    {"{\"\\ud800\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[0,2]}}", 2, "malformed JSON"},
	    {"{\"t\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"u\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,"
	     "3]}}",
		3, "overlap"},
	    {"{\"t\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"t\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,"
	     "4]}}",
		4, "occurs twice"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct arena arena = {0};
		struct safetensors st;
		struct gptqfs_error err;
		int rc = parse(cases[i].header, cases[i].data, &arena, &st, &err);

		if (!CHECK(rc == -EBADMSG || rc == -ENOTSUP) || !CHECK(strstr(err.text, cases[i].says)))
			printf("  case %zu: %s: %s\n", i, cases[i].header, err.text);
		safetensors_free(&st);
		arena_free(&arena);
	}
}

/* What we write, we and the reference implementation read: tiled, data on a page. */
static void test_write(void)
{
	const uint64_t shape[] = {3, 5};
	const struct st_tensor tensors[] = {
	    {.name = "quote\"back\\", .shape = shape, .ndim = 2, .dtype = DTYPE_F32, .bytes = 60},
	    {.name = "z", .shape = shape, .ndim = 0, .dtype = DTYPE_BOOL, .bytes = 1},
	};
	struct arena arena = {0};
	struct text out = {0};
	struct safetensors st;
	struct gptqfs_error err;
	struct safetensors_input in;

	safetensors_write(tensors, 2, &out);
	CHECK(!out.failed && out.len == SAFETENSORS_ALIGN);
	CHECK((unsigned char)out.data[0] == 0xf8 && out.data[1] == 0x0f && out.data[8] == '{' && out.data[4095] == ' ');
	in = (struct safetensors_input){"w", out.data + 8, out.len - 8, out.len + 61};
	CHECK(safetensors_parse(&in, &arena, &st, &err) == 0);
	CHECK(st.count == 2 && !strcmp(st.tensors[0].name, tensors[0].name) && st.tensors[1].begin == 4096 + 60);
	text_free(&out);
	safetensors_free(&st);
	arena_free(&arena);
}

/* Dimensions and tensors are counted before there is memory for them. */
static void test_bounds(void)
{
	const size_t len = 8 << 20;
	char *header = malloc(len);
	struct safetensors_input in = {"f.safetensors", header, len, 8 + len};
	struct arena arena = {0};
	struct safetensors st;
	struct gptqfs_error err;

	if (!CHECK(header != NULL))
		return;
	memcpy(header, "{\"t\":{\"shape\":[0", 16);
	for (size_t i = 16; i < len; i++)
		header[i] = i % 2 ? '0' : ',';
	header[len - 42] = ' ';
	memcpy(header + len - 41, "],\"dtype\":\"U8\",\"data_offsets\":[0,0]}    }", 42 - 1);
	CHECK(safetensors_parse(&in, &arena, &st, &err) == -EBADMSG && strstr(err.text, "16 dimensions"));
	safetensors_free(&st);
	memset(header, ' ', len);
	for (size_t i = 0; i <= SAFETENSORS_COUNT_MAX; i++)
		memcpy(header + 5 * i, ",\"\":1", 5);
	header[0] = '{';
	header[len - 1] = '}';
	CHECK(safetensors_parse(&in, &arena, &st, &err) == -EBADMSG && strstr(err.text, "expected at most 1000000"));
	safetensors_free(&st);
	arena_free(&arena);
	free(header);
}

int main(void)
{
	test_good();
	test_bad();
	test_write();
	test_bounds();
	return test_done();
}
