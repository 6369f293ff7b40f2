/* SPDX-License-Identifier: MIT */

/* The small files around the vocabulary: tokenizer_config.json and chat templates. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "view/gguf/vocab.h"

/* Members that are read, besides lists of tokens and templates. */
static const char *const config_members[VOCAB_CONFIG] = {"bos_token", "eos_token", "unk_token", "sep_token",
    "pad_token", "mask_token", "add_bos_token", "add_eos_token", "add_prefix_space"};

bool vocab_is_true(struct json_text text)
{
	return text.len == 4 && memcmp(text.at, "true", 4) == 0;
}

int vocab_read_small(struct json_text text, const char *name, struct json **out, struct gptqfs_error *err)
{
	json_free(*out);
	*out = NULL;
	if (text.len > VOCAB_SMALL)
		return err_set(err, -ENOTSUP,
		    "%s: %zu bytes, but tokenizers known to llama.cpp have only a few; give the tokenizer's keys with "
		    "-o gguf_kv=FILE",
		    name, text.len);
	return json_parse(text, name, out, err);
}

/* Reads a template of a list, {"name": "default", "template": "..."}; others are skipped. */
static int read_named(struct json_text object, struct arena *arena, const char **out, struct gptqfs_error *err)
{
	struct json_text template = {0};
	struct json_walk walk;
	struct json_member m;
	bool found = false;

	if (!json_walk(&walk, object))
		return 0;
	while (json_next(&walk, &m)) {
		if (json_text_is(m.key, "name"))
			found = json_text_is(m.value, "default");
		else if (json_text_is(m.key, "template"))
			template = m.value;
	}
	if (!found || !template.len || *template.at != '"')
		return 0;
	*out = json_string(template, arena);
	return *out ? 0 : err_memory(err);
}

/*
 * Reads a template: a string, or a list with one named default. Null means none, anything else a template without text.
 */
static int read_template(struct json_text text, struct arena *arena, struct vocab_template *out,
    struct gptqfs_error *err)
{
	struct json_walk walk;
	struct json_text element;
	int rc = 0;

	*out = (struct vocab_template){.there = *text.at != 'n'};
	if (*text.at == '"') {
		out->text = json_string(text, arena);
		return out->text ? 0 : err_memory(err);
	}
	if (json_walk_array(&walk, text))
		while (rc == 0 && json_next_element(&walk, &element))
			rc = read_named(element, arena, &out->text, err);
	return rc;
}

int vocab_read_config(char *bytes, size_t len, struct arena *arena, struct vocab_config *out, struct gptqfs_error *err)
{
	static const char name[] = "tokenizer_config.json";
	const struct json_text text = {bytes, len};
	struct json_walk walk;
	struct json_member m;
	int rc;

	*out = (struct vocab_config){.bytes = bytes};
	rc = json_check_python(text, name, err);
	if (rc || !json_walk(&walk, text))
		return rc;
	while (rc == 0 && json_next(&walk, &m)) {
		if (json_text_is(m.key, "added_tokens_decoder"))
			out->added = m.value;
		else if (json_text_is(m.key, "chat_template"))
			rc = read_template(m.value, arena, &out->template, err);
		for (size_t i = 0; rc == 0 && i < VOCAB_CONFIG; i++)
			if (json_text_is(m.key, config_members[i]))
				rc = vocab_read_small(m.value, name, &out->members[i], err);
	}
	return rc;
}

const struct json *vocab_config_get(const struct vocab_config *config, const char *key)
{
	for (size_t i = 0; i < VOCAB_CONFIG; i++)
		if (strcmp(config_members[i], key) == 0)
			return config->members[i];
	return NULL;
}

void vocab_free_config(struct vocab_config *config)
{
	for (size_t i = 0; i < VOCAB_CONFIG; i++)
		json_free(config->members[i]);
	free(config->bytes);
}

int vocab_read_template(struct json_text text, struct arena *arena, struct vocab_template *out,
    struct gptqfs_error *err)
{
	struct json_walk walk;
	struct json_member m;
	int rc = json_check_python(text, "chat_template.json", err);

	if (rc || !json_walk(&walk, text))
		return rc;
	while (rc == 0 && json_next(&walk, &m))
		if (json_text_is(m.key, "chat_template"))
			rc = read_template(m.value, arena, out, err);
	return rc;
}
