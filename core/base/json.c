/* SPDX-License-Identifier: MIT */
#include "base/json.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/err.h"

#define DEPTH_MAX 128

/* ---- the checker: one function per production of RFC 8259 ---- */

struct scan {
	const unsigned char *at, *end;
	bool python; /* Infinity and NaN are numbers */
};

static bool scan_value(struct scan *s, int depth);

static void scan_space(struct scan *s)
{
	while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
		s->at++;
}

static bool scan_char(struct scan *s, unsigned char c)
{
	if (s->at == s->end || *s->at != c)
		return false;
	s->at++;
	return true;
}

static bool scan_word(struct scan *s, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0)
		return false;
	s->at += len;
	return true;
}

static bool scan_digits(struct scan *s)
{
	const unsigned char *from = s->at;

	while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
		s->at++;
	return s->at > from;
}

static bool scan_number(struct scan *s)
{
	if (s->python && scan_word(s, "NaN"))
		return true;
	scan_char(s, '-');
	if (s->python && scan_word(s, "Infinity"))
		return true;
	if (!scan_char(s, '0') && !scan_digits(s))
		return false;
	if (scan_char(s, '.') && !scan_digits(s))
		return false;
	if (scan_char(s, 'e') || scan_char(s, 'E')) {
		if (!scan_char(s, '-'))
			scan_char(s, '+');
		return scan_digits(s);
	}
	return true;
}

/* One UTF-8 sequence of two to four bytes: the shortest form, no surrogate, at most U+10FFFF (RFC 3629). */
static bool scan_utf8(struct scan *s)
{
	const unsigned char c = s->at[0];
	const int more = c >= 0xc2 && c <= 0xdf ? 1 : c >= 0xe0 && c <= 0xef ? 2 : c >= 0xf0 && c <= 0xf4 ? 3 : 0;
	const unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
	const unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;

	if (!more || s->end - s->at <= more || s->at[1] < low || s->at[1] > high)
		return false;
	for (int i = 2; i <= more; i++)
		if ((s->at[i] & 0xc0) != 0x80)
			return false;
	s->at += more + 1;
	return true;
}

/* Returns the value of four hexadecimal digits, or -1 if there are not four. */
static long hex4(const unsigned char *at, const unsigned char *end)
{
	long value = 0;

	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		const int c = at[i], digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;

		if (digit < 0 || digit > 15 || (c > '9' && digit < 10))
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

/* After "\\u": four digits, or the two halves of a surrogate pair. */
static bool scan_unicode(struct scan *s)
{
	const long c = hex4(s->at, s->end);

	if (c < 0 || (c >= 0xdc00 && c <= 0xdfff))
		return false;
	s->at += 4;
	if (c < 0xd800 || c > 0xdfff)
		return true;
	if (!scan_word(s, "\\u"))
		return false;
	if ((hex4(s->at, s->end) & ~0x3ffL) != 0xdc00)
		return false;
	s->at += 4;
	return true;
}

static bool scan_escape(struct scan *s)
{
	if (s->at == s->end)
		return false;
	if (*s->at == 'u') {
		s->at++;
		return scan_unicode(s);
	}
	return strchr("\"\\/bfnrt", *s->at++) != NULL && s->at[-1];
}

static bool scan_string(struct scan *s)
{
	if (!scan_char(s, '"'))
		return false;
	while (s->at < s->end && *s->at != '"') {
		bool good = true;

		if (*s->at == '\\') {
			s->at++;
			good = scan_escape(s);
		} else if (*s->at >= 0x80) {
			good = scan_utf8(s);
		} else if (*s->at++ < 0x20) {
			s->at--;
			good = false;
		}
		if (!good)
			return false;
	}
	return scan_char(s, '"');
}

/* The members of an object or the elements of an array, after the opening bracket. */
static bool scan_list(struct scan *s, unsigned char close, int depth)
{
	scan_space(s);
	if (scan_char(s, close))
		return true;
	do {
		scan_space(s);
		if (close == '}') {
			if (!scan_string(s))
				return false;
			scan_space(s);
			if (!scan_char(s, ':'))
				return false;
		}
		if (!scan_value(s, depth))
			return false;
	} while (scan_char(s, ','));
	return scan_char(s, close);
}

static bool scan_value(struct scan *s, int depth)
{
	bool good;

	scan_space(s);
	if (s->at == s->end || depth > DEPTH_MAX)
		return false;
	switch (*s->at) {
	case '{':
		s->at++;
		good = scan_list(s, '}', depth + 1);
		break;
	case '[':
		s->at++;
		good = scan_list(s, ']', depth + 1);
		break;
	case '"':
		good = scan_string(s);
		break;
	case 't':
		good = scan_word(s, "true");
		break;
	case 'f':
		good = scan_word(s, "false");
		break;
	case 'n':
		good = scan_word(s, "null");
		break;
	default:
		good = scan_number(s);
	}
	scan_space(s);
	return good;
}

static int check_text(struct scan s, struct json_text text, const char *name, struct gptqfs_error *err)
{
	if (scan_value(&s, 1) && s.at == s.end)
		return 0;
	return err_set(err, -EBADMSG,
	    "%s: malformed JSON at byte %zu of %zu (expected RFC 8259 in UTF-8); the file is damaged, fetch it again",
	    name, (size_t)(s.at - (const unsigned char *)text.at), text.len);
}

int json_check(struct json_text text, const char *name, struct gptqfs_error *err)
{
	const unsigned char *at = (const unsigned char *)text.at;

	return check_text((struct scan){at, at + text.len, false}, text, name, err);
}

int json_check_python(struct json_text text, const char *name, struct gptqfs_error *err)
{
	const unsigned char *at = (const unsigned char *)text.at;

	return check_text((struct scan){at, at + text.len, true}, text, name, err);
}

/* ---- walking over text ---- */

static const char *skip_space(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
		at++;
	return at;
}

static const char *skip_string(const char *at, const char *end)
{
	for (at++; at < end && *at != '"'; at++)
		if (*at == '\\')
			at++;
	return at < end ? at + 1 : end;
}

/* Skips one value of a checked text, in which brackets balance and strings close. */
static const char *skip_value(const char *at, const char *end)
{
	int depth = 0;

	while (at < end) {
		if (*at == '"') {
			at = skip_string(at, end);
		} else if (*at == '{' || *at == '[') {
			depth++;
			at++;
		} else if (*at == '}' || *at == ']' || *at == ',') {
			if (depth == 0)
				break;
			depth -= *at++ != ',';
		} else {
			at++;
		}
		if (depth == 0 && (at[-1] == '"' || at[-1] == '}' || at[-1] == ']'))
			break;
	}
	while (depth == 0 && (at[-1] == ' ' || at[-1] == '\t' || at[-1] == '\n' || at[-1] == '\r'))
		at--;
	return at;
}

static bool begin_walk(struct json_walk *walk, struct json_text text, char open)
{
	walk->end = text.at + text.len;
	walk->at = skip_space(text.at, walk->end);
	if (walk->at == walk->end || *walk->at != open)
		return false;
	walk->at++;
	return true;
}

bool json_walk(struct json_walk *walk, struct json_text text)
{
	return begin_walk(walk, text, '{');
}

bool json_walk_array(struct json_walk *walk, struct json_text text)
{
	return begin_walk(walk, text, '[');
}

bool json_next(struct json_walk *walk, struct json_member *member)
{
	const char *at = skip_space(walk->at, walk->end), *end = walk->end;

	if (at < end && *at == ',')
		at = skip_space(at + 1, end);
	if (at >= end || *at != '"')
		return false;
	member->key.at = at;
	at = skip_string(at, end);
	member->key.len = (size_t)(at - member->key.at);
	at = skip_space(at, end);
	if (at < end && *at == ':')
		at = skip_space(at + 1, end);
	member->value.at = at;
	at = skip_value(at, end);
	member->value.len = (size_t)(at - member->value.at);
	walk->at = at;
	return true;
}

bool json_next_element(struct json_walk *walk, struct json_text *element)
{
	const char *at = skip_space(walk->at, walk->end), *end = walk->end;

	if (at < end && *at == ',')
		at = skip_space(at + 1, end);
	if (at >= end || *at == ']')
		return false;
	element->at = at;
	at = skip_value(at, end);
	element->len = (size_t)(at - element->at);
	walk->at = at;
	return true;
}

/* Returns the next character of a checked string if it is ASCII, else a value of at least 0x80. */
static long next_ascii(const char **at)
{
	static const char escapes[] = "b\bf\fn\nr\rt\t";
	const char *escape;

	if (**at != '\\')
		return (unsigned char)*(*at)++;
	*at += 2;
	if ((*at)[-1] == 'u') {
		*at += 4;
		return hex4((const unsigned char *)*at - 4, (const unsigned char *)*at);
	}
	escape = strchr(escapes, (*at)[-1]);
	return escape ? escape[1] : (*at)[-1];
}

bool json_text_is(struct json_text text, const char *s)
{
	const char *at = text.at + 1, *end = text.at + text.len - 1;

	if (text.len < 2 || text.at[0] != '"')
		return false;
	while (at < end && *s)
		if (next_ascii(&at) != *s++)
			return false;
	return at == end && !*s;
}

bool json_whole(struct json_text text, uint64_t *out)
{
	uint64_t value = 0;

	for (size_t i = 0; i < text.len; i++) {
		const unsigned digit = (unsigned)text.at[i] - '0';

		if (digit > 9 || !checked_mul(value, 10, &value) || !checked_add(value, digit, &value))
			return false;
	}
	*out = value;
	return text.len > 0;
}

/* ---- strings ---- */

static bool has_nul(struct json_text text)
{
	for (size_t i = 0; i + 6 <= text.len; i++) {
		if (text.at[i] != '\\')
			continue;
		if (memcmp(text.at + i, "\\u0000", 6) == 0)
			return true;
		i++;
	}
	return false;
}

/* Replaces each \u0000 by C0 80, in place; an escaped backslash before it is stepped over. */
static size_t hide_nul(char *s, size_t len)
{
	size_t to = 0;

	for (size_t i = 0; i < len; i++) {
		if (s[i] == '\\' && len - i >= 6 && memcmp(s + i, "\\u0000", 6) == 0) {
			s[to++] = (char)0xc0;
			s[to++] = (char)0x80;
			i += 5;
			continue;
		}
		if (s[i] == '\\' && i + 1 < len)
			s[to++] = s[i++];
		s[to++] = s[i];
	}
	return to;
}

char *json_string(struct json_text text, struct arena *arena)
{
	char *copy, *decoded = NULL;
	cJSON *item;

	errno = 0;
	if (text.len < 2 || text.at[0] != '"')
		return NULL;
	if (!memchr(text.at, '\\', text.len))
		return arena_strndup(arena, text.at + 1, text.len - 2);
	copy = malloc(text.len);
	if (!copy)
		return NULL;
	memcpy(copy, text.at, text.len);
	item = cJSON_ParseWithLength(copy, hide_nul(copy, text.len));
	if (cJSON_IsString(item))
		decoded = arena_strndup(arena, item->valuestring, strlen(item->valuestring));
	cJSON_Delete(item);
	free(copy);
	return decoded;
}

/* ---- values ---- */

static int json_compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Refuses duplicate keys, since parsers disagree on which one counts. Returns 0, -EBADMSG or -ENOMEM. */
static int check_keys(const cJSON *item, const char *name, struct gptqfs_error *err)
{
	size_t n = (size_t)cJSON_GetArraySize(item), i = 0;
	const char **keys = cJSON_IsObject(item) && n ? malloc(n * sizeof(*keys)) : NULL;
	const cJSON *child;
	int rc = 0;

	if (cJSON_IsObject(item) && n && !keys)
		return err_memory(err);
	cJSON_ArrayForEach(child, item)
	{
		if (keys)
			keys[i++] = child->string;
		if (rc == 0)
			rc = check_keys(child, name, err);
	}
	if (keys)
		qsort(keys, n, sizeof(*keys), json_compare_names);
	for (i = 1; keys && i < n && rc == 0; i++)
		if (strcmp(keys[i - 1], keys[i]) == 0)
			rc = err_set(err, -EBADMSG, "%s: \"%.200s\" occurs twice in one object; remove one of the two",
			    name, keys[i]);
	free(keys);
	return rc;
}

/* Contents of a text outside of its strings. */
struct census {
	size_t values; /* upper bound of the number of values */
	bool words;    /* may contain NaN or Infinity */
};

static struct census take_census(struct json_text text)
{
	const char *at = text.at, *end = text.at + text.len;
	struct census census = {.values = 1};

	while (at < end) {
		if (*at == '"') {
			at = skip_string(at, end);
			continue;
		}
		census.values += *at == ',' || *at == '[' || *at == '{';
		census.words |= *at == 'N' || *at == 'I';
		at++;
	}
	return census;
}

/* Respells what only Python writes for cJSON: Infinity as a number beyond the range of double, NaN as a non-number. */
static void spell_out(char *at, const char *end)
{
	while (at < end) {
		const size_t left = (size_t)(end - at);

		if (*at == '"') {
			at += skip_string(at, end) - at;
		} else if (left >= 3 && memcmp(at, "NaN", 3) == 0) {
			memcpy(at, "[] ", 3);
			at += 3;
		} else if (left >= 8 && memcmp(at, "Infinity", 8) == 0) {
			memcpy(at, "1e999999", 8);
			at += 8;
		} else {
			at++;
		}
	}
}

static cJSON *parse_tree(struct json_text text, bool words)
{
	char *copy;
	cJSON *root;

	if (!words)
		return cJSON_ParseWithLength(text.at, text.len);
	copy = malloc(text.len);
	if (!copy)
		return NULL;
	memcpy(copy, text.at, text.len);
	spell_out(copy, copy + text.len);
	root = cJSON_ParseWithLength(copy, text.len);
	free(copy);
	return root;
}

int json_parse(struct json_text text, const char *name, struct json **out, struct gptqfs_error *err)
{
	const struct census census = take_census(text);
	cJSON *root;
	int rc;

	*out = NULL;
	if (census.values > JSON_VALUES_MAX)
		return err_set(err, -EBADMSG, "%s: some %zu values, expected at most %d; this is not a file of a model",
		    name, census.values, JSON_VALUES_MAX);
	/* cJSON would silently truncate the string there. */
	if (has_nul(text))
		return err_set(err, -EBADMSG, "%s: a string contains \\u0000; no program can use it, remove it", name);
	errno = 0; /* cJSON does not say why, but malloc does */
	root = parse_tree(text, census.words);
	if (!root && errno == ENOMEM)
		return err_memory(err);
	if (!root)
		return err_set(err, -EBADMSG, "%s: malformed JSON; fetch the file again", name);
	rc = check_keys(root, name, err);
	if (rc) {
		cJSON_Delete(root);
		return rc;
	}
	*out = (struct json *)root;
	return 0;
}

void json_free(struct json *json)
{
	cJSON_Delete((cJSON *)json);
}

const struct json *json_get(const struct json *object, const char *key)
{
	return (const struct json *)cJSON_GetObjectItemCaseSensitive((const cJSON *)object, key);
}

const struct json *json_at(const struct json *array, size_t index)
{
	return (const struct json *)cJSON_GetArrayItem((const cJSON *)array, (int)index);
}

size_t json_count(const struct json *array_or_object)
{
	return (size_t)cJSON_GetArraySize((const cJSON *)array_or_object);
}

const char *json_key(const struct json *member)
{
	return member ? ((const cJSON *)member)->string : NULL;
}

const struct json *json_first(const struct json *array_or_object)
{
	return array_or_object ? (const struct json *)((const cJSON *)array_or_object)->child : NULL;
}

const struct json *json_after(const struct json *member)
{
	return (const struct json *)((const cJSON *)member)->next;
}

bool json_is_object(const struct json *value)
{
	return cJSON_IsObject((const cJSON *)value);
}

bool json_is_null(const struct json *value)
{
	return cJSON_IsNull((const cJSON *)value);
}

bool json_is_number(const struct json *value)
{
	return cJSON_IsNumber((const cJSON *)value);
}

const char *json_str(const struct json *value)
{
	return cJSON_GetStringValue((const cJSON *)value);
}

bool json_bool(const struct json *value, bool fallback)
{
	return cJSON_IsBool((const cJSON *)value) ? cJSON_IsTrue((const cJSON *)value) : fallback;
}

bool json_integer(const struct json *value, int64_t *out)
{
	const double limit = 9007199254740992.0;
	const double number = cJSON_IsNumber((const cJSON *)value) ? ((const cJSON *)value)->valuedouble : 0.5;

	if (!(number >= -limit && number <= limit) || number != (double)(int64_t)number)
		return false;
	*out = (int64_t)number;
	return true;
}

bool json_number(const struct json *value, double *out)
{
	if (!cJSON_IsNumber((const cJSON *)value))
		return false;
	*out = ((const cJSON *)value)->valuedouble;
	return true;
}
