/* SPDX-License-Identifier: MIT */
#include "view/escape.h"

#include "../test.h"
#include "../unescape.h"

static bool is(const struct text *t, const char *expected)
{
	bool same = t->len == strlen(expected) && (!t->len || memcmp(t->data, expected, t->len) == 0);

	if (!same)
		printf("  \"%.*s\", expected \"%s\"\n", (int)t->len, t->data, expected);
	return same;
}

/* The path is as expected, and leads back. */
static bool escapes(const char *name, const char *expected)
{
	struct text path = {0}, back = {0};
	bool cut, good;

	escape_path(name, strlen(name), &path);
	good = is(&path, expected) && unescape_path(path.data, path.len, &back, &cut) && !cut && is(&back, name);
	text_free(&path);
	text_free(&back);
	return good;
}

static void test_names(void)
{
	CHECK(escapes("model.layers.0.self_attn.q_proj", "model/layers/0/self_attn/q_proj"));
	CHECK(escapes("lm_head", "lm_head"));
	CHECK(escapes("", "%"));
	CHECK(escapes(".", "%/%"));
	CHECK(escapes("..", "%/%/%"));
	CHECK(escapes("../../etc/passwd", "%/%/%2F/%/%2Fetc%2Fpasswd"));
	CHECK(escapes("a..b", "a/%/b"));
	CHECK(escapes("/", "%2F"));
	CHECK(escapes("%", "%25"));
	CHECK(escapes("%2F", "%252F"));
	CHECK(escapes("a b\tc\nd\x7f", "a b%09c%0Ad%7F"));
	CHECK(escapes("nul\xc0\x80.x", "nul%00/x"));
	CHECK(escapes("\xe5\xb1\x82.\xc3\xa9", "\xe5\xb1\x82/\xc3\xa9"));
	/* No UTF-8: bytes as they are. */
	CHECK(escapes("\x80\xff\xc0", "\x80\xff\xc0"));
}

/* A path has 32 parts at most; the last holds the rest. */
static void test_depth(void)
{
	struct text name = {0}, path = {0};

	for (int i = 1; i < 40; i++) {
		text_string(&name, i < 2 ? "a" : ".a");
		text_string(&path, i < 2 ? "a" : i <= 32 ? "/a" : "%2Ea");
		text_put(&name, "", 1);
		text_put(&path, "", 1);
		CHECK(escapes(name.data, path.data));
		name.len--;
		path.len--;
	}
	text_free(&name);
	text_free(&path);
}

/* `count` times `unit`, and what comes of it: `kept` bytes and a hash. */
static bool cuts(const char *unit, size_t count, size_t kept)
{
	struct text name = {0}, path = {0}, back = {0};
	bool cut, good;

	for (size_t i = 0; i < count; i++)
		text_put(&name, unit, strlen(unit));
	escape_path(name.data, name.len, &path);
	good = unescape_path(path.data, path.len, &back, &cut) && back.len <= name.len &&
	       memcmp(back.data, name.data, back.len) == 0;
	if (kept)
		good = good && cut && path.len == kept + 33 && path.len > ESCAPE_PART_MAX && path.data[kept] == '%';
	else
		good = good && !cut && back.len == name.len;
	if (!good)
		printf("  %zu of \"%s\": %zu bytes: %.*s\n", count, unit, path.len, (int)path.len, path.data);
	text_free(&name);
	text_free(&path);
	text_free(&back);
	return good;
}

static void test_long(void)
{
	struct text a = {0}, b = {0};
	char name[300];

	CHECK(cuts("x", 200, 0));
	CHECK(cuts("x", 201, 200));
	CHECK(cuts("x", 1000000, 200));
	/* Not within a character, nor within an escape. */
	CHECK(cuts("\xe5\xb1\x82", 66, 0));
	CHECK(cuts("\xe5\xb1\x82", 67, 198));
	CHECK(cuts("/", 66, 0));
	CHECK(cuts("/", 67, 198));
	CHECK(cuts("\xc0\x80", 66, 0));
	CHECK(cuts("\xc0\x80", 67, 198));
	CHECK(cuts("\x80", 201, 200));
	/* What is cut off counts. */
	memset(name, 'y', sizeof(name));
	escape_path(name, sizeof(name), &a);
	name[299] = 'z';
	escape_path(name, sizeof(name), &b);
	CHECK(a.len == b.len && memcmp(a.data, b.data, 200) == 0 && memcmp(a.data, b.data, a.len) != 0);
	text_free(&a);
	text_free(&b);
}

int main(void)
{
	test_names();
	test_depth();
	test_long();
	return test_done();
}
