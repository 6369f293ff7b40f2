/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_JSON_H
#define GPTQFS_JSON_H

/*
 * Untrusted JSON. Values are cJSON's, which only this file knows. Since cJSON is lax, the text is checked first (RFC
 * 8259 to the letter, UTF-8, no lone surrogates, at most 128 levels), and duplicate keys and texts with too many values
 * for a tree are refused. Large texts (a safetensors header may have 100 MB) are walked without building a tree.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "gptqfs.h"

/* A piece of text, not NUL-terminated. */
struct json_text {
	const char *at;
	size_t len;
};

/* A parsed value. The caller of json_parse owns it; json_free frees it with everything below. */
struct json;

/* Checks that a text is one JSON value. `name` is the file, for the message. Returns 0 or -EBADMSG. */
int json_check(struct json_text text, const char *name, struct gptqfs_error *err);

/* As json_check, but allows the numbers Infinity, -Infinity and NaN, which Python writes. */
int json_check_python(struct json_text text, const char *name, struct gptqfs_error *err);

/* A tree takes some 80 bytes per value, however short its text. */
#define JSON_VALUES_MAX 500000

/* Parses a checked text of either kind. Returns 0, -EBADMSG (duplicate key, NUL, too many values) or -ENOMEM. */
int json_parse(struct json_text text, const char *name, struct json **out, struct gptqfs_error *err);
void json_free(struct json *json);

/* A member of an object, as pieces of the object's text. */
struct json_member {
	struct json_text key; /* with its quotes */
	struct json_text value;
};

/* Iterates over the members of an object or the elements of an array. The text must have passed json_check. */
struct json_walk {
	const char *at, *end;
};

/* Starts iterating. Returns false if the text is not an object. */
bool json_walk(struct json_walk *walk, struct json_text text);
/* Returns the next member, or false after the last one. */
bool json_next(struct json_walk *walk, struct json_member *member);

/* As json_walk and json_next, for the elements of an array. */
bool json_walk_array(struct json_walk *walk, struct json_text text);
bool json_next_element(struct json_walk *walk, struct json_text *element);

/* True if `text` is a string equal to the ASCII string, escapes decoded: "weight\u005fmap" equals "weight_map". */
bool json_text_is(struct json_text text, const char *s);

/* Reads a number spelled with digits only: no sign, point or exponent. */
bool json_whole(struct json_text text, uint64_t *out);

/*
 * Decodes a string into the arena. NUL, which a name may contain as \u0000, becomes the bytes C0 80, which never occur
 * in UTF-8. Returns NULL if the text is not a string or has a lone surrogate, or with errno ENOMEM if out of memory.
 */
char *json_string(struct json_text text, struct arena *arena);

/* Access to values. All take NULL for "absent", and then return NULL, false or the fallback. */
const struct json *json_get(const struct json *object, const char *key);
const struct json *json_at(const struct json *array, size_t index);
size_t json_count(const struct json *array_or_object);
const char *json_key(const struct json *member);
/* Iteration in linear time, over an object or an array. */
const struct json *json_first(const struct json *array_or_object);
const struct json *json_after(const struct json *member);
bool json_is_object(const struct json *value);
bool json_is_null(const struct json *value);
bool json_is_number(const struct json *value);
const char *json_str(const struct json *value);
bool json_bool(const struct json *value, bool fallback);
/* Returns a whole number of magnitude up to 2^53 (exact in a double). */
bool json_integer(const struct json *value, int64_t *out);
/* Returns any number as the nearest double. */
bool json_number(const struct json *value, double *out);

#endif
