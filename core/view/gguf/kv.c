/* SPDX-License-Identifier: MIT */
#include "view/gguf/kv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "view/gguf/keys.h"
#include "view/gguf/reader.h"

#define READ_MAX ((size_t)64 << 20) /* keys of real files end far before that */

static bool name_is(const unsigned char *name, uint64_t len, const char *s)
{
	return len == strlen(s) && memcmp(name, s, len) == 0;
}

/* Notes where the tokens are, once their key is copied to `keys`. */
static void note_tokens(struct gguf_reader value, uint32_t type, const struct text *keys, const unsigned char *end,
    struct gguf_kv *out)
{
	uint32_t of;

	if (type != GGUF_ARRAY || !gguf_take(&value, &of, 4) || of != GGUF_STRING ||
	    !gguf_take(&value, &out->token_count, 8))
		return;
	out->tokens = keys->len - (size_t)(end - value.at);
}

/* Copies the next key if it is the tokenizer's. */
static bool take_key(struct gguf_reader *r, struct text *keys, struct gguf_kv *out)
{
	static const char prefix[] = "tokenizer.";
	const unsigned char *begin = r->at, *name;
	struct gguf_reader value;
	uint64_t len;
	uint32_t type;

	if (!gguf_take_string(r, &name, &len) || !gguf_take(r, &type, 4))
		return false;
	value = *r;
	if (!gguf_skip_value(r, type))
		return false;
	if (len < sizeof(prefix) - 1 || memcmp(name, prefix, sizeof(prefix) - 1) != 0)
		return true;
	text_put(keys, (const char *)begin, (size_t)(r->at - begin));
	out->count++;
	if (name_is(name, len, "tokenizer.ggml.tokens") && !keys->failed)
		note_tokens(value, type, keys, r->at, out);
	return true;
}

int gguf_kv_parse(const unsigned char *bytes, size_t len, struct arena *arena, struct gguf_kv *out)
{
	struct gguf_reader r = {bytes, bytes + len};
	struct text keys = {0};
	uint64_t tensors, count;
	bool good = gguf_take_head(&r, &tensors, &count);

	*out = (struct gguf_kv){0};
	while (good && count--)
		good = take_key(&r, &keys, out);
	good = good && (keys.failed || out->token_count);
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
	    "gguf_kv=%.1000s: this is not a GGUF file with a tokenizer; llama.cpp's converter makes one of the "
	    "original model with --vocab-only",
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
	struct gguf_reader r = {
	    (const unsigned char *)kv->keys + kv->tokens, (const unsigned char *)kv->keys + kv->len};
	const unsigned char *token;
	uint64_t len;

	for (uint64_t i = 0; i < kv->token_count && gguf_take_string(&r, &token, &len); i++)
		if (name_is(token, len, text))
			return true;
	return false;
}
