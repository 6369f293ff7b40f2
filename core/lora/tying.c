/* SPDX-License-Identifier: MIT */
#include "lora/tying.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

typedef unsigned long long ull;

/* Names of embeddings, and what their classes call the head. */
static const struct {
	const char *embedding, *head;
} names[] = {
    {"model.embed_tokens.weight", "lm_head.weight"},
    {"model.language_model.embed_tokens.weight", "lm_head.weight"},
    {"language_model.model.embed_tokens.weight", "language_model.lm_head.weight"},
    {"transformer.wte.weight", "lm_head.weight"},
    {"transformer.word_embeddings.weight", "lm_head.weight"},
    {"model.decoder.embed_tokens.weight", "lm_head.weight"},
    {"gpt_neox.embed_in.weight", "embed_out.weight"},
};

void tying_open(struct tying *t, struct places *p)
{
	bool headless;

	*t = (struct tying){.places = p};
	for (size_t i = 0; !t->embedding && i < sizeof(names) / sizeof(*names); i++) {
		t->embedding = places_find(p, names[i].embedding, "");
		t->head = t->embedding ? names[i].head : NULL;
	}
	/* Gemma and others are tied by their class, not by the configuration, and the file has no head. */
	headless = t->head && architecture_has_head(p->c->config_json) && !places_find(p, t->head, "");
	t->tied = architecture_ties_head(p->c->config_json, headless);
	t->rows = t->embedding && t->embedding->t->ndim == 2 ? t->embedding->t->shape[0] : 0;
}

/* The embedding as it is, once more, under the name of the head. */
static void tying_untie(struct tying *t)
{
	struct places *p = t->places;
	struct tensor *head;

	t->untied = true;
	if (places_find(p, t->head, ""))
		return;
	head = &p->out->list[p->out->count++];
	*head = *t->embedding->t;
	head->name = t->head;
	p->head = (struct place){t->head, head, false, NULL};
}

bool tying_is_head(const struct tying *t, const char *module)
{
	const size_t len = strlen(module);

	return t->head && strncmp(t->head, module, len) == 0 && strcmp(t->head + len, ".weight") == 0;
}

int tying_find(struct tying *t, const char *module, bool together, struct place **place)
{
	*place = places_find(t->places, module, "weight");
	if (!t->tied || t->untied || !t->embedding || (!tying_is_head(t, module) && *place != t->embedding))
		return 0;
	if (together) {
		*place = t->embedding;
		return 0;
	}
	if (t->embedding->t->origin == TENSOR_ADAPTED)
		return -ENOTSUP;
	tying_untie(t);
	*place = places_find(t->places, module, "weight");
	return 0;
}

int tying_check(const struct tying *t, uint64_t *rows, struct gptqfs_error *err)
{
	struct places *p = t->places;
	const struct place *head = t->head ? places_find(p, t->head, "") : NULL;

	*rows = t->rows;
	if (!t->rows)
		return 0;
	*rows = t->embedding->t->shape[0];
	if (head && head->t->ndim == 2 && head->t->shape[0] != *rows && (*rows != t->rows || head->replaced))
		return err_set(err, -EBADMSG,
		    "the adapter leaves %.200s with %llu rows and %.200s with %llu; save both with it (PEFT: "
		    "save_embedding_layers=True)",
		    t->embedding->name, (ull)*rows, head->name, (ull)head->t->shape[0]);
	return 0;
}
