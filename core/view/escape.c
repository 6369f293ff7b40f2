/* SPDX-License-Identifier: MIT */
#include "view/escape.h"

#include <nettle/sha2.h>
#include <string.h>

#define HASH_BYTES 16 /* of the SHA-256: enough against deliberate collisions */

/* A character and its escaped form. */
struct piece {
	size_t taken; /* bytes in the name */
	size_t len;
	char text[4];
};

static bool is_control(unsigned char c)
{
	return c < 0x20 || c == 0x7f;
}

static struct piece hexadecimal(size_t taken, unsigned char c)
{
	static const char digits[] = "0123456789ABCDEF";

	return (struct piece){taken, 3, {'%', digits[c >> 4], digits[c & 15]}};
}

/* Returns the character at s, of which `left` bytes remain. Bytes that are not UTF-8 are characters of one byte. */
static struct piece escape_take(const char *s, size_t left)
{
	const unsigned char c = (unsigned char)*s;
	struct piece p = {.taken = 1};

	if (c == 0xc0 && left > 1 && (unsigned char)s[1] == 0x80)
		return hexadecimal(2, 0);
	if (c == '/' || c == '%' || c == '.' || is_control(c))
		return hexadecimal(1, c);
	while (c >= 0xc0 && p.taken < 4 && p.taken < left && ((unsigned char)s[p.taken] & 0xc0) == 0x80)
		p.taken++;
	p.len = p.taken;
	memcpy(p.text, s, p.len);
	return p;
}

static void escape_put_hash(const char *part, size_t len, struct text *out)
{
	unsigned char hash[HASH_BYTES];
	struct sha256_ctx sha;

	sha256_init(&sha);
	sha256_update(&sha, len, (const unsigned char *)part);
	sha256_digest(&sha, sizeof(hash), hash);
	text_put(out, "%", 1);
	text_hex(out, hash, sizeof(hash));
}

static void escape_part(const char *part, size_t len, struct text *out)
{
	char escaped[ESCAPE_PART_MAX];
	size_t used = 0, at = 0;
	struct piece p;

	for (; at < len; at += p.taken) {
		p = escape_take(part + at, len - at);
		if (sizeof(escaped) - used < p.len)
			break;
		memcpy(escaped + used, p.text, p.len);
		used += p.len;
	}
	text_put(out, len ? escaped : "%", len ? used : 1);
	if (at < len)
		escape_put_hash(part, len, out);
}

void escape_path(const char *name, size_t len, struct text *out)
{
	const char *const end = name + len;

	for (int depth = 1;; depth++) {
		const char *dot = depth < ESCAPE_DEPTH_MAX ? memchr(name, '.', (size_t)(end - name)) : NULL;

		escape_part(name, (size_t)((dot ? dot : end) - name), out);
		if (!dot)
			return;
		text_put(out, "/", 1);
		name = dot + 1;
	}
}
