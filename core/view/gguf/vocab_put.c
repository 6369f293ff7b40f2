/* SPDX-License-Identifier: MIT */

/* Writes the keys of the vocabulary and of the files around it. */

#include <string.h>

#include "view/gguf/vocab.h"

/* ---- tokens that have a role ---- */

static const struct role {
	const char *token; /* in tokenizer_config.json */
	const char *id;    /* in config.json */
	const char *key;
} roles[] = {
    {"bos_token", "bos_token_id", "tokenizer.ggml.bos_token_id"},
    {"eos_token", "eos_token_id", "tokenizer.ggml.eos_token_id"},
    {"unk_token", "unk_token_id", "tokenizer.ggml.unknown_token_id"},
    {"sep_token", "sep_token_id", "tokenizer.ggml.seperator_token_id"},
    {"pad_token", "pad_token_id", "tokenizer.ggml.padding_token_id"},
    {"mask_token", "mask_token_id", "tokenizer.ggml.mask_token_id"},
};

/* Returns a token of tokenizer_config.json, a string or an object with one; NULL if there is none. */
static const char *token_of(const struct gguf_vocab *v, const char *key)
{
	const struct json *value = vocab_config_get(&v->config, key);
	const char *content = json_str(value);

	return content ? content : json_str(json_get(value, "content"));
}

static bool find_role(const struct gguf_vocab *v, const struct gguf_hparams *h, const struct role *role, int64_t *id)
{
	const char *content = token_of(v, role->token);
	const struct json *value = json_get(h->text, role->id);

	for (size_t i = 0; content && i < v->added_count; i++)
		if (strcmp(v->added[i].content, content) == 0 && v->added[i].id < v->count) {
			*id = (int64_t)v->added[i].id;
			return true;
		}
	value = value ? value : json_get(h->root, role->id);
	return json_integer(value, id) && *id >= 0 && *id < v->count;
}

static void put_roles(const struct gguf_vocab *v, const struct gguf_hparams *h, struct gguf_keys *k)
{
	int64_t id;

	for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++)
		if (find_role(v, h, &roles[i], &id))
			gguf_key_u32(k, roles[i].key, (uint32_t)id);
}

/* ---- tokens that are put around a text ---- */

enum answer { UNSAID = -1, NO, YES };

struct around {
	enum answer bos, eos;
};

/* Finds out whether an item of a template is that token; UNSAID if it is not a special token. */
static enum answer item_is(const struct json *item, const char *token, enum answer otherwise)
{
	const char *id = json_str(json_get(json_get(item, "SpecialToken"), "id"));

	return !id ? otherwise : token && strcmp(id, token) == 0 ? YES : NO;
}

static void look_at_processor(const struct gguf_vocab *v, const struct json *p, struct around *a)
{
	const struct json *single = json_get(p, "single"), *last = json_first(single);

	if (vocab_type_is(p, "ByteLevel")) {
		a->bos = a->bos == UNSAID ? NO : a->bos;
		a->eos = a->eos == UNSAID ? NO : a->eos;
	}
	if (!vocab_type_is(p, "TemplateProcessing") || json_count(single) < 2)
		return;
	while (json_after(last))
		last = json_after(last);
	a->bos = item_is(json_first(single), token_of(v, "bos_token"), a->bos);
	a->eos = item_is(last, token_of(v, "eos_token"), a->eos);
}

static enum answer answer_of(const struct json *value)
{
	if (json_bool(value, true) != json_bool(value, false))
		return UNSAID;
	return json_bool(value, false) ? YES : NO;
}

static void put_around(const struct gguf_vocab *v, struct gguf_keys *k)
{
	const struct json *post = v->json.post_processor;
	struct around a = {UNSAID, UNSAID};

	if (vocab_type_is(post, "Sequence"))
		for (const struct json *p = json_first(json_get(post, "processors")); p; p = json_after(p))
			look_at_processor(v, p, &a);
	else
		look_at_processor(v, post, &a);
	if (a.bos == UNSAID)
		a.bos = answer_of(vocab_config_get(&v->config, "add_bos_token"));
	if (a.eos == UNSAID)
		a.eos = answer_of(vocab_config_get(&v->config, "add_eos_token"));
	if (a.bos != UNSAID)
		gguf_key_bool(k, "tokenizer.ggml.add_bos_token", a.bos == YES);
	if (a.eos != UNSAID)
		gguf_key_bool(k, "tokenizer.ggml.add_eos_token", a.eos == YES);
}

/* Finds out whether a space is prepended to texts. */
static enum answer adds_space(const struct gguf_vocab *v, const struct gguf_hparams *h)
{
	const enum answer said = answer_of(vocab_config_get(&v->config, "add_prefix_space"));
	const struct json *normalizer = v->json.normalizer, *pre = v->json.pre_tokenizer;
	const char *scheme;

	if (h->arch->plus_one)
		return NO;
	if (said != UNSAID || !v->json.there)
		return said;
	for (const struct json *n = json_first(json_get(normalizer, "normalizers")); n; n = json_after(n))
		if (vocab_type_is(n, "Prepend"))
			return YES;
	if (vocab_type_is(normalizer, "Prepend"))
		return YES;
	if (vocab_type_is(pre, "Sequence"))
		pre = json_first(json_get(pre, "pretokenizers"));
	scheme = json_str(json_get(pre, "prepend_scheme"));
	return vocab_type_is(pre, "Metaspace") && !(scheme && strcmp(scheme, "never") == 0) ? YES : NO;
}

/* ---- the keys ---- */

/* That of tokenizer_config.json, unless it has none; the file that is only the template; the older JSON. */
static void put_template(const struct gguf_vocab *v, struct gguf_keys *k)
{
	const struct vocab_template *t = v->config.template.there ? &v->config.template : &v->template;

	if (!v->config.template.there && v->jinja.bytes)
		gguf_key_string(k, "tokenizer.chat_template", v->jinja.bytes, v->jinja.len);
	else if (t->text)
		gguf_key_json_string(k, "tokenizer.chat_template", t->text);
}

static void put_tokens(const struct gguf_vocab *v, struct gguf_keys *k)
{
	gguf_key_array(k, "tokenizer.ggml.tokens", GGUF_STRING, v->count);
	for (uint32_t i = 0; i < v->count; i++)
		gguf_put_json_string(&k->out, v->tokens[i].text);
	if (v->sentencepiece) {
		gguf_key_array(k, "tokenizer.ggml.scores", GGUF_FLOAT, v->count);
		for (uint32_t i = 0; i < v->count; i++)
			gguf_put_float(&k->out, v->tokens[i].score);
	}
	gguf_key_array(k, "tokenizer.ggml.token_type", GGUF_I32, v->count);
	for (uint32_t i = 0; i < v->count; i++)
		gguf_put_u32(&k->out, v->tokens[i].type);
}

void gguf_vocab_put(const struct gguf_vocab *v, const struct gguf_hparams *h, struct gguf_keys *k)
{
	const char *model = v->sentencepiece ? "llama" : "gpt2";
	const enum answer space = v->sentencepiece ? adds_space(v, h) : UNSAID;

	gguf_key_string(k, "tokenizer.ggml.model", model, strlen(model));
	gguf_key_string(k, "tokenizer.ggml.pre", v->pre, strlen(v->pre));
	put_tokens(v, k);
	if (!v->sentencepiece) {
		gguf_key_array(k, "tokenizer.ggml.merges", GGUF_STRING, v->merge_count);
		text_put(&k->out, v->merges.data, v->merges.len);
	}
	if (space != UNSAID)
		gguf_key_bool(k, "tokenizer.ggml.add_space_prefix", space == YES);
	put_roles(v, h, k);
	put_around(v, k);
	put_template(v, k);
}
