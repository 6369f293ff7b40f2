/* SPDX-License-Identifier: MIT */
#include "view/gguf/vocab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/err.h"

#define TOKENS_MAX ((uint32_t)1 << 22) /* the largest vocabularies have some 260,000 */
#define TOKENIZER_MAX ((size_t)64 << 20)
#define SMALL_MAX ((size_t)16 << 20) /* other files; one may list added tokens */

/* ---- tokens by text ---- */

static uint32_t hash_piece(uint32_t hash, struct json_text piece)
{
	for (size_t i = 0; i < piece.len; i++)
		hash = (hash ^ (unsigned char)piece.at[i]) * 16777619u;
	return hash;
}

int vocab_index_begin(struct vocab_index *index, uint32_t count)
{
	index->count = 2;
	while (index->count < 2 * count)
		index->count *= 2;
	if (getrandom(&index->seed, sizeof(index->seed), GRND_NONBLOCK) < 0)
		index->seed ^= (uint32_t)(uintptr_t)index; /* early in boot */
	free(index->slots);
	index->slots = calloc(index->count, sizeof(*index->slots));
	return index->slots ? 0 : -ENOMEM;
}

static uint32_t *find_token(const struct vocab_index *index, const struct gguf_token *tokens, struct json_text a,
    struct json_text b)
{
	const uint32_t hash = hash_piece(hash_piece(index->seed, a), b);

	for (uint32_t at = hash ^ hash >> 15;; at++) {
		uint32_t *slot = &index->slots[at & (index->count - 1)];
		const char *text = *slot ? tokens[*slot - 1].text : NULL;

		if (!text || (strncmp(text, a.at, a.len) == 0 && strncmp(text + a.len, b.at, b.len) == 0 &&
				 !text[a.len + b.len]))
			return slot;
	}
}

uint32_t vocab_index_add(struct vocab_index *index, const struct gguf_token *tokens, uint32_t number)
{
	const char *text = tokens[number].text;
	uint32_t *slot = find_token(index, tokens, (struct json_text){text, strlen(text)}, (struct json_text){"", 0});

	if (!*slot)
		*slot = number + 1;
	return *slot - 1;
}

uint32_t vocab_index_find(const struct vocab_index *index, const struct gguf_token *tokens, struct json_text a,
    struct json_text b)
{
	return *find_token(index, tokens, a, b) - 1;
}

bool gguf_vocab_has(const struct gguf_vocab *v, const char *text)
{
	return vocab_index_find(&v->index, v->tokens, (struct json_text){text, strlen(text)},
		   (struct json_text){"", 0}) != UINT32_MAX;
}

/* ---- files ---- */

static int read_file(const struct plan *p, const char *name, size_t max, struct vocab_file *out,
    struct gptqfs_error *err)
{
	struct source_file *f = view_companion(p, name);

	*out = (struct vocab_file){NULL, f ? (size_t)f->stat.st_size : 0};
	return f ? source_file_slurp(f, max, &out->bytes, err) : 0;
}

/* ---- reading ---- */

static int fill_gaps(struct gguf_vocab *v, struct gptqfs_error *err)
{
	for (uint32_t i = 0; i < v->count; i++) {
		if (v->tokens[i].text)
			continue;
		v->tokens[i] = (struct gguf_token){arena_printf(&v->arena, "[PAD%u]", i), -10000, TOKEN_UNUSED};
		if (!v->tokens[i].text)
			return err_memory(err);
	}
	return 0;
}

/* llama.cpp finds tokens by their text. */
static int check_texts(struct gguf_vocab *v, struct gptqfs_error *err)
{
	if (vocab_index_begin(&v->index, v->count))
		return err_memory(err);
	for (uint32_t i = 0; i < v->count; i++) {
		const uint32_t first = vocab_index_add(&v->index, v->tokens, i);

		if (first != i)
			return err_set(err, -ENOTSUP, "tokens %u and %u have the same text, %.80s", first, i,
			    v->tokens[i].text);
	}
	return 0;
}

static int read_kind(struct gguf_vocab *v, const char *model, size_t len, struct gptqfs_error *err)
{
	const bool bpe = v->json.type.at && json_text_is(v->json.type, "BPE");
	int rc;

	v->sentencepiece = model || (bpe && v->json.byte_fallback);
	v->pre = v->sentencepiece ? "default" : NULL;
	if (model)
		return vocab_read_pieces((const unsigned char *)model, len, v, err);
	if (!v->json.there)
		return err_set(err, -ENOTSUP, "there is no tokenizer.json or tokenizer.model");
	if (!bpe)
		return err_set(err, -ENOTSUP,
		    "tokenizer.json: the model is of type %.*s, not BPE; give the tokenizer's keys with -o "
		    "gguf_kv=FILE",
		    v->json.type.at ? (int)(v->json.type.len < 80 ? v->json.type.len : 80) : 4,
		    v->json.type.at ? v->json.type.at : "none");
	rc = v->sentencepiece ? 0 : vocab_find_pre(v, err);
	if (rc == 0)
		rc = vocab_read_tokens(v, err);
	if (rc)
		return rc;
	return v->sentencepiece ? vocab_score_merges(v, err) : vocab_put_merges(v, err);
}

static int read_all_files(const struct plan *p, struct gguf_vocab *v, struct gptqfs_error *err)
{
	struct vocab_file file;
	int rc = read_file(p, "tokenizer_config.json", SMALL_MAX, &file, err);

	if (rc == 0 && file.bytes)
		rc = vocab_read_config(file.bytes, file.len, &v->arena, &v->config, err);
	if (rc == 0)
		rc = read_file(p, "chat_template.jinja", SMALL_MAX, &v->jinja, err);
	if (rc == 0)
		rc = read_file(p, "added_tokens.json", SMALL_MAX, &v->old, err);
	if (rc == 0 && v->old.bytes)
		rc = json_check_python((struct json_text){v->old.bytes, v->old.len}, "added_tokens.json", err);
	if (rc == 0)
		rc = read_file(p, "chat_template.json", SMALL_MAX, &file, err);
	if (rc == 0 && file.bytes) {
		rc = vocab_read_template((struct json_text){file.bytes, file.len}, &v->arena, &v->template, err);
		free(file.bytes);
	}
	if (rc == 0)
		rc = read_file(p, "tokenizer.json", TOKENIZER_MAX, &file, err);
	return rc == 0 && file.bytes ? vocab_read_json(file.bytes, file.len, &v->json, err) : rc;
}

static void vocab_release(char **bytes)
{
	free(*bytes);
	*bytes = NULL;
}

int vocab_assemble(struct gguf_vocab *v, const char *model, size_t len, struct gptqfs_error *err)
{
	int rc = read_kind(v, model, len, err);

	if (rc == 0)
		rc = vocab_add_tokens(v, err);
	if (rc == 0)
		rc = fill_gaps(v, err);
	if (rc == 0)
		rc = check_texts(v, err);
	/* Decoded strings do not point there. */
	vocab_release(&v->json.bytes);
	vocab_release(&v->config.bytes);
	vocab_release(&v->old.bytes);
	return rc;
}

int vocab_begin(struct gguf_vocab *v, uint32_t count, struct gptqfs_error *err)
{
	*v = (struct gguf_vocab){.count = count};
	if (!count || count > TOKENS_MAX)
		return err_set(err, -ENOTSUP, "config.json: vocab_size is %u, expected 1 to %u", count, TOKENS_MAX);
	v->tokens = arena_alloc(&v->arena, count, sizeof(*v->tokens));
	return v->tokens ? 0 : err_memory(err);
}

int gguf_vocab_read(const struct plan *p, const struct gguf_hparams *h, struct gguf_vocab *v, struct gptqfs_error *err)
{
	struct vocab_file model = {NULL, 0};
	int rc = vocab_begin(v, h->vocabulary, err);

	if (rc == 0)
		rc = read_all_files(p, v, err);
	if (rc == 0)
		rc = read_file(p, "tokenizer.model", TOKENIZER_MAX, &model, err);
	if (rc == 0)
		rc = vocab_assemble(v, model.bytes, model.len, err);
	free(model.bytes);
	return rc;
}

void gguf_vocab_free(struct gguf_vocab *v)
{
	vocab_free_json(&v->json);
	vocab_free_config(&v->config);
	free(v->old.bytes);
	free(v->jinja.bytes);
	free(v->index.slots);
	text_free(&v->merges);
	arena_free(&v->arena);
}
