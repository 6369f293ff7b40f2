/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "../test.h"
#include "base/text.h"

static struct json_text text_of(const char *s)
{
	return (struct json_text){s, strlen(s)};
}

static void test_check_json(void)
{
	static const char *const good[] = {"{}", "[]", "0", "-0.5e+10", "\"\"", " true ", "null", "[1,2 , 3]",
	    "{\"a\":{\"b\":[{}]}}", "\"\\u00e9\\n\\\\\"", "\"\xc3\xa9\"", "\"\xf0\x9f\x98\x80\"", "1E400",
	    "\"\\u0000\""};
	static const char *const bad[] = {"", " ", "01", "1.", ".5", "+1", "1e", "nul", "True", "'a'", "[1,]", "[,1]",
	    "{\"a\"}", "{\"a\":1,}", "{a:1}", "[1 2]", "\"a", "\"\\x\"", "\"\\u12g4\"", "\"\n\"", "{} {}",
	    "\xef\xbb\xbf{}", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\\ud83d\\\"", "\"\xc0\x80\"",
	    "\"\xed\xa0\x80\"", "\"\xff\"", "\"\xc3\"", "\"\xe0\x80\x80\"", "\"\xf4\x90\x80\x80\"", "[", "{", "[[]",
	    "-", "--1", "NaN", "\"\t\""};
	char deep[400];

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		if (!CHECK(json_check(text_of(good[i]), "good", NULL) == 0))
			printf("  %s\n", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (!CHECK(json_check(text_of(bad[i]), "bad", NULL) == -EBADMSG))
			printf("  %s\n", bad[i]);
	memset(deep, '[', 200);
	memset(deep + 200, ']', 200);
	CHECK(json_check((struct json_text){deep, 400}, "deep", NULL) == -EBADMSG);
	CHECK(json_check((struct json_text){deep + 100, 200}, "less deep", NULL) == 0);
}

/* What json.dumps of Python writes, and nothing more. */
static void test_python(void)
{
	static const char *const good[] = {"NaN", "[Infinity,-Infinity]", "{\"a\": -Infinity, \"b\":NaN}"};
	static const char *const bad[] = {
	    "-NaN", "Inf", "nan", "infinity", "+Infinity", "InfinityNaN", "--Infinity", "-Infinity1", "NaN5"};
	struct json *json;
	int64_t n = 7;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		CHECK(json_check_python(text_of(good[i]), "good", NULL) == 0);
		CHECK(json_check(text_of(good[i]), "strict", NULL) == -EBADMSG);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (!CHECK(json_check_python(text_of(bad[i]), "bad", NULL) == -EBADMSG))
			printf("  %s\n", bad[i]);
	/* They are no integers, and strings that spell them stay. */
	CHECK(json_parse(text_of("{\"a\":NaN,\"b\":-Infinity,\"c\":[Infinity, NaN],\"d\":\"\\\"NaN Infinity\"}"), "f",
		  &json, NULL) == 0);
	CHECK(!json_integer(json_get(json, "a"), &n) && !json_integer(json_get(json, "b"), &n));
	CHECK(json_count(json_get(json, "c")) == 2 && !json_integer(json_at(json_get(json, "c"), 0), &n));
	CHECK(!json_str(json_get(json, "a")) && !json_bool(json_get(json, "a"), false));
	CHECK(!strcmp(json_str(json_get(json, "d")), "\"NaN Infinity"));
	json_free(json);
}

/* A short text may hold very many values. */
static void test_census(void)
{
	const size_t len = 4 << 20;
	char *text = malloc(len);
	struct gptqfs_error err = {""};
	struct json *json;

	if (!CHECK(text != NULL))
		return;
	for (size_t i = 0; i < len; i++)
		text[i] = i % 2 ? '0' : ',';
	text[0] = '[';
	text[len - 2] = ' ';
	text[len - 1] = ']';
	CHECK(json_check((struct json_text){text, len}, "many", NULL) == 0);
	CHECK(json_parse((struct json_text){text, len}, "many", &json, &err) == -EBADMSG && !json);
	CHECK(strstr(err.text, "expected at most 500000") != NULL);
	/* Within a string they are none. */
	text[0] = text[len - 1] = '"';
	CHECK(json_parse((struct json_text){text, len}, "string", &json, &err) == 0);
	json_free(json);
	free(text);
}

static void test_pieces(void)
{
	static const char *const whole[] = {"0", "7", "18446744073709551615"};
	static const char *const others[] = {
	    "", "-1", "-0", "1.0", "1e3", "18446744073709551616", "\"1\"", "[1]", "+1"};
	struct json_walk walk;
	struct json_text e;
	uint64_t n = 1;
	int count = 0;

	for (size_t i = 0; i < sizeof(whole) / sizeof(*whole); i++)
		CHECK(json_whole(text_of(whole[i]), &n));
	CHECK(n == UINT64_MAX);
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (!CHECK(!json_whole(text_of(others[i]), &n)))
			printf("  %s\n", others[i]);
	CHECK(json_walk_array(&walk, text_of(" [ 1 , [2,3] ,\"]\", {\"a\":[4]}]")));
	while (json_next_element(&walk, &e))
		count++;
	CHECK(count == 4 && e.len == 9);
	CHECK(!json_walk_array(&walk, text_of("{}")));
	CHECK(json_text_is(text_of("\"weight_map\""), "weight_map"));
	CHECK(json_text_is(text_of("\"w\\u0065ight\\u005fmap\""), "weight_map"));
	CHECK(json_text_is(text_of("\"a\\/\\\"\\n\""), "a/\"\n"));
	CHECK(!json_text_is(text_of("\"weight_ma\""), "weight_map") &&
	      !json_text_is(text_of("\"weight_map_\""), "weight_map"));
	CHECK(!json_text_is(text_of("weight_map"), "weight_map") && !json_text_is(text_of("\"\\u0161\""), "a"));
}

static void test_walk(void)
{
	const struct json_text text =
	    text_of(" { \"a\" : 1 , \"b,}\":{\"x\":[1,\"]\"]} ,\"c\":\"q\\\"}\", \"d\":[ ] , \"e\" : -2e3 }");
	static const char *const keys[] = {"\"a\"", "\"b,}\"", "\"c\"", "\"d\"", "\"e\""};
	static const char *const values[] = {"1", "{\"x\":[1,\"]\"]}", "\"q\\\"}\"", "[ ]", "-2e3"};
	struct json_walk walk;
	struct json_member m;
	int n = 0;

	CHECK(json_check(text, "walk", NULL) == 0);
	CHECK(json_walk(&walk, text));
	while (json_next(&walk, &m)) {
		CHECK(n < 5 && m.key.len == strlen(keys[n]) && !memcmp(m.key.at, keys[n], m.key.len));
		CHECK(n < 5 && m.value.len == strlen(values[n]) && !memcmp(m.value.at, values[n], m.value.len));
		n++;
	}
	CHECK(n == 5);
	CHECK(!json_walk(&walk, text_of("[1]")));
	CHECK(json_walk(&walk, text_of("{ }")) && !json_next(&walk, &m));
}

static void test_values(void)
{
	struct json *json;
	struct gptqfs_error err;
	int64_t n = 7;

	CHECK(json_parse(text_of("{\"a\":{\"b\":1},\"A\":2,\"c\":[1.5,9007199254740993,\"s\",true]}"), "f", &json,
		  &err) == 0);
	CHECK(json_integer(json_get(json_get(json, "a"), "b"), &n) && n == 1);
	CHECK(json_integer(json_get(json, "A"), &n) && n == 2);
	CHECK(!json_integer(json_at(json_get(json, "c"), 0), &n));
	CHECK(strcmp(json_str(json_at(json_get(json, "c"), 2)), "s") == 0);
	CHECK(json_bool(json_at(json_get(json, "c"), 3), false));
	CHECK(json_get(json_get(json, "none"), "more") == NULL && json_bool(NULL, true) && !json_str(NULL));
	CHECK(json_count(json) == 3 && strcmp(json_key(json_after(json_first(json))), "A") == 0);
	json_free(json);
	CHECK(json_parse(text_of("{\"x\":{\"k\":1,\"j\":0,\"k\":2}}"), "f", &json, &err) == -EBADMSG && !json);
	CHECK(strstr(err.text, "\"k\" occurs twice") != NULL);
	CHECK(json_parse(text_of("{\"x\":\"\\u0000\"}"), "f", &json, &err) == -EBADMSG);
	CHECK(json_parse(text_of("{\"x\":\"\\\\u0000\"}"), "f", &json, &err) == 0);
	json_free(json);
	CHECK(json_parse(text_of("\"\\ud800\""), "f", &json, &err) == -EBADMSG);
}

static void test_strings(void)
{
	struct arena arena = {0};
	struct text out = {0};
	const char *s = json_string(text_of("\"a\\u0000b\\\\u0000\\u00e9\\\"\""), &arena);

	CHECK(s && strcmp(s, "a\xc0\x80"
			     "b\\u0000\xc3\xa9\"") == 0);
	CHECK(strcmp(json_string(text_of("\"plain\""), &arena), "plain") == 0);
	CHECK(json_string(text_of("12"), &arena) == NULL && json_string(text_of("\"\\udc00\""), &arena) == NULL);
	text_json_string(&out, s);
	text_json_string(&out, "\n\x1f");
	CHECK(!out.failed && out.len == strlen("\"a\\u0000b\\\\u0000\xc3\xa9\\\"\"\"\\u000a\\u001f\"") &&
	      !memcmp(out.data, "\"a\\u0000b\\\\u0000\xc3\xa9\\\"\"\"\\u000a\\u001f\"", out.len));
	text_free(&out);
	arena_free(&arena);
}

int main(void)
{
	test_check_json();
	test_python();
	test_census();
	test_pieces();
	test_walk();
	test_values();
	test_strings();
	return test_done();
}
