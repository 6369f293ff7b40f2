/* SPDX-License-Identifier: MIT */

/* Added tokens: those that tokenizers match before anything else. Models have up to 100,000. */

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "view/gguf/vocab.h"

/* ---- the list ---- */

/* The lists in the order in which they count; the first that is not empty is the only one. */
enum added_list {
	ADDED_TOKENIZER, /* tokenizer.json: [{"id": 2, "content": "</s>", "special": true}] */
	ADDED_DECODER,   /* tokenizer_config.json: {"2": {"content": "</s>", "special": true}} */
	ADDED_OLD,       /* added_tokens.json: {"</s>": 2} */
	ADDED_LISTS
};

static bool begin_list(const struct gguf_vocab *v, enum added_list list, struct json_walk *walk)
{
	const struct json_text text = list == ADDED_TOKENIZER ? v->json.added
	                              : list == ADDED_DECODER ? v->config.added
	                                                      : (struct json_text){v->old.bytes, v->old.len};

	if (!text.at)
		return false;
	return list == ADDED_TOKENIZER ? json_walk_array(walk, text) : json_walk(walk, text);
}

static bool next_added(struct json_walk *walk, enum added_list list, struct json_member *m)
{
	*m = (struct json_member){0};
	return list == ADDED_TOKENIZER ? json_next_element(walk, &m->value) : json_next(walk, m);
}

static size_t count_added(const struct gguf_vocab *v, enum added_list list)
{
	struct json_walk walk;
	struct json_member m;
	size_t count = 0;

	if (begin_list(v, list, &walk))
		while (next_added(&walk, list, &m))
			count++;
	return count;
}

static int bad_added(struct gptqfs_error *err)
{
	return err_set(err, -EBADMSG, "the list of added tokens has one without its text or number");
}

static int read_added(enum added_list list, const struct json_member *from, struct arena *arena,
    struct vocab_added *out, struct gptqfs_error *err)
{
	struct json_text id = from->value, content = from->key;
	struct json_walk walk;
	struct json_member m;

	*out = (struct vocab_added){0};
	if (list != ADDED_OLD) {
		/* The key is without its quotes, or there is none. */
		id = list == ADDED_DECODER ? (struct json_text){from->key.at + 1, from->key.len - 2}
		                           : (struct json_text){0};
		content = (struct json_text){0};
		if (!json_walk(&walk, from->value))
			return bad_added(err);
		while (json_next(&walk, &m)) {
			if (json_text_is(m.key, "content"))
				content = m.value;
			else if (json_text_is(m.key, "special"))
				out->special = vocab_is_true(m.value);
			else if (list == ADDED_TOKENIZER && json_text_is(m.key, "id"))
				id = m.value;
		}
	}
	if (!content.at || !json_whole(id, &out->id))
		return bad_added(err);
	out->content = json_string(content, arena);
	return out->content ? 0 : errno == ENOMEM ? err_memory(err) : bad_added(err);
}

static int list_added(struct gguf_vocab *v, struct gptqfs_error *err)
{
	enum added_list list = 0;
	struct json_walk walk;
	struct json_member m;
	size_t count = 0;
	int rc = 0;

	while (list < ADDED_LISTS && (count = count_added(v, list)) == 0)
		list++;
	v->added = arena_alloc(&v->arena, count + 1, sizeof(*v->added));
	if (!v->added)
		return err_memory(err);
	if (!count || !begin_list(v, list, &walk))
		return 0;
	while (rc == 0 && v->added_count < count && next_added(&walk, list, &m)) {
		rc = read_added(list, &m, &v->arena, &v->added[v->added_count], err);
		v->added_count += rc == 0;
	}
	return rc;
}

/* ---- in the vocabulary ---- */

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
		if (strncmp(text, brackets[i].head, strlen(brackets[i].head)) == 0 && ends_with(text, brackets[i].tail))
			return true;
	return false;
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

int vocab_add_tokens(struct gguf_vocab *v, struct gptqfs_error *err)
{
	int rc = list_added(v, err);

	for (size_t i = 0; rc == 0 && i < v->added_count; i++) {
		const struct vocab_added *a = &v->added[i];
		const bool control = a->special || looks_special(a->content);
		const char *text;

		if (a->id >= v->count)
			continue;
		text = control ? a->content : with_spaces(&v->arena, a->content);
		v->tokens[a->id] = (struct gguf_token){text, -1000, control ? TOKEN_CONTROL : TOKEN_USER};
		rc = text ? 0 : err_memory(err);
	}
	return rc;
}
