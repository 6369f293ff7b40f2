/* SPDX-License-Identifier: MIT */

/* Text that passes the checker can be walked, and a walk finds the same values as the tree. */

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "fuzz.h"

static void check_member(const struct json_member *m, const struct json *value, struct arena *arena)
{
	const char *key = json_string(m->key, arena);
	uint64_t whole;
	int64_t integer;
	bool ascii = true;

	FUZZ_CHECK(key && json_key(value) && strcmp(key, json_key(value)) == 0);
	for (const char *p = key; *p; p++)
		ascii &= (unsigned char)*p < 0x80;
	FUZZ_CHECK(!ascii || json_text_is(m->key, key));
	FUZZ_CHECK(!json_text_is(m->key, "no such key") || strcmp(key, "no such key") == 0);
	if (json_whole(m->value, &whole) && whole < (uint64_t)1 << 53)
		FUZZ_CHECK(json_integer(value, &integer) && (uint64_t)integer == whole);
}

static void check_tree(struct json_text text, const struct json *json, struct arena *arena)
{
	const struct json *value = json_first(json);
	struct json_walk walk;
	struct json_member m;
	struct json_text element;
	size_t count = 0;

	if (json_walk(&walk, text)) {
		for (; json_next(&walk, &m); value = json_after(value), count++)
			check_member(&m, value, arena);
		FUZZ_CHECK(json_is_object(json) && count == json_count(json));
	} else if (json_walk_array(&walk, text)) {
		while (json_next_element(&walk, &element))
			count++;
		FUZZ_CHECK(count == json_count(json));
	}
}

#define DISARMED 128

static void check_disarm(const uint8_t *data, size_t size)
{
	char *line = malloc(size + 1), *again;

	FUZZ_CHECK(line != NULL);
	memcpy(line, data, size);
	line[size] = 0;
	text_disarm(line);
	again = strdup(line);
	FUZZ_CHECK(again != NULL);
	text_disarm(again);
	FUZZ_CHECK(strcmp(line, again) == 0);
	for (const char *p = line; *p; p++)
		FUZZ_CHECK((unsigned char)*p >= 0x20 && *p != 0x7f);
	free(line);
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct json_text text = {(const char *)data, size};
	const bool strict = json_check(text, "fuzz", NULL) == 0;
	struct arena arena = {0};
	struct json *json;

	if (json_check_python(text, "fuzz", NULL) == 0 && json_parse(text, "fuzz", &json, NULL) == 0) {
		check_tree(text, json, &arena);
		json_free(json);
	} else {
		/* A tree may hold less than the checker accepts, but never more. */
		FUZZ_CHECK(!strict || json_check_python(text, "fuzz", NULL) == 0);
	}
	/* Of every byte it asks a dozen questions, so a long text would leave no time for JSON. */
	check_disarm(data, size < DISARMED ? size : DISARMED);
	arena_free(&arena);
	return 0;
}
