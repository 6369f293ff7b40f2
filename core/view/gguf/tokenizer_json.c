/* SPDX-License-Identifier: MIT */

/* tokenizer.json of the tokenizers library. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "view/gguf/vocab.h"

#define FILE_NAME "tokenizer.json"

static int read_model(struct json_text text, struct vocab_json *out, struct gptqfs_error *err)
{
	struct json_walk walk;
	struct json_member m;

	if (!json_walk(&walk, text))
		return err_set(err, -EBADMSG, FILE_NAME ": \"model\" is not an object");
	while (json_next(&walk, &m)) {
		if (json_text_is(m.key, "vocab"))
			out->vocab = m.value;
		else if (json_text_is(m.key, "merges"))
			out->merges = m.value;
		else if (json_text_is(m.key, "type"))
			out->type = m.value;
		else if (json_text_is(m.key, "unk_token"))
			out->unknown = m.value;
		else if (json_text_is(m.key, "byte_fallback"))
			out->byte_fallback = vocab_is_true(m.value);
		else if (json_text_is(m.key, "ignore_merges"))
			out->ignore_merges = vocab_is_true(m.value);
	}
	return 0;
}

static int read_tokenizer_part(const struct json_member *m, struct vocab_json *out, struct gptqfs_error *err)
{
	if (json_text_is(m->key, "model"))
		return read_model(m->value, out, err);
	if (json_text_is(m->key, "normalizer"))
		return vocab_read_small(m->value, FILE_NAME, &out->normalizer, err);
	if (json_text_is(m->key, "pre_tokenizer"))
		return vocab_read_small(m->value, FILE_NAME, &out->pre_tokenizer, err);
	if (json_text_is(m->key, "post_processor"))
		return vocab_read_small(m->value, FILE_NAME, &out->post_processor, err);
	if (json_text_is(m->key, "added_tokens"))
		out->added = m->value;
	return 0;
}

int vocab_read_json(char *bytes, size_t len, struct vocab_json *out, struct gptqfs_error *err)
{
	const struct json_text text = {bytes, len};
	struct json_walk walk;
	struct json_member m;
	int rc;

	*out = (struct vocab_json){.bytes = bytes, .there = true};
	rc = json_check(text, FILE_NAME, err);
	if (rc == 0 && !json_walk(&walk, text))
		rc = err_set(err, -EBADMSG, FILE_NAME " is not an object");
	while (rc == 0 && json_next(&walk, &m))
		rc = read_tokenizer_part(&m, out, err);
	return rc;
}

void vocab_free_json(struct vocab_json *json)
{
	json_free(json->normalizer);
	json_free(json->pre_tokenizer);
	json_free(json->post_processor);
	free(json->bytes);
}

/* ---- tokens ---- */

/* "<0x0A>": a byte without a token of its own. */
static bool is_byte(const char *text)
{
	return strlen(text) == 6 && strncmp(text, "<0x", 3) == 0 && strspn(text + 3, "0123456789ABCDEFabcdef") == 2 &&
	       text[5] == '>';
}

static int bad_vocabulary(struct gptqfs_error *err)
{
	return err_set(err, -EBADMSG, FILE_NAME ": model.vocab is not an object of tokens and their numbers");
}

int vocab_read_tokens(struct gguf_vocab *v, struct gptqfs_error *err)
{
	const struct json_text unknown = v->json.unknown;
	struct json_walk walk;
	struct json_member m;
	char *unk = NULL;

	if (!v->json.vocab.at || !json_walk(&walk, v->json.vocab))
		return bad_vocabulary(err);
	if (unknown.at && *unknown.at == '"' && !(unk = json_string(unknown, &v->arena)))
		return errno == ENOMEM ? err_memory(err) : bad_vocabulary(err);
	while (json_next(&walk, &m)) {
		struct gguf_token *t;
		uint64_t id;

		if (!json_whole(m.value, &id))
			return bad_vocabulary(err);
		if (id >= v->count)
			continue;
		t = &v->tokens[id];
		t->text = json_string(m.key, &v->arena);
		if (!t->text)
			return errno == ENOMEM ? err_memory(err) : bad_vocabulary(err);
		t->type = TOKEN_NORMAL;
		if (v->sentencepiece && is_byte(t->text))
			t->type = TOKEN_BYTE;
		else if (v->sentencepiece && unk && strcmp(t->text, unk) == 0)
			t->type = TOKEN_UNKNOWN;
	}
	return 0;
}

/* ---- merges ---- */

struct merge {
	struct json_text a, b;
};

static int bad_merge(struct gptqfs_error *err)
{
	return err_set(err, -EBADMSG, FILE_NAME ": model.merges has something other than \"a b\" or [\"a\", \"b\"]");
}

static int merge_string(struct json_text text, struct arena *arena, struct json_text *out, struct gptqfs_error *err)
{
	const char *s = json_string(text, arena);

	if (!s)
		return errno == ENOMEM ? err_memory(err) : bad_merge(err);
	*out = (struct json_text){s, strlen(s)};
	return 0;
}

/* Reads a merge; its strings live in the arena. */
static int read_merge(struct json_text text, struct arena *arena, struct merge *out, struct gptqfs_error *err)
{
	struct json_walk walk;
	struct json_text a = {0}, b, more;
	const char *space;
	int rc;

	if (json_walk_array(&walk, text)) {
		if (!json_next_element(&walk, &a) || !json_next_element(&walk, &b) || json_next_element(&walk, &more))
			return bad_merge(err);
		rc = merge_string(a, arena, &out->a, err);
		return rc ? rc : merge_string(b, arena, &out->b, err);
	}
	rc = merge_string(text, arena, &a, err);
	if (rc)
		return rc;
	space = a.at ? memchr(a.at, ' ', a.len) : NULL;
	if (!space)
		return bad_merge(err);
	out->a = (struct json_text){a.at, (size_t)(space - a.at)};
	out->b = (struct json_text){space + 1, a.len - out->a.len - 1};
	return 0;
}

/* Merges with strings kept at a time. */
#define MERGES 1024

typedef void merge_fn(struct gguf_vocab *v, const struct merge *merge, uint64_t rank);

static int for_each_merge(struct gguf_vocab *v, merge_fn *fn, struct gptqfs_error *err)
{
	struct arena arena = {0};
	struct json_walk walk;
	struct json_text text;
	uint64_t rank = 0;
	int rc = 0;

	if (!v->json.merges.at || !json_walk_array(&walk, v->json.merges))
		return bad_merge(err);
	for (; rc == 0 && json_next_element(&walk, &text); rank++) {
		struct merge merge = {0};

		rc = read_merge(text, &arena, &merge, err);
		if (rc == 0)
			fn(v, &merge, rank);
		if (rank % MERGES == MERGES - 1)
			arena_free(&arena);
	}
	arena_free(&arena);
	return rc;
}

/* The first merge that makes a token counts. */
static void score_merge(struct gguf_vocab *v, const struct merge *merge, uint64_t rank)
{
	const uint32_t id = vocab_index_find(&v->index, v->tokens, merge->a, merge->b);

	if (id != UINT32_MAX && v->tokens[id].score == -1e6f)
		v->tokens[id].score = (float)-(double)rank;
}

int vocab_score_merges(struct gguf_vocab *v, struct gptqfs_error *err)
{
	if (vocab_index_begin(&v->index, v->count))
		return err_memory(err);
	for (uint32_t i = 0; i < v->count; i++)
		if (v->tokens[i].text) {
			v->tokens[i].score = -1e6f;
			vocab_index_add(&v->index, v->tokens, i);
		}
	return for_each_merge(v, score_merge, err);
}

/* A space inside a part would split it. */
static void put_merge_part(struct text *out, struct json_text part)
{
	for (size_t i = 0; i < part.len; i++)
		text_put(out, part.at[i] == ' ' ? "\xc4\xa0" : part.at + i, part.at[i] == ' ' ? 2 : 1);
}

static void put_merge(struct gguf_vocab *v, const struct merge *merge, uint64_t rank)
{
	struct text line = {0};

	(void)rank;
	put_merge_part(&line, merge->a);
	text_put(&line, " ", 1);
	put_merge_part(&line, merge->b);
	text_put(&line, "", 1);
	if (line.failed)
		v->merges.failed = true;
	else
		gguf_put_json_string(&v->merges, line.data);
	text_free(&line);
	v->merge_count++;
}

int vocab_put_merges(struct gguf_vocab *v, struct gptqfs_error *err)
{
	int rc = for_each_merge(v, put_merge, err);

	return rc == 0 && v->merges.failed ? err_memory(err) : rc;
}
