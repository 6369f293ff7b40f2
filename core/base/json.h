/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_JSON_H
#define GPTQFS_JSON_H

/*
 * JSON from strangers. Values are cJSON's, and this is the only part that knows it. What cJSON is lax about is done
 * here: the whole text is checked first (RFC 8259 to the letter, UTF-8, no half of a surrogate pair, at most 128
 * levels), keys that occur twice are refused, and so is a text of more values than a tree may have. What is larger (a
 * safetensors header may have 100 MB) is walked over its text.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "gptqfs.h"

/* A piece of text, not terminated. */
struct json_text {
	const char *at;
	size_t len;
};

/* A value that was read; owned by the caller of json_parse, freed by json_free together with all below it. */
struct json;

/* Checks that this is one JSON value. `name` is the file, for the message. Returns 0 or -EBADMSG. */
int json_check(struct json_text text, const char *name, struct gptqfs_error *err);

/* The same for files that Python writes, where Infinity, -Infinity and NaN are numbers. */
int json_check_python(struct json_text text, const char *name, struct gptqfs_error *err);

/* A tree of values takes some 80 bytes for each, however short its text. */
#define JSON_VALUES_MAX 500000

/*
 * Reads a checked text of either kind. Returns 0, -EBADMSG (a key twice in one object, a NUL, too many values) or
 * -ENOMEM.
 */
int json_parse(struct json_text text, const char *name, struct json **out, struct gptqfs_error *err);
void json_free(struct json *json);

/* One member of an object; pieces of the object's text. */
struct json_member {
	struct json_text key; /* with its quotes */
	struct json_text value;
};

/* A walk over the members of an object or the elements of an array. The text must have passed json_check. */
struct json_walk {
	const char *at, *end;
};

/* Starts a walk. Returns false if the text is not an object. */
bool json_walk(struct json_walk *walk, struct json_text text);
/* The next member, or false after the last one. */
bool json_next(struct json_walk *walk, struct json_member *member);

/* The same for the elements of an array. */
bool json_walk_array(struct json_walk *walk, struct json_text text);
bool json_next_element(struct json_walk *walk, struct json_text *element);

/* True if `text` is this string of ASCII characters, however it is spelled: "weight\u005fmap" is "weight_map". */
bool json_text_is(struct json_text text, const char *s);

/* Reads a number that is spelled as a whole one, in digits alone: no sign, no point, no exponent. */
bool json_whole(struct json_text text, uint64_t *out);

/*
 * The string that a piece of text spells, decoded into the arena. NUL, which a name may contain as \u0000, becomes
 * the two bytes C0 80, which no UTF-8 text contains. Returns NULL if it is not a string or has a lone surrogate; or if
 * memory is out, and then errno is ENOMEM.
 */
char *json_string(struct json_text text, struct arena *arena);

/* Looking into values. All take NULL for "absent" and answer NULL, false or the fallback then. */
const struct json *json_get(const struct json *object, const char *key);
const struct json *json_at(const struct json *array, size_t index);
size_t json_count(const struct json *array_or_object);
const char *json_key(const struct json *member);
/* The first member or element, and the one after: for objects and arrays of any length. */
const struct json *json_first(const struct json *array_or_object);
const struct json *json_after(const struct json *member);
bool json_is_object(const struct json *value);
bool json_is_null(const struct json *value);
bool json_is_number(const struct json *value);
const char *json_str(const struct json *value);
bool json_bool(const struct json *value, bool fallback);
/* A whole number of at most 2^53 in size (what a double holds exactly). */
bool json_integer(const struct json *value, int64_t *out);
/* Any number, as the double nearest to it. */
bool json_number(const struct json *value, double *out);

#endif
