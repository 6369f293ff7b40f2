/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "quant/gptq/overrides.h"
#include "../test.h"

static struct overrides read_overrides(const char *text, struct arena *arena)
{
	struct overrides o;
	struct json *json;

	CHECK(json_parse((struct json_text){text, strlen(text)}, "config", &json, NULL) == 0);
	CHECK(overrides_read(json, arena, &o) == 0);
	json_free(json);
	return o;
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
	o = read_overrides("{\"dynamic\":{\"a(?!b)\":{}}}", &arena);
	CHECK(overrides_find(&o, "model.2.k", &f) == -ENOTSUP && f);
	/* Patterns of one name, and what only looks like one. */
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
	return test_done();
}
