/* SPDX-License-Identifier: MIT */

/*
 * How texts are split into words before BPE. llama.cpp has a few rules with names; the name is found by comparing the
 * rule in tokenizer.json, so that models with their own vocabulary are recognised and nothing is guessed.
 */

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "view/gguf/vocab.h"

#define STEPS_MAX 3

/* The Splits of a rule, by their expressions, followed by a ByteLevel without one. */
struct pre_rule {
	const char *name;
	bool ignore_merges;
	const char *split[STEPS_MAX]; /* up to NULL */
};

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMA(digits) CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES
#define QWEN35 CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES
#define CASED(x, y)                                                                                                \
	"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+" x              \
	"|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" x "|\\p{N}" y \
	"| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES

static const struct pre_rule rules[] = {
    {"llama-bpe", true, {LLAMA("\\p{N}{1,3}")}},
    {"smaug-bpe", false, {LLAMA("\\p{N}{1,3}")}},
    {"qwen2", false, {LLAMA("\\p{N}")}},
    {"qwen35", false, {QWEN35}},
    {"tekken", true, {CASED("", "")}},
    {"gpt-4o", false, {CASED(CONTRACTIONS "?", "{1,3}")}},
    {"deepseek-v3", false,
	{"\\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
	    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
	    " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"}},
};

bool vocab_type_is(const struct json *step, const char *type)
{
	const char *own = json_str(json_get(step, "type"));

	return own && strcmp(own, type) == 0;
}

/* Returns the first step of a pre_tokenizer: itself, or the first element of a Sequence. */
static const struct json *first_step(const struct json *pre)
{
	return vocab_type_is(pre, "Sequence") ? json_first(json_get(pre, "pretokenizers")) : pre;
}

/* Returns the next step; a pre_tokenizer that is not a Sequence has only one. */
static const struct json *next_pre_tokenizer(const struct json *pre, const struct json *step)
{
	return step == pre ? NULL : json_after(step);
}

/* Returns the expression of a Split that isolates what it matches, or NULL. */
static const char *split_of(const struct json *step)
{
	const char *behavior = json_str(json_get(step, "behavior"));

	if (!vocab_type_is(step, "Split") || !behavior || strcmp(behavior, "Isolated") != 0 ||
	    json_bool(json_get(step, "invert"), true))
		return NULL;
	return json_str(json_get(json_get(step, "pattern"), "Regex"));
}

static bool is_byte_level(const struct json *step, bool regex)
{
	return vocab_type_is(step, "ByteLevel") && !json_bool(json_get(step, "add_prefix_space"), true) &&
	       json_bool(json_get(step, "use_regex"), true) == regex;
}

static bool follows(const struct json *pre, const struct pre_rule *rule)
{
	const struct json *step = first_step(pre);

	for (size_t i = 0; i < STEPS_MAX && rule->split[i]; i++) {
		const char *split = step ? split_of(step) : NULL;

		if (!split || strcmp(split, rule->split[i]) != 0)
			return false;
		step = next_pre_tokenizer(pre, step);
	}
	return step && is_byte_level(step, false) && !next_pre_tokenizer(pre, step);
}

/* GPT-2's own rule, built into ByteLevel; digits may be split off singly before. */
static const char *find_gpt2(const struct json *pre)
{
	const struct json *step = first_step(pre);
	const char *name = "gpt-2";

	if (step && vocab_type_is(step, "Digits") && json_bool(json_get(step, "individual_digits"), false)) {
		step = next_pre_tokenizer(pre, step);
		name = "smollm";
	}
	return step && is_byte_level(step, true) && !next_pre_tokenizer(pre, step) ? name : NULL;
}

/* llama.cpp does not normalize; NFC does not change texts that are already NFC, as nearly all are. */
static bool is_normalizer_known(const struct json *n)
{
	return !n || json_is_null(n) || vocab_type_is(n, "NFC") ||
	       (vocab_type_is(n, "Sequence") && json_count(json_get(n, "normalizers")) == 0);
}

static int refuse_steps(const struct gguf_vocab *v, struct gptqfs_error *err)
{
	const struct json *pre = v->json.pre_tokenizer;
	struct text steps = {0};
	int rc;

	for (const struct json *s = first_step(pre); s; s = next_pre_tokenizer(pre, s)) {
		const char *type = json_str(json_get(s, "type"));
		const char *split = json_str(json_get(json_get(s, "pattern"), "Regex"));

		text_printf(&steps, "%s%.40s", steps.len ? ", " : "", type ? type : "none");
		if (split)
			text_printf(&steps, " %.300s", split);
	}
	text_put(&steps, "", 1);
	rc = steps.failed
	         ? err_memory(err)
	         : err_set(err, -ENOTSUP,
		       "tokenizer.json splits texts by a rule that llama.cpp is not known to have (%s%s); give the "
		       "tokenizer's keys with -o gguf_kv=FILE",
		       steps.data, v->json.ignore_merges ? ", ignore_merges" : "");
	text_free(&steps);
	return rc;
}

int vocab_find_pre(struct gguf_vocab *v, struct gptqfs_error *err)
{
	const struct json *pre = v->json.pre_tokenizer;

	if (!is_normalizer_known(v->json.normalizer))
		return err_set(err, -ENOTSUP,
		    "tokenizer.json normalizes texts in a way that llama.cpp does not; give the tokenizer's keys with "
		    "-o gguf_kv=FILE");
	if (!v->json.ignore_merges)
		v->pre = find_gpt2(pre);
	for (size_t i = 0; !v->pre && i < sizeof(rules) / sizeof(*rules); i++)
		if (rules[i].ignore_merges == v->json.ignore_merges && follows(pre, &rules[i]))
			v->pre = rules[i].name;
	return v->pre ? 0 : refuse_steps(v, err);
}
