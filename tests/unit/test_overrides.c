/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "quant/gptq/overrides.h"
#include "../test.h"

static struct overrides read_overrides(const char *text, struct arena *arena)
{
	struct overrides o;
	struct json *json;

	CHECK(json_parse((struct json_text){text, strlen(text)}, "config", &json, NULL) == 0);
	CHECK(overrides_read("config", json, arena, &o, NULL) == 0);
	json_free(json);
	return o;
}

static struct overrides one_pattern(const char *pattern, struct arena *arena)
{
	struct text text = {0};
	struct overrides o;

	text_string(&text, "{\"dynamic\":{");
	text_json_string(&text, pattern);
	text_put(&text, ":{\"group_size\":8}}}", 20);
	text_put(&text, "", 1);
	o = read_overrides(text.data, arena);
	text_free(&text);
	return o;
}

/* What GPTQModel's users write; expected is what Python's re.match says. */
static void test_syntax(void)
{
	static const struct {
		const char *pattern, *module;
		bool matches;
	} cases[] = {
	    {"a(?!b)", "ab", false},
	    {"a(?!b)", "ac", true},
	    {"model(?:\\.\\w+)*\\.(?:q|k)_proj", "model.layers.0.self_attn.q_proj", true},
	    {".*\\.layers\\.\\d\\d\\.", "model.layers.12.mlp", true},
	    {".*\\.layers\\.\\d\\d\\.", "model.layers.1.mlp", false},
	    {"model\\.layers\\.(?:[0-9]|1[0-5])\\..*", "model.layers.16.mlp", false},
	    {"(?i)MODEL", "model.layers", true},
	    {".*(?<=gate)_proj", "mlp.gate_proj", true},
	    {"layers", "model.layers", false},
	    {"", "anything", true},
	    {"(?P<x>a)(?P=x)$", "aa", true},
	    {".*\xe5\xb1\x82", "\xe5\xb1\x82", true},
	    {"^.$", "\xe5\xb1\x82", true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct arena arena = {0};
		const struct override *f = NULL;
		struct overrides o = one_pattern(cases[i].pattern, &arena);

		if (!CHECK(overrides_find(&o, cases[i].module, &f) == 0 && !!f == cases[i].matches))
			printf("  %s %s\n", cases[i].pattern, cases[i].module);
		arena_free(&arena);
	}
}

/* AutoRound: a name takes precedence over a matching pattern, and is not a pattern itself; patterns match anywhere. */
static void test_extra(void)
{
	struct arena arena = {0};
	const struct override *f;
	struct overrides o = read_overrides(
	    "{\"extra_config\":{\".*q.*\":{\"bits\":2},\"m.q\":{\"bits\":8},\"k$\":{\"group_size\":64,\"bits\":null}}}",
	    &arena);

	CHECK(overrides_find(&o, "m.q", &f) == 0 && f && f->bits == 8);
	CHECK(overrides_find(&o, "mxq", &f) == 0 && f && f->bits == 2);
	CHECK(overrides_find(&o, "x.m.q.y", &f) == 0 && f && f->bits == 2);
	CHECK(overrides_find(&o, "model.k", &f) == 0 && f && f->group_size == 64 && f->bits == 0);
	CHECK(overrides_find(&o, "model.kk.v", &f) == 0 && !f);
	arena_free(&arena);
}

static bool is_odd(const void *names, const char *name)
{
	return strcmp(name, names) == 0;
}

/* Names of modules that happen to be patterns, or not. */
static void test_bind(void)
{
	struct arena arena = {0};
	const struct override *f;
	struct overrides o = read_overrides("{\"extra_config\":{\".*\":{\"bits\":2},\"x\\\\y\":{\"bits\":8}}}", &arena);

	CHECK(overrides_find(&o, "z", &f) == 0 && f->bits == 2);
	overrides_bind(&o, is_odd, "x\\y");
	CHECK(o.pattern_count == 1 && o.name_count == 1);
	CHECK(overrides_find(&o, "x\\y", &f) == 0 && f->bits == 8);
	CHECK(overrides_find(&o, "z", &f) == 0 && f->bits == 2);
	arena_free(&arena);
}

/* Patterns that would run forever or fill the memory: each must end, with a result or aborted. */
static void test_costs(void)
{
	static const char *const patterns[] = {"(.{1,255}){1,255}x", "((.{1,99}){1,99}){1,99}", "((.*).*)*\\2\\2x",
	    "(a+)+$", "(((((((((((.*)*)*)*)*)*)*)*)*)*)*)*x", "(?:(?:(?:a*)*)*)*b", "(", "a{9999999}", "\\C",
	    "((?1)|a)*b", "(?<=(?:a|bb|ccc){1,9})x", "(?R)"};
	char name[201];

	memset(name, 'a', 200);
	name[200] = 0;
	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
		struct arena arena = {0};
		const struct override *f = NULL;
		struct overrides o = one_pattern(patterns[i], &arena);
		int rc = 0;

		for (int k = 0; k < 1000 && rc == 0; k++)
			rc = overrides_find(&o, name, &f);
		CHECK(rc == 0 || (rc == -ENOTSUP && f && f->pattern.fault));
		arena_free(&arena);
	}
}

/* Many patterns for many modules: the whole configuration is bounded. */
static void test_many(void)
{
	const struct override *f;
	struct arena arena = {0};
	struct text text = {0};
	struct overrides o;
	char name[64];
	int rc = 0;

	text_string(&text, "{\"dynamic\":{");
	for (int i = 0; i < 20000; i++)
		text_printf(&text, "%s\".*layers.*%d.*mlp\":{\"bits\":4}", i ? "," : "", i);
	text_put(&text, "}}", 3);
	o = read_overrides(text.data, &arena);
	for (int i = 0; i < 1000000 && rc == 0; i++) {
		snprintf(name, sizeof(name), "model.layers.x.%d", i);
		rc = overrides_find(&o, name, &f);
	}
	CHECK(rc == -ENOTSUP && strstr(f->pattern.fault, "too many steps"));
	/* Plain names need not be tried. */
	text.len = 0;
	text_string(&text, "{\"dynamic\":{");
	for (int i = 0; i < 50000; i++)
		text_printf(&text, "%s\"^layers\\\\.%d$\":{\"bits\":4}", i ? "," : "", i);
	text_put(&text, "}}", 3);
	o = read_overrides(text.data, &arena);
	rc = 0;
	for (int i = 0; i < 100000 && rc == 0; i++) {
		snprintf(name, sizeof(name), "layers.%d", i);
		rc = overrides_find(&o, name, &f);
		rc = rc || !!f != (i < 50000);
	}
	CHECK(rc == 0);
	text_free(&text);
	arena_free(&arena);
}

static void test_range(void)
{
	static const char *const bad[] = {"{\"bits\":65}", "{\"bits\":-1}", "{\"bits\":4.5}", "{\"group_size\":-2}",
	    "{\"group_size\":4294967296}", "{\"group_size\":1e300}"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct arena arena = {0};
		struct gptqfs_error err = {""};
		struct overrides o;
		struct json *json;
		char text[128];

		snprintf(text, sizeof(text), "{\"dynamic\":{\"q\":%s}}", bad[i]);
		CHECK(json_parse((struct json_text){text, strlen(text)}, "config", &json, NULL) == 0);
		CHECK(overrides_read("config", json, &arena, &o, &err) == -EBADMSG && strstr(err.text, "whole number"));
		json_free(json);
		arena_free(&arena);
	}
}

int main(void)
{
	struct arena arena = {0};
	const struct override *f;
	struct overrides o =
	    read_overrides("{\"dynamic\":{\"+:.*\\\\.down.*\":{\"bits\":8},\".*\\\\.0\\\\..*\":{\"group_size\":-1},"
			   "\"-:lm_head\":{},\"model.*q_proj\":{\"bits\":3,\"group_size\":16}}}",
		&arena);

	CHECK(o.count == 4);
	CHECK(overrides_find(&o, "model.1.mlp.down_proj", &f) == 0 && f && f->bits == 8 && f->group_size == 0);
	CHECK(overrides_find(&o, "model.0.up", &f) == 0 && f && f->group_size == -1 && !f->negative);
	CHECK(overrides_find(&o, "model.0.down", &f) == 0 && f && f->bits == 8);
	CHECK(overrides_find(&o, "lm_head", &f) == 0 && f && f->negative);
	CHECK(overrides_find(&o, "model.1.q_proj", &f) == 0 && f && f->bits == 3);
	/* Anchored at the start, not at the end. */
	CHECK(overrides_find(&o, "model.1.q_proj.more", &f) == 0 && f);
	CHECK(overrides_find(&o, "x.model.1.q_proj", &f) == 0 && !f);
	o = read_overrides("{\"extra_config\":{\"model.1.q\":{\"bits\":16},\"q$\":{\"group_size\":64}}}", &arena);
	CHECK(overrides_find(&o, "model.1.q", &f) == 0 && f && f->bits == 16);
	CHECK(overrides_find(&o, "model.2.q", &f) == 0 && f && f->group_size == 64);
	CHECK(overrides_find(&o, "model.2.k", &f) == 0 && !f);
	/* Patterns for one name, and some that only look like that. */
	o = read_overrides(
	    "{\"dynamic\":{\"+:^a\\\\.b$\":{\"bits\":2},\"^c\\\\\\\\d\\\\(\\\\?$\":{\"bits\":3},"
	    "\"-:^e$\":{},\"^f.$\":{\"bits\":4},\"^g$h\":{\"bits\":5},\"^i$$\":{\"bits\":6},\"^jk\":{\"bits\":7}}}",
	    &arena);
	CHECK(overrides_find(&o, "a.b", &f) == 0 && f && f->bits == 2);
	CHECK(overrides_find(&o, "axb", &f) == 0 && !f);
	CHECK(overrides_find(&o, "a.", &f) == 0 && !f && overrides_find(&o, "a.bc", &f) == 0 && !f);
	CHECK(overrides_find(&o, "c\\d(?", &f) == 0 && f && f->bits == 3);
	CHECK(overrides_find(&o, "e", &f) == 0 && f && f->negative && overrides_find(&o, "ee", &f) == 0 && !f);
	CHECK(overrides_find(&o, "fx", &f) == 0 && f && f->bits == 4);
	CHECK(overrides_find(&o, "g$h", &f) == 0 && !f);
	CHECK(overrides_find(&o, "jkl", &f) == 0 && f && f->bits == 7);
	CHECK(overrides_find(&o, "", &f) == 0 && !f);
	o = read_overrides("{\"dynamic\":null}", &arena);
	CHECK(o.count == 0 && overrides_find(&o, "model.2.k", &f) == 0 && !f);
	arena_free(&arena);
	test_syntax();
	test_extra();
	test_bind();
	test_costs();
	test_many();
	test_range();
	return test_done();
}
