/* SPDX-License-Identifier: MIT */
#include "view/gguf/keys.h"

#include <string.h>

#include "base/half.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "GGUF is written as it lies in memory");

void gguf_put_u32(struct text *out, uint32_t value)
{
	text_put(out, (const char *)&value, sizeof(value));
}

void gguf_put_u64(struct text *out, uint64_t value)
{
	text_put(out, (const char *)&value, sizeof(value));
}

void gguf_put_float(struct text *out, double value)
{
	gguf_put_u32(out, bits_of_float((float)value));
}

void gguf_put_string(struct text *out, const char *bytes, size_t len)
{
	gguf_put_u64(out, len);
	text_put(out, bytes, len);
}

/* Returns the first C0 80 of a string, or its end. */
static const char *next_nul(const char *s)
{
	while (*s && !((unsigned char)s[0] == 0xc0 && (unsigned char)s[1] == 0x80))
		s++;
	return s;
}

void gguf_put_json_string(struct text *out, const char *s)
{
	uint64_t len = strlen(s);
	const char *end;

	for (end = next_nul(s); *end; end = next_nul(end + 2))
		len--;
	gguf_put_u64(out, len);
	for (end = next_nul(s); *end; s = end + 2, end = next_nul(s)) {
		text_put(out, s, (size_t)(end - s));
		text_put(out, "", 1);
	}
	text_put(out, s, (size_t)(end - s));
}

#define VERSION 3   /* of the container */
#define COUNT_AT 16 /* where the number of keys is: after magic, version and number of tensors */

void gguf_begin(struct gguf_keys *k, uint64_t tensors)
{
	*k = (struct gguf_keys){0};
	text_put(&k->out, "GGUF", 4);
	gguf_put_u32(&k->out, VERSION);
	gguf_put_u64(&k->out, tensors);
	gguf_put_u64(&k->out, 0);
}

void gguf_end(struct gguf_keys *k)
{
	if (!k->out.failed)
		memcpy(k->out.data + COUNT_AT, &k->count, sizeof(k->count));
}

static void put_key(struct gguf_keys *k, const char *key, enum gguf_value type)
{
	const size_t prefix = *key == '.' ? strlen(k->prefix) : 0, len = strlen(key);

	gguf_put_u64(&k->out, prefix + len);
	text_put(&k->out, k->prefix, prefix);
	text_put(&k->out, key, len);
	gguf_put_u32(&k->out, type);
	k->count++;
}

void gguf_key_u32(struct gguf_keys *k, const char *key, uint32_t value)
{
	put_key(k, key, GGUF_U32);
	gguf_put_u32(&k->out, value);
}

void gguf_key_float(struct gguf_keys *k, const char *key, double value)
{
	put_key(k, key, GGUF_FLOAT);
	gguf_put_float(&k->out, value);
}

void gguf_key_bool(struct gguf_keys *k, const char *key, bool value)
{
	put_key(k, key, GGUF_BOOL);
	text_put(&k->out, value ? "\1" : "", 1);
}

void gguf_key_string(struct gguf_keys *k, const char *key, const char *bytes, size_t len)
{
	put_key(k, key, GGUF_STRING);
	gguf_put_string(&k->out, bytes, len);
}

void gguf_key_json_string(struct gguf_keys *k, const char *key, const char *s)
{
	put_key(k, key, GGUF_STRING);
	gguf_put_json_string(&k->out, s);
}

void gguf_key_array(struct gguf_keys *k, const char *key, enum gguf_value of, uint64_t count)
{
	put_key(k, key, GGUF_ARRAY);
	gguf_put_u32(&k->out, of);
	gguf_put_u64(&k->out, count);
}
