/* SPDX-License-Identifier: MIT */
/* What is written for people and programs: escapes, and numbers with units. */

#include <string.h>

#include "../test.h"
#include "base/text.h"

typedef void put_fn(struct text *, const char *);

static bool puts_as(put_fn *put, const char *s, const char *expected)
{
	struct text t = {0};
	bool same;

	put(&t, s);
	same = !t.failed && t.len == strlen(expected) && (!t.len || memcmp(t.data, expected, t.len) == 0);
	if (!same)
		printf("  found %.*s, expected %s\n", (int)t.len, t.data, expected);
	text_free(&t);
	return same;
}

static bool number_as(void (*put)(struct text *, uint64_t), uint64_t n, const char *expected)
{
	struct text t = {0};
	bool same;

	put(&t, n);
	same = t.len == strlen(expected) && memcmp(t.data, expected, t.len) == 0;
	if (!same)
		printf("  found %.*s, expected %s\n", (int)t.len, t.data, expected);
	text_free(&t);
	return same;
}

static void test_json_ascii(void)
{
	CHECK(puts_as(text_json_ascii, "", "\"\""));
	CHECK(puts_as(text_json_ascii, "a\"b\\c\n\x7f", "\"a\\\"b\\\\c\\u000a\\u007f\""));
	CHECK(puts_as(text_json_ascii, "\xc3\xa4\xe2\x82\xac", "\"\\u00e4\\u20ac\""));
	CHECK(puts_as(text_json_ascii, "\xf0\x9f\x98\x80", "\"\\ud83d\\ude00\""));
	CHECK(puts_as(text_json_ascii, "a\xc0\x80z", "\"a\\u0000z\""));
	/* Not UTF-8: cut short, overlong, a surrogate, beyond the last character, bytes that begin nothing. */
	CHECK(puts_as(text_json_ascii, "\xe2\x82", "\"\\udce2\\udc82\""));
	CHECK(puts_as(text_json_ascii, "\xc1\xbf", "\"\\udcc1\\udcbf\""));
	CHECK(puts_as(text_json_ascii, "\xed\xa0\x80", "\"\\udced\\udca0\\udc80\""));
	CHECK(puts_as(text_json_ascii, "\xf4\x90\x80\x80", "\"\\udcf4\\udc90\\udc80\\udc80\""));
	CHECK(puts_as(text_json_ascii, "\x80\xff", "\"\\udc80\\udcff\""));
}

static void test_ascii(void)
{
	CHECK(puts_as(text_ascii, "a b~", "a b~"));
	CHECK(puts_as(text_ascii, "", ""));
	CHECK(puts_as(text_ascii, "a\\b\n\xc3\xa4\x7f", "a\\134b\\012\\303\\244\\177"));
}

static void test_units(void)
{
	CHECK(number_as(text_bytes, 0, "0 bytes"));
	CHECK(number_as(text_bytes, 999, "999 bytes"));
	CHECK(number_as(text_bytes, 1000, "1 kB"));
	CHECK(number_as(text_bytes, 269062784, "269 MB"));
	CHECK(number_as(text_bytes, 999600, "1 MB"));
	CHECK(number_as(text_bytes, UINT64_MAX, "18.4 EB"));
	CHECK(number_as(text_count, 134515008, "135M"));
	CHECK(number_as(text_count, 6740000000u, "6.74B"));
}

static void test_plain(void)
{
	CHECK(puts_as(text_string, "", ""));
	CHECK(puts_as(text_string, "a\\b", "a\\b"));
	CHECK(number_as(text_number, 0, "0"));
	CHECK(number_as(text_number, 10, "10"));
	CHECK(number_as(text_number, 9876543210, "9876543210"));
	CHECK(number_as(text_number, UINT64_MAX, "18446744073709551615"));
}

int main(void)
{
	test_plain();
	test_json_ascii();
	test_ascii();
	test_units();
	return test_done();
}
