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

/*
 * tokenizer.json, in parts: lists of tokens and merges are walked as text, since a tree would take ten times the
 * memory. A text that is absent has at == NULL.
 */
struct vocab_json {
	char *bytes; /* the whole text, until the vocabulary has been read */
	struct json_text vocab, merges, added;
	struct json_text type, unknown; /* of the model */
	bool there, byte_fallback, ignore_merges;
	struct json *normalizer, *pre_tokenizer, *post_processor;
};

struct vocab_template {
	bool there;       /* even if it has no text */
	const char *text; /* or NULL; arena */
};

#define VOCAB_CONFIG 9 /* members of tokenizer_config.json that are read as trees */

/* tokenizer_config.json, likewise. Zeroed if there is none. */
struct vocab_config {
	char *bytes; /* as above */
	struct json_text added;
	struct vocab_template template;
	struct json *members[VOCAB_CONFIG];
};

/* A file of the model: bytes == NULL if it is not there. */
struct vocab_file {
	char *bytes; /* to be freed */
	size_t len;
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
	struct vocab_config config;
	struct vocab_template template; /* of chat_template.json */
	struct vocab_file old, jinja;   /* added_tokens.json, which is an object; chat_template.jinja */
	struct vocab_added *added;      /* [added_count] arena */
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

/* Writes the keys tokenizer.*. */
void gguf_vocab_put(const struct gguf_vocab *v, const struct gguf_hparams *h, struct gguf_keys *k);

/* ---- between the files of the tokenizer ---- */

/*
 * vocab.c: makes room for `count` tokens; makes tokens from v->json, v->config, and the bytes of tokenizer.model or
 * NULL. Codes of gguf_vocab_read.
 */
int vocab_begin(struct gguf_vocab *v, uint32_t count, struct gptqfs_error *err);
int vocab_assemble(struct gguf_vocab *v, const char *model, size_t len, struct gptqfs_error *err);

/* Makes an empty index for `count` tokens. Returns 0 or -ENOMEM. */
int vocab_index_begin(struct vocab_index *index, uint32_t count);
/* Adds a token. Returns the number of an existing one with the same text, or `number`. */
uint32_t vocab_index_add(struct vocab_index *index, const struct gguf_token *tokens, uint32_t number);
/* Returns the number of the token that is a followed by b, or UINT32_MAX. */
uint32_t vocab_index_find(const struct vocab_index *index, const struct gguf_token *tokens, struct json_text a,
    struct json_text b);

/* added.c: lists the added tokens, and puts them in place of those of the vocabulary with the same numbers. */
int vocab_add_tokens(struct gguf_vocab *v, struct gptqfs_error *err);

/* spm.c: reads the pieces of a SentencePiece model, a protobuf. Returns 0, -EBADMSG or -ENOMEM. */
int vocab_read_pieces(const unsigned char *bytes, size_t len, struct gguf_vocab *v, struct gptqfs_error *err);

/* tokenizer_json.c: read the file's parts; its vocabulary; its merges, as scores or as strings. */
int vocab_read_json(char *bytes, size_t len, struct vocab_json *out, struct gptqfs_error *err);
void vocab_free_json(struct vocab_json *json);
int vocab_read_tokens(struct gguf_vocab *v, struct gptqfs_error *err);
int vocab_score_merges(struct gguf_vocab *v, struct gptqfs_error *err);
int vocab_put_merges(struct gguf_vocab *v, struct gptqfs_error *err);

/*
 * True if `text` is the JSON literal true; if a normalizer, or a step of a pre_tokenizer or post_processor, has this
 * type.
 */
bool vocab_is_true(struct json_text text);
bool vocab_type_is(const struct json *step, const char *type);

/*
 * tokenizer_config.c: read the file, whose bytes *out then owns; a member; chat_template.json. What is absent is left
 * as it was.
 */
int vocab_read_config(char *bytes, size_t len, struct arena *arena, struct vocab_config *out, struct gptqfs_error *err);
const struct json *vocab_config_get(const struct vocab_config *config, const char *key);
void vocab_free_config(struct vocab_config *config);
int vocab_read_template(struct json_text text, struct arena *arena, struct vocab_template *out,
    struct gptqfs_error *err);

/* Longest text to build a tree of, in bytes. */
#define VOCAB_SMALL ((size_t)64 << 10)

/* Replaces *out with the tree of a checked text of the file `name`. Returns -ENOTSUP if the text is too long. */
int vocab_read_small(struct json_text text, const char *name, struct json **out, struct gptqfs_error *err);

/*
 * pre_tokenizer.c: sets v->pre from the steps in tokenizer.json. Returns -ENOTSUP, and the steps, if they are unknown.
 */
int vocab_find_pre(struct gguf_vocab *v, struct gptqfs_error *err);

#endif
