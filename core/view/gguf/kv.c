/* SPDX-License-Identifier: MIT */
#include "view/gguf/kv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/err.h"
#include "view/gguf/keys.h"

#define READ_MAX ((size_t)64 << 20) /* keys of real files end far before that */
#define DEPTH_MAX 4                 /* of arrays in arrays, of which no file has any */

/* What is left of the bytes. */
struct cursor {
	const unsigned char *at, *end;
};

static bool skip(struct cursor *c, uint64_t bytes)
{
	if (bytes > (uint64_t)(c->end - c->at))
		return false;
	c->at += bytes;
	return true;
}

static bool take(struct cursor *c, void *out, size_t bytes)
{
	const unsigned char *from = c->at;

	if (!skip(c, bytes))
		return false;
	memcpy(out, from, bytes);
	return true;
}

static bool take_string(struct cursor *c, const unsigned char **text, uint64_t *len)
{
	if (!take(c, len, 8))
		return false;
	*text = c->at;
	return skip(c, *len);
}

/* Bytes of a scalar, 0 for any other type. */
static unsigned scalar_bytes(uint32_t type)
{
	static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

	return type < sizeof(bytes) ? bytes[type] : 0;
}

static bool skip_value(struct cursor *c, uint32_t type, int depth)
{
	const unsigned char *text;
	uint64_t count, bytes;
	uint32_t of;

	if (type == GGUF_STRING)
		return take_string(c, &text, &count);
	if (type != GGUF_ARRAY)
		return scalar_bytes(type) && skip(c, scalar_bytes(type));
	if (depth == DEPTH_MAX || !take(c, &of, 4) || !take(c, &count, 8))
		return false;
	if (scalar_bytes(of))
		return checked_mul(count, scalar_bytes(of), &bytes) && skip(c, bytes);
	/* A string or an array takes bytes, so this ends. */
	while (count--)
		if (!skip_value(c, of, depth + 1))
			return false;
	return true;
}

static bool name_is(const unsigned char *name, uint64_t len, const char *s)
{
	return len == strlen(s) && memcmp(name, s, len) == 0;
}

/* Notes where the tokens are, once their key is copied to `keys`. */
static void note_tokens(struct cursor value, uint32_t type, const struct text *keys, const unsigned char *end,
    struct gguf_kv *out)
{
	uint32_t of;

	if (type != GGUF_ARRAY || !take(&value, &of, 4) || of != GGUF_STRING || !take(&value, &out->token_count, 8))
		return;
	out->tokens = keys->len - (size_t)(end - value.at);
}

/* Copies the next key if it is the tokenizer's. */
static bool take_key(struct cursor *c, struct text *keys, struct gguf_kv *out)
{
	static const char prefix[] = "tokenizer.";
	const unsigned char *begin = c->at, *name;
	struct cursor value;
	uint64_t len;
	uint32_t type;

	if (!take_string(c, &name, &len) || !take(c, &type, 4))
		return false;
	value = *c;
	if (!skip_value(c, type, 0))
		return false;
	if (len < sizeof(prefix) - 1 || memcmp(name, prefix, sizeof(prefix) - 1) != 0)
		return true;
	text_put(keys, (const char *)begin, (size_t)(c->at - begin));
	out->count++;
	if (name_is(name, len, "tokenizer.ggml.tokens") && !keys->failed)
		note_tokens(value, type, keys, c->at, out);
	return true;
}

int gguf_kv_parse(const unsigned char *bytes, size_t len, struct arena *arena, struct gguf_kv *out)
{
	struct cursor c = {bytes, bytes + len};
	struct text keys = {0};
	uint64_t tensors, count;
	uint32_t version;
	char magic[4];
	bool good = take(&c, magic, 4) && memcmp(magic, "GGUF", 4) == 0 && take(&c, &version, 4) &&
	            (version == 2 || version == 3) && take(&c, &tensors, 8) && take(&c, &count, 8);

	*out = (struct gguf_kv){0};
	while (good && count--)
		good = take_key(&c, &keys, out);
	good = good && out->token_count;
	out->len = keys.len;
	if (good)
		out->keys = text_keep(&keys, arena);
	text_free(&keys);
	return !good ? -EINVAL : out->keys ? 0 : -ENOMEM;
}

static int read_start(int fd, const char *path, unsigned char **out, size_t *len, struct gptqfs_error *err)
{
	struct stat st;
	ssize_t got;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "gguf_kv=%.1000s: not a regular file", path);
	*len = (uint64_t)st.st_size < READ_MAX ? (size_t)st.st_size : READ_MAX;
	*out = malloc(*len + 1);
	if (!*out)
		return err_memory(err);
	for (size_t at = 0; at < *len; at += (size_t)got) {
		got = pread(fd, *out + at, *len - at, (off_t)at);
		if (got <= 0)
			return err_set(err, -EINVAL, "gguf_kv=%.1000s: %s", path,
			    got ? strerror(errno) : "became shorter");
	}
	return 0;
}

static int refuse_file(const char *path, struct gptqfs_error *err)
{
	return err_set(err, -EINVAL,
	    "gguf_kv=%.1000s: this is no GGUF file with a tokenizer; llama.cpp's converter makes one of the original model "
	    "with --vocab-only",
	    path);
}

int gguf_kv_read(const char *path, struct arena *arena, struct gguf_kv *out, struct gptqfs_error *err)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	unsigned char *bytes = NULL;
	size_t len = 0;
	int rc;

	if (fd < 0)
		return err_set(err, -EINVAL, "gguf_kv=%.1000s: %s", path, strerror(errno));
	rc = read_start(fd, path, &bytes, &len, err);
	close(fd);
	if (rc == 0) {
		rc = gguf_kv_parse(bytes, len, arena, out);
		rc = rc == -ENOMEM ? err_memory(err) : rc ? refuse_file(path, err) : 0;
	}
	free(bytes);
	return rc;
}

bool gguf_kv_has(const struct gguf_kv *kv, const char *text)
{
	struct cursor c = {(const unsigned char *)kv->keys + kv->tokens, (const unsigned char *)kv->keys + kv->len};
	const unsigned char *token;
	uint64_t len;

	for (uint64_t i = 0; i < kv->token_count && take_string(&c, &token, &len); i++)
		if (name_is(token, len, text))
			return true;
	return false;
}
