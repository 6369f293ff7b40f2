/* SPDX-License-Identifier: MIT */
/* Output for people and programs: escapes, and numbers with units. */

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

static bool disarmed_as(const char *s, const char *expected)
{
	char line[256];

	strcpy(line, s);
	text_disarm(line);
	if (strcmp(line, expected) != 0)
		printf("  found %s\n", line);
	return strcmp(line, expected) == 0;
}

/* Code points that terminals and log viewers interpret, by their names in the Unicode character database. */
static void test_disarm(void)
{
	static const char *const armed[] = {"\x1b", "\n", "\r", "\x01", "\x7f", "\xc2\x9b", "\xc2\x80", "\xc2\x9f",
	    "\xc0\x80", "\xe2\x80\xae", "\xe2\x80\xaa", "\xe2\x81\xa6", "\xe2\x81\xa9", "\xe2\x80\x8e", "\xd8\x9c",
	    "\xe2\x80\xa8", "\xe2\x80\xa9", "\xef\xbb\xbf", "\xe2\x80\x8b", "\xf3\xa0\x80\x81"};
	static const char *const plain[] = {
	    "", "a b~\\", "\xc3\xa4\xe2\x82\xac", "\xe5\xb1\x82", "\xf0\x9f\x98\x80", "\xd7\xa9\xd7\x9c", "\xc2\xa0"};
	char line[64];

	for (size_t i = 0; i < sizeof(armed) / sizeof(*armed); i++) {
		snprintf(line, sizeof(line), "a%sb\xc3\xa4", armed[i]);
		if (!CHECK(disarmed_as(line, "a?b\xc3\xa4")))
			printf("  case %zu\n", i);
	}
	for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++)
		CHECK(disarmed_as(plain[i], plain[i]));
	/* Each byte that is no UTF-8; a message may be cut within a character. */
	CHECK(disarmed_as("x\x9b[2J", "x?[2J") && disarmed_as("\xff\xfe", "??") && disarmed_as("a\xe5\xb1", "a??"));
	CHECK(disarmed_as("\xed\xa0\x80", "???") && disarmed_as("\xc1\x9b", "??"));
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
	test_disarm();
	test_units();
	return test_done();
}
