/* SPDX-License-Identifier: MIT */
#include "view/gguf/vocab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/err.h"

#define TOKENS_MAX ((uint32_t)1 << 22) /* the largest vocabularies have some 260,000 */
#define TOKENIZER_MAX ((size_t)64 << 20)
#define TEMPLATE_MAX ((size_t)4 << 20)

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

/* A file of the model: bytes == NULL if it is not there. */
struct vocab_file {
	char *bytes; /* to be freed */
	size_t len;
};

static int read_file(const struct plan *p, const char *name, size_t max, struct vocab_file *out,
    struct gptqfs_error *err)
{
	struct source_file *f = view_companion(p, name);

	*out = (struct vocab_file){NULL, f ? (size_t)f->stat.st_size : 0};
	return f ? source_file_slurp(f, max, &out->bytes, err) : 0;
}

/* The same for a small JSON file. */
static int read_json(const struct plan *p, const char *name, struct json **out, struct gptqfs_error *err)
{
	struct vocab_file file;
	int rc = read_file(p, name, TEMPLATE_MAX, &file, err);

	if (rc == 0 && file.bytes)
		rc = json_check_python((struct json_text){file.bytes, file.len}, name, err);
	if (rc == 0 && file.bytes)
		rc = json_parse((struct json_text){file.bytes, file.len}, name, out, err);
	free(file.bytes);
	return rc;
}

/* ---- added tokens ---- */

static bool text_ends_with(const char *s, const char *suffix)
{
	const size_t len = strlen(s), tail = strlen(suffix);

	return len >= tail && strcmp(s + len - tail, suffix) == 0;
}

/* These are not marked as special, but treated as such by all programs. */
static bool looks_special(const char *text)
{
	static const char *const names[] = {"<pad>", "<mask>", "<2mass>", "[@BOS@]"};
	static const struct {
		const char *head, *tail;
	} brackets[] = {{"<|", "|>"}, {"<\uff5c", "\uff5c>"}, {"<unused", ">"}};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(text, names[i]) == 0)
			return true;
	for (size_t i = 0; i < sizeof(brackets) / sizeof(*brackets); i++)
		if (strncmp(text, brackets[i].head, strlen(brackets[i].head)) == 0 &&
		    text_ends_with(text, brackets[i].tail))
			return true;
	return false;
}

static int bad_added(struct gptqfs_error *err)
{
	return err_set(err, -EBADMSG, "the list of added tokens has one without its text or number");
}

static int add_added(struct gguf_vocab *v, const struct json *id, const char *content, bool special,
    struct gptqfs_error *err)
{
	int64_t number;

	if (!content || !json_integer(id, &number) || number < 0)
		return bad_added(err);
	v->added[v->added_count++] = (struct vocab_added){(uint64_t)number, content, special};
	return 0;
}

/* The keys are token numbers. */
static int add_decoder(struct gguf_vocab *v, const struct json *list, struct gptqfs_error *err)
{
	for (const struct json *m = json_first(list); m; m = json_after(m)) {
		const char *key = json_key(m), *content = json_str(json_get(m, "content"));
		uint64_t id;

		if (!content || !key || !json_whole((struct json_text){key, strlen(key)}, &id))
			return bad_added(err);
		v->added[v->added_count++] =
		    (struct vocab_added){id, content, json_bool(json_get(m, "special"), false)};
	}
	return 0;
}

/* The first of three places with added tokens. */
static int list_added(struct gguf_vocab *v, struct gptqfs_error *err)
{
	const struct json *old = v->old;
	const struct json *decoder = json_get(v->config, "added_tokens_decoder");
	const struct json *list = json_count(v->json.added) ? v->json.added : json_count(decoder) ? decoder : old;
	int rc = 0;

	v->added = arena_alloc(&v->arena, json_count(list) + 1, sizeof(*v->added));
	if (!v->added)
		return err_memory(err);
	if (list == decoder)
		return add_decoder(v, list, err);
	for (const struct json *m = json_first(list); rc == 0 && m; m = json_after(m)) {
		if (list == old)
			rc = add_added(v, m, json_key(m), false, err);
		else
			rc = add_added(v, json_get(m, "id"), json_str(json_get(m, "content")),
			    json_bool(json_get(m, "special"), false), err);
	}
	return rc;
}

/* A user's token is matched before anything turns spaces into U+2581. */
static const char *with_spaces(struct arena *arena, const char *text)
{
	char *copy = arena_strndup(arena, text, strlen(text)), *to = copy;

	for (const char *from = copy; copy && *from;) {
		const bool space = strncmp(from, "\u2581", 3) == 0;

		*to++ = space ? ' ' : *from;
		from += space ? 3 : 1;
	}
	if (copy)
		*to = 0;
	return copy;
}

/* Added tokens replace those of the vocabulary with the same numbers. */
static int apply_added(struct gguf_vocab *v, struct gptqfs_error *err)
{
	for (size_t i = 0; i < v->added_count; i++) {
		const struct vocab_added *a = &v->added[i];
		const bool control = a->special || looks_special(a->content);
		struct gguf_token *t;

		if (a->id >= v->count)
			continue;
		t = &v->tokens[a->id];
		t->text = control ? arena_strndup(&v->arena, a->content, strlen(a->content))
		                  : with_spaces(&v->arena, a->content);
		if (!t->text)
			return err_memory(err);
		t->type = control ? TOKEN_CONTROL : TOKEN_USER;
		t->score = -1000;
	}
	return 0;
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
		    "tokenizer.json: the model is of type %.*s, not BPE; give the tokenizer's keys by -o gguf_kv=FILE",
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
	int rc = read_json(p, "tokenizer_config.json", &v->config, err);

	if (rc == 0)
		rc = read_json(p, "chat_template.json", &v->template, err);
	if (rc == 0)
		rc = read_json(p, "added_tokens.json", &v->old, err);
	if (rc == 0)
		rc = read_file(p, "chat_template.jinja", TEMPLATE_MAX, &file, err);
	if (rc)
		return rc;
	v->jinja = file.bytes;
	v->jinja_len = file.len;
	rc = read_file(p, "tokenizer.json", TOKENIZER_MAX, &file, err);
	return rc == 0 && file.bytes ? vocab_read_json(file.bytes, file.len, &v->json, err) : rc;
}

int vocab_assemble(struct gguf_vocab *v, const char *model, size_t len, struct gptqfs_error *err)
{
	int rc = read_kind(v, model, len, err);

	if (rc == 0)
		rc = list_added(v, err);
	if (rc == 0)
		rc = apply_added(v, err);
	if (rc == 0)
		rc = fill_gaps(v, err);
	if (rc == 0)
		rc = check_texts(v, err);
	/* Decoded strings do not point there. */
	free(v->json.bytes);
	v->json.bytes = NULL;
	return rc;
}

int vocab_begin(struct gguf_vocab *v, uint32_t count, struct gptqfs_error *err)
{
	*v = (struct gguf_vocab){.count = count};
	if (!count || count > TOKENS_MAX)
		return err_set(err, -ENOTSUP, "config.json: vocab_size is %u, expected 1 to %u", count, TOKENS_MAX);
	v->tokens = arena_alloc(&v->arena, count, sizeof(*v->tokens));
	return v->tokens && vocab_index_begin(&v->index, count) == 0 ? 0 : err_memory(err);
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
	json_free(v->config);
	json_free(v->template);
	json_free(v->old);
	free(v->jinja);
	free(v->index.slots);
	text_free(&v->merges);
	arena_free(&v->arena);
}
