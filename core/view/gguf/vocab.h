/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GGUF_VOCAB_H
#define GPTQFS_GGUF_VOCAB_H

/*
 * The tokenizer of a model for llama.cpp: tokens with scores or merges, special tokens, the chat template. Read from
 * tokenizer.model or tokenizer.json, which are untrusted: memory is bounded by the size of the files and the number of
 * tokens.
 */

#include "view/gguf/hparams.h"
#include "view/view.h"

enum gguf_token_type { TOKEN_NORMAL = 1, TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_USER, TOKEN_UNUSED, TOKEN_BYTE };

struct gguf_token {
	const char *text; /* as decoded by base/json.h; NULL until known */
	float score;
	uint8_t type; /* enum gguf_token_type */
};

/* A hash table of tokens by their text. */
struct vocab_index {
	uint32_t *slots; /* number of a token plus 1, or 0 */
	uint32_t count, seed;
};

/* A token that tokenizers match before anything else. */
struct vocab_added {
	uint64_t id;
	const char *content;
	bool special;
};

/* tokenizer.json, in parts: vocabulary and merges are walked as text, since a tree would take ten times the memory. */
struct vocab_json {
	char *bytes; /* the whole text, until the vocabulary has been read */
	struct json_text vocab, merges;
	struct json_text type, unknown; /* of the model; at == NULL if absent */
	bool there, byte_fallback, ignore_merges;
	struct json *added, *normalizer, *pre_tokenizer, *post_processor;
};

struct gguf_vocab {
	struct arena arena;
	struct gguf_token *tokens; /* [count] arena */
	uint32_t count;
	bool sentencepiece; /* else byte-level BPE */
	const char *pre;    /* llama.cpp's name of the rule that splits texts into words */
	struct text merges; /* of BPE: GGUF strings */
	uint64_t merge_count;
	struct vocab_json json;
	/* tokenizer_config.json, chat_template.json, added_tokens.json; NULL if absent */
	struct json *config, *template, *old;
	char *jinja; /* chat_template.jinja, or NULL */
	size_t jinja_len;
	struct vocab_added *added; /* [added_count] arena */
	size_t added_count;
	struct vocab_index index;
};

/*
 * Reads the tokenizer. Returns 0; -ENOTSUP or -EBADMSG with the reason; -ENOMEM, -EIO. Call gguf_vocab_free in any
 * case.
 */
int gguf_vocab_read(const struct plan *p, const struct gguf_hparams *h, struct gguf_vocab *v, struct gptqfs_error *err);
void gguf_vocab_free(struct gguf_vocab *v);

bool gguf_vocab_has(const struct gguf_vocab *v, const char *text);

/* Puts the keys tokenizer.*. */
void gguf_vocab_put(const struct gguf_vocab *v, const struct gguf_hparams *h, struct gguf_keys *k);

/* ---- between the files of the tokenizer ---- */

/* vocab.c: makes room for `count` tokens; makes them of v->json, v->config, and the bytes of tokenizer.model or NULL.
 * Return as gguf_vocab_read. */
int vocab_begin(struct gguf_vocab *v, uint32_t count, struct gptqfs_error *err);
int vocab_assemble(struct gguf_vocab *v, const char *model, size_t len, struct gptqfs_error *err);

/* Makes an empty index for `count` tokens. Returns 0 or -ENOMEM. */
int vocab_index_begin(struct vocab_index *index, uint32_t count);
/* Adds a token. Returns the number of an existing one with the same text, or `number`. */
uint32_t vocab_index_add(struct vocab_index *index, const struct gguf_token *tokens, uint32_t number);
/* Returns the number of the token that is a followed by b, or UINT32_MAX. */
uint32_t vocab_index_find(const struct vocab_index *index, const struct gguf_token *tokens, struct json_text a,
    struct json_text b);

/* spm.c: reads the pieces of a SentencePiece model, a protobuf. Returns 0, -EBADMSG or -ENOMEM. */
int vocab_read_pieces(const unsigned char *bytes, size_t len, struct gguf_vocab *v, struct gptqfs_error *err);

/* tokenizer_json.c: reads the file's parts; its vocabulary; the merges as scores or as strings. */
int vocab_read_json(char *bytes, size_t len, struct vocab_json *out, struct gptqfs_error *err);
void vocab_free_json(struct vocab_json *json);
int vocab_read_tokens(struct gguf_vocab *v, struct gptqfs_error *err);
int vocab_score_merges(struct gguf_vocab *v, struct gptqfs_error *err);
int vocab_put_merges(struct gguf_vocab *v, struct gptqfs_error *err);

/*
 * pre_tokenizer.c: sets v->pre from the steps in tokenizer.json. Returns -ENOTSUP, and the steps, if they are unknown.
 */
int vocab_find_pre(struct gguf_vocab *v, struct gptqfs_error *err);

#endif
